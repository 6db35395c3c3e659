"""SHIFT and TPP scores for sparse autoencoders, exact and fast (arXiv 2411.18895).

The names below are for notebooks and stay as they are (docs/api.md); everything else is private and may change with
any version. They are loaded when they are first used: importing this package loads nothing else.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from saeeval_core.door.live import Ablated
    from saeeval_core.door.objects import dictionary, language_model
    from saeeval_core.door.result import Result
    from saeeval_core.door.score import score
    from saeeval_core.door.task import Task, task
    from saeeval_core.errors import SaeEvalError
    from saeeval_core.scores.uncertainty import Estimate

__version__ = "0.1.0"
__all__ = ["Ablated", "Estimate", "Result", "SaeEvalError", "Task", "dictionary", "language_model", "score", "task"]

_WHERE = {
    "Ablated": "door.live",
    "Estimate": "scores.uncertainty",
    "Result": "door.result",
    "SaeEvalError": "errors",
    "Task": "door.task",
    "dictionary": "door.objects",
    "language_model": "door.objects",
    "score": "door.score",
    "task": "door.task",
}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'; it has {', '.join(__all__)}")
    return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
