"""``saeeval task``: tasks of one's own, kept under a name: add, rename, delete, export and import."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from saeeval_core.cli import options as o
from saeeval_core.cli.console import console
from saeeval_core.errors import ConfigError, DataError
from saeeval_core.wording import plural

if TYPE_CHECKING:
    from saeeval_core.texts.own import OwnTask

Named = Annotated[str, typer.Argument(metavar="NAME", help="NAME or NAME-HASH, as saeeval list tasks shows them.")]
app = typer.Typer(
    help="Keep texts of your own as a task: add, rename, delete, export and import.",
    no_args_is_help=True,
    add_completion=False,
)


@app.command()
@o.with_texts
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="1 to 40 of a-z, 0-9 and _.")],
    own: o.TextOptions = o.TextOptions(),
) -> None:
    """Keep a file with its labels as own:NAME; it stays until it is deleted."""
    from saeeval_core.config import RunConfig
    from saeeval_core.texts.choices import TaskLabels
    from saeeval_core.texts.own import keep_task
    from saeeval_core.texts.sources import read_texts
    from saeeval_core.texts.tables import FileForm

    config = RunConfig(**own.settings(""))
    if not config.texts or config.texts.startswith("hub:"):
        raise ConfigError("name the file with --texts FILE, and its labels with --target and --spurious, or --classes")
    path, form = Path(config.texts), FileForm(config.encoding, config.delimiter)
    kept = keep_task(
        name,
        read_texts(path, config.text_column, config.group_column, form=form),
        TaskLabels.read(config.target, config.spurious, config.classes),
        text_column=config.text_column,
        group_column=config.group_column,
        file_name=path.name,
        form=form,
    )
    _say("kept", kept)
    for line in (*kept.notes, *(f"{n:,} not used: {reason}" for reason, n in kept.dropped.items())):
        console.print(f"  {line}", style="dim", markup=False, highlight=False)


@app.command()
def rename(name: Named, new: Annotated[str, typer.Argument(metavar="NEW")]) -> None:
    """Give a task another name; links and commands with its hash still find it."""
    from saeeval_core.texts.own import rename_task

    _say("renamed", rename_task(name, new))


@app.command()
def delete(name: Named) -> None:
    """Remove a task and its texts; what was decided on it stays in the store."""
    from saeeval_core.texts.own import delete_task

    _say("deleted", delete_task(name))


@app.command()
def export(name: Named, out: Annotated[Path | None, typer.Argument(help="File to write.")] = None) -> None:
    """Write a task with its texts as one file, for another machine."""
    from saeeval_core.storage.artifacts import write_atomic
    from saeeval_core.texts.own import export_task

    file_name, content = export_task(name)
    path = out or Path(file_name)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, content)
    console.print(f"wrote {path}", markup=False)


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="File written by saeeval task export.")],
    name: Annotated[str, typer.Option("--name", help="Another name for it here.")] = "",
) -> None:
    """Keep a task that was exported elsewhere."""
    from saeeval_core.texts.files import LARGE
    from saeeval_core.texts.own import import_task

    if not file.is_file():
        raise DataError(f"'{file}' is no file; give one that saeeval task export wrote")
    LARGE.check(file.name, "bytes", file.stat().st_size)
    _say("kept", import_task(file.read_bytes(), name))


def _say(what: str, task: "OwnTask") -> None:
    console.print(f"{what} {task.ref}: {plural(task.texts, 'text')} of {task.source}", markup=False, highlight=False)
