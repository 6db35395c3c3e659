"""The evidence card of one latent as plain JSON values; the browser draws it (widgets/lab/card.js)."""

from typing import Any

from app.services import verdicts
from app.services.evidence import evidence_of, tokens_of
from app.services.loading import Loaded
from app.services.shared import shared
from saeeval_core.evidence.evidence import EvidenceContext
from saeeval_core.evidence.tokens import COSINE_EDGES, find_token_table
from saeeval_core.scores.contributions import activation_histogram, quadrant_means
from saeeval_core.scores.shift import ShiftLatents

PER_GROUP = 3
"""Contexts shown per group."""
AROUND = 48
"""Characters of running text shown on each side of a recorded window."""
QUADRANTS = (3, 2, 1, 0)
"""Order in which quadrants are shown: both labels positive first, both negative last."""


def card(loaded: Loaded, latent: int, view: ShiftLatents | None = None) -> dict[str, Any]:
    """Everything shown for a latent that no decision changes. Without a view: no effects, contexts grouped as recorded."""
    return _card(loaded, view, latent, verdicts.newest(loaded))


@shared(max_entries=4096)
def _card(loaded: Loaded, view: ShiftLatents | None, latent: int, _newest_verdict: int) -> dict[str, Any]:
    e = evidence_of(loaded, latent)
    own = [c for c in e.contexts if c.source == loaded.task_set.texts.name]
    general = [c for c in e.contexts if c.source != loaded.task_set.texts.name]
    histogram = activation_histogram(view, latent) if view else []
    names = verdicts.latents_named(loaded)
    named = names.get(latent, ("", ""))
    return {
        "id": latent,
        "what": named[0] or tokens_of(loaded, latent),
        "by": named[1] or "no explanation yet: the tokens it is strongest on",
        "attribute": float(view.attribute_effect[latent]) if view else None,
        "base": float(view.base_effect[latent]) if view else None,
        "density": e.density or 0.0,
        "promoted": [[t.token, t.cosine] for t in e.promoted],
        "suppressed": [[t.token, t.cosine] for t in e.suppressed],
        "noTokens": ""
        if e.promoted
        else "Promoted tokens are not stored for this SAE; run: saeeval build-bundle tokens",
        "quadrants": _quadrants(loaded, view, latent, own),
        "max": _peak(own),
        "general": _general(general),
        "noGeneral": "" if general else _why_no_general(loaded),
        "names": [view.board.task.quadrant_name(q) for q in QUADRANTS] if view else [],
        "hist": _histogram(histogram),
        "logits": _vocabulary(loaded, latent),
        "neighbours": [[n.latent, n.cosine, names.get(n.latent, ("",))[0]] for n in e.neighbours[:6]],
        "together": [[n.latent, n.cosine, names.get(n.latent, ("",))[0]] for n in e.coactive[:6]],
        "verdicts": [
            [
                f"{v.rater} ({v.rater_kind})",
                ", ".join(f"{k} {n}" for k, n in v.ratings.items()) or f"no verdict: {v.status}",
                v.reason[:400],
            ]
            for v in verdicts.current(loaded)
            if v.latent == latent
        ],
    }


def _quadrants(
    loaded: Loaded, view: ShiftLatents | None, latent: int, own: list[EvidenceContext]
) -> list[dict[str, Any]]:
    """One group per quadrant of the pair (where both labels are positive first), then what belongs to none of them."""
    if view is None:
        groups: dict[str, list[EvidenceContext]] = {}
        for c in own:
            groups.setdefault(c.cell or loaded.task_set.texts.name, []).append(c)
        return [_group(name, "", found) for name, found in groups.items()]
    task = view.board.task
    quadrant = dict(zip(task.rows.tolist(), task.quadrant.tolist(), strict=True))
    means = quadrant_means(view, latent)
    out = []
    for q in QUADRANTS:
        mean, share = means[q]
        found = [c for c in own if quadrant.get(c.text_row) == q]
        out.append(_group(task.quadrant_name(q), f"fires on {share:.0%} of its scored texts, mean {mean:.3f}", found))
    rest = [c for c in own if c.text_row not in quadrant]
    return [*out, _group("other texts of the task", "labels outside this pair", rest)] if rest else out


def _general(contexts: list[EvidenceContext]) -> dict[str, Any] | None:
    if not contexts:
        return None
    top = [c for c in contexts if c.kind == "top"]
    lower = sorted((c for c in contexts if c.kind != "top"), key=lambda c: -c.share)
    groups = [_group("strongest", "", top)]
    if lower:
        span = f"{lower[-1].interval.split('-')[0]}-{lower[0].interval.split('-')[1]} of the strongest"
        groups.append(_group("lower activation intervals", span, lower[:: max(1, len(lower) // PER_GROUP)]))
    return {"title": "In general text (news articles)", "groups": groups, "max": _peak(contexts)}


def _group(title: str, note: str, contexts: list[EvidenceContext]) -> dict[str, Any]:
    """The strongest contexts of one group; each text once."""
    seen: set[int] = set()
    rows = []
    for c in sorted(contexts, key=lambda c: -abs(c.peak)):
        if c.text_row not in seen and len(rows) < PER_GROUP:
            seen.add(c.text_row)
            rows.append(_row(c))
    return {"title": title, "note": note, "rows": rows}


def _row(c: EvidenceContext) -> dict[str, Any]:
    """Tokens and activations, with a little running text on both sides; index of the strongest token."""
    strongest = max(range(len(c.activations)), key=lambda i: abs(c.activations[i]), default=0)
    before, after = c.before[-AROUND:], c.after[:AROUND]
    where = f"{c.cell or c.source}, text {c.text_row}, {c.kind}, strongest {c.peak:.3f}"
    return {"t": [before, *c.tokens, after], "a": [0, *c.activations, 0], "peak": strongest + 1, "where": where}


def _peak(contexts: list[EvidenceContext]) -> float:
    return max((abs(c.peak) for c in contexts), default=1.0) or 1.0


def _histogram(bins: list[tuple[float, list[int]]]) -> dict[str, Any] | None:
    if not bins:
        return None
    return {"edges": [e for e, _ in bins], "counts": [[c[q] for q in QUADRANTS] for _, c in bins]}


def _vocabulary(loaded: Loaded, latent: int) -> dict[str, Any] | None:
    table = find_token_table(loaded.latents.sae, loaded.latents.sae_fingerprint)
    if table is None:
        return None
    return {"edges": COSINE_EDGES[:-1].round(3).tolist(), "counts": [[int(n)] for n in table.histogram[latent]]}


def _why_no_general(loaded: Loaded) -> str:
    return f"No general text has been recorded for {loaded.latents.sae}; run: saeeval build-bundle recordings"
