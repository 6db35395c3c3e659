"""The values that the TPP page's live part draws (components/tpp)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from app.deciding.presses import Made
from app.deciding.tpp_page import TppPage
from app.jobs import live_model
from app.payloads.tpp_cards import LOST, READ_ANEW, NumberCard
from app.services import scoring, verdicts
from app.services.fresh_matrix import StillMatrix
from app.services.loading import Loaded
from app.services.shared import shared
from saeeval_core.recordings.recording import LatentRecording
from saeeval_core.scores.tpp import TppLatents
from saeeval_core.scores.tpp_cells import CellLatent, Flip, cell_latents, chosen_sets, flipped_texts, relative_matrix
from saeeval_core.scores.uncertainty import Estimate, say
from saeeval_core.wording import plural

NS = (0, 1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40, 50, 65, 80, 100, 150, 200)
"""Steps of the slider; 0 leaves only what a person adds."""
COMMON_N = 20
"""The slider's first place; with its last step it sets the colours that stay over N."""
LISTED = 60
"""Most latents of a row listed with their contributions."""
CANDIDATES = 12
"""Latents listed beyond those ablated, to be added."""
FLIPS = 12


@dataclass(frozen=True)
class CellRow:
    """One latent seen by the probe of the cell."""

    id: int
    on: bool
    """Ablated."""
    top: bool
    """Among the first N of the ranking."""
    mark: str
    what: str
    effect: float
    solo: Estimate | None
    """None for latents that are not ablated, as ``out``."""
    out: Estimate | None


@dataclass(frozen=True)
class FlippedText:
    """One text that changed sides."""

    label: str
    before: float
    after: float
    wrong: bool
    tokens: tuple[tuple[str, float], ...]
    """(token, what the ablated latents add to the logit there)"""
    peak: float
    took: tuple[tuple[int, float], ...]
    """(latent, what it took from the logit), largest first."""
    note: str


@dataclass(frozen=True)
class Detail:
    """What lies behind one cell."""

    title: str
    summary: str
    anew: str
    """What a fresh probe lost; "" where the matrix shows old probes."""
    effect_how: str
    solo_how: str
    out_how: str
    latents: tuple[CellRow, ...]
    more: str
    flip_title: str
    flip_note: str
    flips: tuple[FlippedText, ...]
    offer: str
    """Label of the button that reads the texts again; "" for none."""


@dataclass(frozen=True)
class Matrix:
    """The matrix with its slider."""

    classes: tuple[str, ...]
    ns: tuple[int, ...]
    n: int
    relative: bool
    fresh: bool
    """Fresh probes are wanted; old ones are shown until they are read."""
    reading: bool
    """Fresh probes are being read; ask again."""
    note: str
    """Why old probes are shown where fresh ones are wanted."""
    ablation: str
    title: str
    level: str
    unit: str
    """What a cell says, in words."""
    matrix: tuple[tuple[Estimate, ...], ...]
    """[ablated class][probe]"""
    limit: float
    """Largest magnitude in this matrix."""
    fixed_limit: float
    """Value drawn in full colour whatever N: the largest at COMMON_N and at the slider's end; of fresh probes all there is."""
    clean: tuple[Estimate, ...]
    counts: tuple[str, ...]
    count_how: str
    cell: tuple[int, int] | None
    detail: Detail | None
    unexplained: bool
    """The cell is explained once the slider rests; ask again."""


@dataclass(frozen=True)
class Around:
    """What the page shows around the matrix, and the session's part of the press protocol."""

    cards: tuple[NumberCard, ...]
    set_note: str
    made: Made
    ack: Mapping[str, int]
    refused: Sequence[tuple[str, int, str]]
    heard: Mapping[str, int]
    """Client -> number of its last message."""
    present: bool
    readonly: bool
    """The set on screen takes no decisions."""


def steps(loaded: Loaded) -> tuple[int, ...]:
    """Steps of the slider that this SAE has latents for."""
    return tuple(k for k in NS if k <= loaded.latents.n_latents)


def nearest_step(loaded: Loaded, wanted: int) -> int:
    """The step of the slider nearest to what a link says."""
    return min(steps(loaded), key=lambda k: (abs(k - wanted), k))


def matrix(
    page: TppPage,
    cell: tuple[int, int] | None,
    still: StillMatrix | None = None,
    *,
    relative: bool,
    fresh: bool = False,
    read: bool = False,
    explain: bool = True,
) -> Matrix:
    """What the component draws, apart from what is around it.

    ``cell``: the (ablated class, probe) that is explained. ``still``: what ``tpp_cards.read_anew`` says. ``relative``:
    cells as shares of the accuracy above chance. ``fresh``: cells of fresh probes, as soon as they are read. ``read``:
    the language model may be used to read the texts of the cell. ``explain``: what lies behind the cell is wanted now.
    """
    board, score, name = page.view.board, page.score, page.part_name
    anew = still if fresh and still is not None and still.score is not None else None
    cells = relative_matrix(board, score) if relative else score.matrix
    unit = LOST if relative else "loss of balanced accuracy"
    if anew is not None and anew.score is not None:
        cells, unit = anew.score.matrix, f"{LOST}: {READ_ANEW.format(anew.reader)}"
    return Matrix(
        classes=tuple(board.task.classes),
        ns=steps(page.loaded),
        n=page.n,
        relative=relative,
        fresh=fresh,
        reading=still is None,
        note=_note(still) if fresh else "",
        ablation=page.ablation,
        title=f"Ablating the latents of one class, reading every {'fresh ' if anew else ''}probe ({name} texts)",
        level=f"resampled {name} texts",
        unit=unit,
        matrix=tuple(map(tuple, cells)),
        limit=_largest(cells),
        fixed_limit=1.0 if anew is not None else _fixed_limit(page.loaded, page.part, page.ablation, relative),
        clean=tuple(board.clean) if anew is None else anew.clean,
        counts=tuple(_count(len(ids), own) for ids, own in zip(page.ids, page.sets.decisions, strict=True)),
        count_how="latents really ablated for this class (fewer than N when fewer argue for it), with your changes",
        cell=cell,
        detail=_detail(page, cell, anew, read) if cell and explain else None,
        unexplained=cell is not None and not explain,
    )


def telling_cell(page: TppPage) -> tuple[int, int] | None:
    """The cell with the most to say: the largest loss that is surely one, of another class's probe if there is any.

    A probe of another class that loses accuracy is what TPP is about; where none does, the class hurt most is shown.
    None where nothing is defined.
    """
    cells = [(i, j, e) for i, row in enumerate(page.score.matrix) for j, e in enumerate(row) if e.value is not None]
    hurt = [c for c in cells if c[0] != c[1] and c[2].ci is not None and c[2].ci[0] > 0]
    i, j, _ = max(hurt or cells, key=lambda c: c[2].value, default=(None, None, None))
    return None if i is None else (i, j)


def _largest(cells: Sequence[Sequence[Estimate]]) -> float:
    """At least .05, so that noise does not fill the scale."""
    return max([0.05, *(abs(e.value) for row in cells for e in row if e.value is not None)])


@shared(max_entries=64)
def _fixed_limit(loaded: Loaded, part: int, ablation: str, relative: bool) -> float:
    view = scoring.tpp_view(loaded, part)
    return max(_largest_at(loaded, view, part, n, ablation, relative) for n in (COMMON_N, steps(loaded)[-1]))


def _largest_at(loaded: Loaded, view: TppLatents, part: int, n: int, ablation: str, relative: bool) -> float:
    sets = tuple(chosen_sets(view.rankings, n, [{}] * len(view.rankings)))
    score = scoring.tpp_set_score(loaded, part, sets, ablation)
    return _largest(relative_matrix(view.board, score) if relative else score.matrix)


def _note(still: StillMatrix | None) -> str:
    if still is None:
        return "Old probes are shown while fresh ones are being read."
    return f"Old probes are shown; fresh ones cannot be read: {still.problem}." if still.problem else ""


def _detail(page: TppPage, cell: tuple[int, int], anew: StillMatrix | None, read: bool) -> Detail:
    loaded, view, (i, j) = page.loaded, page.view, cell
    classes, ids = view.board.task.classes, page.ids[i]
    flips, total = _flips(loaded, page.part, ids, j, page.ablation)
    whole = page.score.matrix[i][j]
    offer = "Show every token where they fire (reads these texts with the language model)"
    return Detail(
        title=f"{classes[i]} latents on the {classes[j]} probe",
        summary=f"{plural(len(ids), 'latent')} ablated; accuracy lost: {say(whole)}",
        anew=_anew_words(anew, classes[j], cell),
        effect_how="attribution: (mean on the probe's class - mean on the others) times decoder . probe",
        solo_how="loss of this probe's balanced accuracy when only this latent is ablated",
        out_how="how much less is lost when this latent alone is kept",
        latents=_cell_rows(page, i, j),
        more=f"{len(ids) - LISTED} more latents are ablated and not listed" if len(ids) > LISTED else "",
        flip_title=f"{total} of {plural(len(view.board.rows), 'text')} changed prediction",
        flip_note=_flip_note(total, len(flips)),
        flips=tuple(_flip(loaded, f, view.dots[:, j], classes, read) for f in flips),
        offer="" if read or not flips else offer,
    )


def _anew_words(anew: StillMatrix | None, probe: str, cell: tuple[int, int]) -> str:
    if anew is None or anew.score is None:
        return ""
    lost = say(anew.score.matrix[cell[0]][cell[1]])
    return (
        f"A fresh {probe} probe lost {lost} of what it reads of clean texts. All that follows is about the old probe."
    )


def _cell_rows(page: TppPage, i: int, j: int) -> tuple[CellRow, ...]:
    """Latents ablated for class i, those that come next, and those kept, in the order of the ranking."""
    view, ids, own = page.view, page.ids[i], page.sets.decisions[i]
    ranking = [int(k) for k in view.rankings[i]]
    top, place = set(ranking[: page.n]), {k: r for r, k in enumerate(ranking)}
    parts = {p.latent: p for p in _contributions(page.loaded, page.part, ids[:LISTED], j, page.ablation)}
    ablated = set(ids)
    extra = [k for k in ranking[: page.n + CANDIDATES] if k not in ablated]
    kept = [k for k in own if k not in ablated and k not in extra]
    listed = sorted((*ids[:LISTED], *extra, *kept), key=lambda k: place.get(k, len(place)))
    names, effects = verdicts.latents_named(page.loaded), view.effects[:, j]
    return tuple(
        CellRow(
            k,
            k in parts,
            k in top,
            _mark(own.get(k)),
            names.get(k, ("", ""))[0],
            float(effects[k]),
            parts[k].solo if k in parts else None,
            parts[k].left_out if k in parts else None,
        )
        for k in listed
    )


@shared(max_entries=512)
def _contributions(loaded: Loaded, part: int, ids: tuple[int, ...], probe: int, ablation: str) -> list[CellLatent]:
    return cell_latents(scoring.tpp_ablating(loaded, part, ablation), ids, probe)


@shared(max_entries=512)
def _flips(loaded: Loaded, part: int, ids: tuple[int, ...], probe: int, ablation: str) -> tuple[list[Flip], int]:
    return flipped_texts(scoring.tpp_ablating(loaded, part, ablation), ids, probe, at_most=FLIPS)


def _flip(loaded: Loaded, f: Flip, dots: np.ndarray, classes: Sequence[str], read: bool) -> FlippedText:
    ids = [k for k, _ in f.latents]
    if read:
        every = live_model.row_activations(loaded, f.row)[:, ids] @ dots[ids]
        values = {t: float(v) for t, v in enumerate(every) if v}
    else:
        values = token_values(loaded.latents, f.row, ids, dots)
    spans, text = loaded.residuals.token_spans(f.row), loaded.task_set.texts.texts[f.row]
    tokens = [(text[a:b], values.get(t, 0.0) / max(len(spans), 1)) for t, (a, b) in enumerate(spans)]
    peak = max((abs(v) for _, v in tokens), default=0.0)
    if rest := text[spans[-1][1] :] if spans else text:
        tokens.append((rest, 0.0))
    note = "" if values else "no context of these latents is stored in this text"
    label = classes[f.label]
    return FlippedText(label, f.before, f.after, f.now_wrong, tuple(tokens), peak, f.latents[:6], note)


def token_values(recording: LatentRecording, row: int, ids: Sequence[int], dots: np.ndarray) -> dict[int, float]:
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
    return {"ablate": "added", "keep": "kept", "unsure": "unsure"}.get(decision or "", "")


def _count(n: int, own: Mapping[int, str]) -> str:
    more, fewer = sum(d == "ablate" for d in own.values()), sum(d == "keep" for d in own.values())
    return f"{n}" + (f" (+{more})" if more else "") + (f" (−{fewer})" if fewer else "")
