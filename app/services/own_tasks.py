"""Tasks that people keep on this server: the list, a new one from a file, and examples to begin with."""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from app.services import access, uploads
from app.services.shared import shared
from saeeval_core.config import tasks_folder
from saeeval_core.errors import DataError
from saeeval_core.texts.checks import Finding, Quadrant, check_texts, class_counts, quadrants
from saeeval_core.texts.choices import LabelChoice, TaskLabels
from saeeval_core.texts.labelled import LabelledTexts
from saeeval_core.texts.own import OWN, OwnTask, delete_task, keep_task, kept_tasks, rename_task, task_named
from saeeval_core.texts.sources import load_task_set
from saeeval_core.texts.survey import FileFacts
from saeeval_core.texts.tables import FileForm

_EXAMPLE_ROWS = 400


@dataclass(frozen=True)
class SentFile:
    """A file of texts that is being made into a task."""

    path: Path
    name: str
    """As its owner calls it."""
    form: FileForm = FileForm()

    def facts(self) -> FileFacts:
        """What it holds. DataError in the owner's name for it."""
        try:
            return uploads.facts_of(self.path, self.form)
        except DataError as error:
            raise self._named(error) from None

    def texts(self, text_column: str, group_column: str) -> LabelledTexts:
        """Its labelled texts. DataError in the owner's name for it."""
        try:
            return uploads.read_upload(self.path, text_column, group_column, self.form)
        except DataError as error:
            raise self._named(error) from None

    def _named(self, error: DataError) -> DataError:
        """The same in the owner's name for the file, and without the options of the command line."""
        line = str(error).replace(self.path.name, self.name).replace(f"'{self.path.stem}'", f"'{self.name}'")
        return DataError(line.replace("--encoding ", "Encoding ").replace("--delimiter ", "Delimiter "))


@dataclass(frozen=True)
class Mapping:
    """Which column is what, and the labels of the task."""

    text_column: str
    group_column: str
    labels: TaskLabels


@dataclass(frozen=True)
class Checked:
    """What is known of a task before it is kept."""

    texts: int
    quadrants: tuple[Quadrant, ...]
    classes: dict[str, tuple[int, int]]
    """Class -> (different texts, those for training)."""
    findings: tuple[Finding, ...]


def listed() -> tuple[OwnTask, ...]:
    """Every kept task; read again only when the folder has changed, because every page lists them."""
    folder = tasks_folder()
    try:
        return _listed(folder, folder.stat().st_mtime_ns)
    except OSError:
        return ()


@shared(max_entries=4)
def _listed(folder: Path, _changed: int) -> tuple[OwnTask, ...]:
    return kept_tasks(folder)


def counted(file: SentFile, mapping: Mapping) -> Checked:
    """Quadrants and classes only, which is quick. DataError for columns or values that do not occur."""
    texts = file.texts(mapping.text_column, mapping.group_column)
    labels = mapping.labels
    pair = (labels.target, labels.spurious)
    four = quadrants(texts, *pair) if all(_whole(c) for c in pair) else ()  # type: ignore[arg-type]
    return Checked(len(texts.texts), four, class_counts(texts, labels.classes) if labels.classes else {}, ())


def _whole(choice: LabelChoice | None) -> bool:
    return choice is not None and len(choice.values) == 2


@shared(max_entries=16)
def findings(file: SentFile, mapping: Mapping) -> tuple[Finding, ...]:
    """Everything that is odd about the texts, or not. DataError as ``counted``."""
    return check_texts(file.texts(mapping.text_column, mapping.group_column), mapping.labels)


def keep(name: str, file: SentFile, mapping: Mapping) -> OwnTask:
    """Keep the file as a task for everybody on this server. DataError as ``keep_task``."""
    access.demand("keeping tasks")
    facts = file.facts()
    return keep_task(
        name,
        file.texts(mapping.text_column, mapping.group_column),
        mapping.labels,
        text_column=mapping.text_column,
        group_column=mapping.group_column,
        file_name=file.name,
        form=FileForm(facts.encoding, facts.delimiter),
    )


def pointed(path: str) -> SentFile:
    """A file on the machine that runs the server, as typed. SaeEvalError where this server reads none there."""
    access.demand("reading files")
    try:
        found = Path(path).expanduser()
    except RuntimeError as error:  # the home of a user who does not exist
        raise DataError(f"{ascii(path[:60])} can be no path ({error}); give the path of a file") from None
    access.check_file(found)
    return SentFile(found, found.name)


def sent(name: str, content: bytes) -> SentFile:
    """A file from a browser. DataError where it cannot be stored."""
    return SentFile(uploads.keep_upload(name, content), name)


def rename(task: OwnTask, name: str) -> OwnTask:
    """For everybody. DataError as ``own.rename_task``."""
    access.demand("renaming tasks")
    return rename_task(task.ref, name)


def delete(task: OwnTask) -> None:
    """For everybody. DataError as ``own.delete_task``."""
    access.demand("deleting tasks")
    delete_task(task.ref)


def take_in(content: bytes, name: str) -> OwnTask:
    """An exported task, under its own name for "". DataError as ``own.import_task``."""
    ref = uploads.sent(content, uploads.import_kept, name)
    return task_named(ref.split(":", 2)[1], kept_tasks(tasks_folder()))


def stamp(task: str) -> str:
    """What changes when an own task does, "" for others: cached texts are used only with the stamp they were read with.

    DataError for an own task that is not kept here any more.
    """
    if not task.startswith(f"{OWN}:"):
        return ""
    found = task_named(task.split(":", 2)[1], listed())
    return f"{found.identity} {found.name}"


@dataclass(frozen=True)
class Example:
    """A file to download and send back."""

    name: str
    about: str
    content: bytes


@shared(max_entries=1)
def examples() -> tuple[Example, ...]:
    """Three small files made of the bundled composed texts. DataError where those are missing."""
    found = load_task_set("bios")
    target, spurious = found.pairs[0]
    columns = found.texts.columns
    jobs = {target.positive: f"{target.positive}, registered", target.negative: f"{target.negative} (general), MD"}
    frame = pd.DataFrame({"bio": found.texts.texts, **{c: columns[c] for c in (target.column, spurious.column)}})
    pair = frame[frame[target.column].isin(jobs)]
    pair = pair.groupby([target.column, spurious.column], sort=False).head(_EXAMPLE_ROWS // 4)
    named = pair.assign(**{target.column: pair[target.column].map(jobs)})
    return (
        Example("shift.csv", "two labels, for SHIFT", pair.to_csv(index=False).encode()),
        Example(
            "shift_semicolon_latin1.csv",
            "the same with semicolons, commas in labels and Latin-1, as spreadsheets write it",
            named.to_csv(index=False, sep=";").encode("latin-1", "replace"),
        ),
        Example("classes.jsonl", "one label with several classes, for TPP", _classes(frame, target.column)),
    )


def _classes(frame: pd.DataFrame, column: str) -> bytes:
    out = io.StringIO()
    some = frame.iloc[np.sort(np.random.default_rng(0).permutation(len(frame))[: 2 * _EXAMPLE_ROWS])]
    some[["bio", column]].to_json(out, orient="records", lines=True)
    return out.getvalue().encode()
