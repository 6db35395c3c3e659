"""The SAEs that one or more names stand for: globs over the bundled ones, SAELens's registry and folders."""

import glob
from collections import Counter
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from saeeval_core.errors import UnsupportedSAE
from saeeval_core.saes.formats import holds_sae
from saeeval_core.saes.registry import bundled_names
from saeeval_core.saes.releases import RegistryRow, nearest, registry
from saeeval_core.storage.notices import notice
from saeeval_core.wording import plural

_WILD = set("*?[")
_DEEPEST = 3
"""Levels below a folder in which SAEs are looked for."""


def named_saes(names: Sequence[str], *, inexact: bool = False) -> list[str]:
    """The SAEs of these names in order, each once; what is no glob and no folder of SAEs stands for itself.

    A glob (``*``, ``?``, ``[...]``) is matched with bundled names, ``release/sae_id`` of SAELens's registry (``*`` takes
    a "/" too) and folders; a folder that is no SAE stands for every SAE up to three levels below it. Unless ``inexact``,
    SAEs of the registry that can be scored on no machine are left out with a line on stderr. UnsupportedSAE for a glob
    that matches none.
    """
    return list(dict.fromkeys(sae for name in names for sae in _named(name, inexact)))


def one_sae(name: str) -> str:
    """The one SAE of a name; UnsupportedSAE where it stands for several."""
    found = named_saes([name])
    if len(found) > 1:
        raise UnsupportedSAE(f"'{name}' names {len(found)} SAEs ({found[0]}, {found[1]}, ...); name one of them here")
    return found[0]


def _named(name: str, inexact: bool) -> list[str]:
    folder = _folder(name)
    if folder is not None:
        return _below(name, folder)
    if name.startswith("hub:") or not _WILD & set(name):
        return [name]
    rows = _released(name)
    usable = [row.spec for row in rows if inexact or not row.not_scorable]
    if found := [*_bundled(name), *usable, *_folders(name)]:
        if not inexact:
            _say_left_out(name, rows)
        return found
    why = f"none of the {len(rows)} can be scored: {rows[0].not_scorable}" if rows else nearest(name.split("*")[0])
    raise UnsupportedSAE(f"no SAE for '{name}': {why}")


def _folder(name: str) -> Path | None:
    try:
        path = Path(name).expanduser()
        return path if name and path.is_dir() else None
    except (OSError, ValueError, RuntimeError):
        return None  # can be no path: who loads it says so


def _below(name: str, folder: Path) -> list[str]:
    """The SAEs in a folder that is none itself; the folder's own name where there are none, of which its loader complains."""
    if holds_sae(folder):
        return [name]
    levels = ("/".join(["*"] * depth) for depth in range(1, _DEEPEST + 1))
    return sorted(str(p) for level in levels for p in folder.glob(level) if p.is_dir() and holds_sae(p)) or [name]


def _bundled(pattern: str) -> list[str]:
    return [name for name in bundled_names() if fnmatchcase(name, pattern)]


def _released(pattern: str) -> list[RegistryRow]:
    wanted = pattern if "/" in pattern else pattern.replace(":", "/", 1)
    return [row for row in registry().values() if fnmatchcase(row.spec, wanted)]


def _say_left_out(pattern: str, rows: Sequence[RegistryRow]) -> None:
    reasons = Counter(row.not_scorable for row in rows if row.not_scorable)
    for reason, n in reasons.items():
        notice(f"{n} of {plural(len(rows), 'SAE')} matching '{pattern}' left out: {reason}")


def _folders(pattern: str) -> Iterator[str]:
    for path in sorted(glob.glob(str(Path(pattern).expanduser()))):
        if (folder := _folder(path)) is not None and (found := _below(path, folder)) != [str(folder)]:
            yield from found
        elif folder is not None and holds_sae(folder):
            yield path
