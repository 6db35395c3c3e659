"""Everything about the rivals of one task: their scores, their paths through the plane of what both labels lose, and the
resamples with which an SAE is compared in pairs. Made on request, then stored.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from saeeval_core.config import erasure_n, headline_n
from saeeval_core.controls.about import BOUNDS, ICA_GENERAL, LEACE, PCA_GENERAL
from saeeval_core.controls.controls import control
from saeeval_core.controls.every_n import ControlScores, basis_control, recorded, scored_metrics
from saeeval_core.controls.leace import leace_recording
from saeeval_core.controls.rival_scores import rival_scores
from saeeval_core.controls.rivals import BASES
from saeeval_core.evaluation.boards import Evaluation
from saeeval_core.evaluation.erased import tpp_erased
from saeeval_core.evaluation.estimate_json import estimate_of, path_json, path_of
from saeeval_core.evaluation.paths import walk
from saeeval_core.evaluation.prepare import Prepared
from saeeval_core.evaluation.result import LossPath, Placed
from saeeval_core.evaluation.result_json import placed_json, placed_of
from saeeval_core.evaluation.select import Selector, TopByAttribution
from saeeval_core.evaluation.variants import Variants, shift_of_selector, tpp_of_selector, with_grid
from saeeval_core.recordings.general_text import GeneralText
from saeeval_core.recordings.recording import LatentRecording
from saeeval_core.scores.area import RECOMMENDED, TOP_N
from saeeval_core.scores.erasure import ERASURE
from saeeval_core.scores.selections import by_attribution
from saeeval_core.scores.uncertainty import Sampled, difference, undefined
from saeeval_core.storage.kept import KeptJson, Shelves
from saeeval_core.texts.parts import TEST

Place = tuple[str, str, int | None]
"""(metric, variant, N): a headline score."""
Places = Mapping[Place, Sampled]
"""The headline scores of one dictionary with their resamples."""
OnStep = Callable[[str], None]
"""Called with the name of each rival that is scored; may raise to stop."""


@dataclass(frozen=True, eq=False)
class Rivals:
    """What is stored of other dictionaries."""

    placed: tuple[Placed, ...]
    """Scores on test of those that a run does not have among its controls."""
    paths: tuple[LossPath, ...]
    """On every part: the mean over pairs and every direction."""
    samples: Mapping[str, Places]
    """Name -> its headline scores on test."""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        rows = [
            {"name": name, "place": list(place), "samples": s.samples.tolist()} | s.score.to_dict()
            for name, places in self.samples.items()
            for place, s in places.items()
        ]
        placed, paths = map(placed_json, self.placed), map(path_json, self.paths)
        return {"placed": list(placed), "paths": list(paths), "samples": rows}

    @classmethod
    def of_dict(cls, kept: Mapping[str, Any]) -> "Rivals":
        """Inverse of ``to_dict``."""
        samples: dict[str, dict[Place, Sampled]] = {}
        for row in kept["samples"]:
            metric, variant, n = row["place"]
            one = Sampled(estimate_of(row), np.array(row["samples"], dtype=float))
            samples.setdefault(row["name"], {})[metric, variant, n] = one
        return cls(tuple(map(placed_of, kept["placed"])), tuple(map(path_of, kept["paths"])), samples)


def rivals_of(
    prepared: Prepared, general: GeneralText | None, *, shipped: bool = True, on_step: OnStep | None = None
) -> Rivals:
    """Score and store the rivals of a task at every N and of the areas; ``general``: text for some to fit."""
    placed: list[Placed] = []
    paths: list[LossPath] = []
    samples: dict[str, dict[Place, Sampled]] = {}
    for scores in _every(prepared, general):
        if on_step is not None:
            on_step(scores.name)
        own = headline_scores(scores.metric, scores.variants, prepared.config.ns)
        if scores.metric == "shift":
            found, n, e = _walked(prepared, scores)
            paths += found
            own["shift", ERASURE, n] = e
            placed.append(Placed("shift", ERASURE, n, control(scores.name, e.score, scores.fit)))
        elif scores.latents is not None and (n := headline_n(prepared.config.ns)) in scores.variants.zero.ns:
            e = own["tpp", ERASURE, n] = tpp_fresh(prepared.evaluation, scores.latents, n, by_class=scores.by_class)
            placed.append(Placed("tpp", ERASURE, n, control(scores.name, e.score, scores.fit)))
        if scores.name not in (*BASES, LEACE):
            placed += scores.placed()
        samples[scores.name] = samples.get(scores.name, {}) | own
    made = Rivals(tuple(placed), tuple(paths), samples).to_dict()
    _kept(shipped).keep(_key(prepared, general), made)
    return Rivals.of_dict(made)  # the same bits the first time as from the file


def kept_rivals(prepared: Prepared, general: GeneralText | None, *, shipped: bool = True) -> Rivals | None:
    """Stored rivals of the task, with the same general text; None when they have not been scored yet."""
    try:
        found: Rivals = _kept(shipped).find(_key(prepared, general), Rivals.of_dict)
    except LookupError:
        return None
    return found


def scored_as(prepared: Prepared) -> list[Any]:
    """What decides the score of a dictionary on a recording, as JSON values."""
    config, evaluation = prepared.config, prepared.evaluation
    tasks = [d.task.identity for d in evaluation.directions]
    tpp = evaluation.tpp_task.identity if evaluation.scores_tpp else None
    protocol = asdict(evaluation.protocol)
    return [tasks, tpp, protocol, config.seed, config.resamples, with_grid(config.ns)]


def headline_scores(metric: str, variants: Variants[Any], ns: Sequence[int]) -> dict[Place, Sampled]:
    """The two headline scores of a metric: the recommended area, and the paper's at ``headline_n``."""
    wanted = ((RECOMMENDED, None), (TOP_N, headline_n(ns)))
    found = {(p.variant, p.n): p.scored for p in variants.places()}
    return {(metric, *place): Sampled(s.score, s.samples) for place in wanted if (s := found.get(place)) is not None}


def own_scores(prepared: Prepared, latents: LatentRecording, select: Selector) -> dict[Place, Sampled]:
    """The headline scores of an SAE of the run, as ``Rivals.samples``."""
    evaluation, ns = prepared.evaluation, prepared.config.ns
    grid = with_grid([headline_n(ns)])
    own: dict[Place, Sampled] = {}
    if evaluation.directions:
        own |= headline_scores("shift", shift_of_selector(evaluation, latents, grid, select), ns)
        recordings, n = [latents] * len(evaluation.directions), erasure_n(ns)
        e = walk(evaluation, recordings, [n], LossPath("", "sae"), select=select).erasure[n]
        own["shift", ERASURE, n] = Sampled(e.score, e.samples)
    if evaluation.tpp_is_live:
        own |= headline_scores("tpp", tpp_of_selector(evaluation, latents, grid, select), ns)
        own["tpp", ERASURE, headline_n(ns)] = tpp_fresh(evaluation, latents, headline_n(ns), select=select)
    return own


def tpp_fresh(
    evaluation: Evaluation, latents: LatentRecording, n: int, *, select: Selector | None = None, by_class: bool = False
) -> Sampled:
    """The score of the matrix of fresh probes on test; ``by_class`` as in ``ControlScores``."""
    if by_class:
        chosen = [by_attribution([j], [n]) for j in range(len(evaluation.tpp_task.classes))]
    else:
        chosen = (select or TopByAttribution()).tpp(evaluation.tpp_view(latents, TEST), [n])
    found = tpp_erased(evaluation, latents, TEST, [own[0] for own in chosen])[0]
    return Sampled(found.score, found.samples)


def base_samples(prepared: Prepared) -> dict[str, Places]:
    """Of the bases that every run has among its controls: a second of work."""
    found: dict[str, dict[Place, Sampled]] = {}
    grid = with_grid([headline_n(prepared.config.ns)])
    for kind in BASES:
        for scores in basis_control(prepared.evaluation, kind, grid):
            found.setdefault(kind, {}).update(headline_scores(scores.metric, scores.variants, prepared.config.ns))
    return dict(found)


def paired(placed: Sequence[Placed], own: Places, others: Mapping[str, Places]) -> list[Placed]:
    """The same controls; where both sides have resamples, with the paired difference of an SAE's score ``own``."""

    def one(p: Placed) -> Placed:
        place = (p.metric, p.variant, p.n)
        theirs = others.get(p.control.name, {}).get(place)
        if theirs is None or place not in own:
            return p
        return replace(p, control=replace(p.control, difference=difference(own[place], theirs)))

    return [one(p) for p in placed]


def _every(prepared: Prepared, general: GeneralText | None) -> Iterator[ControlScores]:
    evaluation, ns = prepared.evaluation, with_grid(prepared.config.ns)
    for kind in BASES:
        yield from basis_control(evaluation, kind, ns)
    for scores in rival_scores(evaluation, ns, None if general is None else general.residuals):
        source = general.about if general is not None and scores.name in (PCA_GENERAL, ICA_GENERAL) else ""
        yield replace(scores, fit="; ".join(filter(None, [scores.fit, source])))
    if evaluation.directions:
        erasers = [leace_recording(evaluation.residuals, d.boards[TEST]) for d in evaluation.directions]
        yield from recorded(evaluation, LEACE, erasers, [1], metrics=("shift",))


def count_steps(prepared: Prepared, general: GeneralText | None) -> int:
    """How many rivals ``rivals_of`` scores, each metric counted, where no dictionary is too small."""
    evaluation = prepared.evaluation
    made = len(BASES) + 3 + (0 if general is None else 2)  # ICA and the labels' own two directions
    return made * len(scored_metrics(evaluation)) + bool(evaluation.directions)


def _walked(prepared: Prepared, scores: ControlScores) -> tuple[list[LossPath], int, Sampled]:
    """(its paths on every part, the N of E, E there on test)."""
    kind = "bound" if scores.name in BOUNDS else "rival"
    blank = LossPath(scores.name, kind, about=control(scores.name, undefined(""), scores.fit).about)
    own = scores.by_direction
    ns = [1] if own[0].n_latents == 1 else [n for n in with_grid(prepared.config.ns) if n <= own[0].n_latents]
    parts = {part: walk(prepared.evaluation, own, ns, blank, part=part) for part in prepared.evaluation.parts}
    n = erasure_n(prepared.config.ns)
    e = parts[TEST].erasure.get(n, parts[TEST].erasure[erasure_n(ns)])
    return [path for walked in parts.values() for path in walked.paths], n, Sampled(e.score, e.samples)


def _kept(shipped: bool) -> KeptJson:
    return KeptJson(Shelves("recordings", shipped), "rivals", version=5)


def _key(prepared: Prepared, general: GeneralText | None) -> list[Any]:
    about = None if general is None else general.residuals.fingerprint
    return [prepared.residuals.fingerprint, *scored_as(prepared), about]
