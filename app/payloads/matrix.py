"""The values that the TPP page's live part draws (components/tpp), as plain JSON."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from app.jobs import live_model
from app.services import scoring, verdicts
from app.services.loading import Loaded
from app.services.shared import shared
from saeeval_core.recordings.recording import LatentRecording
from saeeval_core.scores.tpp import TppLatents, TppScore
from saeeval_core.scores.tpp_cells import CellLatent, Flip, cell_latents, flipped_texts, relative_matrix
from saeeval_core.scores.uncertainty import LEVEL, Estimate, difference, say, separable
from saeeval_core.texts.parts import DEV

NS = (0, 1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40, 50, 65, 80, 100, 150, 200)
"""Steps of the slider; 0 leaves only what a person adds."""
LISTED = 60
"""Most latents of a row listed with their contributions."""
CANDIDATES = 12
"""Latents listed beyond those ablated, to be added."""
FLIPS = 12

Sets = tuple[tuple[int, ...], ...]


@shared(max_entries=512)
def scored(loaded: Loaded, part: int, sets: Sets, ablation: str) -> TppScore:
    """The matrix of these latents per class under one of ``ABLATIONS``."""
    return _view(loaded, part, ablation).score(sets)


def _view(loaded: Loaded, part: int, ablation: str) -> TppLatents:
    view = scoring.tpp_view(loaded, part)
    return view.mean_ablated if ablation == "mean" else view


def score_cards(score: TppScore, part: int, before: TppScore | None) -> list[dict[str, str]]:
    """Headline numbers with intervals, and the change from what was shown before."""
    name = "dev" if part == DEV else "test"
    cards = [
        _card(f"TPP score ({name})", score.score, "mean of the diagonal minus mean of the rest"),
        _card("Diagonal: intended", score.intended, "mean loss of the probe whose own class's latents are ablated"),
        _card("Off the diagonal: unintended", score.unintended, "mean loss of the other probes"),
    ]
    if before is not None and before is not score:
        change = difference(score, before)
        words = "" if change.value is None or separable(change) else " not separable"
        how = "score now minus the score shown before, paired over the same resampled texts"
        cards.append(_card("Change", change, how, signed=True, more=words))
    return cards


def payload(
    loaded: Loaded,
    *,
    part: int,
    n: int,
    sets: Sets,
    decisions: Sequence[dict[int, str]],
    cell: tuple[int, int] | None,
    relative: bool,
    ablation: str,
    read: bool = False,
) -> dict[str, Any]:
    """What the component draws, apart from the session's own bookkeeping. ``read``: the language model may be used."""
    view = scoring.tpp_view(loaded, part)
    score, board = scored(loaded, part, sets, ablation), view.board
    shown = relative_matrix(board, score) if relative else score.matrix
    name = "dev" if part == DEV else "test"
    return {
        "classes": list(board.task.classes),
        "ns": [k for k in NS if k <= loaded.latents.n_latents],
        "n": n,
        "relative": relative,
        "ablation": ablation,
        "title": f"Ablating the latents of one class, reading every probe ({name} texts)",
        "level": f"resampled {name} texts",
        "matrix": [[_json(e) for e in row] for row in shown],
        "limit": max([0.05, *(abs(e.value) for row in shown for e in row if e.value is not None)]),
        "clean": [_json(e) for e in board.clean],
        "counts": [_count(len(ids), own) for ids, own in zip(sets, decisions, strict=True)],
        "countHow": "latents really ablated for this class (fewer than N when fewer argue for it), with your changes",
        "cell": list(cell) if cell else None,
        "detail": _detail(loaded, part, n, sets, decisions, cell, ablation, read) if cell else None,
    }


def _detail(
    loaded: Loaded,
    part: int,
    n: int,
    sets: Sets,
    decisions: Sequence[dict[int, str]],
    cell: tuple[int, int],
    ablation: str,
    read: bool,
) -> dict[str, Any]:
    view, (i, j) = scoring.tpp_view(loaded, part), cell
    classes, ids, own = view.board.task.classes, sets[i], decisions[i]
    top = {int(k) for k in view.rankings[i][:n]}
    parts = {p.latent: p for p in _contributions(loaded, part, ids[:LISTED], j, ablation)}
    extra = [int(k) for k in view.rankings[i][: n + CANDIDATES] if int(k) not in set(ids)]
    place = {int(k): r for r, k in enumerate(view.rankings[i])}
    spared = [k for k in own if k not in ids and k not in extra]
    listed = sorted((*ids[:LISTED], *extra, *spared), key=lambda k: place.get(k, len(place)))
    names, effects = verdicts.latents_named(loaded), view.effects[:, j]
    flips, total = _flips(loaded, part, ids, j, ablation)
    whole = scored(loaded, part, sets, ablation).matrix[i][j]
    return {
        "title": f"{classes[i]} latents on the {classes[j]} probe",
        "summary": f"{len(ids)} latents ablated; accuracy lost: {say(whole)}",
        "effectHow": "attribution: (mean on the probe's class - mean on the others) times decoder . probe",
        "soloHow": "loss of this probe's balanced accuracy when only this latent is ablated",
        "outHow": "how much less is lost when this latent alone is spared",
        "latents": [
            {
                "id": k,
                "on": k in parts,
                "top": k in top,
                "mark": _mark(own.get(k)),
                "what": names.get(k, ("", ""))[0],
                "effect": float(effects[k]),
                "solo": _json(parts[k].solo) if k in parts else None,
                "out": _json(parts[k].left_out) if k in parts else None,
            }
            for k in listed
        ],
        "more": f"{len(ids) - LISTED} more latents are ablated and not listed" if len(ids) > LISTED else "",
        "flipTitle": f"{total} of {len(view.board.rows)} texts changed sides",
        "flipNote": _flip_note(total, len(flips)),
        "flips": [_flip(loaded, f, view.dots[:, j], classes, read) for f in flips],
        "offer": ""
        if read or not flips
        else "Show every token where they fire (reads these texts with the language model)",
    }


@shared(max_entries=512)
def _contributions(loaded: Loaded, part: int, ids: tuple[int, ...], probe: int, ablation: str) -> list[CellLatent]:
    return cell_latents(_view(loaded, part, ablation), ids, probe)


@shared(max_entries=512)
def _flips(loaded: Loaded, part: int, ids: tuple[int, ...], probe: int, ablation: str) -> tuple[list[Flip], int]:
    return flipped_texts(_view(loaded, part, ablation), ids, probe, at_most=FLIPS)


def _flip(loaded: Loaded, f: Flip, dots: Any, classes: Sequence[str], read: bool) -> dict[str, Any]:
    ids = [k for k, _ in f.latents]
    if read:
        every = live_model.row_activations(loaded, f.row)[:, ids] @ dots[ids]
        values = {t: float(v) for t, v in enumerate(every) if v}
    else:
        values = token_values(loaded.latents, f.row, ids, dots)
    spans, text = loaded.residuals.token_spans(f.row), loaded.task_set.texts.texts[f.row]
    tokens = [[text[a:b], values.get(t, 0.0) / max(len(spans), 1)] for t, (a, b) in enumerate(spans)]
    rest = text[spans[-1][1] :] if spans else text
    return {
        "label": classes[f.label],
        "before": f.before,
        "after": f.after,
        "wrong": f.now_wrong,
        "tokens": [*tokens, [rest, 0.0]] if rest else tokens,
        "peak": max((abs(v) for _, v in tokens), default=0.0),
        "took": [[k, v] for k, v in f.latents[:6]],
        "note": "" if values else "no context of these latents is stored in this text",
    }


def token_values(recording: LatentRecording, row: int, ids: Sequence[int], dots: Any) -> dict[int, float]:
    """Token of one text -> what these latents add to the probe's logit there, times the number of tokens.

    Only tokens inside stored contexts are known; a recording keeps the strongest and a sample, not every token.
    """
    values: dict[int, float] = {}
    stored = recording.contexts
    for k in ids:
        known: dict[int, float] = {}
        first, last = int(stored.indptr[k]), int(stored.indptr[k + 1])
        for place in np.flatnonzero(stored.text[first:last] == row) + first:
            start = int(stored.position[place])
            known |= {start + t: float(a) for t, a in enumerate(stored.activation[place].tolist()) if a}
        for t, a in known.items():
            values[t] = values.get(t, 0.0) + a * float(dots[k])
    return values


def _flip_note(total: int, shown: int) -> str:
    if not total:
        return ""
    first = f"The {shown} with the largest change of logit. " if total > shown else ""
    return (
        first
        + "Coloured: tokens where the ablated latents fire (where contexts are stored). Below: what each took away."
    )


def _mark(decision: str | None) -> str:
    return {"ablate": "added", "keep": "spared", "unsure": "unsure"}.get(decision or "", "")


def _count(n: int, own: dict[int, str]) -> str:
    more, fewer = sum(d == "ablate" for d in own.values()), sum(d == "keep" for d in own.values())
    return f"{n}" + (f" (+{more})" if more else "") + (f" (−{fewer})" if fewer else "")


def _card(label: str, e: Estimate, how: str, *, signed: bool = False, more: str = "") -> dict[str, str]:
    if e.value is None:
        return {"label": label, "value": "n/a", "ci": e.reason or "", "how": how}
    value = f"{e.value:+.3f}" if signed else f"{e.value:.3f}"
    ci = f"[{e.ci[0]:.3f}, {e.ci[1]:.3f}]" if e.ci else "no interval"
    how = f"{how}; 95 % interval over {LEVEL}"
    return {"label": label, "value": value.replace("-", "−"), "ci": ci.replace("-", "−") + more, "how": how}


def _json(e: Estimate) -> dict[str, Any]:
    return {"value": e.value, "ci": list(e.ci) if e.ci else None, "reason": e.reason}
