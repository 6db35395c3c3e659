"""Add to a run's result its controls and, on request, intervals that also vary the training texts.

Both are computed from the recordings and boards of the run.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

from saeeval_core.config import RunConfig, erasure_n, get_protocol, headline_n
from saeeval_core.controls.about import TRAINED_NULL
from saeeval_core.controls.controls import control, rival_words, warnings_of
from saeeval_core.controls.deletion import word_deletions
from saeeval_core.controls.every_n import recorded, reference, sae_controls, task_controls
from saeeval_core.controls.own_controls import own_controls
from saeeval_core.controls.refits import REFITS, RefitScore, shift_refits, tpp_refits
from saeeval_core.controls.refits import check as refits_check
from saeeval_core.controls.rival_results import (
    Places,
    base_samples,
    kept_rivals,
    own_scores,
    paired,
    rivals_of,
    scored_as,
)
from saeeval_core.errors import ConfigError
from saeeval_core.evaluation.prepare import Prepared
from saeeval_core.evaluation.result import (
    AreaDifference,
    Control,
    DeletedWords,
    Placed,
    RefitResult,
    RunResult,
    SaeResult,
)
from saeeval_core.evaluation.result_json import placed_json, placed_of
from saeeval_core.evaluation.select import Selector, TopByAttribution
from saeeval_core.evaluation.variants import direction_variants, tpp_variants, with_grid
from saeeval_core.recordings.general_text import general_text
from saeeval_core.recordings.recording import LatentRecording
from saeeval_core.scores.area import RECOMMENDED, TOP_N
from saeeval_core.scores.erasure import ERASURE
from saeeval_core.scores.shift import ShiftLatents
from saeeval_core.scores.tpp import TppLatents
from saeeval_core.scores.uncertainty import LEVEL_WITH_TRAINING, Estimate, Scored, difference
from saeeval_core.storage.kept import KeptJson, Shelves
from saeeval_core.texts.parts import PART_NAMES, TEST

_VERSION = 2
"""Increased when controls stored earlier must no longer be used."""


def controls_of(prepared: Prepared, latents: LatentRecording, *, shipped: bool = True) -> list[Placed]:
    """The controls of one SAE for every metric, variant and N, on test; stored on disk, because they take seconds.

    They are those of ``saeeval sweep``: of the top N by attribution, whatever was selected. TPP has none where the
    protocol redraws negatives.
    """
    found = kept_controls(prepared, latents, shipped=shipped)
    if found is None:
        ns = with_grid(prepared.config.ns)
        made = (*sae_controls(prepared.evaluation, latents, ns), *task_controls(prepared.evaluation, ns))
        found = [placed for scores in made for placed in scores.placed()]
        _kept(shipped).keep(_key(prepared, latents), [placed_json(p) for p in found])
    return found


def kept_controls(prepared: Prepared, latents: LatentRecording, *, shipped: bool = True) -> list[Placed] | None:
    """Stored controls of the same recording, task, protocol, seed and N; None when there are none."""
    try:
        return _kept(shipped).find(_key(prepared, latents), lambda rows: [placed_of(r) for r in rows])
    except LookupError:
        return None


def controls_name(prepared: Prepared, latents: LatentRecording) -> str:
    """Name, without suffix, of the file in the recordings' folder that holds an SAE's controls."""
    return _kept(True).name(_key(prepared, latents))


def with_controls(
    prepared: Prepared, result: RunResult, select: Selector | None = None, *, shipped: bool = True
) -> RunResult:
    """Every SAE of the result with its controls, and a warning for each that a headline score does not exceed.

    A trained null among the SAEs of the run is a control of the others. Controls are of the top N by attribution; a
    judge's or a person's selection gets them without warnings. ``select``: what the result selected, None for attribution.
    """
    bases = base_samples(prepared)
    nulls = {id(r): _null_scores(prepared, r) for r in prepared.saes if is_trained_null(r)}

    def one(sae: SaeResult, latents: LatentRecording) -> SaeResult:
        null = _null_for(latents, prepared.saes)
        own = own_controls(prepared, latents, shipped=shipped)
        every = [*controls_of(prepared, latents, shipped=shipped), *own.placed]
        every += [*nulls[id(null)], *_null_erasure(null, result)] if null is not None else ()
        found = [p for p in every if p.n is None or p.n in prepared.config.ns]
        found = _paired(prepared, sae, latents, found, {**bases, **own.samples}, select)
        lines = tuple(_warnings(sae, found)) if sae.selection == "attribution" else ()
        return replace(sae, controls=(*sae.controls, *found), warnings=lines)

    return result.with_saes([one(s, r) for s, r in zip(result.saes, prepared.saes, strict=True)])


def is_trained_null(latents: LatentRecording) -> bool:
    """The SAE's decoder is random and was frozen in training."""
    return (latents.about or {}).get("frozen_decoder") is True


def _null_for(latents: LatentRecording, saes: Sequence[LatentRecording]) -> LatentRecording | None:
    """The trained null among the SAEs of a run to compare one with: of its architecture, or else the first."""
    if is_trained_null(latents):
        return None
    nulls = [r for r in saes if is_trained_null(r)]
    kind = (latents.about or {}).get("architecture")
    return next((r for r in nulls if (r.about or {}).get("architecture") == kind), nulls[0] if nulls else None)


def _null_scores(prepared: Prepared, null: LatentRecording) -> list[Placed]:
    found = recorded(prepared.evaluation, TRAINED_NULL, [null], with_grid(prepared.config.ns))
    return [placed for scores in found for placed in replace(scores, fit=null.sae).placed()]


def with_rivals(
    prepared: Prepared, result: RunResult, select: Selector | None = None, *, shipped: bool = True
) -> RunResult:
    """Every SAE with the rivals that take longer than the controls (seconds to a minute, then stored), and their paths.

    They use no SAE, so all of a run share them. ``select`` as in ``with_controls``.
    """
    general = general_text(prepared.config, prepared.residuals.key.hook, shipped=shipped)
    rivals = kept_rivals(prepared, general, shipped=shipped) or rivals_of(prepared, general, shipped=shipped)
    placed = [p for p in rivals.placed if p.n is None or p.n in prepared.config.ns]

    def one(sae: SaeResult, latents: LatentRecording) -> SaeResult:
        found = _paired(prepared, sae, latents, placed, rivals.samples, select)
        more = tuple(_warnings(sae, found)) if sae.selection == "attribution" else ()
        return replace(sae, controls=(*sae.controls, *found), warnings=(*(sae.warnings or ()), *more))

    saes = [one(s, r) for s, r in zip(result.saes, prepared.saes, strict=True)]
    return replace(result, saes=tuple(saes), rivals=tuple(p for p in rivals.paths if p.part == PART_NAMES[TEST]))


def _null_erasure(null: LatentRecording, result: RunResult) -> Iterator[Placed]:
    """E of the trained null."""
    for sae in result.saes:
        if sae.sae == null.sae and sae.selection == "attribution":
            for metric, scores in _headlines(sae).items():
                for (variant, n), e in scores.items():
                    if variant == ERASURE:
                        yield Placed(metric, ERASURE, n, control(TRAINED_NULL, e, null.sae))


def _paired(
    prepared: Prepared,
    sae: SaeResult,
    latents: LatentRecording,
    placed: list[Placed],
    others: Mapping[str, Places],
    select: Selector | None,
) -> list[Placed]:
    """The controls of an SAE with paired differences; as they are where it is not known what was selected."""
    if select is None and sae.selection != "attribution":
        return placed
    null = _null_for(latents, prepared.saes)
    if null is not None:
        others = {**others, TRAINED_NULL: own_scores(prepared, null, TopByAttribution())}
    return paired(placed, own_scores(prepared, latents, select or TopByAttribution()), others)


def rival_lines(sae: SaeResult) -> list[str]:
    """For each headline score, in words, the controls and rivals that it beats and those that beat it."""
    return [
        f"{label} {words}"
        for label, score, own in _headline_controls(sae, sae.controls)
        if (words := rival_words(score, own))
    ]


def with_deletion(prepared: Prepared, result: RunResult) -> RunResult:
    """Every SAE with the word-deletion control of SHIFT; needs another pass over the scored texts.

    ConfigError where SHIFT is not scored.
    """
    config, evaluation = prepared.config, prepared.evaluation
    if not evaluation.directions:
        raise ConfigError("--deletion is a control of SHIFT, which this task or --metrics leaves out")
    found = word_deletions(config, evaluation)
    scores = reference(evaluation, "word deletion", [score for _, score in found], with_grid(config.ns))
    placed = [
        p for p in scores.placed() if (p.variant, p.n) == (RECOMMENDED, None) or p.variant == TOP_N and p.n in config.ns
    ]
    words = {
        d.name: DeletedWords(tuple(words), score.score)
        for d, (words, score) in zip(evaluation.directions, found, strict=True)
    }
    saes = [replace(s, controls=(*s.controls, *sorted(placed, key=lambda p: p.n or 0))) for s in result.saes]
    return replace(result, saes=tuple(saes), deleted_words=words)


def with_refits(prepared: Prepared, result: RunResult, refits: int = REFITS) -> RunResult:
    """Every SAE with its test scores and intervals over resampled training and test texts.

    Of the top N by attribution and of the area; ``refit_differences`` are the paired differences of areas of any two
    SAEs. ConfigError for a protocol whose probes have no C, for another selection and for fewer than 20 refits.
    """
    config, evaluation = prepared.config, prepared.evaluation
    check_refits(config, result.saes[0].selection, refits)
    ns, select = with_grid(config.ns), TopByAttribution()

    def of_shift(view: ShiftLatents) -> Sequence[Scored]:
        return direction_variants(view, select.shift(view, ns)).headlines(*config.ns)

    def of_tpp(view: TppLatents) -> Sequence[Scored]:
        return tpp_variants(view, select.tpp(view, ns)).headlines(*config.ns)

    found: dict[str, list[list[RefitScore]]] = {}
    if evaluation.directions:
        boards = [(d.pair, d.boards[TEST]) for d in evaluation.directions]
        found["shift"] = shift_refits(
            prepared.residuals, prepared.saes, boards, evaluation.protocol, of_shift, seed=config.seed, refits=refits
        )
    if evaluation.tpp_is_live:
        board = evaluation.tpp_boards[TEST]
        found["tpp"] = tpp_refits(prepared.residuals, prepared.saes, board, of_tpp, seed=config.seed, refits=refits)
    saes = [
        _with_refits(s, {m: own[i] for m, own in found.items()}, config.ns, refits) for i, s in enumerate(result.saes)
    ]
    return replace(result, saes=tuple(saes), refit_differences=tuple(_area_differences(result.saes, found)))


def check_refits(config: RunConfig, selection: str, refits: int) -> None:
    """ConfigError when ``with_refits`` would refuse: to be called before anything is computed."""
    if selection != "attribution":
        raise ConfigError("--refits varies the ranking by attribution; leave --select at attribution")
    refits_check(get_protocol(config.protocol).optimiser == "logistic", refits)


def _kept(shipped: bool) -> KeptJson:
    return KeptJson(Shelves("recordings", shipped), "controls", _VERSION)


def _key(prepared: Prepared, latents: LatentRecording) -> list[Any]:
    return [latents.scored_fingerprint, *scored_as(prepared)]


def _warnings(sae: SaeResult, controls: Sequence[Placed]) -> Iterator[str]:
    for label, score, own in _headline_controls(sae, controls):
        yield from (f"{label} {line}" for line in warnings_of(score, own))


def _headline_controls(sae: SaeResult, controls: Sequence[Placed]) -> Iterator[tuple[str, Estimate, list[Control]]]:
    """(label, score, its controls) of the headline scores of each metric: the area, the paper's, and E."""
    for metric, scores in _headlines(sae).items():
        for (variant, n), score in scores.items():
            own = [p.control for p in controls if (p.metric, p.variant, p.n) == (metric, variant, n)]
            yield f"{metric.upper()}, {_setting(variant, n)}:", score, own


def _setting(variant: str, n: int | None) -> str:
    if n is None:
        return variant
    return f"N = {n}, zero ablation" if variant == TOP_N else f"{variant}, N = {n}"


def _headlines(sae: SaeResult) -> dict[str, dict[tuple[str, int | None], Estimate]]:
    """Metric -> (variant, N) -> test score; what a result from a file lacks is left out."""
    found: dict[str, dict[tuple[str, int | None], Estimate]] = {}
    if sae.shift is not None:
        own = found["shift"] = {}
        if "test" in sae.shift.area:
            own[RECOMMENDED, None] = sae.shift.area["test"].score
        if scores := {n: parts["test"].score for n, parts in sae.shift.aggregate.items() if "test" in parts}:
            n = headline_n(list(scores))
            own[TOP_N, n] = scores[n]
        if read := {n: parts["test"] for n, parts in sae.shift.erasure.items() if "test" in parts}:
            n = erasure_n(list(read))
            own[ERASURE, n] = read[n].selective_erasure
    if sae.tpp is not None:
        own = found["tpp"] = {}
        if "test" in sae.tpp.area:
            own[RECOMMENDED, None] = sae.tpp.area["test"]
        if tested := {a.n: a.parts["test"] for a in sae.tpp.by_n if "test" in a.parts}:
            n = headline_n(list(tested))
            own[TOP_N, n] = tested[n].score
            if (erasure := tested[n].erasure) is not None:
                own[ERASURE, n] = erasure.selective_erasure
    return found


def _with_refits(
    sae: SaeResult, found: Mapping[str, Sequence[RefitScore]], ns: Sequence[int], refits: int
) -> SaeResult:
    def rows(own: Sequence[RefitScore]) -> RefitResult:
        area, *by_n = own
        scores = {n: f.score for n, f in zip(ns, by_n, strict=True)}
        return RefitResult(LEVEL_WITH_TRAINING, refits, area.score, scores, max(f.undefined_share for f in own))

    if sae.shift is not None and "shift" in found:
        sae = replace(sae, shift=replace(sae.shift, refits=rows(found["shift"])))
    if sae.tpp is not None and "tpp" in found:
        sae = replace(sae, tpp=replace(sae.tpp, refits=rows(found["tpp"])))
    return sae


def _area_differences(
    saes: Sequence[SaeResult], found: Mapping[str, Sequence[Sequence[RefitScore]]]
) -> Iterator[AreaDifference]:
    for metric, by_sae in found.items():
        for (a, own), (b, other) in combinations(zip([s.sae for s in saes], by_sae, strict=True), 2):
            yield AreaDifference(metric, a, b, RECOMMENDED, difference(own[0], other[0]))
