"""Controls of one chosen set: what as many latents of another kind score in its place (docs/method.md, "Controls").

A score that is not above its control is reported with a warning.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from saeeval_core.config import Protocol, derive_rng
from saeeval_core.controls.about import ABOUT, DRAWS, LEACE, NEAREST, OWN, RANDOM, REFERENCES, RIVALS
from saeeval_core.controls.leace import leace_score
from saeeval_core.controls.rivals import BASES, basis_recording, decoder_controls
from saeeval_core.evaluation.result import Control
from saeeval_core.recordings.recording import LatentRecording, ResidualRecording
from saeeval_core.scores.shift import ShiftLatents, shift_latents
from saeeval_core.scores.tpp import TppLatents, tpp_latents
from saeeval_core.scores.uncertainty import Estimate, Scored, difference, over_draws, separable


def control(name: str, score: Estimate, fit: str = "", gap: Estimate | None = None) -> Control:
    """A control of ABOUT with its score; ``fit``: what its fit has to say, ``gap``: paired difference of the SAE's score."""
    return Control(name, score, f"{ABOUT[name]}; {fit}" if fit else ABOUT[name], gap)


def warning(found: Control, score: Estimate) -> str | None:
    """The sentence to show when a score is not above a control; None when it is, and for one of REFERENCES."""
    if found.name in REFERENCES or score.value is None or found.score.value is None:
        return None
    if score.value > found.score.value:
        return None
    return f"{score.value:.2f} is not above its control, {found.name} ({found.score.value:.2f})"


def warnings_of(score: Estimate, controls: Sequence[Control]) -> list[str]:
    """A sentence for every control that the score is not above."""
    return [w for c in controls if (w := warning(c, score)) is not None]


def rival_words(score: Estimate, controls: Sequence[Control]) -> str:
    """Which of OWN and RIVALS a score beats, which beat it, and which were not measured; "" where it is undefined.

    The interval of the paired difference decides, for random latents the range of the draws; one that covers 0, or the
    score, means not separable. Where no rival was scored, none is named.
    """
    if score.value is None:
        return ""
    found = {c.name: c for c in controls}
    rivals = RIVALS if any(name in found for name in RIVALS) else ()
    said: dict[str, list[str]] = {verdict: [] for verdict in _VERDICTS}
    for name in (*(n for n in OWN if n in found), *rivals):
        said[_verdict(score.value, found.get(name))].append(name)
    return "; ".join(f"{verdict} {', '.join(names)}" for verdict, names in said.items() if names)


_VERDICTS = ("beats", "beaten by", "not separable from", "not compared in pairs:", "undefined:", "not measured:")


def _verdict(value: float, rival: Control | None) -> str:
    if rival is None:
        return "not measured:"
    if rival.score.value is None:
        return "undefined:"
    if rival.name == RANDOM and rival.score.ci is not None:
        low, high = rival.score.ci
        return "beats" if value > high else "beaten by" if value < low else "not separable from"
    gap = rival.difference
    if gap is None or gap.value is None:
        return "not compared in pairs:"
    if not separable(gap):
        return "not separable from"
    return "beats" if gap.value > 0 else "beaten by"


def shift_controls(
    residuals: ResidualRecording,
    view: ShiftLatents,
    protocol: Protocol,
    ids: Sequence[int],
    ablation: str,
    *,
    seed: int = 0,
    draws: int = DRAWS,
) -> list[Control]:
    """Every control of one set in one direction that needs no further pass, under "zero" or "mean" ablation.

    Of another decoder or basis the top ``len(ids)`` by its own attribution are scored.
    """

    def top(other: LatentRecording) -> Scored:
        return shift_latents(residuals, other, view.board, protocol).under(ablation).at(len(ids))

    own = view.under(ablation)
    mine = own.score(ids)
    sets = random_latents(view.recording, "shift", [[np.asarray(ids)]], seed, draws)
    plain = own.values_only()  # the range of the draws stands in the place of intervals
    drawn = over_draws([plain.score(group[0][0]).score for group in sets])
    others = recorded_controls(residuals, view.recording, view.board.task.train_rows, seed)
    return [
        control(RANDOM, drawn),
        *(_beside(mine, c.sae, top(c)) for c in others),
        _beside(mine, LEACE, leace_score(residuals, view.board)),
    ]


def tpp_controls(
    residuals: ResidualRecording,
    view: TppLatents,
    sets: Sequence[Sequence[int]],
    ablation: str,
    *,
    seed: int = 0,
    draws: int = DRAWS,
) -> list[Control]:
    """The same for TPP, with one set per class and without LEACE, which is fitted to one binary label."""

    def top(other: LatentRecording) -> Scored:
        own = tpp_latents(other, view.board).under(ablation)
        return own.score([ranking[: len(s)] for ranking, s in zip(own.rankings, sets, strict=True)])

    own, ids = view.under(ablation), [np.asarray(s, dtype=int) for s in sets]
    mine = own.score(ids)
    groups = random_latents(view.recording, "tpp", [ids], seed, draws)
    plain = own.values_only()
    drawn = over_draws([plain.score(group[0]).score for group in groups])
    others = recorded_controls(residuals, view.recording, view.board.task.train_rows, seed)
    return [control(RANDOM, drawn), *(_beside(mine, c.sae, top(c)) for c in others)]


def _beside(mine: Scored, name: str, other: Scored) -> Control:
    """A control of one set, with the paired difference."""
    return control(name, other.score, gap=difference(mine, other))


def recorded_controls(
    residuals: ResidualRecording, latents: LatentRecording, train: np.ndarray, seed: int
) -> list[LatentRecording]:
    """Random decoder, permuted decoder, principal components and residual coordinates, as recordings.

    train int[training texts]: rows of the recording on which the principal components are fitted.
    """
    return [*decoder_controls(latents, seed), *(basis_recording(residuals, train, kind) for kind in BASES)]


def random_latents(
    recording: LatentRecording, metric: str, groups: Sequence[Sequence[np.ndarray]], seed: int, draws: int = DRAWS
) -> Iterator[list[list[np.ndarray]]]:
    """Per draw, for each set int[set] of each group as many other latents of similar strength, int[set].

    This control's only random stream, seeded by seed, SAE fingerprint and metric: the Overview, the lab and sweeps all
    draw from it. Groups (directions of SHIFT) are scored apart, so a latent of one may replace one of another; the sets
    of a group (classes of TPP) share no latent.
    """
    rng = derive_rng(seed, RANDOM, recording.sae_fingerprint, metric)
    strength = log_strength(recording)
    for _ in range(draws):
        yield [matched_latents(strength, sets, rng) for sets in groups]


def log_strength(recording: LatentRecording) -> np.ndarray:
    """float32[latents]: log(mean pooled |f| * ||D||) over all recorded texts; -inf for latents that never fire."""
    mean = np.asarray(abs(recording.latents).mean(axis=0)).ravel() * np.linalg.norm(recording.decoder, axis=1)
    with np.errstate(divide="ignore"):
        return np.log(mean)


def matched_latents(strength: np.ndarray, sets: Sequence[np.ndarray], rng: np.random.Generator) -> list[np.ndarray]:
    """Per set, as many other latents that fire, int64[set], each drawn from the NEAREST in strength.

    Latents of a set, or drawn before, are left out. strength float[latents] as of ``log_strength``; sets int[set] each.
    A set gets fewer when no latent is left to draw.
    """
    live = np.isfinite(strength)
    free = live.copy()
    for ids in sets:
        free[ids] = False
    drawn = []
    for ids in sets:
        own: list[int] = []
        for i in ids:
            pool = np.flatnonzero(free)
            if not len(pool):
                break
            distance = np.abs(strength[pool] - (strength[i] if live[i] else strength[live].min()))
            near = np.argpartition(distance, NEAREST - 1)[:NEAREST] if len(pool) > NEAREST else np.arange(len(pool))
            own.append(int(rng.choice(np.sort(pool[near]))))
            free[own[-1]] = False
        drawn.append(np.array(own, dtype=int))
    return drawn
