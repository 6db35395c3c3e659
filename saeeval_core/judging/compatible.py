"""A judge behind any server that speaks a known protocol: what the server can do is found out with one small question."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from saeeval_core.errors import ConfigError, JudgeError
from saeeval_core.judging import verdict as v
from saeeval_core.judging.budget import Usage
from saeeval_core.judging.prompts import RUBRIC
from saeeval_core.judging.server import Abilities, Reply, ServerJudge, ServerSettings, TokenCount, Wire, tokens_at_most
from saeeval_core.ledger.verdicts import Verdict

CHARACTERS_PER_TOKEN = 3.7
"""For estimates only: 40 questions about the bundled SAE, as SmolLM2's tokenizer cuts them (Gemma 3's: 3.9)."""
ESTIMATED_BY = f"estimate: {CHARACTERS_PER_TOKEN} characters a token, as SmolLM2's tokenizer cuts such questions"
TIMEOUT = 600.0
"""Seconds per attempt: a model on a laptop is slow, and requests wait for one another."""
_PLAIN = Abilities(schema=False, cache=False)
_CONCEPT = v.Concept("colour")
_TRIAL = (
    'Concepts to rate:\n- concept_1: colour\n\n<evidence>\n\nWindows from the texts "trial":\n\n'
    "1. The door was <<red>>(2) and the roof <<blue>>(1.5).\n\n</evidence>"
)
_MAY_REFUSE = (400, 422, 500, 501)
"""HTTP statuses with which servers answer to what they do not know."""


@dataclass(frozen=True)
class Endpoint:
    """What one small question found out about a server."""

    protocol: str
    host: str
    asked: str
    """The model that was asked for."""
    model: str
    """The model as the server reports it; "" if it does not."""
    abilities: Abilities
    usage: Usage
    """What finding out took."""

    @property
    def words(self) -> str:
        """One line for people."""
        named = f"answers as {self.model}" if self.model else "does not name its model"
        schema = "it keeps to a JSON schema" if self.abilities.schema else "JSON is read from the text of its replies"
        cache = "" if self.abilities.cache or self.protocol != "messages" else ", without prompt caching"
        return f"{self.host} ({self.protocol}) {named}; {schema}{cache}"

    def to_dict(self) -> dict[str, object]:
        """Plain JSON values."""
        return {
            "protocol": self.protocol,
            "host": self.host,
            "model": self.asked,
            "served_as": self.model or None,
            "json_schema": self.abilities.schema,
            "prompt_cache": self.abilities.cache,
        }


class CompatibleJudge(ServerJudge):
    """Asks a server of any maker. ``needs_key``: of those who refuse everything without one.

    Until ``probe`` it takes nothing for granted. ConfigError for an address that is none, or without a model's name.
    """

    def __init__(self, api_key: str | None, settings: ServerSettings, wire: Wire, *, needs_key: bool = False) -> None:
        super().__init__(api_key, replace(settings, base_url=_address(settings.base_url, wire)), wire, _PLAIN)
        self._needs_key = needs_key
        if not settings.model.strip():
            raise ConfigError(f"which model of {self.endpoint} is to judge? give its name with --model-name")

    def need_key(self) -> None:
        """JudgeError where the server is known to refuse everything without a key."""
        if self._needs_key and not self.has_key:
            raise JudgeError(f"no API key: {self.endpoint} needs one; set SAEEVAL_JUDGE_KEY")

    def with_shape(self, asked: str, shape: str) -> str:
        """The user's turn, which ends with the shape of the reply: whether a server takes a schema is not known yet."""
        return f"{asked}\n\nThe JSON object, filled in: {shape}"

    def parse(self, question: v.Question, text: str) -> Verdict:
        """The verdict in the JSON of a finished reply, checked as strictly as where a schema is kept to."""
        return replace(question.parse(v.json_in(text)), raw=text)

    def probe(self) -> Endpoint:
        """Ask one small question with everything the protocol has, and without where that is refused.

        JudgeError where the server does not answer either. From then on requests hold what the server takes.
        """
        self.need_key()
        endpoint = asyncio.run(self._probe())
        self.abilities = endpoint.abilities
        return endpoint

    def probe_at_most(self) -> Usage:
        """The most that ``probe`` may use: what a server refuses costs nothing."""
        return Usage(tokens_at_most(self.body(self._trial(), Abilities())), 0, self.settings.max_tokens)

    def count(self, questions: Sequence[v.Question]) -> TokenCount:
        """Tokens of a run, counted by the server; estimated where it does not count. JudgeError if it cannot be reached."""
        counted = asyncio.run(self._count_if_it_can(questions))
        if counted is not None:
            return counted
        each = tuple(tokens_at_most(self.body(q, Abilities())) for q in questions)
        estimate = round(sum(len(q.blank.prompt) for q in questions) / CHARACTERS_PER_TOKEN)
        return TokenCount(
            len(questions), estimate, len(questions) * self.settings.max_tokens, each, exact=False, counted=False
        )

    async def _count_if_it_can(self, questions: Sequence[v.Question]) -> TokenCount | None:
        """None where the server does not know the request."""
        self.need_key()
        if not questions:
            return None
        sdk = self.wire.sdk()
        async with self.client() as client:
            try:
                if await self.wire.count(client, self.body(questions[0])) <= 0:
                    return None  # no such request; some bridges answer 0 to everything, too
            except sdk.APIStatusError as error:
                if error.status_code in (404, 405, *_MAY_REFUSE):
                    return None
                raise self.refusal("tokens could not be counted", error) from None
            except sdk.APIError as error:
                raise self.refusal("tokens could not be counted", error) from None
            except (ValueError, TypeError, AttributeError, RecursionError):
                return None
        return await self._count(questions)

    async def _probe(self) -> Endpoint:
        trial, last = self._trial(), None
        async with self.client() as client:
            for abilities in (Abilities(), _PLAIN):
                try:
                    message = await self.wire.send(client, self.body(trial, abilities))
                except self.wire.sdk().APIStatusError as error:
                    last = self._unanswered(error)
                    if error.status_code in _MAY_REFUSE:
                        continue
                    raise last from None
                except self.wire.sdk().APIError as error:
                    raise self._unanswered(error) from None
                except (ValueError, TypeError, RecursionError) as error:
                    raise self._not_the_protocol(str(error)) from None
                return self._found(trial, self.wire.read(message), abilities)
        assert last is not None
        raise last from None

    def _found(self, trial: v.Question, reply: Reply, abilities: Abilities) -> Endpoint:
        """A server may take a schema and not keep to it: then the JSON is looked for in the text."""
        if reply.status == v.INVALID:
            raise self._not_the_protocol(reply.text)
        kept = abilities.schema and (reply.status != "" or v.parse_reply(trial, reply.text).ok)
        found = replace(abilities, schema=kept)
        return Endpoint(
            self.wire.name,
            self.endpoint,
            self.model,
            self.clean(reply.model),
            found,
            reply.usage or self.probe_at_most(),
        )

    def _not_the_protocol(self, said: str) -> JudgeError:
        return JudgeError(
            f"{self.endpoint} answers something that is not the protocol '{self.wire.name}' "
            f"({self.clean(said)[:80]}); check its address"
        )

    def _unanswered(self, error: Any) -> JudgeError:
        what = f"{self.endpoint} did not answer a small question to {self.model}"
        return self.refusal(what, error, "check that it runs, its address and the model's name")

    def _trial(self) -> v.Question:
        prompt = f"{RUBRIC}\n\n{self.with_shape(_TRIAL, v.shape_of_reply([_CONCEPT]))}"
        blank = Verdict(0, "", "", "", self.rater, self.rater_kind, model=self.model, prompt=prompt)
        return v.Question(blank, (_CONCEPT,))


def _address(url: str | None, wire: Wire) -> str:
    """The address as the library wants it. ConfigError for one that is none."""
    parts = urlsplit(url or "")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(f"--base-url '{url or ''}' is no address of a server; give one such as {wire.example}")
    path = parts.path.rstrip("/").removesuffix(wire.endpoint_path).removesuffix("/v1") + wire.version_path
    return urlunsplit((parts.scheme, parts.netloc, path, "", ""))
