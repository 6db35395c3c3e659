"""Whether the concept is gone: what fresh probes still read of the set on screen and where (components/lab/gone.js), and
of the first latents of the ranking (components/lab/curve.js)."""

from dataclasses import dataclass

from app.deciding.lab import Lab
from app.services import fresh_reader
from app.services.fresh_reader import Where
from saeeval_core.config import DEFAULT_NS
from saeeval_core.scores.uncertainty import Estimate

_HOW = (
    "A fresh probe ({reader}) is fitted on the balanced training texts after the ablation and read on {part} texts. "
    "R = (fresh \u2212 .5) / (clean \u2212 .5): 1 all of it is still there, 0 it is gone. "
    "E = spurious lost \u2212 target lost, each as 1 \u2212 R."
)


@dataclass(frozen=True)
class Part:
    """What is still read in one exact part of the residuals."""

    name: str
    """In plain words."""
    fresh: Estimate
    """Balanced accuracy."""
    recoverability: Estimate


@dataclass(frozen=True)
class Survived:
    """Where it is still read."""

    pending: bool
    """It is being read; ask again."""
    parts: tuple[Part, ...] = ()
    missing: str = ""
    """Why there are fewer parts than could be, or none; "" where nothing is missing."""


@dataclass(frozen=True)
class ErasedPoint:
    """The first n latents of the ranking."""

    n: int
    erasure: Estimate
    recoverability: Estimate
    edit_size: float
    """Share of whitened variance that is removed."""


@dataclass(frozen=True)
class ErasedCurve:
    """Selective erasure against the number of ablated latents."""

    pending: bool
    """It is being read; ask again."""
    points: tuple[ErasedPoint, ...] = ()
    problem: str = ""
    """Why there are none."""


@dataclass(frozen=True)
class Gone:
    """What is still read, as far as it is known."""

    pending: bool
    """It is being read; ask again."""
    problem: str = ""
    spurious: str = ""
    target: str = ""
    clean: Estimate | None = None
    old: Estimate | None = None
    fresh: Estimate | None = None
    recoverability: Estimate | None = None
    recoverability_target: Estimate | None = None
    erasure: Estimate | None = None
    edit_size: float | None = None
    """Share of whitened variance that is removed."""
    carriers: tuple[tuple[int, float], ...] = ()
    survived: Survived | None = None
    """None while nobody asks."""
    how: str = ""


PENDING = Gone(True)
"""Right after a press nothing is read yet: the next press may be on its way, and must not share the processor."""


def gone(lab: Lab, ids: tuple[int, ...], *, parts: bool = False) -> Gone:
    """What fresh probes still read after ablating ``ids``; pending until the background has read it.

    ``parts``: also where.
    """
    if not ids:
        return Gone(False, "ablate at least one latent")
    task = lab.direction.task
    found = fresh_reader.still(lab.desk.name, _where(lab), ids)
    if found is None:
        return PENDING
    if found.readable is None:
        return Gone(False, found.problem)
    r = found.readable
    return Gone(
        False,
        spurious=task.spurious.column,
        target=task.target.column,
        clean=r.clean,
        old=r.old,
        fresh=r.fresh,
        recoverability=r.recoverability,
        recoverability_target=r.recoverability_target,
        erasure=r.score,
        edit_size=found.edit_size,
        carriers=found.carriers,
        survived=_survived(lab, ids) if parts else None,
        how=_HOW.format(reader=r.reader, part=lab.part_name),
    )


def erased_curve(lab: Lab, *, wait: bool) -> ErasedCurve:
    """E of the first latents of the ranking. ``wait``: only what is known already; the rest is asked for later."""
    found = fresh_reader.erased(lab.desk.name, _where(lab), lab.rank, DEFAULT_NS, wait=wait)
    if found is None:
        return ErasedCurve(True)
    read = zip(found.points, found.sizes, strict=True)
    points = tuple(ErasedPoint(n, r.score, r.recoverability, size) for (n, r), size in read)
    return ErasedCurve(False, points, found.problem)


def _survived(lab: Lab, ids: tuple[int, ...]) -> Survived:
    found = fresh_reader.parts(lab.desk.name, _where(lab), ids)
    if found is None:
        return Survived(True)
    parts = tuple(Part(s.part, s.fresh, s.recoverability) for s in found.survivors)
    return Survived(False, parts, found.problem or found.missing)


def _where(lab: Lab) -> Where:
    return Where(lab.loaded, lab.direction.pair, lab.direction.task.target.column, lab.part, lab.alpha)
