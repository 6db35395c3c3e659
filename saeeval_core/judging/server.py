"""A judge behind a server: its questions, requests in parallel, failures by name, and a key that stays where it is.

What differs between protocols is a ``Wire``: how a request looks and how a reply is read. Every failure becomes a
verdict whose status names it, with the reply. The key is given to the client library and to nothing else; a key that no
header can carry is refused before anything is sent, and what comes back is kept without it.
"""

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any, Protocol
from urllib.parse import urlsplit

from saeeval_core.config import fingerprint
from saeeval_core.errors import JudgeError
from saeeval_core.evidence.evidence import LatentEvidence
from saeeval_core.evidence.intruder import Trial
from saeeval_core.judging import verdict as v
from saeeval_core.judging.budget import Usage
from saeeval_core.judging.intruder import SHAPE_OF_CHOICE, IntruderQuestion
from saeeval_core.judging.prompts import INTRUDER_RUBRIC, RUBRIC, build_prompt, rubric_of, windows_of
from saeeval_core.ledger.verdicts import Served, Verdict
from saeeval_core.redaction import redacted

_COUNTED = 64  # requests whose tokens are counted one by one; the rest is scaled by length
_LONGEST_NAME = 100
_HOPELESS = (v.NO_KEY, v.KEY_REJECTED, v.NO_CREDIT)  # asking for the next latent would fail the same way
_TOO_LONG = ("context length", "context size", "context_length_exceeded", "exceed_context_size")
_NO_CREDIT = ("credit balance", "insufficient_quota")


@dataclass(frozen=True)
class ServerSettings:
    """How requests are sent."""

    model: str
    max_tokens: int = 800
    """Longest reply, in tokens; a longer one gives the status "cut off"."""
    concurrency: int = 8
    """Open requests at once."""
    retries: int = 4
    """By the client library, for rate limits, server and connection errors; it obeys retry-after."""
    timeout: float = 90.0
    """Seconds per attempt."""
    base_url: str | None = None


@dataclass(frozen=True)
class Abilities:
    """What a server does besides answering."""

    schema: bool = True
    """Its replies follow the request's JSON schema; else the JSON is looked for in the text of the reply."""
    cache: bool = True
    """It takes marks of what to keep in a prompt cache."""


@dataclass(frozen=True)
class Request:
    """What is sent for one question, before a protocol gives it its form."""

    model: str
    max_tokens: int
    system: str
    user: str
    schema: dict[str, Any]
    """JSON schema of the reply."""


@dataclass(frozen=True)
class Reply:
    """What a server said to one request."""

    text: str
    status: str
    """"" for a finished reply, else one of ``verdict.NO_VERDICTS``."""
    model: str
    """As the server names it; "" if it does not."""
    usage: Usage | None
    """None where the server does not say what was used."""


class Wire(Protocol):
    """A protocol: the library that speaks it, the form of requests, and how replies are read."""

    name: str
    """As stored with verdicts."""
    example: str
    """An address as people give it."""
    endpoint_path: str
    """What follows the version in the address of a request; people paste it too."""
    version_path: str
    """What the library wants at the end of an address."""

    def sdk(self) -> ModuleType:
        """The client library, whose errors are named alike in all of them. JudgeError if it is not installed."""
        ...

    def client(self, settings: ServerSettings, key: str) -> Any:
        """An open client; an asynchronous context manager."""
        ...

    def body(self, request: Request, abilities: Abilities) -> dict[str, Any]:
        """The request's JSON."""
        ...

    async def send(self, client: Any, body: dict[str, Any]) -> Any:
        """The library's reply object."""
        ...

    async def count(self, client: Any, body: dict[str, Any]) -> int:
        """Input tokens of a request, counted by the server; 0 where the protocol has no such request."""
        ...

    def read(self, message: Any) -> Reply:
        """What a reply object holds, whatever the server put there."""
        ...


@dataclass(frozen=True)
class TokenCount:
    """Tokens that a run would send."""

    requests: int
    input: int
    """Tokens sent in all."""
    output_at_most: int
    per_request: tuple[int, ...]
    """Input tokens of each request, for budgets: never too few."""
    exact: bool
    """False: scaled from the first requests by their length."""
    counted: bool = True
    """False: the server does not count, and ``input`` is an estimate from the length of the texts."""


Keep = Callable[[Verdict, Usage | None], None]
"""Takes each verdict as it arrives, with the tokens it took; None where the server does not say."""


class ServerJudge:
    """Asks a model behind a server. ``api_key`` never leaves this object except to the client library.

    JudgeError for a key that cannot be sent.
    """

    rater_kind = "llm"

    def __init__(
        self, api_key: str | None, settings: ServerSettings, wire: Wire, abilities: Abilities | None = None
    ) -> None:
        self.settings, self.wire, self.abilities = settings, wire, abilities or Abilities()
        self.__key = _usable(api_key or "")

    @property
    def model(self) -> str:
        """The model id as sent."""
        return self.settings.model

    @property
    def rater(self) -> str:
        """Name of the rater, under which verdicts are stored."""
        return f"{self.model} at {self.endpoint}"

    @property
    def endpoint(self) -> str:
        """Host, and port where there is one, of the server that is asked."""
        return host_of(self.settings.base_url or "")

    @property
    def has_key(self) -> bool:
        """Whether a key was given."""
        return bool(self.__key)

    def question(self, evidence: LatentEvidence, concepts: Sequence[v.Concept], task: str) -> v.Question:
        """The question about one latent."""
        said = f"{RUBRIC}\n\n{self.with_shape(build_prompt(evidence, concepts), v.shape_of_reply(concepts))}"
        about = (evidence.latent, evidence.sae_fingerprint, evidence.sae, task, self.rater, self.rater_kind)
        blank = Verdict(*about, model=self.model, prompt=said, evidence_hash=evidence.hash)
        return v.Question(blank, tuple(concepts))

    def intruder_question(self, trial: Trial, texts: str) -> IntruderQuestion:
        """The question which of five windows is the intruder."""
        said = f"{INTRUDER_RUBRIC}\n\n{self.with_shape(windows_of(trial), SHAPE_OF_CHOICE)}"
        return IntruderQuestion.of(trial, texts, self.rater, self.rater_kind, self.model, said)

    def with_shape(self, asked: str, _shape: str) -> str:
        """The user's turn. It does not depend on what the server can do: the same question has one prompt."""
        return asked

    def count(self, questions: Sequence[v.Question]) -> TokenCount:
        """Tokens of a run, counted by the server. JudgeError if that fails."""
        return asyncio.run(self._count(questions))

    def ask(
        self, questions: Sequence[v.Question], keep: Keep, may_ask: Callable[[v.Question], bool] = lambda _: True
    ) -> None:
        """Ask all, ``concurrency`` at a time; ``keep`` gets each verdict as soon as it arrives.

        ``may_ask`` is called right before a request; False leaves that latent and all later ones unasked.
        """
        asyncio.run(self._ask(questions, keep, may_ask))

    def need_key(self) -> None:
        """JudgeError where a key is needed and there is none: called before anything is asked."""

    def clean(self, text: str) -> str:
        """The text without the key, in case a server or a library echoes it."""
        return redacted(text, self.__key)

    def body(self, question: v.Question, abilities: Abilities | None = None) -> dict[str, Any]:
        """The request for one question, with the judge's own abilities unless others are given."""
        import anthropic

        prompt = question.blank.prompt
        schema = anthropic.transform_schema(question.reply_model())
        rubric = rubric_of(prompt)
        user = prompt[len(rubric) :].lstrip("\n")
        request = Request(self.model, self.settings.max_tokens, rubric, user, schema)
        return self.wire.body(request, abilities or self.abilities)

    def without_key(self, answer: Verdict) -> Verdict:
        """Whatever of a verdict came from the server; what was escaped in the reply stands unescaped in its fields."""
        clean = self.clean
        return replace(
            answer, raw=clean(answer.raw), explanation=clean(answer.explanation), reason=clean(answer.reason)
        )

    def client(self) -> Any:
        """An open client of the library."""
        return self.wire.client(self.settings, self.__key)

    def parse(self, question: v.Question, text: str) -> Verdict:
        """The verdict in a finished reply."""
        return question.parse(text)

    def read(self, q: v.Question, message: Any) -> tuple[Verdict, Usage | None]:
        """The verdict in one reply object: its stop reason is checked before its text."""
        reply = self.wire.read(message)
        if reply.status:
            return q.failed(reply.status, reply.text), reply.usage
        answer = self.parse(q, reply.text)
        served = self.clean(reply.model or "unnamed")[:_LONGEST_NAME]
        sent = fingerprint(self.body(q))
        return replace(
            answer, model=str(Served(q.blank.model, served, self.endpoint, self.wire.name, sent))
        ), reply.usage

    def refusal(self, what: str, error: Any, do: str = "verdicts so far are kept, try again") -> JudgeError:
        """The library's error in one line, without the key."""
        status = status_of(error, self.wire.sdk())
        return JudgeError(f"{what}: {status} ({self.clean(error.message)[:120]}); {do}")

    async def _count(self, questions: Sequence[v.Question]) -> TokenCount:
        self.need_key()
        slots = asyncio.Semaphore(self.settings.concurrency)
        async with self.client() as client:

            async def one(q: v.Question) -> int:
                async with slots:
                    return await self.wire.count(client, self.body(q))

            try:
                counted = await asyncio.gather(*(one(q) for q in questions[:_COUNTED]))
            except self.wire.sdk().APIError as error:
                raise self.refusal("tokens could not be counted", error) from None
        rest = questions[_COUNTED:]
        per_character = sum(counted) / max(1, sum(len(q.blank.prompt) for q in questions[:_COUNTED]))
        each = (*counted, *(round(len(q.blank.prompt) * per_character) for q in rest))
        return TokenCount(len(questions), sum(each), len(questions) * self.settings.max_tokens, each, not rest)

    async def _ask(self, questions: Sequence[v.Question], keep: Keep, may_ask: Callable[[v.Question], bool]) -> None:
        slots = asyncio.Semaphore(self.settings.concurrency)
        stopped: list[str] = []
        async with self.client() as client:

            async def one(q: v.Question) -> None:
                async with slots:
                    if stopped and stopped[0]:
                        keep(q.failed(stopped[0], "not asked: the request before failed this way"), Usage())
                        return
                    if stopped or not may_ask(q):
                        stopped.append("")
                        return
                    answer, usage = await self._one(client, q)
                    answer = self.without_key(answer)
                if answer.status in _HOPELESS:
                    stopped.insert(0, answer.status)
                keep(answer, usage)

            await asyncio.gather(*(one(q) for q in questions))

    async def _one(self, client: Any, q: v.Question) -> tuple[Verdict, Usage | None]:
        sdk = self.wire.sdk()
        try:
            self.need_key()
        except JudgeError:
            return q.failed(v.NO_KEY, "no API key is set"), Usage()
        try:
            message = await self.wire.send(client, self.body(q))
        except sdk.APIError as error:
            return q.failed(status_of(error, sdk), _body_of(error)), Usage()
        except (ValueError, TypeError, RecursionError) as error:  # a reply that is no JSON, a setting the SDK refuses
            return q.failed(v.INVALID, str(error)), Usage()
        return self.read(q, message)


def host_of(url: str) -> str:
    """Host, and port where there is one, of an address; never a name or password in it."""
    return urlsplit(url).netloc.rpartition("@")[2] or "unknown server"


def status_of(error: Any, sdk: ModuleType) -> str:
    """The status of a verdict that failed with this error of a client library, one of ``verdict.NO_VERDICTS``."""
    if isinstance(error, sdk.APITimeoutError):
        return v.TIMED_OUT
    if isinstance(error, sdk.APIConnectionError):
        return v.CONNECTION
    if not isinstance(error, sdk.APIStatusError):
        return v.INVALID
    code, said = error.status_code, f"{error.message} {_body_of(error)}".lower()
    if code == 402 or error.type == "billing_error" or any(words in said for words in _NO_CREDIT):
        return v.NO_CREDIT
    if code in (400, 422, 500) and any(words in said for words in _TOO_LONG):
        return v.TOO_LONG
    by_code = {401: v.KEY_REJECTED, 403: v.KEY_REJECTED, 408: v.TIMED_OUT, 413: v.TOO_LONG, 504: v.TIMED_OUT}
    by_code |= {429: v.RATE_LIMITED, 529: v.OVERLOADED}
    return by_code.get(code, v.SERVER if code >= 500 else v.NOT_ACCEPTED)


def tokens_at_most(body: dict[str, Any]) -> int:
    """No tokenizer makes more tokens than there are bytes; names and braces of the JSON outweigh a chat's own marks."""
    return len(json.dumps(body, ensure_ascii=False).encode("utf-8", "surrogatepass"))


def whole_number(value: object) -> int:
    """A count of a server's reply; 0 for anything else."""
    return value if type(value) is int and value >= 0 else 0


def _usable(key: str) -> str:
    """The key; JudgeError, which does not repeat it, for one that an HTTP header cannot carry unchanged."""
    if not all("!" <= c <= "~" for c in key):
        raise JudgeError(
            "the API key holds a space, a line break or a character beyond ASCII, which no key has; copy it again"
        )
    return key


def _body_of(error: Any) -> str:
    body = getattr(error, "body", None)
    return str(body) if body is not None else str(error.message)
