"""The Chat Completions protocol, spoken by OpenAI's library, which is an extra: of OpenAI's server and those like it."""

from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING, Any

from saeeval_core.errors import ConfigError
from saeeval_core.judging import verdict as v
from saeeval_core.judging.budget import Usage
from saeeval_core.judging.messages import NO_KEY_NEEDED
from saeeval_core.judging.server import Abilities, Reply, Request, ServerSettings, whole_number

if TYPE_CHECKING:
    import openai

OFFICIAL = "https://api.openai.com/v1"
_STOPS = {"length": v.TRUNCATED, "content_filter": v.REFUSED}


class Chat:
    """POST /v1/chat/completions. It has no request that counts tokens.

    ``official``: OpenAI's own server, which has another name for the longest reply; others may not know that one.
    """

    name = "chat"
    example, endpoint_path, version_path = "http://localhost:8000/v1", "/chat/completions", "/v1"

    def __init__(self, *, official: bool = False) -> None:
        self._longest = "max_completion_tokens" if official else "max_tokens"

    def sdk(self) -> ModuleType:
        """The openai library. ConfigError with the command where it is not installed."""
        need_library()
        import openai

        return openai

    def client(self, settings: ServerSettings, key: str) -> "openai.AsyncOpenAI":
        """As ``Wire.client``."""
        return self.sdk().AsyncOpenAI(
            api_key=key or NO_KEY_NEEDED,
            base_url=settings.base_url,
            max_retries=settings.retries,
            timeout=settings.timeout,
        )

    def body(self, request: Request, abilities: Abilities) -> dict[str, Any]:
        """Two messages, and the schema in ``response_format`` where the server takes it."""
        body: dict[str, Any] = {
            "model": request.model,
            self._longest: request.max_tokens,
            "messages": [{"role": "system", "content": request.system}, {"role": "user", "content": request.user}],
        }
        if abilities.schema:
            form = {"name": "verdict", "strict": True, "schema": request.schema}
            body["response_format"] = {"type": "json_schema", "json_schema": form}
        return body

    async def send(self, client: "openai.AsyncOpenAI", body: dict[str, Any]) -> Any:
        """As ``Wire.send``."""
        return await client.chat.completions.create(**body)

    async def count(self, _client: "openai.AsyncOpenAI", _body: dict[str, Any]) -> int:
        """As ``Wire.count``: the protocol has no such request."""
        return 0

    def read(self, message: Any) -> Reply:
        """As ``Wire.read``: the first choice."""
        choices = getattr(message, "choices", None)
        said = getattr(choices[0], "message", None) if isinstance(choices, list) and choices else None
        if said is None:
            return Reply(str(message), v.INVALID, "", Usage())
        text, refused = getattr(said, "content", None), getattr(said, "refusal", None)
        stop = getattr(choices[0], "finish_reason", None)
        status = "" if stop == "stop" else _STOPS.get(stop, v.INVALID) if isinstance(stop, str) else v.INVALID
        model = str(getattr(message, "model", None) or "")
        usage = _usage(getattr(message, "usage", None))
        if isinstance(refused, str) and refused:
            return Reply(refused, v.REFUSED, model, usage)
        return Reply(text if isinstance(text, str) else "", status, model, usage)


def need_library() -> None:
    """ConfigError with the command where the openai library is not installed."""
    if find_spec("openai") is None:
        raise ConfigError(
            "--judge chat needs the openai library, which is not installed; run: pip install 'openai>=3.57,<4'"
        )


def _usage(u: Any) -> Usage | None:
    """Tokens read from a prompt cache are part of the prompt's."""
    if u is None:
        return None
    sent, output = (whole_number(getattr(u, f"{name}_tokens", None)) for name in ("prompt", "completion"))
    cached = min(sent, whole_number(getattr(getattr(u, "prompt_tokens_details", None), "cached_tokens", None)))
    return Usage(sent - cached, cached, output)
