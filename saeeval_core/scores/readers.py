"""Readers: fresh probes, fitted on residuals from which latents were ablated (docs/method.md, "Is it gone?").

    ridge      least squares on -1 and 1 (a linear discriminant), exact in closed form for every set (the default)
    logistic   L2 logistic regression with the C of the clean probe
    rbf        support vector machine with a Gaussian kernel: not linear

Ablating k latents changes pooled residuals by a product of rank k, codes times decoder rows. So the training texts are
turned onto their principal axes once (``Ground``), and the ridge reader of a set solves 2k equations. The other two fit
the ablated residuals anew: slower, on request.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import numpy as np

from saeeval_core.errors import ConfigError, unknown_name
from saeeval_core.scores.probes import refit_logistic
from saeeval_core.scores.threads import one_thread

RIDGE, LOGISTIC, RBF = "ridge", "logistic", "rbf"
READERS = (RIDGE, LOGISTIC, RBF)
STRENGTHS = np.logspace(-4, 1, 11)
"""Ridge penalties per text, on standardised coordinates."""
_RANK = 1e-10
"""Axes with less than this share of the largest one's variance are left out."""
_ROUNDING = 1e-6
"""Pooled latents and decoder rows are single precision."""
_RBF_C = 10.0
_SMALL = 4_000_000
"""Products with fewer numbers than this are faster in one thread."""


@dataclass(frozen=True, eq=False)
class Edit:
    """What ablation takes from pooled residuals: codes times rows. k = 0 takes nothing."""

    codes: np.ndarray
    """float64[texts, k]: pooled latents of the set."""
    rows: np.ndarray
    """float64[k, d_model]: their decoder rows."""

    def only(self, places: Sequence[int]) -> "Edit":
        """The same with these latents of the set alone, int[fewer]: places in it, not ids."""
        return Edit(self.codes[:, places], self.rows[places])

    def of(self, residuals: np.ndarray) -> np.ndarray:
        """float64[texts, d_model]: residuals float[texts, d_model] after ablation."""
        return residuals.astype(np.float64) - self.codes @ self.rows


def nothing(residuals: np.ndarray) -> Edit:
    """The edit that takes nothing from residuals float[texts, d_model]."""
    return Edit(np.zeros((len(residuals), 0)), np.zeros((0, residuals.shape[1])))


class Fresh(Protocol):
    """Fitted fresh probes, one per label."""

    def logits(self, residuals: np.ndarray, edit: Edit) -> np.ndarray:
        """float64[texts, labels] of residuals float[texts, d_model], ablated by ``edit`` (of the same texts)."""
        ...


@dataclass(frozen=True, eq=False)
class Linear:
    """Linear fresh probes on raw residuals."""

    weight: np.ndarray
    """float64[d_model, labels]"""
    bias: np.ndarray
    """float64[labels]"""

    def logits(self, residuals: np.ndarray, edit: Edit) -> np.ndarray:
        """As ``Fresh.logits``; the ablated residuals are never made."""
        return residuals.astype(np.float64) @ self.weight + self.bias - edit.codes @ (edit.rows @ self.weight)


@dataclass(frozen=True, eq=False)
class Ground:
    """The training texts of fresh probes and what is to be read of them; all fits share one turn onto the axes."""

    residuals: np.ndarray
    """float[texts, d_model]: clean pooled residuals."""
    labels: np.ndarray
    """bool[texts, labels]"""
    share: np.ndarray
    """float64[texts]: weight of each text, summing to their number; every class or quadrant weighs the same."""
    c: tuple[float | None, ...]
    """Per label the inverse L2 strength of the clean probe, which the logistic reader takes."""
    axes: "Axes"

    @classmethod
    def of(cls, residuals: np.ndarray, labels: np.ndarray, share: np.ndarray, c: Sequence[float | None]) -> "Ground":
        """Of clean residuals float[texts, d_model], labels bool[texts, labels], share float64[texts] and each C."""
        return cls(residuals, labels, share, tuple(c), Axes.of(residuals, share))

    def swapped(self) -> "Ground":
        """The same texts with the labels in the opposite order."""
        return replace(self, labels=self.labels[:, ::-1], c=self.c[::-1])

    @property
    def nothing(self) -> Edit:
        """The edit of the training texts that takes nothing."""
        return nothing(self.residuals)

    def fit(self, edit: Edit, reader: str = RIDGE) -> Fresh:
        """Fresh probes after ``edit`` of the training texts.

        ConfigError for an unknown reader, and for the logistic one where the protocol's probes have no C.
        """
        if reader not in READERS:
            raise ConfigError(unknown_name("reader", reader, READERS))
        with one_thread() if self.residuals.size < _SMALL else nullcontext():
            return {RIDGE: self._ridge, LOGISTIC: self._logistic, RBF: self._rbf}[reader](edit)

    def weights(self, label: int) -> np.ndarray:
        """float64[texts] summing to their number: half on the label's positives, half on its negatives."""
        sides = np.stack([self.labels[:, label], ~self.labels[:, label]]) * self.share
        return np.asarray((sides / sides.sum(1, keepdims=True)).sum(0)) * (len(self.share) / 2)

    @cached_property
    def strength(self) -> np.ndarray:
        """float64[labels]: the ridge penalty per text that separates clean texts best when each is left out in turn.

        Separation: difference of the two sides' mean prediction over the root of their summed variances.
        """
        found = [[self._separation(j, z) for j, z in enumerate(self.left_out(s).T)] for s in STRENGTHS]
        return STRENGTHS[np.argmax(found, axis=0)]

    def left_out(self, strength: float) -> np.ndarray:
        """float64[texts, labels]: what the ridge reader of all other clean texts predicts for each text, about -1 or 1."""
        axes, n = self.axes, len(self.share)
        shrunk = 1 / (axes.spread + strength * n)
        own = axes.coordinates**2 @ shrunk + self.share / n
        fitted = axes.coordinates @ (shrunk[:, None] * self._pull)
        error = (self._target - fitted) / (1 - own)[:, None]
        return np.where(self.labels, 1.0, -1.0) - error / np.sqrt(self.share)[:, None]

    @cached_property
    def _target(self) -> np.ndarray:
        return self._centred(np.where(self.labels, 1.0, -1.0))

    @cached_property
    def _pull(self) -> np.ndarray:
        """float64[axes, labels]: what draws the weights of clean probes."""
        return self.axes.coordinates.T @ self._target

    def _centred(self, values: np.ndarray) -> np.ndarray:
        """float64[texts, columns]: less their weighted mean, times the root of the text's weight."""
        middle = self.share @ values / len(self.share)
        return (values - middle) * np.sqrt(self.share)[:, None]

    def _separation(self, label: int, z: np.ndarray) -> float:
        weights, sides = self.weights(label), (self.labels[:, label], ~self.labels[:, label])
        means = [np.average(z[s], weights=weights[s]) for s in sides]
        spread = sum(np.average((z[s] - m) ** 2, weights=weights[s]) for s, m in zip(sides, means, strict=True))
        return float((means[0] - means[1]) / np.sqrt(max(spread, 1e-300)))

    def _ridge(self, edit: Edit) -> Linear:
        """(Q - F B)'(Q - F B) = Q'Q + U M U', with Q'Q diagonal on the axes and U the 2k directions that change."""
        axes, n, k = self.axes, len(self.share), len(edit.rows)
        codes = self._centred(edit.codes)
        rows, extra = axes.rows(edit.rows)
        added = np.zeros((extra.shape[1], k))
        spread = np.append(axes.spread, added[:, :1] if k else [])
        changed = np.hstack([np.vstack([axes.coordinates.T @ codes, added]), rows.T])
        pull = np.vstack([self._pull, np.zeros((len(added), self._pull.shape[1]))]) - rows.T @ (codes.T @ self._target)
        # Where the two sides have the same mean but for rounding, there is nothing that a linear probe could read.
        pull[:, np.linalg.norm(pull, axis=0) <= _ROUNDING * np.linalg.norm(self._pull, axis=0)] = 0
        # M = [[0, -1], [-1, F'F]] for U = [Q'F, B'].
        inverse = np.block([[-(codes.T @ codes), -np.eye(k)], [-np.eye(k), np.zeros((k, k))]])
        weight = np.empty_like(pull)
        for j, strength in enumerate(self.strength):
            shrunk = 1 / (spread + strength * n)
            small = inverse + changed.T @ (shrunk[:, None] * changed)
            weight[:, j] = shrunk * (pull[:, j] - changed @ np.linalg.solve(small, changed.T @ (shrunk * pull[:, j])))
        inside = len(axes.spread)
        raw = (axes.directions @ weight[:inside] + extra @ weight[inside:]) / axes.scale[:, None]
        return Linear(raw, self._halfway(raw, edit))

    @cached_property
    def _balanced(self) -> np.ndarray:
        """float64[labels, texts]: averages the means of a label's two sides."""
        return np.stack([self.weights(j) for j in range(self.labels.shape[1])]) / len(self.share)

    @cached_property
    def _middle(self) -> np.ndarray:
        """float64[labels, d_model]: halfway between the means of a label's two sides, on clean texts."""
        return self._balanced @ self.residuals.astype(np.float64)

    def _halfway(self, weight: np.ndarray, edit: Edit) -> np.ndarray:
        """float64[labels]: the bias with which 0 lies halfway between the two sides' mean logits."""
        middle = self._middle - (self._balanced @ edit.codes) @ edit.rows
        return -np.einsum("jd,dj->j", middle, weight)

    def _logistic(self, edit: Edit) -> Linear:
        x, probes = edit.of(self.residuals), []
        for j, own in enumerate(self.c):
            if own is None:
                raise ConfigError("the logistic reader needs probes with C; choose --protocol robust or another reader")
            probes.append(refit_logistic(x, self.labels[:, j], own, self.weights(j)))
        return Linear(np.stack([p.weight for p in probes], axis=1), np.array([p.bias for p in probes]))

    def _rbf(self, edit: Edit) -> "Kernel":
        from sklearn.svm import SVC

        x = self.axes.standardised(edit.of(self.residuals))
        gamma = 1 / (x.shape[1] * max(float(x.var()), 1e-12))
        machines = [
            SVC(C=_RBF_C, gamma=gamma).fit(x, own.copy(), sample_weight=self.weights(j))
            for j, own in enumerate(self.labels.T)
        ]
        return Kernel(self.axes, tuple(machines))


@dataclass(frozen=True, eq=False)
class Axes:
    """Standardised texts on their principal axes."""

    mean: np.ndarray
    """float64[d_model]: weighted by text, as all below."""
    scale: np.ndarray
    """float64[d_model]: standard deviations; 1 for a constant coordinate."""
    directions: np.ndarray
    """float64[d_model, axes]: orthonormal; fewer than d_model where the texts span less."""
    coordinates: np.ndarray
    """float64[texts, axes]: times the root of the text's weight."""
    spread: np.ndarray
    """float64[axes]: sum over texts of the squared coordinate."""

    @classmethod
    def of(cls, residuals: np.ndarray, share: np.ndarray) -> "Axes":
        """Of clean residuals float[texts, d_model] with weights float64[texts]."""
        x = residuals.astype(np.float64)
        mean = share @ x / len(x)
        scale = np.sqrt(share @ (x - mean) ** 2 / len(x))
        scale[scale == 0] = 1
        x = (x - mean) / scale * np.sqrt(share)[:, None]
        fewer = len(x) < x.shape[1]
        spread, turned = np.linalg.eigh(x @ x.T if fewer else x.T @ x)
        kept = spread > max(spread[-1], 1e-300) * _RANK
        spread, turned = spread[kept], turned[:, kept]
        directions = x.T @ turned / np.sqrt(spread) if fewer else turned
        return cls(mean, scale, directions, x @ directions, spread)

    def standardised(self, residuals: np.ndarray) -> np.ndarray:
        """float64[texts, d_model]: with the clean texts' mean and scale."""
        return np.asarray((residuals - self.mean) / self.scale)

    def rows(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Decoder rows on the axes float64[k, axes + extra], and the axes that they add float64[d_model, extra]."""
        scaled = rows / self.scale
        inside = scaled @ self.directions
        if self.directions.shape[1] == len(self.mean) or not len(rows):
            return inside, np.zeros((len(self.mean), 0))
        extra, outside = np.linalg.qr((scaled - inside @ self.directions.T).T)
        return np.hstack([inside, outside.T]), extra


@dataclass(frozen=True, eq=False)
class Kernel:
    """Support vector machines, one per label."""

    axes: Axes
    machines: tuple[object, ...]

    def logits(self, residuals: np.ndarray, edit: Edit) -> np.ndarray:
        """As ``Fresh.logits``."""
        x = self.axes.standardised(edit.of(residuals))
        return np.stack([m.decision_function(x) for m in self.machines], axis=1)  # type: ignore[attr-defined]
