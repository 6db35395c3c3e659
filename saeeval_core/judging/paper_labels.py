"""The ratings published with the paper (arXiv 2411.18895): 53 latents, two people and a language model."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from saeeval_core.errors import DataError
from saeeval_core.evidence.evidence import EvidenceContext, LatentEvidence
from saeeval_core.evidence.tokens import TokenCosine
from saeeval_core.storage.parse_json import NotJson, parse_json


@dataclass(frozen=True)
class PaperItem:
    """One of the paper's labelled latents: the evidence that was shown, and all ratings."""

    id: int
    evidence: LatentEvidence
    ratings: Mapping[str, Mapping[str, int]]
    """Rater ("human_a", "human_b", "llm") -> concept -> 0..4; a rater who did not rate is absent."""


def read_paper_labels(path: Path) -> list[PaperItem]:
    """The published labels of the paper's 53 latents; DataError for another file."""
    try:
        items = parse_json(path.read_bytes())
    except (OSError, NotJson) as error:
        raise DataError(f"'{path}' cannot be read as JSON ({error}); give the paper's label file") from None
    if not isinstance(items, list) or not all(
        isinstance(i, dict) and {"id", "human_a", "contexts"} <= set(i) for i in items
    ):
        raise DataError(f"'{path.name}' is not a list of labelled latents with id, contexts and human_a")
    try:
        return [_paper_item(i) for i in items]
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise DataError(
            f"'{path.name}' holds a latent that is not as the paper's ({type(error).__name__}: {error}); give its label file"
        ) from None


def paper_ratings(items: Sequence[PaperItem]) -> dict[str, dict[tuple[int | str, str], int]]:
    """Cells per rater for ``agreement``."""
    out: dict[str, dict[tuple[int | str, str], int]] = {}
    for item in items:
        for rater, ratings in item.ratings.items():
            out.setdefault(rater, {}).update({(item.id, c): r for c, r in ratings.items()})
    return out


_EXAMPLE = re.compile(r"\n*Example \d+: ")
_TOKEN_END = re.compile(r">>\((-?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+))\)")


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
    start = text.find("<<")
    for match in _TOKEN_END.finditer(text):  # from the ends, so that time grows with the length alone
        if start < 0:
            break
        if start + 2 > match.start():
            continue
        tokens += [text[end:start], text[start + 2 : match.start()]]
        activations += [0.0, float(match[1])]
        end = match.end()
        start = text.find("<<", end)
    tokens.append(text[end:])
    activations.append(0.0)
    return EvidenceContext(tuple(tokens), tuple(activations), "", "", "general", "", "top", 1.0)
