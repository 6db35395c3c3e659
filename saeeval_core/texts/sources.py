"""Sources of labelled texts: bundled sets, the installed news corpus, a file, or the Hub; and their named tasks."""

from dataclasses import replace
from pathlib import Path

from saeeval_core.config import assets_dir
from saeeval_core.errors import ArtifactError, DataError, unknown_name
from saeeval_core.storage.json_files import read_json
from saeeval_core.storage.manifest import check_file
from saeeval_core.texts.choices import TaskLabels
from saeeval_core.texts.files import LARGE, Bounds, from_frame, read_frame, read_table, stem
from saeeval_core.texts.hub_tasks import HUB_TASKS, download, hub_task
from saeeval_core.texts.labelled import LabelledTexts
from saeeval_core.texts.news import news
from saeeval_core.texts.own import OWN, kept_tasks, open_task
from saeeval_core.texts.tables import FileForm
from saeeval_core.texts.tasks import Contrast, TaskSet, with_labels

BUNDLED_TASKS = ("bios", "reviews", "news")


def load_task_set(name: str) -> TaskSet:
    """A bundled task ("bios", "reviews", "news"), a named Hub task or "own:NAME", each with ":PAIR" to keep one pair.

    PAIR is "positive/negative" of the target label, such as ``bios:surgeon/nurse``. DataError for an unknown task or
    pair, and for texts that cannot be loaded.
    """
    if name.startswith(f"{OWN}:"):
        _, own, pair = (*name.split(":", 2), "")[:3]
        return _only_pair(open_task(own), own, pair)
    name, _, pair = name.partition(":")
    if name in ("bios", "reviews"):
        found = _bundled(name)
    elif name == "news":
        found = news()
    elif name in HUB_TASKS:
        found = hub_task(name)
    else:
        hint = "for a file of your own use --texts FILE, or keep it with: saeeval task add"
        raise DataError(
            unknown_name("task", name, [*BUNDLED_TASKS, *HUB_TASKS, *(f"{OWN}:{t.name}" for t in kept_tasks())], hint)
        )
    return _only_pair(found, name, pair)


def _only_pair(found: TaskSet, name: str, pair: str) -> TaskSet:
    """The same texts with one SHIFT pair; all of them for pair "". DataError names the pairs there are."""
    if not pair:
        return found
    names = {str(target): (target, spurious) for target, spurious in found.pairs}
    if pair not in names:
        raise DataError(unknown_name(f"pair of '{name}'", pair, names))
    return TaskSet(found.texts, (names[pair],), found.tpp, found.small)


def file_task_set(
    path: Path,
    text_column: str,
    *,
    target: str = "",
    spurious: str = "",
    classes: str = "",
    group_column: str = "",
    form: FileForm = FileForm(),
) -> TaskSet:
    """The tasks of a file; labels as COLUMN=POSITIVE,NEGATIVE and COLUMN=A,B,C.

    DataError for a file or labels that cannot be used.
    """
    return with_labels(
        read_texts(path, text_column, group_column, form=form), TaskLabels.read(target, spurious, classes)
    )


def hub_task_set(
    repo: str, text_column: str, *, target: str = "", spurious: str = "", classes: str = "", group_column: str = ""
) -> TaskSet:
    """The tasks of any Hub data set, by its columns as in ``file_task_set``. DataError as there."""
    frame = download(repo, None)
    texts = from_frame(frame, repo, text_column, group_column, f"Hub: {repo}")
    return with_labels(texts, TaskLabels.read(target, spurious, classes))


def read_texts(
    path: Path, text_column: str, group_column: str = "", bounds: Bounds = LARGE, form: FileForm = FileForm()
) -> LabelledTexts:
    """Labelled texts of a file. DataError for what ``read_table`` refuses, missing columns or no text."""
    table = read_table(path, bounds, form)
    return from_frame(
        table.frame,
        stem(path),
        text_column,
        group_column,
        f"file: {path.name}",
        notes=table.notes,
        dropped=table.dropped,
    )


def _bundled(name: str) -> TaskSet:
    path = assets_dir() / "texts" / f"{name}.parquet"
    if not path.exists():
        raise DataError(
            f"the bundled texts '{name}' are missing from {path.parent}; run: saeeval build-bundle --step texts"
        )
    try:
        check_file(path)
        check_file(path.with_suffix(".json"))
        about = read_json(path.with_suffix(".json"))
    except ArtifactError as error:
        raise DataError(f"the bundled texts '{name}' cannot be used: {error}") from None
    frame = read_frame(path)
    texts = from_frame(frame, name, "text", "", about.get("source", "rendered from hand-written patterns"))
    texts = replace(texts, composed=True)
    target, spurious = about["target"], about["spurious"]
    pairs = tuple(
        (Contrast(target, *pair), Contrast(spurious["column"], spurious["positive"], spurious["negative"]))
        for pair in about["pairs"]
    )
    return TaskSet(texts, pairs, (target, tuple(sorted(set(texts.columns[target].tolist())))))
