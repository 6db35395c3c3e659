"""Local servers that speak Messages and Chat Completions as others than Anthropic do.

What each does not know is written as its documentation says it: Ollama's page on Anthropic compatibility (no counting,
no prompt caching, a key that is accepted and not looked at, thinking blocks), vLLM's error bodies, and llama.cpp's
errors of keys, contexts and models that still load. None of them knows ``output_config``; what is unknown is ignored.
"""

import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from fake_claude import Local, _Handler

Answer = Callable[[dict, int], Any]
"""(request, number of requests so far, from 1) -> the text of a reply, or what ``FakeClaude`` responds with."""
MODEL = "qwen3:8b"


def keys_of(request: dict) -> list[str]:
    """The keys of the ratings that are asked for: they stand in the prompt, whether or not there is a schema."""
    user = request["messages"][-1]["content"]
    return list(dict.fromkeys(re.findall(r'"(concept_\d+)": <', user)))


def rated(request: dict, rating: Any = 2, **changes: Any) -> str:
    """The JSON of a well-formed answer."""
    reply = {"explanation": "fires on pronouns", "reason": "all windows"}
    return json.dumps(reply | {"ratings": dict.fromkeys(keys_of(request), rating)} | changes)


def in_prose(request: dict, rating: Any = 2) -> str:
    """The same as a chatty model writes it."""
    return f"Sure! Here is the JSON:\n\n```json\n{rated(request, rating)}\n```\nTell me if you want more."


@dataclass
class FakeServer(Local):
    """One running server of either protocol."""

    kind: str
    """ollama | vllm | llama.cpp | strict (all Messages) | chat | chat-plain (no response_format)."""
    answer: Answer = lambda request, _n: in_prose(request)
    key: str = ""
    """Asked for, unless ""."""
    usage: bool = True
    requests: list[dict] = field(default_factory=list)
    headers: list[dict] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    url: str = ""

    def handler(self) -> "type[_Speaker]":
        return _Speaker

    @property
    def host(self) -> str:
        return self.url.removeprefix("http://")

    def refuses(self, path: str, body: dict) -> Any:
        """What it says to a request it does not take; None where it takes it."""
        if self.kind == "ollama" and path.endswith("/count_tokens"):
            return (404, b"404 page not found", {"content-type": "text/plain"})
        if self.kind == "strict" and ("output_config" in body or isinstance(body.get("system"), list)):
            return (422, {"detail": [{"type": "extra_forbidden", "loc": ["body", "output_config"], "msg": "no"}]})
        if self.kind == "chat-plain" and "response_format" in body:
            return (400, {"error": {"message": "response_format is not supported", "type": "invalid_request_error"}})
        if body.get("model") != MODEL:
            return self.unknown_model(body.get("model"))
        return None

    def unknown_model(self, name: object) -> Any:
        if self.kind == "ollama":
            said = {"type": "not_found_error", "message": f"model '{name}' not found"}
            return (404, {"type": "error", "error": said})
        said = {"message": f"The model `{name}` does not exist.", "type": "NotFoundError", "param": None, "code": 404}
        return (404, {"error": said})

    def reply(self, text: str) -> dict:
        """A finished reply in the server's own form."""
        if self.kind.startswith("chat"):
            said = {"role": "assistant", "content": text, "refusal": None}
            usage = {"prompt_tokens": 900, "completion_tokens": 100, "total_tokens": 1000}
            choice = {"index": 0, "message": said, "logprobs": None, "finish_reason": "stop"}
            whole = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": f"{MODEL}-q4"}
            return whole | {"choices": [choice]} | ({"usage": usage} if self.usage else {})
        thought = [{"type": "thinking", "thinking": 'It says {"ratings": 4}.'}] if self.kind == "ollama" else []
        whole = {"id": "msg_1", "type": "message", "role": "assistant", "model": f"{MODEL}-q4"}
        whole |= {"content": [*thought, {"type": "text", "text": text}], "stop_reason": "end_turn"}
        return whole | ({"usage": {"input_tokens": 900, "output_tokens": 100}} if self.usage else {})


class _Speaker(_Handler):
    server_state: FakeServer

    def do_POST(self) -> None:
        fake = self.server_state
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with fake.lock:
            fake.headers.append(dict(self.headers))
            fake.paths.append(self.path)
        if fake.key and self.headers.get("authorization") != f"Bearer {fake.key}":
            said = {"code": 401, "message": "Invalid API Key", "type": "authentication_error"}
            self.respond((401, {"error": said}))
            return
        refused = fake.refuses(self.path, body)
        if self.path.endswith("/count_tokens"):
            self.respond(refused or {"input_tokens": 1000})
            return
        with fake.lock:
            fake.requests.append(body)
            number = len(fake.requests)
        if refused is None:
            refused = fake.answer(body, number)
        self.respond(fake.reply(refused) if isinstance(refused, str) and refused not in ("hang", "reset") else refused)

    def respond(self, what: Any) -> None:
        """As ``FakeClaude``; also (status, bytes, headers)."""
        if isinstance(what, tuple) and isinstance(what[1], bytes):
            self.send(what[0], what[1], what[2])
        else:
            super().respond(what)

    def do_GET(self) -> None:
        self.respond((404, {"error": {"message": "not found"}}))
