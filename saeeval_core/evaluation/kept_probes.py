"""Probes on disk, in the folder of their recording: trained once for a task, protocol and seed."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from saeeval_core.config import Protocol, fingerprint
from saeeval_core.errors import ArtifactError
from saeeval_core.recordings.recording import ResidualRecording
from saeeval_core.scores.probes import Probe
from saeeval_core.storage.artifacts import exists, load_arrays, save_arrays
from saeeval_core.storage.kept import Shelves


@dataclass(frozen=True)
class KeptProbes:
    """The probes of one task on one recording."""

    shelves: Shelves
    residuals: ResidualRecording
    task: Sequence[Any]
    """The metric and the task's identity; JSON values."""
    protocol: Protocol
    seed: int

    @property
    def name(self) -> str:
        """File name without suffix."""
        key = [self.residuals.fingerprint, list(self.task), asdict(self.protocol), self.seed]
        return f"probes-{fingerprint(key)}"

    def get(self, train: Callable[[], list[Probe]]) -> list[Probe]:
        """The stored probes, or else those of ``train``, which are then stored."""
        found = self._load()
        if found is None:
            found = train()
            self._save(found)
        return found

    def _load(self) -> list[Probe] | None:
        for path in self.shelves.places(self.name):
            if exists(path):
                try:
                    a, meta = load_arrays(path)
                except ArtifactError as error:
                    sys.stderr.write(f"stored probes ignored and trained again: {error}\n")
                    continue
                rows = zip(a["weight"], a["bias"], meta["probes"], strict=True)
                return [Probe(w, float(b), **about) for w, b, about in rows]
        return None

    def _save(self, probes: Sequence[Probe]) -> None:
        arrays = {"weight": np.stack([p.weight for p in probes]), "bias": np.array([p.bias for p in probes])}
        about = [{"n_texts": p.n_texts, "c": p.c, "epoch": p.epoch} for p in probes]
        meta = {"kind": "probes", "residuals": self.residuals.fingerprint, "probes": about}
        save_arrays(self.shelves.own / self.name, arrays, meta)
