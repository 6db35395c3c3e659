"""Claude as a judge, through the anthropic library: one request per latent, or one batch for many."""

import asyncio
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import TypeAdapter

from saeeval_core.errors import JudgeError
from saeeval_core.evidence.intruder import Trial
from saeeval_core.judging import verdict as v
from saeeval_core.judging.intruder import IntruderQuestion
from saeeval_core.judging.messages import Messages
from saeeval_core.judging.server import ServerJudge, ServerSettings, host_of
from saeeval_core.ledger.verdicts import Verdict

_OFFICIAL = "api.anthropic.com"
_TRIAL = TypeAdapter(Trial)


@dataclass(frozen=True)
class ClaudeSettings(ServerSettings):
    """How Claude is asked."""

    model: str = "claude-haiku-5-5"


class ClaudeJudge(ServerJudge):
    """Asks Claude, at Anthropic or through a proxy that has all that Anthropic has. It always needs a key."""

    def __init__(self, api_key: str | None, settings: ClaudeSettings | None = None) -> None:
        super().__init__(api_key, settings or ClaudeSettings(), Messages())

    @property
    def rater(self) -> str:
        """Name of the rater, under which verdicts are stored; only Anthropic's own server is called Claude."""
        host = self.endpoint
        official = host == _OFFICIAL or host.endswith(".anthropic.com")
        return f"Claude ({self.model})" if official else super().rater

    @property
    def endpoint(self) -> str:
        """Host, and port where there is one, of the server that is asked."""
        return host_of(self.settings.base_url or os.environ.get("ANTHROPIC_BASE_URL") or f"https://{_OFFICIAL}")

    def need_key(self) -> None:
        """JudgeError where there is no key: called before anything is asked."""
        if not self.has_key:
            raise JudgeError(
                "no API key: set ANTHROPIC_API_KEY, or use a judge that needs none: local, or a server of your own "
                "(--judge messages or chat, with --base-url)"
            )

    def submit(self, questions: Sequence[v.Question]) -> str:
        """Send one batch; returns its id. JudgeError if it is not accepted."""
        return asyncio.run(self._submit(questions))

    def collect(self, batch_id: str, questions: Mapping[str, v.Question]) -> list[Verdict] | None:
        """Verdicts of a batch by ``custom_id``; None while it is still in progress. JudgeError if it cannot be read."""
        return asyncio.run(self._collect(batch_id, questions))

    async def _submit(self, questions: Sequence[v.Question]) -> str:
        import anthropic

        self.need_key()
        requests: Any = [{"custom_id": custom_id(q), "params": self.body(q)} for q in questions]
        async with self.client() as client:
            try:
                return self.clean((await client.messages.batches.create(requests=requests)).id)
            except anthropic.APIError as error:
                raise self.refusal("the batch was not accepted", error) from None

    async def _collect(self, batch_id: str, questions: Mapping[str, v.Question]) -> list[Verdict] | None:
        import anthropic

        self.need_key()
        found: dict[str, Verdict] = {}
        async with self.client() as client:
            try:
                if (await client.messages.batches.retrieve(batch_id)).processing_status != "ended":
                    return None
                async for row in await client.messages.batches.results(batch_id):
                    if row.custom_id in questions:
                        found[row.custom_id] = self.without_key(self._batch_row(questions[row.custom_id], row.result))
            except anthropic.APIError as error:
                raise self.refusal(f"batch {batch_id} could not be read", error) from None
            except (ValueError, TypeError, RecursionError) as error:
                raise JudgeError(
                    f"batch {batch_id} could not be read ({self.clean(str(error))[:80]}); try again"
                ) from None
        return [
            found.get(name) or q.failed(v.INVALID, "the batch has no result for this question")
            for name, q in questions.items()
        ]

    def _batch_row(self, q: v.Question, result: Any) -> Verdict:
        if result.type == "succeeded":
            return self.read(q, result.message)[0]
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


def custom_id(question: v.Question) -> str:
    """Name of a request in a batch: the latent and the question's identity."""
    return f"latent-{question.blank.latent}-{question.blank.key}"


def rebuild(content: Mapping[str, Any]) -> dict[str, v.Question]:
    """Custom id -> question of a batch; inverse of ``describe``."""
    return {name: _rebuilt(q) for name, q in content["questions"].items()}


def describe(questions: Sequence[v.Question]) -> dict[str, object]:
    """What must be stored about a batch to read its results later, as plain JSON values."""
    return {"questions": {custom_id(q): _described(q) for q in questions}}


def _described(q: v.Question) -> dict[str, object]:
    about = {"blank": {**vars(q.blank), "ratings": {}}, "concepts": [vars(c) for c in q.concepts]}
    return about | ({"trial": asdict(q.trial)} if isinstance(q, IntruderQuestion) else {})


def _rebuilt(q: Mapping[str, Any]) -> v.Question:
    """Batches of earlier versions held ratings only, so that none of theirs has a trial."""
    blank, concepts = Verdict(**q["blank"]), tuple(v.Concept(**c) for c in q["concepts"])
    if "trial" in q:
        return IntruderQuestion(blank, concepts, _TRIAL.validate_python(q["trial"]))
    return v.Question(blank, concepts)
