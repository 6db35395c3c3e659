"""Decisions and own explanations in the forms of Neuronpedia: a list of latents, and records of explanations.

Sending needs a key, which is read from the environment, goes to that one address over https and stands nowhere else.
Tested against a local server only: it has not been verified against the live service.
"""

import json
import os
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from urllib.parse import urlsplit

from saeeval_core.errors import ConfigError, DataError
from saeeval_core.ledger.decisions import DecisionSet
from saeeval_core.ledger.verdicts import Verdict
from saeeval_core.recordings.known_saes import NEURONPEDIA, neuronpedia_place
from saeeval_core.redaction import redacted
from saeeval_core.storage.parse_json import NotJson, parse_json

KEY_VARIABLE = "NEURONPEDIA_API_KEY"
_OWN = ("human", "llm", "local")
_LARGEST = 1 << 20  # bytes of an answer


@dataclass(frozen=True)
class ListedLatent:
    """One latent of a list; the names of its fields are those of the service."""

    modelId: str
    layer: str
    """Layer and name of the SAE, such as "0-res-jb"."""
    index: str
    description: str


@dataclass(frozen=True)
class LatentList:
    """A list as ``POST /api/list/new-with-features`` takes it."""

    name: str
    description: str
    testText: str
    features: tuple[ListedLatent, ...]

    def to_json(self) -> str:
        """The request's body."""
        return json.dumps(asdict(self), ensure_ascii=False, indent=1)


def list_of(
    found: DecisionSet, latents: Sequence[int], explained: Mapping[int, Verdict], place: str, *, test_text: str = ""
) -> LatentList:
    """The latents that a set ablates. ``place``: MODEL/SOURCE there; ConfigError for one that is none."""
    model, source = neuronpedia_place(place)
    told = {i: _said(explained[i]) if i in explained else "" for i in latents}
    about = f"{found.metric.upper()}, {found.task}, {found.direction}: ablated by {found.who} in saeeval"
    features = tuple(ListedLatent(model, source, str(i), told[i]) for i in latents)
    return LatentList(found.name, about, test_text, features)


def explanations_of(verdicts: Sequence[Verdict], place: str) -> list[dict[str, str]]:
    """People's and judges' own explanations as records of an export, by latent; imported ones stay where they are from."""
    model, source = neuronpedia_place(place)
    own = sorted((v for v in verdicts if v.ok and v.explanation and v.rater_kind in _OWN), key=lambda v: v.latent)
    return [
        {
            "modelId": model,
            "layer": source,
            "index": str(v.latent),
            "description": v.explanation,
            "explanationModelName": v.rater,
            "typeName": f"saeeval-{v.rater_kind}",
        }
        for v in own
    ]


def best_explanations(verdicts: Sequence[Verdict]) -> dict[int, Verdict]:
    """Latent -> its explanation by a person, else by a language model, else by the offline judge; no imported ones."""
    found: dict[int, Verdict] = {}
    for kind in _OWN:
        for v in verdicts:
            if v.ok and v.explanation and v.rater_kind == kind:
                found.setdefault(v.latent, v)
    return found


def send(made: LatentList, *, base_url: str = NEURONPEDIA, timeout: float = 30.0) -> str:
    """Make the list there; the address of it where the service gives one.

    ConfigError without a key or for an address that would send it in the clear; DataError where it is not taken.
    """
    key, at = os.environ.get(KEY_VARIABLE, ""), urlsplit(base_url)
    if not key:
        raise ConfigError(f"no key of Neuronpedia: set {KEY_VARIABLE}, or leave out --send")
    if not all("!" <= c <= "~" for c in key):
        raise ConfigError(f"{KEY_VARIABLE} holds a space, a line break or a character beyond ASCII; copy the key again")
    if at.scheme != "https" and at.hostname not in ("localhost", "127.0.0.1"):
        raise ConfigError(f"'{base_url}' is not https, so the key would be sent in the clear; give an https address")
    headers = {"content-type": "application/json", "x-api-key": key}
    request = urllib.request.Request(
        f"{base_url.rstrip('/')}/api/list/new-with-features", made.to_json().encode(), headers, method="POST"
    )
    try:
        with urllib.request.build_opener(_NoRedirect).open(request, timeout=timeout) as reply:
            said = reply.read(_LARGEST)
    except urllib.error.HTTPError as error:
        why = redacted(error.read(400).decode("utf-8", "replace"), key)[:120]
        raise DataError(f"Neuronpedia did not take the list: {error.code} ({why}); check the key and the id") from None
    except OSError as error:
        raise DataError(f"Neuronpedia cannot be reached ({getattr(error, 'reason', error)}); try again later") from None
    try:
        answer = parse_json(said)
    except NotJson:
        raise DataError(
            "Neuronpedia answered something that is no JSON; look there whether the list was made"
        ) from None
    url = answer.get("url") if isinstance(answer, dict) else None
    return redacted(url, key) if isinstance(url, str) and url.startswith("https://") else ""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the key to another address."""

    def redirect_request(self, *_args: object, **_named: object) -> None:
        return None


def _said(v: Verdict) -> str:
    return f"{v.explanation} ({v.rater}, {v.rater_kind})"
