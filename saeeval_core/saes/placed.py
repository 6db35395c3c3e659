"""Names of dictionaries with the hooks that their own files leave out: NAME@WRITES or NAME@READS:WRITES.

A name is what links, recordings, verdicts and results keep of an SAE, so the hooks that a person gave are part of it.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from saeeval_core.errors import ConfigError
from saeeval_core.models.layouts import BLOCK, canonical

_SUFFIX = re.compile(r"(?P<name>.+?)@(?:(?P<read>[\w.]+):)?(?P<write>[\w.]+)", re.DOTALL)


@dataclass(frozen=True)
class Placed:
    """A name without its hooks, and the hooks; "" where the name gives none."""

    name: str
    read: str = ""
    write: str = ""


def split(spec: str) -> Placed:
    """The parts of a name. A path that exists as it stands, and a suffix that names no block, belong to the name."""
    match = _SUFFIX.fullmatch(spec)
    if match is None or not all(_is_hook(h) for h in (match["read"] or match["write"], match["write"])):
        return Placed(spec)
    try:
        if Path(spec).expanduser().exists():
            return Placed(spec)
    except (OSError, ValueError, RuntimeError):
        return Placed(spec)
    write = canonical(match["write"])
    return Placed(match["name"], canonical(match["read"]) if match["read"] else write, write)


def placed(name: str, write: str, read: str = "") -> str:
    """The name with hooks. ConfigError for a hook of no block."""
    for option, hook in (("--hook", write), ("--read-hook", read or write)):
        if not _is_hook(hook):
            raise ConfigError(f"{option} is {ascii(hook[:60])}; give a hook such as blocks.6.hook_resid_post")
    write, read = canonical(write), canonical(read or write)
    return f"{name}@{write}" if read == write else f"{name}@{read}:{write}"


def _is_hook(hook: str) -> bool:
    return BLOCK.match(canonical(hook)) is not None and re.fullmatch(r"[\w.]+", hook, re.ASCII) is not None
