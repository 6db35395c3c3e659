"""Claude as a judge, through the anthropic SDK: one request per latent, or one batch for many.

Every failure becomes a verdict whose status names it, with the reply. The key is given to the SDK and to nothing else;
a key that no header can carry is refused before anything is sent, and what comes back is kept without it.
"""

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from saeeval_core.errors import JudgeError
from saeeval_core.evidence.evidence import LatentEvidence
from saeeval_core.judging import verdict as v
from saeeval_core.judging.budget import Usage
from saeeval_core.judging.prompts import RUBRIC, build_prompt
from saeeval_core.ledger.verdicts import SERVED, Verdict
from saeeval_core.redaction import redacted

if TYPE_CHECKING:
    import anthropic

_COUNTS = ("input", "cache_creation_input", "cache_read_input", "output")
_COUNTED = 64  # requests whose tokens are counted one by one; the rest is scaled by length
_OFFICIAL = "api.anthropic.com"
_LONGEST_NAME = 100
_HOPELESS = (v.NO_KEY, v.KEY_REJECTED, v.NO_CREDIT)  # asking for the next latent would fail the same way


@dataclass(frozen=True)
class ClaudeSettings:
    """How requests are sent."""

    model: str = "claude-haiku-5-5"
    max_tokens: int = 800
    """Longest reply, in tokens; a longer one gives the status "cut off"."""
    concurrency: int = 8
    """Open requests at once."""
    retries: int = 4
    """By the SDK, for rate limits, server and connection errors; it obeys retry-after."""
    timeout: float = 90.0
    """Seconds per attempt."""
    base_url: str | None = None


@dataclass(frozen=True)
class TokenCount:
    """Tokens that a run would send."""

    requests: int
    input: int
    """Tokens sent in all."""
    output_at_most: int
    per_request: tuple[int, ...]
    """Input tokens of each request."""
    exact: bool
    """False: scaled from the first requests by their length."""


class ClaudeJudge:
    """Asks Claude. ``api_key`` never leaves this object except to the SDK; JudgeError for one that cannot be sent."""

    rater_kind = "llm"

    def __init__(self, api_key: str | None, settings: ClaudeSettings | None = None) -> None:
        self.settings = settings or ClaudeSettings()
        self.__key = _usable(api_key or "")

    @property
    def model(self) -> str:
        """The model id as sent."""
        return self.settings.model

    @property
    def rater(self) -> str:
        """Name of the rater, under which verdicts are stored; only Anthropic's own server is called Claude."""
        host = self.endpoint
        official = host == _OFFICIAL or host.endswith(".anthropic.com")
        return f"Claude ({self.model})" if official else f"{self.model} at {host}"

    @property
    def endpoint(self) -> str:
        """Host, and port where there is one, of the server that is asked."""
        url = urlsplit(self.settings.base_url or os.environ.get("ANTHROPIC_BASE_URL") or f"https://{_OFFICIAL}")
        return url.netloc.rpartition("@")[2] or "unknown server"

    def question(self, evidence: LatentEvidence, concepts: Sequence[v.Concept], task: str) -> v.Question:
        """The question about one latent."""
        prompt = f"{RUBRIC}\n\n{build_prompt(evidence, concepts)}"
        blank = Verdict(
            evidence.latent,
            evidence.sae_fingerprint,
            evidence.sae,
            task,
            self.rater,
            self.rater_kind,
            model=self.model,
            prompt=prompt,
            evidence_hash=evidence.hash,
        )
        return v.Question(blank, tuple(concepts))

    def count(self, questions: Sequence[v.Question]) -> TokenCount:
        """Tokens of a run, counted by the API. JudgeError if that fails."""
        return asyncio.run(self._count(questions))

    def ask(
        self,
        questions: Sequence[v.Question],
        keep: Callable[[Verdict, Usage], None],
        may_ask: Callable[[v.Question], bool] = lambda _: True,
    ) -> None:
        """Ask all, ``concurrency`` at a time; ``keep`` gets each verdict as soon as it arrives.

        ``may_ask`` is called right before a request; False leaves that latent and all later ones unasked.
        """
        asyncio.run(self._ask(questions, keep, may_ask))

    def submit(self, questions: Sequence[v.Question]) -> str:
        """Send one batch; returns its id. JudgeError if it is not accepted."""
        return asyncio.run(self._submit(questions))

    def collect(self, batch_id: str, questions: Mapping[str, v.Question]) -> list[Verdict] | None:
        """Verdicts of a batch by ``custom_id``; None while it is still in progress. JudgeError if it cannot be read."""
        return asyncio.run(self._collect(batch_id, questions))

    def clean(self, text: str) -> str:
        """The text without the key, in case a server or a library echoes it."""
        return redacted(text, self.__key)

    def _without_key(self, answer: Verdict) -> Verdict:
        """Whatever of a verdict came from the server; what was escaped in the reply stands unescaped in its fields."""
        clean = self.clean
        return replace(
            answer, raw=clean(answer.raw), explanation=clean(answer.explanation), reason=clean(answer.reason)
        )

    def _client(self) -> "anthropic.AsyncAnthropic":
        import anthropic

        s = self.settings
        return anthropic.AsyncAnthropic(
            api_key=self.__key, base_url=s.base_url, max_retries=s.retries, timeout=s.timeout
        )

    def _params(self, question: v.Question) -> dict[str, Any]:
        import anthropic

        rubric, user = question.blank.prompt[: len(RUBRIC)], question.blank.prompt[len(RUBRIC) :].lstrip("\n")
        schema = anthropic.transform_schema(v.reply_model(question.concepts))
        return {
            "model": self.model,
            "max_tokens": self.settings.max_tokens,
            "system": [{"type": "text", "text": rubric, "cache_control": {"type": "ephemeral"}}],
            "messages": [{"role": "user", "content": user}],
            "output_config": {"format": {"type": "json_schema", "schema": schema}},
        }

    async def _count(self, questions: Sequence[v.Question]) -> TokenCount:
        import anthropic

        self.need_key()
        slots = asyncio.Semaphore(self.settings.concurrency)
        async with self._client() as client:

            async def one(q: v.Question) -> int:
                params = {k: p for k, p in self._params(q).items() if k != "max_tokens"}
                async with slots:
                    return (await client.messages.count_tokens(**params)).input_tokens

            try:
                counted = await asyncio.gather(*(one(q) for q in questions[:_COUNTED]))
            except anthropic.APIError as error:
                raise self._refusal("tokens could not be counted", error) from None
        rest = questions[_COUNTED:]
        per_character = sum(counted) / max(1, sum(len(q.blank.prompt) for q in questions[:_COUNTED]))
        each = (*counted, *(round(len(q.blank.prompt) * per_character) for q in rest))
        return TokenCount(len(questions), sum(each), len(questions) * self.settings.max_tokens, each, not rest)

    async def _ask(
        self,
        questions: Sequence[v.Question],
        keep: Callable[[Verdict, Usage], None],
        may_ask: Callable[[v.Question], bool],
    ) -> None:
        slots = asyncio.Semaphore(self.settings.concurrency)
        stopped: list[str] = []
        async with self._client() as client:

            async def one(q: v.Question) -> None:
                async with slots:
                    if stopped and stopped[0]:
                        keep(q.failed(stopped[0], "not asked: the request before failed this way"), Usage())
                        return
                    if stopped or not may_ask(q):
                        stopped.append("")
                        return
                    answer, usage = await self._one(client, q)
                    answer = self._without_key(answer)
                if answer.status in _HOPELESS:
                    stopped.insert(0, answer.status)
                keep(answer, usage)

            await asyncio.gather(*(one(q) for q in questions))

    async def _one(self, client: "anthropic.AsyncAnthropic", q: v.Question) -> tuple[Verdict, Usage]:
        import anthropic

        if not self.__key:
            return q.failed(v.NO_KEY, "no API key is set"), Usage()
        try:
            message = await client.messages.create(**self._params(q))
        except anthropic.APIError as error:
            return q.failed(status_of(error), _body(error)), Usage()
        except (ValueError, TypeError, RecursionError) as error:  # a reply that is no JSON, a setting the SDK refuses
            return q.failed(v.INVALID, str(error)), Usage()
        return self._read(q, message)

    def _read(self, q: v.Question, message: Any) -> tuple[Verdict, Usage]:
        """The verdict in one message: its stop reason is checked before its text."""
        blocks = getattr(message, "content", None)
        if not isinstance(blocks, list):
            return q.failed(v.INVALID, str(message)), Usage()
        text = "".join(b.text for b in blocks if getattr(b, "type", "") == "text" and isinstance(b.text, str))
        usage = _usage(message)
        stops = {"refusal": v.REFUSED, "max_tokens": v.TRUNCATED, "model_context_window_exceeded": v.TOO_LONG}
        if message.stop_reason in stops:
            return q.failed(stops[message.stop_reason], text), usage
        if message.stop_reason not in ("end_turn", "stop_sequence"):
            return q.failed(v.INVALID, text), usage
        answer = v.parse_reply(q, text)
        served = self.clean(str(getattr(message, "model", None) or "unnamed"))[:_LONGEST_NAME]
        return replace(answer, model=f"{q.blank.model}{SERVED}{served} at {self.endpoint}"), usage

    async def _submit(self, questions: Sequence[v.Question]) -> str:
        import anthropic

        self.need_key()
        requests: Any = [{"custom_id": custom_id(q), "params": self._params(q)} for q in questions]
        async with self._client() as client:
            try:
                return self.clean((await client.messages.batches.create(requests=requests)).id)
            except anthropic.APIError as error:
                raise self._refusal("the batch was not accepted", error) from None

    async def _collect(self, batch_id: str, questions: Mapping[str, v.Question]) -> list[Verdict] | None:
        import anthropic

        self.need_key()
        found: dict[str, Verdict] = {}
        async with self._client() as client:
            try:
                if (await client.messages.batches.retrieve(batch_id)).processing_status != "ended":
                    return None
                async for row in await client.messages.batches.results(batch_id):
                    if row.custom_id in questions:
                        found[row.custom_id] = self._without_key(self._batch_row(questions[row.custom_id], row.result))
            except anthropic.APIError as error:
                raise self._refusal(f"batch {batch_id} could not be read", error) from None
            except (ValueError, TypeError, RecursionError) as error:
                raise JudgeError(
                    f"batch {batch_id} could not be read ({self.clean(str(error))[:80]}); try again"
                ) from None
        return [
            found.get(name) or q.failed(v.INVALID, "the batch has no result for this latent")
            for name, q in questions.items()
        ]

    def _batch_row(self, q: v.Question, result: Any) -> Verdict:
        if result.type == "succeeded":
            return self._read(q, result.message)[0]
        if result.type == "errored":
            inner = result.error.error
            kinds = {
                "rate_limit_error": v.RATE_LIMITED,
                "overloaded_error": v.OVERLOADED,
                "billing_error": v.NO_CREDIT,
                "authentication_error": v.KEY_REJECTED,
                "permission_error": v.KEY_REJECTED,
                "invalid_request_error": v.NOT_ACCEPTED,
                "not_found_error": v.NOT_ACCEPTED,
                "timeout_error": v.TIMED_OUT,
            }
            return q.failed(kinds.get(inner.type, v.SERVER), str(inner.message))
        return q.failed(v.EXPIRED if result.type == "expired" else v.CANCELLED)

    def need_key(self) -> None:
        """JudgeError where there is no key: called before anything is asked."""
        if not self.__key:
            raise JudgeError("no API key: set ANTHROPIC_API_KEY, or use the local judge, which needs none")

    def _refusal(self, what: str, error: "anthropic.APIError") -> JudgeError:
        return JudgeError(
            f"{what}: {status_of(error)} ({self.clean(error.message)[:120]}); verdicts so far are kept, try again"
        )


def _usable(key: str) -> str:
    """The key; JudgeError, which does not repeat it, for one that an HTTP header cannot carry unchanged."""
    if not all("!" <= c <= "~" for c in key):
        raise JudgeError(
            "the API key holds a space, a line break or a character beyond ASCII, which no key has; copy it again"
        )
    return key


def custom_id(question: v.Question) -> str:
    """Name of a request in a batch: the latent and the question's identity."""
    return f"latent-{question.blank.latent}-{question.blank.key}"


def rebuild(content: Mapping[str, Any]) -> dict[str, v.Question]:
    """Custom id -> question of a batch; inverse of ``describe``."""
    return {
        name: v.Question(Verdict(**q["blank"]), tuple(v.Concept(**c) for c in q["concepts"]))
        for name, q in content["questions"].items()
    }


def describe(questions: Sequence[v.Question]) -> dict[str, object]:
    """What must be stored about a batch to read its results later, as plain JSON values."""
    return {
        "questions": {
            custom_id(q): {"blank": {**vars(q.blank), "ratings": {}}, "concepts": [vars(c) for c in q.concepts]}
            for q in questions
        }
    }


def status_of(error: "anthropic.APIError") -> str:
    """The status of a verdict that failed with this SDK error, one of ``verdict.NO_VERDICTS``."""
    import anthropic

    if isinstance(error, anthropic.APITimeoutError):
        return v.TIMED_OUT
    if isinstance(error, anthropic.APIConnectionError):
        return v.CONNECTION
    if not isinstance(error, anthropic.APIStatusError):
        return v.INVALID
    code = error.status_code
    if code == 402 or error.type == "billing_error" or "credit balance" in str(error.api_message or "").lower():
        return v.NO_CREDIT
    by_code = {401: v.KEY_REJECTED, 403: v.KEY_REJECTED, 408: v.TIMED_OUT, 413: v.TOO_LONG, 504: v.TIMED_OUT}
    by_code |= {429: v.RATE_LIMITED, 529: v.OVERLOADED}
    return by_code.get(code, v.SERVER if code >= 500 else v.NOT_ACCEPTED)


def _body(error: "anthropic.APIError") -> str:
    body = getattr(error, "body", None)
    return str(body) if body is not None else str(error.message)


def _usage(message: Any) -> Usage:
    u = getattr(message, "usage", None)
    if u is None:
        return Usage()
    counted = (getattr(u, f"{name}_tokens", None) for name in _COUNTS)
    sent, written, cached, output = (n if type(n) is int and n >= 0 else 0 for n in counted)
    return Usage(sent + written, cached, output)
