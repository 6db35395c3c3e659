"""The ``about.json`` in the folder of an SAE trained here: how it was trained, and its figures on held-out tokens."""

import json
from dataclasses import dataclass, fields
from pathlib import Path

from saeeval_core.errors import ArtifactError
from saeeval_core.storage.artifacts import write_atomic
from saeeval_core.storage.field_types import require_types
from saeeval_core.storage.json_files import as_artifact, read_json, require
from saeeval_core.storage.manifest import is_as_shipped

ABOUT_FILE = "about.json"


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What is measured on held-out tokens of the training corpus."""

    l0: float | None = None
    """Active latents per token."""
    explained_variance: float | None = None
    """1 - sum|x - x_hat|^2 / sum|x - mean|^2."""
    explained_variance_typical: float | None = None
    """The same without ``massive_tokens``: the figure to compare SAEs by."""
    massive_tokens: int | None = None
    """Tokens beyond ten times the median norm: a few, which make up most of the variance."""
    dead: float | None = None
    """Share of latents that never fire."""
    held_out_tokens: int | None = None


@dataclass(frozen=True, kw_only=True)
class About(Figures):
    """What is known about an SAE's training; None where the file does not say."""

    architecture: str | None = None
    n_latents: int | None = None
    training_samples: int | None = None
    """Samples seen, with repetition."""
    samples: int | None = None
    """Samples of the whole run, of which this may be a checkpoint."""
    checkpoints: int | None = None
    seed: int | None = None
    batch: int | None = None
    lr: float | None = None
    target_l0: float | None = None
    l1: float | None = None
    autocast: bool | None = None
    seconds: int | None = None
    resumed: bool | None = None
    frozen_decoder: bool | None = None
    """True for a trained null: its decoder kept its first, random rows."""
    suite: str | None = None
    """Identity of settings and activations, in an SAE of a suite."""
    # The activations.
    hook: str | None = None
    model: str | None = None
    corpus: str | None = None
    """The texts, in words."""
    corpus_fingerprint: str | None = None
    distinct_tokens: int | None = None
    loss_recovered: float | None = None

    def to_dict(self) -> dict[str, object]:
        """Plain JSON values of what is known."""
        return {f.name: value for f in fields(self) if (value := getattr(self, f.name)) is not None}


def write_about(folder: Path, about: About) -> None:
    """Write the file into an SAE's folder."""
    write_atomic(folder / ABOUT_FILE, json.dumps(about.to_dict(), indent=1).encode())


def read_about(folder: Path) -> About | None:
    """What the file in an SAE's folder says; None if there is none, it cannot be read, or says what cannot be."""
    path = folder / ABOUT_FILE
    try:
        with as_artifact(path):
            require(is_as_shipped(path), "it is damaged")
            content = read_json(path)
            known = {f.name for f in fields(About)}
            return require_types(About(**{k: v for k, v in content.items() if k in known}))
    except ArtifactError:
        return None
