"""The Messages protocol, spoken by Anthropic's own library: of Anthropic's server and of those that speak alike."""

from types import ModuleType
from typing import TYPE_CHECKING, Any

from saeeval_core.judging import verdict as v
from saeeval_core.judging.budget import Usage
from saeeval_core.judging.server import Abilities, Reply, Request, ServerSettings, whole_number

if TYPE_CHECKING:
    import anthropic

NO_KEY_NEEDED = "none"
"""Sent as the key where there is none: the libraries insist on one, servers without keys ignore it."""
_COUNTS = ("input", "cache_creation_input", "cache_read_input", "output")
_STOPS = {"refusal": v.REFUSED, "max_tokens": v.TRUNCATED, "model_context_window_exceeded": v.TOO_LONG}


class Messages:
    """POST /v1/messages and /v1/messages/count_tokens."""

    name = "messages"
    example, endpoint_path, version_path = "http://localhost:11434", "/messages", ""

    def sdk(self) -> ModuleType:
        """The anthropic library."""
        import anthropic

        return anthropic

    def client(self, settings: ServerSettings, key: str) -> "anthropic.AsyncAnthropic":
        """As ``Wire.client``."""
        import anthropic

        return anthropic.AsyncAnthropic(
            api_key=key or NO_KEY_NEEDED,
            base_url=settings.base_url,
            max_retries=settings.retries,
            timeout=settings.timeout,
        )

    def body(self, request: Request, abilities: Abilities) -> dict[str, Any]:
        """The rubric as a cached block and the schema in ``output_config``, where the server takes them."""
        system: Any = request.system
        if abilities.cache:
            system = [{"type": "text", "text": request.system, "cache_control": {"type": "ephemeral"}}]
        body: dict[str, Any] = {
            "model": request.model,
            "max_tokens": request.max_tokens,
            "system": system,
            "messages": [{"role": "user", "content": request.user}],
        }
        if abilities.schema:
            body["output_config"] = {"format": {"type": "json_schema", "schema": request.schema}}
        return body

    async def send(self, client: "anthropic.AsyncAnthropic", body: dict[str, Any]) -> Any:
        """As ``Wire.send``."""
        return await client.messages.create(**body)

    async def count(self, client: "anthropic.AsyncAnthropic", body: dict[str, Any]) -> int:
        """As ``Wire.count``."""
        counted = await client.messages.count_tokens(**{k: p for k, p in body.items() if k != "max_tokens"})
        return counted.input_tokens

    def read(self, message: Any) -> Reply:
        """As ``Wire.read``: text blocks only, so a model's thinking is no part of its answer."""
        blocks = getattr(message, "content", None)
        if not isinstance(blocks, list):
            return Reply(str(message), v.INVALID, "", Usage())
        text = "".join(b.text for b in blocks if getattr(b, "type", "") == "text" and isinstance(b.text, str))
        stop = getattr(message, "stop_reason", None)
        finished = stop in ("end_turn", "stop_sequence")
        known = _STOPS.get(stop, v.INVALID) if isinstance(stop, str) else v.INVALID
        model = str(getattr(message, "model", None) or "")
        return Reply(text, "" if finished else known, model, _usage(getattr(message, "usage", None)))


def _usage(u: Any) -> Usage | None:
    if u is None:
        return None
    sent, written, cached, output = (whole_number(getattr(u, f"{name}_tokens", None)) for name in _COUNTS)
    return Usage(sent + written, cached, output)
