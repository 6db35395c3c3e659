"""``saeeval store``: check the store of decisions, export it, and merge another one into it."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from saeeval_core.cli import options as o
from saeeval_core.cli.console import console, write_json
from saeeval_core.errors import ArtifactError, DataError
from saeeval_core.wording import plural

app = typer.Typer(help="Check, export and merge the store of decisions.", no_args_is_help=True, add_completion=False)


@app.command()
def check(
    file: Annotated[Path | None, typer.Argument(help="A store, such as a backup; by default your own.")] = None,
    json_path: o.Json = None,
) -> None:
    """Check pages, indexes and the checksum of every row; changes nothing. Exit code 1 if anything is damaged."""
    from saeeval_core.ledger.backups import backups
    from saeeval_core.ledger.examine import examine
    from saeeval_core.ledger.files import default_path

    path = file or default_path()
    if not path.is_file():
        raise DataError(f"there is no store at {path}; give its file, or set SAEEVAL_STORE")
    health, copies = examine(path), backups(path)
    values = {"store": str(path), "sound": health.sound, "faults": list(health.faults), "rows": health.rows}
    values |= {"damaged": health.damaged, "sealed_later": health.sealed_later, "unsealed": health.unsealed}
    write_json(json_path, values | {"torn": health.torn, "backups": [str(b) for b in copies]})
    _print(health.rows, health.damaged)
    for line in (
        f"{plural(health.sealed_later, 'row')} from before checksums, sealed as found" * bool(health.sealed_later),
        f"{plural(health.unsealed, 'row')} without a checksum yet, which comes when saeeval opens the store"
        * bool(health.unsealed),
        "its log ends in a write that was cut off or is damaged" * health.torn,
        f"backups: {len(copies)}, the newest {copies[-1]}" if copies else "backups: none",
    ):
        if line:
            console.print(line, markup=False, soft_wrap=True)
    if not health.sound:
        more = f" and {len(health.faults) - 1} more" if len(health.faults) > 1 else ""
        raise ArtifactError(f"{path} is damaged: {health.faults[0]}{more}; saeeval app repairs it and keeps it aside")
    console.print(f"{path} is sound", markup=False, soft_wrap=True)


@app.command()
def export(
    out: Annotated[Path, typer.Argument(help="File of JSON lines to write; saeeval store merge reads it.")],
    json_path: o.Json = None,
) -> None:
    """Write everything in the store to one file."""
    from saeeval_core.ledger.exchange import export as write
    from saeeval_core.ledger.store import Store
    from saeeval_core.ledger.tables import said

    store = Store()
    if out.exists() and (out.is_dir() or out.samefile(store.path)):
        raise DataError(f"'{out}' is a folder or the store itself; name a file to write")
    rows = write(store.path, out)
    write_json(json_path, {"store": str(store.path), "file": str(out), "rows": rows})
    console.print(f"{out}: {said(rows)}", markup=False, soft_wrap=True)


@app.command()
def merge(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Stores, backups or exported files.")],
    json_path: o.Json = None,
) -> None:
    """Take what other stores hold into yours: each row once, nothing overwritten."""
    from saeeval_core.ledger.exchange import read_contents
    from saeeval_core.ledger.merge import merge as take
    from saeeval_core.ledger.store import Store
    from saeeval_core.ledger.tables import said

    store, done = Store(), []
    for file in files:
        if file.exists() and file.samefile(store.path):
            raise DataError(f"'{file}' is the store itself; give another one")
    for file, contents in [(f, read_contents(f)) for f in files]:  # all are read before anything is written
        merged = take(store, contents)
        done.append({"file": str(file), **vars(merged)})
        console.print(f"{file}: {said(merged.added)} added", markup=False, soft_wrap=True)
        for name in merged.apart:
            console.print(f"  kept apart: {name}", markup=False, soft_wrap=True)
        if merged.left_out:
            console.print(
                f"  left out: {plural(merged.left_out, 'row')} of sets that the file does not hold", markup=False
            )
    write_json(json_path, {"store": str(store.path), "merged": done})


def _print(rows: dict[str, int], damaged: dict[str, int]) -> None:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("rows", "sound", "damaged"):
        table.add_column(column, justify="left" if column == "rows" else "right")
    for name in {**rows, **damaged}:
        table.add_row(name.replace("_", " "), str(rows.get(name, 0)), str(damaged.get(name, 0)))
    if rows or damaged:
        console.print(table)
