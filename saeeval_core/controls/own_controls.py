"""Controls made from an SAE itself, at the headline scores alone: E of each, and the resamples of all its scores, so that
the SAE is compared in pairs. Seconds of work, then stored.
"""

from collections.abc import Iterator, Sequence

from saeeval_core.config import erasure_n, headline_n
from saeeval_core.controls.about import RANDOM
from saeeval_core.controls.controls import control, random_latents
from saeeval_core.controls.every_n import decoder_scores, scored_metrics
from saeeval_core.controls.rival_results import Place, Rivals, headline_scores, scored_as, tpp_fresh
from saeeval_core.evaluation.boards import Evaluation
from saeeval_core.evaluation.paths import walk
from saeeval_core.evaluation.prepare import Prepared
from saeeval_core.evaluation.result import LossPath, Placed
from saeeval_core.evaluation.variants import with_grid
from saeeval_core.recordings.recording import LatentRecording
from saeeval_core.scores.erasure import ERASURE, without_interval
from saeeval_core.scores.uncertainty import Estimate, Sampled, over_draws, over_pairs
from saeeval_core.storage.kept import KeptJson, Shelves
from saeeval_core.texts.parts import TEST


def own_controls(prepared: Prepared, latents: LatentRecording, *, shipped: bool = True, keep: bool = True) -> Rivals:
    """Random latents, random and permuted decoders: E of the top N by attribution, and for pairs every headline score.

    ``keep``: store what had to be made.
    """
    kept, key = KeptJson(Shelves("recordings", shipped), "own-controls", version=1), _key(prepared, latents)
    try:
        found: Rivals = kept.find(key, Rivals.of_dict)
    except LookupError:
        made = _made(prepared, latents).to_dict()
        if keep:
            kept.keep(key, made)
        found = Rivals.of_dict(made)  # the same bits the first time as from the file
    return found


def _key(prepared: Prepared, latents: LatentRecording) -> list[object]:
    return [latents.scored_fingerprint, *scored_as(prepared)]


def _made(prepared: Prepared, latents: LatentRecording) -> Rivals:
    evaluation, ns = prepared.evaluation, prepared.config.ns
    at = {"shift": erasure_n(ns), "tpp": headline_n(ns)}
    placed = [
        Placed(metric, ERASURE, at[metric], control(RANDOM, over_draws(list(_draws(evaluation, latents, metric, ns)))))
        for metric in scored_metrics(evaluation)
    ]
    samples: dict[str, dict[Place, Sampled]] = {}
    for scores in decoder_scores(evaluation, latents, with_grid([headline_n(ns)])):
        assert scores.latents is not None
        metric, n = scores.metric, at[scores.metric]
        e = erased(evaluation, scores.latents, metric, n)
        placed.append(Placed(metric, ERASURE, n, control(scores.name, e.score)))
        own = headline_scores(metric, scores.variants, ns) | {(metric, ERASURE, n): e}
        samples.setdefault(scores.name, {}).update(own)
    return Rivals(tuple(placed), (), samples)


def erased(evaluation: Evaluation, latents: LatentRecording, metric: str, n: int) -> Sampled:
    """E of the top ``n`` by attribution on test: of SHIFT the mean over pairs, of TPP that of the fresh matrix."""
    if metric == "tpp":
        return tpp_fresh(evaluation, latents, n)
    found = walk(evaluation, [latents] * len(evaluation.directions), [n], LossPath("", "sae")).erasure[n]
    return Sampled(found.score, found.samples)


def _draws(evaluation: Evaluation, latents: LatentRecording, metric: str, ns: Sequence[int]) -> Iterator[Estimate]:
    """E of each draw of random latents, the same draws as those of the other scores at these N."""
    most = max(with_grid(ns))
    if metric == "tpp":
        n, view = headline_n(ns), evaluation.tpp_erasure(latents, TEST)
        rankings = [r[:most] for r in evaluation.tpp_view(latents, TEST).rankings]
        for (sets,) in random_latents(latents, metric, [rankings], evaluation.seed):
            yield view.value([ids[:n] for ids in sets])
        return
    n, pairs = erasure_n(ns), [d.pair for d in evaluation.directions]
    views = [evaluation.shift_erasure(latents, d, TEST) for d in evaluation.directions]
    tops = [[v.attribute_ranking[:most]] for v in evaluation.shift_views(latents, TEST)]
    for drawn in random_latents(latents, metric, tops, evaluation.seed):
        one = [without_interval(view.value(ids[:n])) for view, (ids,) in zip(views, drawn, strict=True)]
        yield over_pairs(list(zip(pairs, one, strict=True))).score
