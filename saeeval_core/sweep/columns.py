"""The columns of a sweep's rows, and the compact form in which files store them."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from saeeval_core.evaluation.result import Erasure
from saeeval_core.scores.area import TOP_N
from saeeval_core.scores.uncertainty import Estimate
from saeeval_core.storage.field_types import require_types

UNDEFINED = "undefined there"
"""A row does not hold why R or E has no value."""


@dataclass(frozen=True)
class ScoreRow:
    """One score of one SAE or control in one setting: a row of a sweep, of a run or of a published file."""

    sae: str = ""
    role: str = "sae"
    """sae | control | imported (from a published file)"""
    control: str | None = None
    """Name of the control."""
    of: str | None = None
    """SAE the control belongs to; None when it belongs to the task."""
    architecture: str | None = "unknown"
    """None for a control that is not a dictionary."""
    n_latents: int | None = None
    l0: float | None = None
    """Latents active per token."""
    explained_variance: float | None = None
    dead: float | None = None
    """Share of latents that never fire."""
    loss_recovered: float | None = None
    training_tokens: int | None = None
    training_seed: int | None = None
    model: str = ""
    dtype: str = ""
    """Precision of the model in the pass; "" where it is not known, as for the next."""
    kernel: str = ""
    """What multiplied float32 matrices in the pass."""
    hook: str = ""
    """Hook whose activation the probes read."""
    reads: str | None = None
    """Hook that the SAE reads, where it is another one."""
    task: str = ""
    composed: bool = False
    """The texts were written for this tool."""
    small: bool = False
    """The task has few texts, so that intervals are wide."""
    metric: str = ""
    """shift | tpp"""
    variant: str = TOP_N
    """Ablation and area, as saeeval_core.scores.area names them."""
    protocol: str = "robust"
    selection: str = "attribution"
    judge: str | None = None
    """Rater whose verdicts chose the latents."""
    scope: str = "all"
    """One direction of a pair; "all" is the mean over pairs."""
    n: int | None = None
    """None for an area over N."""
    n_ablated: float | None = None
    """Latents really ablated, a mean over directions or classes."""
    part: str = "test"
    value: float | None = None
    ci_low: float | None = None
    """95 % interval, None where there is none."""
    ci_high: float | None = None
    level: str = "test texts"
    """What the interval varies."""
    reason: str | None = None
    """Why there is no value."""
    recoverability: float | None = None
    """What a fresh probe still reads of the concept, as a share; with the next five on top-N rows of one N."""
    recoverability_low: float | None = None
    recoverability_high: float | None = None
    selective_erasure: float | None = None
    """What the concept lost minus what the other labels lost, to fresh probes."""
    selective_erasure_low: float | None = None
    selective_erasure_high: float | None = None
    edit_size: float | None = None
    """Share of whitened variance that ablation removes."""
    pairs: int | None = None
    """SHIFT pairs averaged over."""
    left_out: int | None = None
    """Undefined directions left out of the mean."""
    note: str | None = None
    """What a reader must know of the SAE on this model before its scores."""
    status: str = "ok"
    """ok | failed"""
    error: str | None = None
    node: str | None = None
    """Where it failed: nodes of a cluster; None is this machine."""
    seed: int | None = None
    fingerprint: str = ""
    """Fingerprint of everything the row depends on."""

    @property
    def estimate(self) -> Estimate:
        """The score with its interval, or why there is none."""
        ci = None if self.ci_low is None or self.ci_high is None else (self.ci_low, self.ci_high)
        return Estimate(self.value, ci, self.reason)

    @property
    def erasure(self) -> Erasure | None:
        """What fresh probes read; None where it was not measured, as in files of earlier versions."""
        own = self.recoverability, self.selective_erasure, self.edit_size
        if all(v is None for v in own):
            return None
        kept, erased = (
            Estimate(own[k], None if low is None or high is None else (low, high), UNDEFINED)
            for k, low, high in (
                (0, self.recoverability_low, self.recoverability_high),
                (1, self.selective_erasure_low, self.selective_erasure_high),
            )
        )
        return Erasure(kept, erased, self.edit_size)

    @classmethod
    def of_file(cls, row: Mapping[str, Any], **more: object) -> Self:
        """From a row of a file: columns it lacks are blank, unknown columns are ignored. ValueError for an odd value."""
        known = {f.name for f in fields(cls)}
        return require_types(cls(**{k: v for k, v in row.items() if k in known}, **more))


def cells(score: Estimate) -> dict[str, Any]:
    """The columns of an estimate."""
    low, high = score.ci or (None, None)
    return {"value": score.value, "ci_low": low, "ci_high": high, "reason": score.reason}


def erasure_cells(e: Erasure) -> dict[str, Any]:
    """The columns of what fresh probes read."""
    out: dict[str, Any] = {"edit_size": e.edit_size}
    for name, own in (("recoverability", e.recoverability), ("selective_erasure", e.selective_erasure)):
        low, high = own.ci or (None, None)
        out |= {name: own.value, f"{name}_low": low, f"{name}_high": high}
    return out


BLANK: Mapping[str, Any] = asdict(ScoreRow())
"""A row without values: the columns a sweep writes, so that results of any origin can be compared."""


def pack(rows: Sequence[ScoreRow]) -> dict[str, Any]:
    """{"shared", "rows"} of a sweep's file: values that all rows share, and per row what differs from them or BLANK."""
    every = [asdict(r) for r in rows]
    shared = {k: every[0][k] for k in BLANK if all(r[k] == every[0][k] for r in every)} if every else {}
    plain = dict(BLANK) | shared
    return {"shared": shared, "rows": [{k: v for k, v in r.items() if k == "sae" or v != plain[k]} for r in every]}
