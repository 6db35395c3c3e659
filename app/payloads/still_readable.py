"""Whether the concept is gone: what fresh probes still read of the set on screen (components/lab/gone.js)."""

from dataclasses import dataclass

from app.deciding.lab import Lab
from app.services import fresh_reader
from saeeval_core.scores.uncertainty import Estimate

_HOW = (
    "A fresh probe ({reader}) is fitted on the balanced training texts after the ablation and read on {part} texts. "
    "R = (fresh \u2212 .5) / (clean \u2212 .5): 1 all of it is still there, 0 it is gone. "
    "E = spurious lost \u2212 target lost, each as 1 \u2212 R."
)


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
    carriers: tuple[tuple[int, float], ...] = ()
    how: str = ""


PENDING = Gone(True)
"""Right after a press nothing is read yet: the next press may be on its way, and must not share the processor."""


def gone(lab: Lab, ids: tuple[int, ...]) -> Gone:
    """What fresh probes still read after ablating ``ids``; pending until the background has read it."""
    if not ids:
        return Gone(False, "ablate at least one latent")
    target = lab.direction.task.target.column
    found = fresh_reader.still(lab.desk.name, lab.loaded, lab.direction.pair, target, lab.part, ids)
    if found is None:
        return PENDING
    if found.readable is None:
        return Gone(False, found.problem)
    r = found.readable
    return Gone(
        False,
        spurious=lab.direction.task.spurious.column,
        target=target,
        clean=r.clean,
        old=r.old,
        fresh=r.fresh,
        recoverability=r.recoverability,
        recoverability_target=r.recoverability_target,
        erasure=r.score,
        carriers=found.carriers,
        how=_HOW.format(reader=r.reader, part=lab.part_name),
    )
