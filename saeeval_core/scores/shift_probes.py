"""The three probes of one SHIFT direction: the biased probe C_b, the oracle probe and the attribute probe."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from saeeval_core.config import Protocol
from saeeval_core.recordings.recording import ResidualRecording
from saeeval_core.scores.probes import Probe, fit_probe
from saeeval_core.texts.parts import TEST
from saeeval_core.texts.tasks import DrawnPair, ShiftTraining


@dataclass(frozen=True)
class ShiftProbes:
    """The three probes of one direction."""

    training: ShiftTraining
    base: Probe
    """C_b: trained where both labels agree."""
    oracle: Probe
    """Target label on balanced texts."""
    attribute: Probe
    """Spurious label on balanced texts; its attribution ranks the latents."""

    def swapped(self) -> "ShiftProbes":
        """Probes of the other direction: C_b is the same, oracle and attribute probe change places."""
        return ShiftProbes(self.training, self.base, self.attribute, self.oracle)


FitProbe = Callable[[np.ndarray, np.ndarray, str], Probe]
"""(positions in the task int[texts], labels bool[texts], "base" | "oracle" | "attribute") -> probe on these texts."""


def fit_three(pair: DrawnPair, fit: FitProbe) -> ShiftProbes:
    """C_b on the biased texts, oracle and attribute probe on the balanced ones, each fitted by ``fit``."""
    task, training = pair.task, pair.training

    def on(texts: np.ndarray, label: np.ndarray, name: str) -> Probe:
        return fit(texts, label[texts], name)

    return ShiftProbes(
        training,
        base=on(training.biased, task.target_label, "base"),
        oracle=on(training.balanced, task.target_label, "oracle"),
        attribute=on(training.balanced, task.spurious_label, "attribute"),
    )


def fit_shift_probes(residuals: ResidualRecording, pair: DrawnPair, protocol: Protocol, *, seed: int) -> ShiftProbes:
    """Train C_b, oracle and attribute probe of one pair as the protocol says. DataError for a text without tokens."""
    task = pair.task
    x, held = residuals.residuals[task.rows], task.part == TEST
    # SAEBench chooses the epoch on the probe's own test texts: for C_b those where both labels agree.
    own_test = {"base": held & (task.target_label == task.spurious_label), "oracle": held, "attribute": held}
    of = {"base": task.target_label, "oracle": task.target_label, "attribute": task.spurious_label}

    def fit(texts: np.ndarray, labels: np.ndarray, name: str) -> Probe:
        test = (x[own_test[name]], of[name][own_test[name]])
        return fit_probe(x[texts], labels, task.quadrant[texts], protocol, seed=seed, test=test)

    return fit_three(pair, fit)
