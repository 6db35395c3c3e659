"""The process that ``worker.call`` talks to: one request a line on stdin, one answer a line on stdout."""

import importlib
import json
import os
import sys
from typing import Any

from saeeval_core.errors import SaeEvalError

MEMORY = 8 << 30
"""Bytes of address space, which is several times the memory that is really used."""
MODULES = ("app.services.uploads", "app.services.loss_paths", "app.results")
"""Whose functions may be called."""


def main() -> None:
    """Answer until stdin ends."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print must not stand among the answers
    _limit_memory()
    import pandas  # noqa: F401  # before the first file, not with it

    for line in sys.stdin.buffer:
        answers.write(answer(line) + b"\n")
        answers.flush()


def answer(line: bytes) -> bytes:
    """["ok", result], or the name of an error's class and its message."""
    module, name, args = json.loads(line)
    assert module in MODULES, module
    try:
        kind, value = "ok", getattr(importlib.import_module(module), name)(*args)
    except SaeEvalError as error:
        kind, value = type(error).__name__, str(error)
    except MemoryError:
        kind, value = "DataError", "the file needs more memory than a file may take; give a smaller one"
    return _packed(kind, value)


def _packed(kind: str, value: Any) -> bytes:
    try:
        return json.dumps([kind, value]).encode()
    except MemoryError:
        return json.dumps(["DataError", "the file needs more memory than a file may take; give a smaller one"]).encode()


def _limit_memory() -> None:
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    main()
