"""Texts and labels of a notebook, as a task that can be scored and kept."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from saeeval_core.errors import ConfigError
from saeeval_core.texts.choices import LabelChoice, TaskLabels
from saeeval_core.texts.files import from_frame, label_of
from saeeval_core.texts.frames import frame_of
from saeeval_core.texts.labelled import LabelledTexts, Unused
from saeeval_core.texts.own import check_task
from saeeval_core.texts.sources import read_texts
from saeeval_core.texts.tasks import TaskSet, with_labels

Choice = Mapping[str, Sequence[Any]] | str | None
"""{column: its values}, or "COLUMN=VALUE,VALUE" as on the command line."""


@dataclass(frozen=True, eq=False, repr=False)
class Task:
    """Labelled texts and what is asked about them. Made by ``task``."""

    texts: LabelledTexts
    """Those that have a label of the task."""
    labels: TaskLabels
    text_column: str
    group_column: str = ""

    @property
    def task_set(self) -> TaskSet:
        """The same as the engine takes it."""
        return with_labels(self.texts, self.labels)

    def __repr__(self) -> str:
        asked = (f"{f}: {c}" for f in ("target", "spurious", "classes") if (c := getattr(self.labels, f)) is not None)
        return f"<Task '{self.texts.name}': {len(self.texts.texts):,} texts; {'; '.join(asked)}>"


def task(
    source: Any,
    text: str = "text",
    *,
    target: Choice = None,
    spurious: Choice = None,
    classes: Choice = None,
    group_column: str = "",
    name: str = "texts",
) -> Task:
    """Texts with labels: of a pandas DataFrame, a Hugging Face ``Dataset``, a list of rows, or a file's path.

    ``text`` is the column of the texts. SHIFT needs ``target`` and ``spurious``, each {column: [positive, negative]}; TPP
    needs ``classes``, {column: [A, B, C, ...]}. A column "split" with train, dev and test is respected, and texts of one
    group (an article, an author) stay in one part. DataError where the texts or labels do not make a task.

    >>> import saeeval_core as se
    >>> frame.columns.tolist()
    ['text', 'profession', 'gender', 'meal']
    >>> jobs = se.task(frame, target={"profession": ["nurse", "surgeon"]}, spurious={"gender": ["female", "male"]})
    >>> jobs
    <Task 'texts': 320 texts; target: profession=nurse,surgeon; spurious: gender=female,male>
    >>> se.task(frame, classes={"meal": ["tea", "soup", "cake"]})
    Traceback (most recent call last):
    ...
    saeeval_core.errors.DataError: column 'meal' of 'texts' has no value 'cake'; it has ...
    """
    if isinstance(source, str | Path):
        texts = read_texts(Path(source), text, group_column)
    else:
        where = f"a {type(source).__name__} in memory"
        texts = from_frame(frame_of(source), name, text, group_column, where)
    labels = TaskLabels(*(_choice(n, c) for n, c in (("target", target), ("spurious", spurious), ("classes", classes))))
    found = with_labels(texts, labels)
    used = found.labelled
    if not used.all():
        texts = texts.at(np.flatnonzero(used), {Unused.NO_LABEL: int((~used).sum())})
        found = with_labels(texts, labels)
    check_task(found)
    return Task(texts, labels, text, group_column)


def _choice(name: str, given: Choice) -> LabelChoice | None:
    if given is None or isinstance(given, str):
        return LabelChoice.read(given or "")
    if not isinstance(given, Mapping) or len(given) != 1:
        raise ConfigError(
            f"{name} is {given!r}; give one column with its values, as {{'profession': ['nurse', 'surgeon']}}"
        )
    ((column, values),) = given.items()
    if isinstance(values, str) or not isinstance(values, Sequence | np.ndarray):
        raise ConfigError(f"{name} names column '{column}' with {values!r}; give a list of its values")
    return LabelChoice(str(column), tuple(map(label_of, values)))
