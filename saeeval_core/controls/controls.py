"""Controls beside every score: what the same number of latents, or no SAE at all, would score on the same texts.

Everything but word deletion comes from the recording alone: pooling is linear, so random and permuted decoders and changes
of basis are recordings of their own, scored by the ordinary code. A score below its control says so in words.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse import csc_array

from saeeval_core.config import Protocol, derive_rng
from saeeval_core.errors import DataError
from saeeval_core.recordings.recording import WINDOW, Contexts, LatentRecording, ResidualRecording
from saeeval_core.scores.contributions import score_set
from saeeval_core.scores.shift import ShiftBoard, ShiftLatents, ShiftScore, shift_latents, train_rows
from saeeval_core.scores.tpp import TppLatents, tpp_latents
from saeeval_core.scores.uncertainty import Estimate, undefined
from saeeval_core.texts.tasks import TRAIN

DRAWS = 20
"""Draws of the random-latents control."""
NEAREST = 20
"""Each ablated latent is replaced by one of this many latents closest to it in log(mean pooled f * ||D||)."""
TOP_WORDS = 20
BASES = ("pca", "residual basis")
ABOUT = {
    "random latents": f"mean and range of {DRAWS} draws of as many other latents of the same strength, log(mean pooled f x |D|)",
    "random decoder": "the same codes, each written along a random direction of the row's length",
    "permuted decoder": "the same codes, decoder rows shuffled",
    "pca": "principal components of the pooled training residuals as latents; zero ablation sets one to its training mean",
    "residual basis": "coordinates of the residual stream as latents",
    "word deletion": f"the {TOP_WORDS} words that tell the spurious label most deleted from the texts, which are read again",
    "leace": "LEACE of the spurious label on the balanced training texts, shrunk covariance (optimal linear shrinkage)",
}
"""How each control is made, for the reader."""
REFERENCES = ("word deletion", "leace")
"""What can be done with knowledge of the label and without any SAE: shown beside a score, but no bar it has to pass."""
_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?", re.UNICODE)


@dataclass(frozen=True)
class Control:
    """A reference for one score at one N."""

    name: str
    """A key of ABOUT."""
    score: Estimate
    """Its ``ci`` is the range over draws for random latents, else the 95 % interval over test texts."""

    @property
    def about(self) -> str:
        """How it was made, for the reader."""
        return ABOUT[self.name]

    def warning(self, score: Estimate) -> str | None:
        """The sentence to show when a score does not beat this control; None when it does, and for a reference."""
        if self.name in REFERENCES or score.value is None or self.score.value is None or score.value > self.score.value:
            return None
        return f"{score.value:.2f} is not above its control, {self.name} ({self.score.value:.2f})"

    def to_dict(self) -> dict[str, object]:
        """JSON form."""
        return {"name": self.name, "about": self.about} | self.score.to_dict()


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
    """Every control of one set in one direction that needs no further pass.

    Another decoder or basis is represented by its own top ``len(ids)`` by attribution, under the same "zero" or "mean".
    """

    def top(other: LatentRecording) -> Estimate:
        own = shift_latents(residuals, other, view.board, protocol)
        return score_set(own, own.attribute_ranking[: len(ids)], ablation).score

    def of_set(drawn: np.ndarray) -> Estimate:
        return score_set(view, drawn, ablation).score

    found = [_random_latents(view.recording, [np.asarray(ids)], lambda drawn: of_set(drawn[0]), seed, draws)]
    others = recorded_controls(residuals, view.recording, train_rows(view.board.task), seed)
    found += [Control(c.sae, top(c)) for c in others]
    return [*found, Control("leace", leace_score(residuals, view.board).score)]


def tpp_controls(
    residuals: ResidualRecording,
    view: TppLatents,
    sets: Sequence[Sequence[int]],
    ablation: str,
    *,
    seed: int = 0,
    draws: int = DRAWS,
) -> list[Control]:
    """The same for TPP, with one set per class; there is no LEACE (it knows no other classes)."""
    task = view.board.task

    def scored(own: TppLatents, chosen: Sequence[np.ndarray]) -> Estimate:
        return (own.mean_ablated if ablation == "mean" else own).score(chosen).score

    def top(other: LatentRecording) -> Estimate:
        own = tpp_latents(other, view.board)
        return scored(own, [ranking[: len(s)] for ranking, s in zip(own.rankings, sets, strict=True)])

    ids = [np.asarray(s, dtype=int) for s in sets]
    found = [_random_latents(view.recording, ids, lambda drawn: scored(view, drawn), seed, draws)]
    train = task.rows[task.part == TRAIN]
    return found + [Control(c.sae, top(c)) for c in recorded_controls(residuals, view.recording, train, seed)]


def warnings_of(score: Estimate, controls: Sequence[Control]) -> list[str]:
    """A sentence for every control the score does not beat."""
    return [w for c in controls if (w := c.warning(score)) is not None]


def recorded_controls(
    residuals: ResidualRecording, latents: LatentRecording, train: np.ndarray, seed: int
) -> list[LatentRecording]:
    """Random decoder, permuted decoder, principal components and residual coordinates, as recordings."""
    return [*decoder_controls(latents, seed), *(basis_recording(residuals, train, kind) for kind in BASES)]


def decoder_controls(latents: LatentRecording, seed: int) -> list[LatentRecording]:
    """The same codes with random and with permuted decoder rows."""
    rng = derive_rng(seed, "control decoders", latents.sae_fingerprint)
    noise = rng.standard_normal(latents.decoder.shape)
    noise *= np.linalg.norm(latents.decoder, axis=1, keepdims=True) / np.linalg.norm(noise, axis=1, keepdims=True)
    made = {
        "random decoder": noise.astype(np.float32),
        "permuted decoder": latents.decoder[rng.permutation(len(latents.decoder))],
    }
    return [replace(latents, sae=name, decoder=rows, about={"control": ABOUT[name]}) for name, rows in made.items()]


def basis_recording(residuals: ResidualRecording, train: np.ndarray, kind: str) -> LatentRecording:
    """Pooled residuals in another basis as signed "latents": "pca" of the training texts, or "residual basis" itself."""
    x = residuals.residuals.astype(np.float64)
    if kind == "pca":
        mean = x[train].mean(0)
        _, _, rows = np.linalg.svd(x[train] - mean, full_matrices=False)
    else:
        mean, rows = np.zeros(x.shape[1]), np.eye(x.shape[1])
    codes = (x - mean) @ rows.T
    n = len(rows)
    nothing = Contexts(
        np.zeros(n + 1, np.int64),
        np.zeros(0, np.int32),
        np.zeros(0, np.int16),
        np.zeros((0, WINDOW), np.float16),
        np.zeros(0, np.uint8),
    )
    return LatentRecording(
        kind,
        kind,
        residuals.fingerprint,
        csc_array(codes.astype(np.float32)),
        np.zeros(n, np.float32),
        np.ones(n, np.float32),
        rows.astype(np.float32),
        nothing,
        {"l0": float(n), "explained_variance": 1.0, "dead": 0.0, "tokens": None},
        non_negative=False,
        about={"control": ABOUT[kind]},
    )


def leace_score(residuals: ResidualRecording, board: ShiftBoard) -> ShiftScore:
    """SHIFT of LEACE on pooled residuals: the spurious label made linearly unreadable, fitted on the balanced training texts.

    A reference, not a rival: it edits the whole residual with knowledge of the label. The covariance is shrunk
    (concept-erasure's optimal linear shrinkage), because there are about as many texts as dimensions.
    """
    import torch
    from concept_erasure import LeaceEraser

    task, training = board.task, board.probes.training
    x = torch.from_numpy(residuals.residuals[task.rows[training.balanced]].astype(np.float64))
    z = torch.from_numpy(task.spurious_label[training.balanced].astype(np.float64))
    eraser = LeaceEraser.fit(x, z, shrinkage=True)
    return edited_score(board, eraser(torch.from_numpy(residuals.residuals[board.rows].astype(np.float64))).numpy())


def attribute_words(texts: Sequence[str], view: ShiftBoard, *, top: int = TOP_WORDS, prior: float = 1.0) -> list[str]:
    """Words that tell the spurious label: the ``top`` largest |log odds ratio| of document frequency, smoothed by ``prior``.

    ``texts`` are all texts of the recording. Counted on the balanced training texts, once per text, in lower case; words in
    fewer than 5 texts are left out. The ratio is divided by its standard error, so that rare words do not win.
    """
    task, training = view.task, view.probes.training
    counts = {True: Counter[str](), False: Counter[str]()}
    sizes = Counter[bool]()
    for i in training.balanced:
        label = bool(task.spurious_label[i])
        counts[label].update({w.lower() for w in _WORD.findall(texts[task.rows[i]])})
        sizes[label] += 1
    scores = {}
    for word in counts[True] | counts[False]:
        a, b = counts[True][word], counts[False][word]
        if a + b < 5:
            continue
        up, down = a + prior, b + prior
        rest_up, rest_down = sizes[True] - a + prior, sizes[False] - b + prior
        odds = np.log(up / rest_up) - np.log(down / rest_down)
        scores[word] = abs(odds) / np.sqrt(1 / up + 1 / down + 1 / rest_up + 1 / rest_down)
    return sorted(scores, key=lambda w: (-scores[w], w))[:top]


def without_words(texts: Sequence[str], words: Sequence[str]) -> list[str]:
    """The texts with these words deleted, in any case. A text that would be left without a word keeps a full stop."""
    gone = {w.lower() for w in words}

    def cut(match: re.Match[str]) -> str:
        return "" if match.group().lower() in gone else match.group()

    return [re.sub(r"[ \t]{2,}", " ", _WORD.sub(cut, t)).strip() or "." for t in texts]


def edited_score(board: ShiftBoard, edited: np.ndarray) -> ShiftScore:
    """SHIFT of the board's texts with these pooled residuals [scored texts, d_model] in place of their own."""
    if len(edited) != len(board.rows):
        raise DataError(
            f"{len(edited)} edited texts for {len(board.rows)} scored ones; edit each of them, in the same order"
        )
    return board.score(board.base_logits - board.probes.base.logits(edited), 0)


def _random_latents(
    recording: LatentRecording,
    sets: Sequence[np.ndarray],
    score: Callable[[list[np.ndarray]], Estimate],
    seed: int,
    draws: int,
) -> Control:
    rng = derive_rng(seed, "random latents", recording.sae_fingerprint)
    strength = log_strength(recording)
    values = [score(matched_latents(strength, sets, rng)) for _ in range(draws)]
    kept = [v.value for v in values if v.value is not None]
    if not kept:
        return Control("random latents", undefined(values[0].reason or "undefined"))
    return Control("random latents", Estimate(float(np.mean(kept)), (min(kept), max(kept))))


def log_strength(recording: LatentRecording) -> np.ndarray:
    """float[latents]: log(mean pooled |f| * ||D||); -inf for latents that never fire."""
    mean = np.asarray(abs(recording.latents).mean(axis=0)).ravel() * np.linalg.norm(recording.decoder, axis=1)
    with np.errstate(divide="ignore"):
        return np.log(mean)


def matched_latents(strength: np.ndarray, sets: Sequence[np.ndarray], rng: np.random.Generator) -> list[np.ndarray]:
    """Per set, other live latents: each drawn from the NEAREST ones in ``log_strength`` that no set holds or has drawn.

    Where no latent is left to draw, a set gets fewer.
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
