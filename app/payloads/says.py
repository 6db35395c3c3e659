"""What the lab says is to be done: what the probe should read, what it cheats on, and so what to ablate."""

from dataclasses import dataclass

from app.deciding.lab import Lab
from saeeval_core.texts.tasks import Contrast


@dataclass(frozen=True)
class Says:
    """The two labels of a direction, in words."""

    target: str
    """Column that the probe should read, such as "profession"."""
    target_values: str
    """Such as "professor or teacher"."""
    spurious: str
    """Column that it cheats on."""
    spurious_values: str


def says(lab: Lab) -> Says:
    """Of the lab's direction."""
    task = lab.direction.task
    return Says(task.target.column, _values(task.target), task.spurious.column, _values(task.spurious))


def _values(of: Contrast) -> str:
    return f"{of.positive} or {of.negative}"
