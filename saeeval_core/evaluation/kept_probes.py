"""Probes on disk, in the folder of their recording: trained once for a task, protocol and seed."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from saeeval_core.config import Protocol, fingerprint
from saeeval_core.recordings.recording import ResidualRecording
from saeeval_core.scores.probes import Probe
from saeeval_core.storage.artifacts import load_arrays, save_arrays
from saeeval_core.storage.json_files import as_artifact, require, typed
from saeeval_core.storage.kept import Shelves
from saeeval_core.storage.notices import try_to_store


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
        return self.shelves.first(self.name, "probes", self._read)

    def _read(self, path: Path) -> list[Probe]:
        a, meta = load_arrays(path)
        with as_artifact(path):
            require(meta["kind"] == "probes", f"it holds '{meta['kind']}', expected 'probes'")
            require(meta["residuals"] == self.residuals.fingerprint, "its probes belong to another recording")
            weight, bias, about = a["weight"], a["bias"], typed(meta, "probes", list)
            width = self.residuals.residuals.shape[1]
            require(weight.dtype == bias.dtype == np.float64, f"its weights are {weight.dtype}, expected float64")
            expected = (len(about), width), (len(about),)
            require((weight.shape, bias.shape) == expected, f"its weights have shape {weight.shape}")
            rows = zip(weight, bias, about, strict=True)
            return [Probe(w, float(b), typed(own, "n_texts", int), own["c"], own["epoch"]) for w, b, own in rows]

    def _save(self, probes: Sequence[Probe]) -> None:
        arrays = {"weight": np.stack([p.weight for p in probes]), "bias": np.array([p.bias for p in probes])}
        about = [{"n_texts": p.n_texts, "c": p.c, "epoch": p.epoch} for p in probes]
        meta = {"kind": "probes", "residuals": self.residuals.fingerprint, "probes": about}
        path = self.shelves.own / self.name
        try_to_store(f"probes in {path.parent}", lambda: save_arrays(path, arrays, meta))
