"""What was found of a followed set, for SHIFT and for TPP, as values and as JSON."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from saeeval_core.scores.uncertainty import Estimate


@dataclass(frozen=True)
class Damage:
    """Means over the predicted tokens but the first of each text."""

    texts: str
    """Which texts, in words."""
    tokens: int
    loss: float
    """Nats per token before the ablation."""
    loss_change: float
    """Nats per token that the ablation adds."""
    kl: float
    """Kullback-Leibler divergence of the ablated model's next-token distribution from the model's own, in nats."""


@dataclass(frozen=True)
class AtHook:
    """What is left of one direction at one hook."""

    hook: str
    base: Estimate
    """Accuracy of C_b, trained there, on the target label before ablation."""
    oracle: Estimate
    accuracy: Estimate
    """Accuracy of C_b there with the set ablated."""
    score: Estimate
    """S there."""
    recoverability: Estimate
    """R of the spurious label: of a fresh probe there, fitted on training texts of a pass with the set ablated."""
    recoverability_target: Estimate
    """R of the target label."""
    selective_erasure: Estimate
    """E there."""


@dataclass(frozen=True)
class Held:
    """One set of SHIFT, followed."""

    sae: str
    pair: str
    direction: str
    part: str
    ablation: str
    reader: str
    """What read the fresh probes, one of ``readers.READERS``."""
    latents: tuple[int, ...]
    """The set, as it was given."""
    exact: Estimate
    """S at the probe's own hook in closed form."""
    hooks: tuple[AtHook, ...]
    damage: Damage | None
    """None: not measured."""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; a number that nobody measured is null."""
        own = {"n_ablated": len(self.latents), "latents": list(self.latents), "exact": self.exact.to_dict()}
        return asdict(self) | own | {"hooks": [_to_json(h) for h in self.hooks]}

    @classmethod
    def of_json(cls, row: Mapping[str, Any]) -> "Held":
        """Inverse of ``to_json``. LookupError, TypeError or ValueError for anything else."""
        hooks = tuple(AtHook(**_of_json(AtHook, h)) for h in row["hooks"])
        damage = None if row["damage"] is None else Damage(**row["damage"])
        more = {"latents": tuple(row["latents"]), "exact": Estimate.of_dict(row["exact"])}
        own = {k: v for k, v in row.items() if k != "n_ablated"}
        return cls(**{**own, **more, "hooks": hooks, "damage": damage})


@dataclass(frozen=True)
class ClassAtHook:
    """What ablating the set of one class does at one hook."""

    name: str
    own: Estimate
    """Loss of balanced accuracy of the class's own probe, trained there."""
    others: Estimate
    """Mean loss of the other probes."""
    recoverability: Estimate
    """R of a fresh probe of the class there."""
    recoverability_others: Estimate
    """Mean R of the other classes."""


@dataclass(frozen=True)
class ClassesAtHook:
    """All followed classes at one hook."""

    hook: str
    score: Estimate
    """TPP there; undefined where not every class is followed."""
    fresh_score: Estimate
    """TPP of fresh probes there."""
    classes: tuple[ClassAtHook, ...]


@dataclass(frozen=True)
class HeldClasses:
    """The sets of TPP's classes, followed."""

    sae: str
    task: str
    part: str
    ablation: str
    reader: str
    n_ablated: Mapping[str, int]
    """Class -> latents ablated, of the classes followed."""
    exact: Estimate
    """TPP at the probes' own hook in closed form."""
    hooks: tuple[ClassesAtHook, ...]
    damage: Mapping[str, Damage]
    """By class; empty: not measured."""

    def to_json(self) -> dict[str, Any]:
        """As ``Held.to_json``."""
        hooks = [{**_to_json(h), "classes": [_to_json(c) for c in h.classes]} for h in self.hooks]
        return asdict(self) | {"exact": self.exact.to_dict(), "hooks": hooks}

    @classmethod
    def of_json(cls, row: Mapping[str, Any]) -> "HeldClasses":
        """Inverse of ``to_json``. LookupError, TypeError or ValueError for anything else."""
        hooks = []
        for h in row["hooks"]:
            classes = tuple(ClassAtHook(**_of_json(ClassAtHook, c)) for c in h["classes"])
            hooks.append(ClassesAtHook(**{**_of_json(ClassesAtHook, h), "classes": classes}))
        damage = {name: Damage(**d) for name, d in row["damage"].items()}
        return cls(**{**row, "exact": Estimate.of_dict(row["exact"]), "hooks": tuple(hooks), "damage": damage})


def _to_json(value: AtHook | ClassAtHook | ClassesAtHook) -> dict[str, Any]:
    return {k: v.to_dict() if isinstance(v, Estimate) else v for k, v in vars(value).items()}


def _of_json(kind: type, row: Mapping[str, Any]) -> dict[str, Any]:
    estimates = {f.name for f in fields(kind) if f.type is Estimate}
    return {k: Estimate.of_dict(v) if k in estimates else v for k, v in row.items()}
