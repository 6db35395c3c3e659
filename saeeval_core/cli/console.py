"""Output of commands: tables on stdout, progress on stderr, JSON files."""

import json
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.measure import Measurement
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from saeeval_core.errors import ConfigError
from saeeval_core.storage.parse_json import NotJson, parse_json

if TYPE_CHECKING:
    from saeeval_core.recordings.recorder import Progress as RecorderProgress

console = Console(width=min(100, Console().width) if sys.stdout.isatty() else 100, highlight=False)


def print_wide(table: Table) -> None:
    """Print a table as wide as it is: a line of it is never folded, cut or shortened, also in a file or pipe."""
    wide = Console(highlight=False, soft_wrap=True, width=100_000)
    wide.width = max(1, Measurement.get(wide, wide.options, table).maximum)
    wide.print(table)


def print_lines(*lines: str) -> None:
    """Print lines as they are, never folded: a terminal breaks what is too long for it."""
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def finish(path: Path | None, result: Mapping[str, object]) -> None:
    """Write the result to ``path``, or print it when there is none."""
    write_json(path, result)
    if path is None:
        console.print_json(json.dumps(result))


def read_json(path: Path) -> Any:
    """The content of a result file; ConfigError if it is not JSON."""
    try:
        return parse_json(path.read_bytes())
    except NotJson as error:
        raise ConfigError(f"'{path}' is not JSON ({error}); give a file written by saeeval run --json") from None


def write_json(path: Path | None, value: object) -> None:
    """Write plain JSON values to a file, whose folder is made; nothing without a path. ValueError for NaN."""
    if path is not None:
        from saeeval_core.storage.artifacts import write_atomic

        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, json.dumps(value, indent=1, allow_nan=False).encode())


def command_line() -> str:
    """The command as typed, with the last part of each path only, because it is stored in results that others read."""
    words = [Path(w).name if "/" in w and Path(w).parent.exists() else w for w in sys.argv[1:]]
    return shlex.join(["saeeval", *words])


@contextmanager
def bar(label: str) -> Iterator[Callable[..., None]]:
    """Progress with the time left, on stderr: yields advance(done, total, what=""). It is gone where work fails."""
    with _progress(label, "label") as shown:
        task = shown.add_task("", total=None, label="")
        try:
            yield lambda done, total, what="": shown.update(task, completed=done, total=total, label=what)
        except BaseException:
            shown.live.transient = True  # an error is one line, not a bar and a line
            raise


@contextmanager
def recording_bar() -> Iterator[Callable[["RecorderProgress"], None]]:
    """The same for a pass over texts, with its rate; appears only when a recording must be made."""
    shown = _progress("recording", "rate", transient=True)
    tasks = []

    def on_progress(p: "RecorderProgress") -> None:
        if not tasks:
            shown.start()
            tasks.append(shown.add_task("recording", total=p.total, rate=""))
        shown.update(tasks[0], completed=p.done, rate=f"{p.done / max(p.seconds, 1e-9):.0f} tok/s")

    try:
        yield on_progress
    finally:
        shown.stop()


def _progress(label: str, field: str, *, transient: bool = False) -> Progress:
    columns = TextColumn(label), BarColumn(), TextColumn(f"{{task.percentage:>3.0f}}% {{task.fields[{field}]}}")
    err = Console(stderr=True)
    # A file or pipe takes the lines of errors and notices alone.
    return Progress(*columns, TimeRemainingColumn(), console=err, transient=transient, disable=not err.is_terminal)
