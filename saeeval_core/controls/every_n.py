"""Controls of the top N by attribution, at every N and of the areas: those of a run and of a sweep."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from saeeval_core.controls.about import RANDOM
from saeeval_core.controls.controls import control, random_latents
from saeeval_core.controls.leace import leace_score
from saeeval_core.controls.rivals import BASES, basis_recording, decoder_controls
from saeeval_core.evaluation.boards import Evaluation
from saeeval_core.evaluation.result import Placed
from saeeval_core.evaluation.select import TopByAttribution
from saeeval_core.evaluation.variants import (
    Variants,
    constant,
    direction_variants,
    shift_of_recordings,
    spread,
    tpp_of_selector,
    tpp_variants,
    variants_over_pairs,
)
from saeeval_core.recordings.recording import LatentRecording
from saeeval_core.scores.selections import by_attribution
from saeeval_core.scores.shift import ShiftScore
from saeeval_core.scores.uncertainty import over_pairs
from saeeval_core.texts.parts import TEST


@dataclass(frozen=True)
class ControlScores:
    """One control of one metric."""

    name: str
    """A key of ``about.ABOUT``."""
    metric: str
    variants: Variants[Any]
    latents: LatentRecording | None
    """The recording that was scored; None for a control that ablates no latents."""
    of_sae: bool
    """True when it is made from the SAE, so that every SAE has its own."""
    fit: str = ""
    """What its fit has to say, in words."""
    by_direction: tuple[LatentRecording, ...] = ()
    """Of SHIFT: what was scored in each direction, where that was a dictionary."""
    by_class: bool = False
    """Of TPP: latent j is ablated for class j, whatever its attribution."""

    def placed(self) -> Iterator[Placed]:
        """As results hold it: every N and area."""
        for place in self.variants.places():
            yield Placed(self.metric, place.variant, place.n, control(self.name, place.scored.score, self.fit))


def sae_controls(evaluation: Evaluation, latents: LatentRecording, ns: Sequence[int]) -> Iterator[ControlScores]:
    """The controls made from the SAE: random latents, then random and permuted decoders."""
    for metric in scored_metrics(evaluation):
        yield random_control(evaluation, latents, metric, ns)
    yield from decoder_scores(evaluation, latents, ns)


def decoder_scores(evaluation: Evaluation, latents: LatentRecording, ns: Sequence[int]) -> Iterator[ControlScores]:
    """The same codes with random and with permuted decoder rows."""
    for other in decoder_controls(latents, evaluation.seed):
        yield from recorded(evaluation, other.sae, [other], ns, of_sae=True)


def task_controls(
    evaluation: Evaluation, ns: Sequence[int], deletions: Sequence[ShiftScore] = ()
) -> Iterator[ControlScores]:
    """The controls that use no SAE: bases of the residuals, word deletion if given, and LEACE.

    ``deletions``: per direction the score without the words that predict the spurious label; empty if not measured.
    """
    for kind in BASES:
        yield from basis_control(evaluation, kind, ns)
    if evaluation.directions:
        references = {
            "word deletion": list(deletions),
            "leace": [leace_score(evaluation.residuals, d.boards[TEST]) for d in evaluation.directions],
        }
        for name, scores in references.items():
            if scores:
                yield reference(evaluation, name, scores, ns)


def scored_metrics(evaluation: Evaluation) -> list[str]:
    """Metrics that have controls: TPP has none where the protocol redraws negatives."""
    wanted = (("shift", bool(evaluation.directions)), ("tpp", evaluation.tpp_is_live))
    return [metric for metric, there in wanted if there]


def random_control(evaluation: Evaluation, latents: LatentRecording, metric: str, ns: Sequence[int]) -> ControlScores:
    """As many other latents of similar strength in place of the ranked ones: mean and range over draws."""
    draw = _random_shift if metric == "shift" else _random_tpp
    return ControlScores(RANDOM, metric, spread(list(draw(evaluation, latents, ns))), latents, of_sae=True)


def basis_control(evaluation: Evaluation, kind: str, ns: Sequence[int]) -> Iterator[ControlScores]:
    """One of BASES; for SHIFT fitted on each pair's own training texts."""
    residuals = evaluation.residuals
    by_pair = {d.pair: basis_recording(residuals, d.task.train_rows, kind) for d in evaluation.directions}
    yield from recorded(evaluation, kind, [by_pair[d.pair] for d in evaluation.directions], ns, metrics=("shift",))
    if evaluation.tpp_is_live:
        own = basis_recording(residuals, evaluation.tpp_task.train_rows, kind)
        yield from recorded(evaluation, kind, [own], ns, metrics=("tpp",))


def reference(evaluation: Evaluation, name: str, scores: Sequence[ShiftScore], ns: Sequence[int]) -> ControlScores:
    """A control of SHIFT that ablates no latents, from one score per direction: the same at every N and variant."""
    total = over_pairs([(d.pair, s) for d, s in zip(evaluation.directions, scores, strict=True)])
    return ControlScores(name, "shift", constant(total, ns), None, of_sae=False)


def recorded(
    evaluation: Evaluation,
    name: str,
    recordings: Sequence[LatentRecording],
    ns: Sequence[int],
    *,
    metrics: Sequence[str] = ("shift", "tpp"),
    of_sae: bool = False,
) -> Iterator[ControlScores]:
    """The top N of another dictionary, a control of ABOUT; ``recordings``: one for all directions, or one each."""
    for metric in scored_metrics(evaluation):
        if metric not in metrics or not (own := [n for n in ns if n <= recordings[0].n_latents]):
            continue
        if metric == "shift":
            every = list(recordings) * len(evaluation.directions) if len(recordings) == 1 else recordings
            variants: Variants[Any] = shift_of_recordings(evaluation, every, own)
        else:
            every, variants = (), tpp_of_selector(evaluation, recordings[0], own, TopByAttribution())
        yield ControlScores(name, metric, variants, recordings[0], of_sae, by_direction=tuple(every))


def _random_shift(evaluation: Evaluation, latents: LatentRecording, ns: Sequence[int]) -> Iterator[Variants[Any]]:
    views = [v.values_only() for v in evaluation.shift_views(latents, TEST)]
    tops = [[v.attribute_ranking[: max(ns)]] for v in views]
    for drawn in random_latents(latents, "shift", tops, evaluation.seed):
        own = [direction_variants(v, by_attribution(order, ns)) for v, (order,) in zip(views, drawn, strict=True)]
        yield variants_over_pairs(evaluation.directions, own)


def _random_tpp(evaluation: Evaluation, latents: LatentRecording, ns: Sequence[int]) -> Iterator[Variants[Any]]:
    view = evaluation.tpp_view(latents, TEST).values_only()
    tops = [order[: max(ns)] for order in view.rankings]
    for drawn in random_latents(latents, "tpp", [tops], evaluation.seed):
        yield tpp_variants(view, [by_attribution(order, ns) for order in drawn[0]])
