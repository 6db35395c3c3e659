"""A local HTTP server that speaks the Messages, count_tokens and Message Batches endpoints, faults included."""

import json
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

Behaviour = Callable[[dict, int], Any]
"""(request, number of messages requests so far, from 1) -> what ``respond`` takes."""


def answer(request: dict, rating: Any = 2, **changes: Any) -> dict:
    """A well-formed reply to a request: every concept of its schema with the same rating."""
    schema = request["output_config"]["format"]["schema"]
    ratings = schema["properties"]["ratings"]
    if "$ref" in ratings:
        ratings = schema["$defs"][ratings["$ref"].rsplit("/", 1)[1]]
    reply = {
        "explanation": "fires on pronouns",
        "reason": "all windows",
        "ratings": {k: rating for k in ratings["properties"]},
    }
    return message(json.dumps(reply | changes))


def message(text: str, stop_reason: str = "end_turn") -> dict:
    """A Messages reply with one text block."""
    usage = {"input_tokens": 900, "output_tokens": 100, "cache_read_input_tokens": 50, "cache_creation_input_tokens": 0}
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "fake",
        "content": [{"type": "text", "text": text}],
        "stop_reason": stop_reason,
        "stop_sequence": None,
        "usage": usage,
    }


def error(kind: str, text: str = "no") -> dict:
    """An error body."""
    return {"type": "error", "error": {"type": kind, "message": text}, "request_id": "req_1"}


class Local:
    """A server on a free port of this machine; its handlers find it as ``server_state``."""

    url: str

    def handler(self) -> type[BaseHTTPRequestHandler]:
        """What answers a request."""
        raise AssertionError("say what answers")

    def start(self) -> Self:
        handler = type("Handler", (self.handler(),), {"server_state": self})
        self.server = _Server(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        # Stopping waits for the next look at whether to stop, by default half a second.
        threading.Thread(target=self.server.serve_forever, args=[0.01], daemon=True).start()
        return self

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@dataclass
class FakeClaude(Local):
    """One running server; change ``behaviour`` to script it."""

    behaviour: Behaviour = lambda request, _n: answer(request)
    requests: list[dict] = field(default_factory=list)
    """Bodies of messages requests."""
    headers: list[dict] = field(default_factory=list)
    counted: int = 0
    batches: dict[str, dict] = field(default_factory=dict)
    batch_results: Callable[[list[dict]], list[dict]] | None = None
    batch_polls_before_end: int = 0
    busy: int = 0
    busiest: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    url: str = ""

    def handler(self) -> "type[_Handler]":
        return _Handler


class _Server(ThreadingHTTPServer):
    def handle_error(self, *args: Any) -> None:
        """Clients that hang up are part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_state: FakeClaude

    def log_message(self, *args: Any) -> None:
        pass

    def do_POST(self) -> None:
        fake = self.server_state
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.path.endswith("/count_tokens"):
            with fake.lock:
                fake.counted += 1
            self.respond({"input_tokens": 1000})
            return
        if self.path.endswith("/batches"):
            with fake.lock:
                batch_id = f"msgbatch_{len(fake.batches)}"
                fake.batches[batch_id] = {"requests": body["requests"], "polls": 0}
            self.respond(self.batch(batch_id, "in_progress"))
            return
        with fake.lock:
            fake.requests.append(body)
            fake.headers.append(dict(self.headers))
            number = len(fake.requests)
            fake.busy += 1
            fake.busiest = max(fake.busiest, fake.busy)
        try:
            self.respond(fake.behaviour(body, number))
        finally:
            with fake.lock:
                fake.busy -= 1

    def do_GET(self) -> None:
        fake = self.server_state
        parts = self.path.split("?")[0].split("/")
        if parts[-1] == "results":
            rows = fake.batch_results(fake.batches[parts[-2]]["requests"])
            text = "".join(json.dumps(r) + "\n" for r in rows).encode()
            self.send(200, text, {"content-type": "application/x-jsonl"})
            return
        batch = fake.batches[parts[-1]]
        batch["polls"] += 1
        self.respond(self.batch(parts[-1], "ended" if batch["polls"] > fake.batch_polls_before_end else "in_progress"))

    def batch(self, batch_id: str, status: str) -> dict:
        counts = {"processing": 0, "succeeded": 0, "errored": 0, "canceled": 0, "expired": 0}
        ended = status == "ended"
        return {
            "id": batch_id,
            "type": "message_batch",
            "processing_status": status,
            "request_counts": counts,
            "created_at": "2026-01-01T00:00:00Z",
            "expires_at": "2026-01-02T00:00:00Z",
            "archived_at": None,
            "cancel_initiated_at": None,
            "ended_at": "2026-01-01T00:01:00Z" if ended else None,
            "results_url": f"{self.server_state.url}/v1/messages/batches/{batch_id}/results" if ended else None,
        }

    def respond(self, what: Any) -> None:
        """dict: 200; (status, body[, headers]); "reset": cut mid-body; "hang"; bytes: 200 with that body."""
        if what == "hang":
            time.sleep(3)
        elif what == "reset":
            self.send(200, b'{"id": "msg', {"content-length": "4000"}, raw=True)
            self.wfile.flush()
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            self.close_connection = True
        elif isinstance(what, bytes):
            self.send(200, what, {})
        else:
            status, body, headers = (200, what, {}) if isinstance(what, dict) else (*what, {})[:3]
            self.send(status, json.dumps(body).encode(), headers)

    def send(self, status: int, content: bytes, headers: dict, raw: bool = False) -> None:
        self.send_response(status)
        given = {"content-type": "application/json"} | headers
        if not raw:
            given["content-length"] = str(len(content))
        for name, value in given.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)
