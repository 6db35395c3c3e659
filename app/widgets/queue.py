"""Rows of the queue: candidate latents in the order of their effect, with everything they are filtered and sorted by."""

from collections.abc import Iterable

from app import services
from app.services import Loaded
from saeeval_core.config import fingerprint
from saeeval_core.shift import ShiftLatents

SHOWN = 100
"""Candidates listed; latents decided on are always among them."""

Row = tuple[int, int, str, float, float, int | None, str]
"""id, rank, explanation, effect, density, highest rating, ratings as text"""


def queue_rows(loaded: Loaded, view: ShiftLatents, rank: str, decided: Iterable[int], shown: int = SHOWN) -> list[Row]:
    """The first ``shown`` latents of the ranking and, after them, decided latents from further down."""
    order = services.ranking(view, rank)
    effect = view.base_effect if rank == "base" else view.attribute_effect
    place = _places(view, rank)
    top = [int(i) for i in order[:shown]]
    more = sorted(set(decided) - set(top), key=lambda i: place.get(i, len(place)))
    names, ratings = services.latents_named(loaded), _ratings(loaded)
    rows = []
    for i in [*top, *more]:
        rating, text = ratings.get(i, (None, ""))
        what = names[i][0] if i in names else _promotes(loaded, i)
        rank_, density = place.get(i, len(order)) + 1, float(loaded.latents.density[i])
        rows.append((i, rank_, what, float(effect[i]), density, rating, text))
    return rows


def queue_hash(rows: list[Row]) -> str:
    """Changes when the browser must get the rows again."""
    return fingerprint(rows)


@services.shared(max_entries=4096)
def _promotes(loaded: Loaded, latent: int) -> str:
    tokens = services.tokens_of(loaded, latent)
    return f"+ {tokens}" if tokens else ""


@services.shared(max_entries=64)
def _places(view: ShiftLatents, rank: str) -> dict[int, int]:
    return {int(i): k for k, i in enumerate(services.ranking(view, rank))}


def _ratings(loaded: Loaded) -> dict[int, tuple[int | None, str]]:
    """latent -> (highest rating, "gender 4"); a failed verdict is "no verdict", never 0."""
    out: dict[int, tuple[int | None, str]] = {}
    for v in services.verdicts(loaded):
        if v.rater_kind == "human":
            continue
        if not v.ok:
            out.setdefault(v.latent, (None, "no verdict"))
        elif v.ratings:
            concept, value = max(v.ratings.items(), key=lambda p: p[1])
            if out.get(v.latent, (None, ""))[0] is None or value > int(out[v.latent][0] or 0):
                out[v.latent] = (value, f"{concept} {value}/4" if value else "0/4")
    return out
