"""Explanations and ratings made elsewhere: CSV or JSONL files, verdict files, the paper's labels.

Always checked against the SAE they claim to be about; nothing is stored when a single row does not fit.
"""

import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from saeeval_core.errors import DataError
from saeeval_core.evidence.evidence import EvidenceContext, LatentEvidence
from saeeval_core.evidence.tokens import TokenCosine
from saeeval_core.ledger.store import Store
from saeeval_core.ledger.verdicts import RATER_KINDS, Verdict
from saeeval_core.storage.artifacts import write_atomic

_CONCEPT = "rating:"
_SHARED = ("sae", "sae_fingerprint", "task", "rater", "rater_kind", "model", "prompt", "status")
_OWN = ("latent", "ratings", "explanation", "reason", "evidence_hash")


@dataclass(frozen=True)
class SaeIdentity:
    """What imported rows are checked against."""

    sae: str
    fingerprint: str
    n_latents: int


def read_explanations(path: Path, sae: SaeIdentity, *, task: str = "", rater: str = "") -> list[Verdict]:
    """Rows of a CSV or JSONL file, rater kind "imported".

    Columns: ``latent``; optional ``explanation``, ``reason``, ``rater``, ``model``, ``sae``, ``sae_fingerprint``,
    ``n_latents`` (checked), ratings as ``rating:CONCEPT`` columns or, in JSONL, an object ``ratings``.
    DataError names the first row that does not fit.
    """
    rows = list(_rows(path))
    if not rows:
        raise DataError(f"'{path.name}' holds no rows; expected one latent per row")
    return [_imported(path.name, line, row, sae, task, rater or path.stem) for line, row in rows]


def check_latents(name: str, latents: Iterable[int], sae: SaeIdentity) -> None:
    """DataError if an id does not exist in the SAE: the explanations then belong to another one."""
    outside = [i for i in latents if not 0 <= i < sae.n_latents]
    if outside:
        raise DataError(
            f"'{name}' names latent {outside[0]}, but '{sae.sae}' has {sae.n_latents} latents: it is about another SAE"
        )


def write_verdicts(path: Path, verdicts: Sequence[Verdict]) -> None:
    """One JSON object per line, readable and diffable; a line ``{"shared": ...}`` holds what the rows below it share.

    What came back word for word (``raw``) is left out: explanation, reason and ratings are all there is to it.
    """
    lines: list[str] = []
    above: dict[str, Any] | None = None
    for v in verdicts:
        shared = {k: getattr(v, k) for k in _SHARED}
        if shared != above:
            lines.append(json.dumps({"shared": shared}, ensure_ascii=False))
            above = shared
        lines.append(json.dumps({k: _plain(getattr(v, k)) for k in _OWN}, ensure_ascii=False))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, ("\n".join(lines) + "\n").encode())


def read_verdicts(path: Path) -> list[Verdict]:
    """Inverse of ``write_verdicts``; DataError for a line that is not a verdict."""
    out = []
    shared: dict[str, Any] = {}
    for line, own in _rows(path):
        if isinstance(own.get("shared"), dict):
            shared = own["shared"]
            continue
        row = shared | own
        if (
            set(row) != {*_SHARED, *_OWN}
            or row["rater_kind"] not in RATER_KINDS
            or not isinstance(row["ratings"], dict)
        ):
            raise DataError(
                f"line {line} of '{path.name}' is not a verdict; it needs exactly {', '.join(_OWN)}, and above it "
                f"a line with {', '.join(_SHARED)}: make the file again with saeeval build-bundle --step verdicts"
            )
        out.append(Verdict(**row))
    return out


def load_shipped(store: Store, folder: Path, sae: SaeIdentity) -> int:
    """Put the verdicts shipped for exactly these weights into the store, once; returns how many were new."""
    path = folder / f"{sae.sae}.jsonl"
    if not path.exists():
        return 0
    own = [v for v in read_verdicts(path) if v.sae_fingerprint == sae.fingerprint]
    check_latents(path.name, (v.latent for v in own), sae)
    known = {v.key for v in store.verdict_history(sae.fingerprint)}
    new = [v for v in own if v.key not in known]
    if new:
        store.add_verdicts(new)
    return len(new)


# The paper's labels


@dataclass(frozen=True)
class PaperItem:
    """One of the paper's labelled latents: the evidence that was shown and everybody's ratings."""

    id: int
    evidence: LatentEvidence
    ratings: Mapping[str, Mapping[str, int]]
    """Rater ("human_a", "human_b", "llm") -> concept -> 0..4; a rater who did not rate is absent."""


def read_paper_labels(path: Path) -> list[PaperItem]:
    """The published labels of the paper's 53 latents (paper.md section 6.3)."""
    try:
        items = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DataError(
            f"'{path}' cannot be read as JSON ({type(error).__name__}); give the paper's label file"
        ) from None
    if not isinstance(items, list) or not all(
        isinstance(i, dict) and {"id", "human_a", "contexts"} <= set(i) for i in items
    ):
        raise DataError(f"'{path.name}' is not a list of labelled latents with id, contexts and human_a")
    return [_paper_item(i) for i in items]


def paper_ratings(items: Sequence[PaperItem]) -> dict[str, dict[tuple[int | str, str], int]]:
    """Cells per rater for ``agreement``."""
    out: dict[str, dict[tuple[int | str, str], int]] = {}
    for item in items:
        for rater, ratings in item.ratings.items():
            out.setdefault(rater, {}).update({(item.id, c): r for c, r in ratings.items()})
    return out


_EXAMPLE = re.compile(r"\n*Example \d+: ")
_TOKEN = re.compile(r"<<(.*?)>>\((-?[\d.]+)\)", re.DOTALL)


def _paper_item(item: Mapping[str, Any]) -> PaperItem:
    texts = [t for block in item["contexts"] for t in _EXAMPLE.split(block) if t.strip()]
    contexts = tuple(_marked_context(t) for t in texts)
    promoted = tuple(TokenCosine(t, float("nan")) for t in str(item.get("promoted_tokens", "")).split(",") if t.strip())
    evidence = LatentEvidence(int(item["latent"]), str(item["sae"]), "", contexts, promoted, blind=True)
    ratings = {r: {str(c): int(v) for c, v in item[r].items()} for r in ("human_a", "human_b", "llm") if item.get(r)}
    return PaperItem(int(item["id"]), evidence, ratings)


def _marked_context(text: str) -> EvidenceContext:
    """Text with strong tokens marked as << token>>(activation); the rest has activation 0."""
    tokens: list[str] = []
    activations: list[float] = []
    end = 0
    for match in _TOKEN.finditer(text):
        tokens += [text[end : match.start()], match[1]]
        activations += [0.0, float(match[2])]
        end = match.end()
    tokens.append(text[end:])
    activations.append(0.0)
    return EvidenceContext(tuple(tokens), tuple(activations), "", "", "general", "", "top", 1.0)


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line number, row) of a CSV or JSONL file."""
    try:
        content = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise DataError(f"file '{path}' does not exist; give a .csv or .jsonl file") from None
    except UnicodeDecodeError:
        raise DataError(f"'{path.name}' is not UTF-8; save it again with UTF-8 encoding") from None
    if path.suffix.lower() == ".csv":
        reader = csv.DictReader(content.splitlines())
        for row in reader:
            yield reader.line_num, {k: v for k, v in row.items() if k is not None}
        return
    if path.suffix.lower() not in (".jsonl", ".ndjson"):
        raise DataError(f"'{path.name}' ends in '{path.suffix}'; give a .csv or .jsonl file")
    for number, line in enumerate(content.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(
                f"line {number} of '{path.name}' is not JSON ({error.msg}); one object per line is expected"
            ) from None
        if not isinstance(row, dict):
            raise DataError(f"line {number} of '{path.name}' is not an object; one object per line is expected")
        yield number, row


def _imported(name: str, line: int, row: Mapping[str, Any], sae: SaeIdentity, task: str, rater: str) -> Verdict:
    try:
        latent = int(str(row["latent"]))
    except (KeyError, ValueError):
        raise DataError(f"line {line} of '{name}' has no whole number in 'latent'; add that column") from None
    check_latents(name, [latent], sae)
    claims = {"sae": sae.sae, "sae_fingerprint": sae.fingerprint, "n_latents": str(sae.n_latents)}
    for key, expected in claims.items():
        if row.get(key) not in (None, "") and str(row[key]) != expected:
            raise DataError(f"line {line} of '{name}' is about {key} '{row[key]}', expected '{expected}': another SAE")
    return Verdict(
        latent=latent,
        sae_fingerprint=sae.fingerprint,
        sae=sae.sae,
        task=str(row.get("task") or task),
        rater=str(row.get("rater") or rater),
        rater_kind="imported",
        ratings=_ratings(name, line, row),
        explanation=str(row.get("explanation") or ""),
        reason=str(row.get("reason") or ""),
        model=str(row.get("model") or ""),
    )


def _ratings(name: str, line: int, row: Mapping[str, Any]) -> dict[str, int]:
    given = row.get("ratings") or {}
    if not isinstance(given, dict):
        raise DataError(f"line {line} of '{name}': 'ratings' is not an object of concept: rating")
    cells = dict(given) | {k.removeprefix(_CONCEPT): v for k, v in row.items() if k.startswith(_CONCEPT)}
    out = {}
    for concept, value in cells.items():
        if value in (None, ""):
            continue
        if isinstance(value, bool) or str(value) not in ("0", "1", "2", "3", "4"):
            raise DataError(
                f"line {line} of '{name}': rating '{value}' of '{concept}' is not a whole number from 0 to 4"
            )
        out[concept] = int(value)
    return out


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else value
