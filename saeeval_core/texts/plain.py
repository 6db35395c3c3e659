"""Texts with their tasks as plain JSON values, for a process that cannot read where they came from."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np

from saeeval_core.texts.labelled import LabelledTexts
from saeeval_core.texts.tasks import Contrast, TaskSet

_ARRAYS = ("split", "group")


def to_plain(task_set: TaskSet) -> dict[str, Any]:
    """Everything that decides what is recorded and scored; tasks whose parts are fixed lose them."""
    texts = {f.name: getattr(task_set.texts, f.name) for f in fields(LabelledTexts)}
    texts |= {name: _list(texts[name]) for name in _ARRAYS}
    texts["columns"] = {name: _list(values) for name, values in texts["columns"].items()}
    texts |= {name: dict(texts[name]) for name in ("dropped", "unusable")}
    return {
        "texts": texts,
        "pairs": [[vars(c) for c in pair] for pair in task_set.pairs],
        "tpp": task_set.tpp,
        "small": task_set.small,
    }


def of_plain(values: Mapping[str, Any]) -> TaskSet:
    """Inverse of ``to_plain``, after JSON too."""
    own = dict(values["texts"])
    own |= {name: _array(own[name]) for name in _ARRAYS}
    own["columns"] = {name: _array(column) for name, column in own["columns"].items()}
    own |= {name: tuple(own[name]) for name in ("texts", "notes")}
    pairs = tuple((Contrast(**t), Contrast(**a)) for t, a in values["pairs"])
    tpp = None if values["tpp"] is None else (values["tpp"][0], tuple(values["tpp"][1]))
    return TaskSet(LabelledTexts(**own), pairs, tpp, values["small"])


def _list(values: np.ndarray | None) -> list[Any] | None:
    return None if values is None else [values.dtype.kind, values.tolist()]


def _array(values: list[Any] | None) -> np.ndarray | None:
    return None if values is None else np.array(values[1], dtype=object if values[0] == "O" else str)
