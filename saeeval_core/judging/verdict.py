"""What a judge is asked and what counts as an answer: concepts, questions, the reply's schema, names of failures."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pydantic import BaseModel, ConfigDict, Field, StrictInt, ValidationError, create_model

from saeeval_core.ledger.verdicts import OK, Verdict
from saeeval_core.texts.tasks import Contrast, TaskSet

REFUSED = "refused"
TRUNCATED = "cut off"
INVALID = "invalid answer"
RATE_LIMITED = "rate limited"
OVERLOADED = "overloaded"
NO_CREDIT = "no credit"
NO_KEY = "no key"
KEY_REJECTED = "key rejected"
TIMED_OUT = "timed out"
CONNECTION = "connection failed"
SERVER = "server error"
NOT_ACCEPTED = "request not accepted"
TOO_LONG = "too long for the model"
CANCELLED = "cancelled"
EXPIRED = "expired"
NO_EVIDENCE = "nothing to judge"
NO_VERDICTS = (
    REFUSED,
    TRUNCATED,
    INVALID,
    RATE_LIMITED,
    OVERLOADED,
    NO_CREDIT,
    NO_KEY,
    KEY_REJECTED,
    TIMED_OUT,
    CONNECTION,
    SERVER,
    NOT_ACCEPTED,
    TOO_LONG,
    CANCELLED,
    EXPIRED,
    NO_EVIDENCE,
)
"""Statuses: why there is no verdict. Shown in grey with a retry, never turned into a number."""

MAX_TEXT = 600
"""Longest explanation or reason kept, in characters."""
_LONGEST_REPLY = 20_000  # characters searched for JSON
_THOUGHT = re.compile(r"\A.*</think(?:ing)?>", re.DOTALL)


@dataclass(frozen=True)
class Concept:
    """A concept that a latent may be related to."""

    name: str
    """Key in ratings, such as "nurse" or "gender"."""
    gloss: str = ""
    """What it covers, such as "female, male"."""


@dataclass(frozen=True)
class Question:
    """Everything that decides a verdict; ``blank`` carries the identity under which answers are stored."""

    blank: Verdict
    """The verdict to be filled in: latent, SAE, task, rater, model, prompt, evidence hash."""
    concepts: tuple[Concept, ...]

    def reply_model(self) -> type[BaseModel]:
        """The only form of reply that is accepted."""
        return reply_model(self.concepts)

    def parse(self, text: str) -> Verdict:
        """A verdict from the reply's JSON, or one with status "invalid answer" and the reply."""
        return parse_reply(self, text)

    def failed(self, status: str, raw: str = "") -> Verdict:
        """The blank with a status of NO_VERDICTS, and the reply."""
        assert status in NO_VERDICTS, status
        return replace(self.blank, status=status, raw=raw)


def task_concepts(task_set: TaskSet) -> tuple[Concept, ...]:
    """The concepts of a task set: each TPP class, and every other label of a SHIFT pair as one concept."""
    found: dict[str, Concept] = {}
    if task_set.tpp is not None:
        found |= {c: Concept(c) for c in task_set.tpp[1]}
    for contrast in (c for pair in task_set.pairs for c in pair):
        for name in contrast_concepts(task_set, contrast):
            whole = name == contrast.column
            found.setdefault(name, Concept(name, f"{contrast.positive}, {contrast.negative}" if whole else ""))
    return tuple(found.values())


def contrast_concepts(task_set: TaskSet, contrast: Contrast) -> tuple[str, ...]:
    """Names of the concepts of one label of a pair, such as ("nurse", "surgeon") or ("gender",)."""
    values = (contrast.positive, contrast.negative)
    classes = task_set.tpp[1] if task_set.tpp is not None else ()
    others = set(task_set.texts.columns[contrast.column].tolist()) - {"", *values}
    return values if set(values) <= set(classes) or others else (contrast.column,)


def field_names(concepts: Sequence[Concept]) -> list[str]:
    """Keys used in the reply. Labels come from data sets, so they are never used as JSON keys."""
    return [f"concept_{i + 1}" for i in range(len(concepts))]


def reply_model(concepts: Sequence[Concept]) -> type[BaseModel]:
    """The reply: explanation, reason and one whole number 0..4 per concept; nothing else is accepted."""
    strict = ConfigDict(extra="forbid", frozen=True)
    fields = {n: (StrictInt, Field(ge=0, le=4)) for n in field_names(concepts)}
    ratings = create_model("Ratings", __config__=strict, **fields)
    return create_model(
        "Reply",
        __config__=strict,
        explanation=(str, Field(min_length=1, description="one sentence: what the latent responds to")),
        reason=(str, Field(description="one to three sentences: why these ratings")),
        ratings=(ratings, ...),
    )


def shape_of_reply(concepts: Sequence[Concept]) -> str:
    """The reply's JSON in words, for servers that may not know a schema."""
    ratings = ", ".join(f'"{name}": <whole number from 0 to 4>' for name in field_names(concepts))
    return f'{{"explanation": "<one sentence>", "reason": "<why>", "ratings": {{{ratings}}}}}'


def json_in(text: str) -> str:
    """The last JSON object in a reply that may hold prose, a fence or a thought around it; the reply without any.

    The last, because a model may quote what it was shown before it answers.
    """
    text = _THOUGHT.sub("", text[-_LONGEST_REPLY:])
    decoder, at, found = json.JSONDecoder(), text.find("{"), ""
    while at >= 0:
        try:
            _, end = decoder.raw_decode(text, at)
            found = text[at:end]
        except RecursionError:
            break
        except ValueError:
            end = at + 1
        at = text.find("{", end)
    return found or text


def parse_reply(question: Question, text: str) -> Verdict:
    """A verdict from the reply's JSON, or one with status "invalid answer" and the reply."""
    try:
        reply = reply_model(question.concepts).model_validate_json(text)
    except ValidationError:
        return question.failed(INVALID, text)
    content = reply.model_dump()
    values = [content["ratings"][n] for n in field_names(question.concepts)]
    return replace(
        question.blank,
        status=OK,
        raw=text,
        explanation=content["explanation"].strip()[:MAX_TEXT],
        reason=content["reason"].strip()[:MAX_TEXT],
        ratings={c.name: r for c, r in zip(question.concepts, values, strict=True)},
    )
