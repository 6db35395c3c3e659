"""What this server lets people do: everything on a laptop; less where ``saeeval serve`` says so.

Asked at the border of every service that changes, fetches or reads something, so that no press, link or websocket value
gets around a control that is drawn locked.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from saeeval_core.config import RunConfig
from saeeval_core.errors import ConfigError, DataError
from saeeval_core.ledger.connection import default_path
from saeeval_core.ledger.store import Store
from saeeval_core.models.memory_names import memory_label
from saeeval_core.saes.placed import split
from saeeval_core.texts.own import OWN
from saeeval_core.texts.sources import BUNDLED_TASKS

READ_ONLY = "this server is read-only"
JUDGE_URL = "SAEEVAL_JUDGE_URL"
"""Variable of the environment with the address of a judge's server; on a lab's server no other may be asked."""


@dataclass(frozen=True)
class Access:
    """The rules of one server."""

    read_only: bool = False
    """No decision, upload, run, reading of texts, download or judge."""
    roots: tuple[Path, ...] | None = None
    """Folders below which models and SAEs may lie, besides the bundled ones; None: anywhere."""
    accounts: bool = False
    """People are who they logged in as."""


_now = Access()


def rules() -> Access:
    """The rules in force."""
    return _now


def put(rules: Access) -> None:
    """Set the rules, once, before the server answers."""
    global _now
    _now = rules


def why_not(what: str) -> str:
    """Why ``what`` (as in "deciding") is switched off, in one line; "" when it is not."""
    return f"{READ_ONLY}: {what} is switched off" if _now.read_only else ""


def demand(what: str) -> None:
    """DataError where ``what`` is switched off."""
    if line := why_not(what):
        raise DataError(line)


def check(config: RunConfig) -> None:
    """ConfigError for a folder outside the roots, and on a read-only server for anything that would be fetched."""
    saes = [split(s).name for s in config.saes]
    for name in (config.model, *saes):
        if _is_path(name):
            _check_folder(name)
        elif _now.read_only and name in saes and {"/", ":"} & set(name) and not memory_label(name):
            raise ConfigError(f"{READ_ONLY}: '{name}' would be fetched; choose one of the list")
    if _now.read_only and (config.texts or (config.task.split(":")[0] not in (*BUNDLED_TASKS, OWN))):
        raise ConfigError(f"{READ_ONLY}: files of texts and the Hub are switched off; choose a task of the list")


def judge_address() -> str:
    """Address of a judge's server that whoever runs this named; "" without."""
    return os.environ.get(JUDGE_URL, "")


def judge_address_is_fixed() -> bool:
    """Whether people here may not name another: a lab's server sends nothing where a visitor points it."""
    return _now.roots is not None


def check_judge(url: str | None) -> None:
    """ConfigError for an address that people here may not name. None: a vendor's own."""
    if url is not None and judge_address_is_fixed() and url != judge_address():
        raise ConfigError(f"this server asks judges at no address given on a page; who runs it can set {JUDGE_URL}")


def kept_saes() -> Path:
    """Where SAEs lie that people sent as zip files: beside the store, so that they stay."""
    return default_path().parent / "saes"


def check_file(path: Path) -> None:
    """ConfigError for a file outside the roots."""
    _check_folder(str(path))


def _is_path(name: str) -> bool:
    try:
        return name.startswith((".", "/", "~", "\\")) or Path(name).is_absolute() or Path(name).exists()
    except (OSError, ValueError):
        return False  # too long, or with NUL: the loaders say so


def _check_folder(name: str) -> None:
    if _now.roots is None:
        return
    try:
        found = Path(name).expanduser().resolve()
    except (OSError, RuntimeError, ValueError):
        found = None
    roots = (*_now.roots, kept_saes().resolve())
    if found is None or not any(found.is_relative_to(root) for root in roots):
        raise ConfigError(f"'{name}' is outside the folders that this server reads; ask who runs it to add --root")


def _refuse(*_args: Any, **_named: Any) -> NoReturn:
    raise DataError(f"{READ_ONLY}: what would change the store is switched off")


class ReadOnlyStore(Store):
    """A store that can be read; what a person would change is refused, and looking leaves no trace."""

    create_set = rename_set = duplicate_set = note_origin = take_over = decide = replay = undo = commit = once = _refuse
    add_verdicts = note_batch = together = keep_story = _refuse

    def note_look(self, set_id: int, *_of: Any) -> int:
        """The looks so far; this one is not counted."""
        return self.dev_looks(set_id)
