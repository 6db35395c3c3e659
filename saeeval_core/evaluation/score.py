"""From boards to a result: what a selector chooses at every N, scored in both directions and for every class."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from saeeval_core.config import RunConfig, headline_n
from saeeval_core.errors import ConfigError
from saeeval_core.evaluation.boards import Direction, Evaluation
from saeeval_core.evaluation.erased import erasure_of_set, fresh_probes, over_directions, shift_readable, tpp_erased
from saeeval_core.evaluation.prepare import Prepared, prepare
from saeeval_core.evaluation.result import (
    DirectionProbes,
    DirectionResult,
    Erasure,
    ModelAbout,
    PairMean,
    RunResult,
    SaeResult,
    ShiftAtN,
    ShiftCell,
    ShiftResult,
    TaskAbout,
    TppAtN,
    TppCell,
    TppProbe,
    TppResult,
)
from saeeval_core.evaluation.select import Selector, TopByAttribution
from saeeval_core.evaluation.variants import Variants, direction_variants, tpp_variants, variants_over_pairs, with_grid
from saeeval_core.recordings.recording import LatentRecording
from saeeval_core.scores.area import DEFINITION
from saeeval_core.scores.erasure import Readable
from saeeval_core.scores.probes import Probe
from saeeval_core.scores.selections import Selected
from saeeval_core.scores.shift import ShiftLatents, ShiftScore
from saeeval_core.scores.tpp import TppScore
from saeeval_core.scores.uncertainty import LEVEL, OverPairs, undefined
from saeeval_core.texts.parts import PART_NAMES, TEST
from saeeval_core.versions import versions

if TYPE_CHECKING:
    from saeeval_core.recordings.recorder import Progress


def run(
    config: RunConfig,
    *,
    select: Selector | None = None,
    shipped: bool = True,
    on_progress: "Callable[[Progress], None] | None" = None,
) -> RunResult:
    """``prepare``, then ``score``. Raises what they raise."""
    return score(prepare(config, shipped=shipped, on_progress=on_progress), select)


def score(prepared: Prepared, select: Selector | None = None) -> RunResult:
    """Every SAE of the run under one selection. ConfigError for an N that an SAE does not have."""
    select = select or TopByAttribution()
    config, evaluation, residuals = prepared.config, prepared.evaluation, prepared.residuals
    texts = prepared.task_set.texts
    for latents in prepared.saes:
        if max(config.ns) > latents.n_latents:
            raise ConfigError(
                f"N = {max(config.ns)} but SAE '{latents.sae}' has {latents.n_latents} latents; lower --n"
            )
    return RunResult(
        config,
        ModelAbout(config.model, config.dtype, residuals.key.hook, residuals.note, residuals.bos_id),
        TaskAbout(
            texts.name,
            texts.source,
            texts.composed,
            len(texts.texts),
            texts.fingerprint,
            dict(texts.dropped),
            prepared.task_set.small,
            LEVEL,
            list(texts.notes),
            texts.title,
        ),
        tuple(map(direction_probes, evaluation.directions)),
        tuple(_sae(evaluation, latents, config.ns, select) for latents in prepared.saes),
        versions(residuals.kernel),
    )


def direction_probes(direction: Direction) -> DirectionProbes:
    """How the probes of one direction were trained, and their accuracies before ablation."""
    boards = {PART_NAMES[part]: board for part, board in direction.boards.items()}
    probes = next(iter(boards.values())).probes
    return DirectionProbes(
        direction.name,
        probes.training.n,
        probes.base.n_texts,
        {"base": probes.base.c, "oracle": probes.oracle.c, "attribute": probes.attribute.c},
        {name: b.base for name, b in boards.items()},
        {name: b.oracle for name, b in boards.items()},
        {name: b.attribute for name, b in boards.items()},
        {name: b.reason for name, b in boards.items()},
    )


def _sae(evaluation: Evaluation, latents: LatentRecording, ns: Sequence[int], select: Selector) -> SaeResult:
    return SaeResult(
        latents.sae,
        {name: value for name, value in (latents.about or {}).items() if name != "notes"},
        str(select),
        dict(latents.unsupervised),
        _shift(evaluation, latents, ns, select) if evaluation.directions else None,
        _tpp(evaluation, latents, ns, select) if evaluation.scores_tpp else None,
        notes=latents.notes,
    )


def _shift(evaluation: Evaluation, latents: LatentRecording, ns: Sequence[int], select: Selector) -> ShiftResult:
    every, strict = with_grid(ns), evaluation.protocol.strict_gap
    by_part: dict[int, list[Variants[ShiftScore]]] = {part: [] for part in evaluation.parts}
    readable: dict[int, list[dict[int, tuple[Readable, float]]]] = {part: [] for part in evaluation.parts}
    directions = []
    for d in evaluation.directions:
        views = {part: evaluation.shift_view(latents, d, part) for part in evaluation.parts}
        chosen = select.shift(views[TEST], every)  # rankings come from training texts, the same for every part
        own = {part: direction_variants(view, chosen) for part, view in views.items()}
        for part, variants in own.items():
            by_part[part].append(variants)
        shown = [c for c in chosen if c.n in ns]
        for part, found in readable.items():
            found.append(shift_readable(evaluation, latents, d, part, shown))
        fresh = {part: found[-1] for part, found in readable.items()}
        directions.append(_direction(d, views, own, fresh, shown, strict))
    means = {PART_NAMES[p]: variants_over_pairs(evaluation.directions, v) for p, v in by_part.items()}
    return ShiftResult(
        tuple(directions),
        {n: {name: _pair_mean(v.zero.at(n)) for name, v in means.items()} for n in ns},
        {name: _pair_mean(v.mean.area) for name, v in means.items()},
        DEFINITION,
        erasure=_by_n({PART_NAMES[p]: over_directions(evaluation.directions, v) for p, v in readable.items()}),
    )


def _by_n(parts: Mapping[str, Mapping[int, Erasure]]) -> dict[int, dict[str, Erasure]]:
    ns = next(iter(parts.values()), {})
    return {n: {name: own[n] for name, own in parts.items()} for n in ns}


def _direction(
    d: Direction,
    views: Mapping[int, ShiftLatents],
    variants: Mapping[int, Variants[ShiftScore]],
    fresh: Mapping[int, Mapping[int, tuple[Readable, float]]],
    chosen: Sequence[Selected],
    strict: bool,
) -> DirectionResult:
    def at(c: Selected) -> ShiftAtN:
        cells = {
            PART_NAMES[p]: replace(
                _shift_cell(view, variants[p], c, strict),
                erasure=erasure_of_set(*fresh[p][c.n]),
                fresh=fresh_probes(fresh[p][c.n][0]),
            )
            for p, view in views.items()
        }
        return ShiftAtN(c.n, c.ids, len(c.ids), c.state, c.not_judged, cells)

    return DirectionResult(
        d.pair,
        d.task.target.column,
        d.task.spurious.column,
        str(d.task.target),
        str(d.task.spurious),
        tuple(at(c) for c in chosen),
        {PART_NAMES[p]: v.mean.area.score for p, v in variants.items() if v.mean.area is not None},
        direction_probes(d),
    )


def _shift_cell(view: ShiftLatents, variants: Variants[ShiftScore], chosen: Selected, strict: bool) -> ShiftCell:
    s = variants.zero.at(chosen.n)
    auc = view.board.auc_score(view.removed(chosen.ids)).score if chosen.ids else undefined(chosen.state)
    imitated = None if strict else s.score.value if s.score.value is not None else 0
    return ShiftCell(
        s.score,
        s.accuracy,
        s.worst_group,
        s.worst_group_name,
        s.leakage,
        variants.mean.at(chosen.n).score,
        auc,
        imitated,
    )


def _pair_mean(mean: OverPairs | None) -> PairMean:
    assert isinstance(mean, OverPairs)
    return PairMean(mean.score, mean.pairs, mean.left_out)


def _tpp(evaluation: Evaluation, latents: LatentRecording, ns: Sequence[int], select: Selector) -> TppResult:
    if not evaluation.tpp_is_live:
        return _redrawn_tpp(evaluation, latents, ns, select)
    boards = evaluation.tpp_boards
    views = {part: evaluation.tpp_view(latents, part) for part in boards}
    chosen = select.tpp(views[TEST], with_grid(ns))
    variants = {part: tpp_variants(view, chosen) for part, view in views.items()}
    sets = {own[0].n: own for own in zip(*chosen, strict=True)}

    def at(n: int) -> TppAtN:
        own = sets[n]
        cells = {PART_NAMES[p]: _tpp_cell(v.zero.at(n), v.mean.at(n)) for p, v in variants.items()}
        if n == headline_n(ns):
            cells = {
                PART_NAMES[p]: _with_fresh(cells[PART_NAMES[p]], tpp_erased(evaluation, latents, p, own)) for p in views
            }
        ids = tuple(c.ids for c in own)
        return TppAtN(n, tuple(map(len, ids)), cells, ids, tuple(c.state for c in own))

    return TppResult(
        evaluation.tpp_task.classes,
        {PART_NAMES[p]: b.clean for p, b in boards.items()},
        tuple(map(_tpp_probe, boards[TEST].probes)),
        tuple(at(n) for n in ns),
        {PART_NAMES[p]: v.mean.area.score for p, v in variants.items() if v.mean.area is not None},
        DEFINITION,
    )


def _redrawn_tpp(evaluation: Evaluation, latents: LatentRecording, ns: Sequence[int], select: Selector) -> TppResult:
    """TPP under a protocol that redraws negatives, which scores its own ranking only."""
    protocol = evaluation.protocol
    if str(select) != "attribution":
        raise ConfigError(
            f"protocol '{protocol.name}' scores TPP for its own ranking only, not for '{select}'; "
            "use --protocol robust, or --metrics shift"
        )
    found = evaluation.redrawn_tpp(latents, ns)
    cells = [TppAtN(n, s.n_ablated, {"test": _tpp_cell(s)}) for n, s in zip(ns, found.scores, strict=True)]
    probes = tuple(map(_tpp_probe, found.probes))
    return TppResult(evaluation.tpp_task.classes, {"test": found.clean}, probes, tuple(cells))


def _tpp_cell(zero: TppScore, mean: TppScore | None = None) -> TppCell:
    return TppCell(zero.matrix, zero.score, zero.intended, zero.unintended, None if mean is None else _tpp_cell(mean))


def _with_fresh(cell: TppCell, found: tuple[TppScore, Erasure]) -> TppCell:
    return replace(cell, fresh=_tpp_cell(found[0]), erasure=found[1])


def _tpp_probe(probe: Probe) -> TppProbe:
    return TppProbe(probe.n_texts, probe.c, probe.epoch)
