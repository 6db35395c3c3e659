"""Errors a user can cause and fix. Each message is one line: what was found, what was expected, what to do.

The command line, the app and sweeps catch these and show them without a traceback; of other errors the command line
does so for OSError alone. Anything else is a bug.
"""

from collections.abc import Iterable
from difflib import get_close_matches

from saeeval_core.redaction import redacted

LONGEST = 1000
"""Characters of a message; names in it come from files of any kind."""


def one_line(text: str) -> str:
    """Text in one line that any terminal and page can hold: controls, direction marks and half characters escaped."""
    flat = " ".join(text[: 4 * LONGEST].split())
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in flat)
    return shown if len(shown) <= LONGEST else f"{shown[:LONGEST]}..."


class SaeEvalError(Exception):
    """Base of every error whose message is meant for the user; keys are taken out of it."""

    def __init__(self, message: str = "") -> None:
        super().__init__(redacted(str(message)))

    def __str__(self) -> str:
        return one_line(super().__str__())


class ConfigError(SaeEvalError):
    """A setting or command-line value that cannot be used."""


class DataError(SaeEvalError):
    """Texts or labels that cannot be used."""


class ModelError(SaeEvalError):
    """A language model that cannot be loaded or lacks a hook."""


class UnsupportedSAE(SaeEvalError):
    """An SAE that cannot be loaded, does not fit the model, or is not affine."""


class ArtifactError(SaeEvalError):
    """A stored file that is damaged, half-written or belongs to something else."""


class JudgeError(SaeEvalError):
    """A judge that cannot run at all (single failed verdicts are recorded, not raised)."""


class Cancelled(SaeEvalError):
    """Work stopped on request; what was finished is kept."""


def unknown_name(kind: str, name: str, known: Iterable[str], hint: str = "") -> str:
    """Message for an unknown name, with the nearest known names or, when none is near, the first six."""
    known = list(known)
    near = get_close_matches(name, known, n=3, cutoff=0.4) or known[:6]
    line = f"unknown {kind} '{name}'"
    if near:
        line += f"; nearest: {', '.join(near)}"
    return f"{line}; {hint}" if hint else line
