"""What fresh probes still read of the sets of a run, and how much each set edits: beside S at every N, beside TPP at one."""

from collections.abc import Mapping, Sequence

import numpy as np

from saeeval_core.evaluation.boards import Direction, Evaluation
from saeeval_core.evaluation.result import Erasure, FreshProbes
from saeeval_core.evaluation.select import TopByAttribution
from saeeval_core.evaluation.variants import unless_empty
from saeeval_core.recordings.recording import LatentRecording
from saeeval_core.scores.edit_size import Whitening
from saeeval_core.scores.erasure import Readable, TppErasure
from saeeval_core.scores.selections import Selected
from saeeval_core.scores.tpp import TppScore
from saeeval_core.scores.uncertainty import Estimate, OverPairs, Sampled, mean_known, over_pairs, undefined
from saeeval_core.texts.parts import TEST

NOT_MEASURED = "not measured"
"""What stands for R, E and edit size of results and commits that lack them."""


def shift_readable(
    evaluation: Evaluation, latents: LatentRecording, direction: Direction, part: int, chosen: Sequence[Selected]
) -> dict[int, tuple[Readable, float]]:
    """N -> (what is still read, edit size) of each choice in one direction on one part."""
    view = evaluation.shift_erasure(latents, direction, part)
    return {
        c.n: (unless_empty(view.score(c.ids), c), direction.pair_fresh.whitening.edit_size(view.codes.edits(c.ids)[1]))
        for c in chosen
    }


def erasure_of_set(found: Readable, edit_size: float) -> Erasure:
    """As results hold it."""
    return Erasure(found.recoverability, found.score, edit_size)


def fresh_probes(found: Readable) -> FreshProbes:
    """The accuracies behind it."""
    return FreshProbes(
        found.reader, found.clean, found.fresh, found.clean_target, found.fresh_target, found.recoverability_target
    )


def over_directions(
    directions: Sequence[Direction], found: Sequence[Mapping[int, tuple[Readable, float]]]
) -> dict[int, Erasure]:
    """N -> mean of the defined directions of each pair, then over pairs; ``found`` per direction."""
    pairs = [d.pair for d in directions]

    def mean(scored: Sequence[Sampled | Readable]) -> OverPairs:
        return over_pairs(list(zip(pairs, scored, strict=True)))

    out = {}
    for n in found[0] if found else ():
        own, sizes = [f[n][0] for f in found], [f[n][1] for f in found]
        kept = [Sampled(r.recoverability, r.recoverability_samples) for r in own]
        both = [mean(same).score for same in zip(*map(lost, own), strict=True)]
        out[n] = Erasure(mean(kept).score, mean(own).score, mean_known(sizes), *both)
    return out


def lost(found: Readable) -> tuple[Sampled, Sampled]:
    """(what the target label lost, what the spurious label lost) where E, their difference, is defined."""
    if found.score.value is None:
        none = Sampled(found.score, np.empty(0))
        return none, none
    kept = found.recoverability_samples
    return (
        Sampled(one_minus(found.recoverability_target), 1 - kept - found.samples),
        Sampled(one_minus(found.recoverability), 1 - kept),
    )


def one_minus(e: Estimate) -> Estimate:
    """What is lost from what is kept, or the other way round."""
    if e.value is None or e.ci is None:
        return undefined(e.reason or "undefined")
    return Estimate(1 - e.value, (1 - e.ci[1], 1 - e.ci[0]))


def erased_at(
    evaluation: Evaluation, latents: LatentRecording, metric: str, n: int, part: int = TEST
) -> Erasure | None:
    """Erasure of the top n by attribution: of SHIFT the mean over pairs. None for a metric that has none."""
    select = TopByAttribution()
    if metric == "shift":
        found = []
        for d in evaluation.directions:
            chosen = select.shift(evaluation.shift_view(latents, d, part), [n])
            found.append(shift_readable(evaluation, latents, d, part, chosen))
        return over_directions(evaluation.directions, found).get(n)
    if not evaluation.tpp_is_live:
        return None
    own = select.tpp(evaluation.tpp_view(latents, part), [n])
    return tpp_erased(evaluation, latents, part, [c[0] for c in own])[1]


def tpp_erased(
    evaluation: Evaluation, latents: LatentRecording, part: int, chosen: Sequence[Selected]
) -> tuple[TppScore, Erasure]:
    """(the matrix of fresh probes, its erasure) of one set per class. The edit size is the mean over classes."""
    view = evaluation.tpp_erasure(latents, part)
    found = unless_empty(view.score([c.ids for c in chosen]), *chosen)
    return found, erasure_of_classes(found, view, [c.ids for c in chosen], evaluation.tpp_whitening)


def erasure_of_classes(
    found: TppScore, view: TppErasure, sets: Sequence[Sequence[int]], whitening: Whitening
) -> Erasure:
    """As results hold it; ``found``: the matrix of fresh probes of these sets, one per class."""
    sizes = [whitening.edit_size(view.codes.edits(ids)[1]) for ids in sets]
    return Erasure(one_minus(found.intended), found.score, float(np.mean(sizes)))
