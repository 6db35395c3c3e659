"""Files that people send are read in processes of their own, with a time limit and a limit of memory.

What is crafted to take for ever, or to take everything, then costs its sender one line and the other sessions nothing.
A process is kept warm, because starting Python costs more than reading an ordinary file. Values cross as JSON.
"""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from saeeval_core import errors
from saeeval_core.errors import DataError, SaeEvalError
from saeeval_core.redaction import KEY_VARIABLES

SECONDS = 30.0
"""Longest time that reading one file may take."""
AT_ONCE = 3
"""Files that are read at the same time; the next one waits for at most SECONDS."""
_ROOT = Path(__file__).resolve().parents[2]


class _Process:
    """One process that reads, one file after the other."""

    def __init__(self) -> None:
        own = {k: v for k, v in os.environ.items() if k not in KEY_VARIABLES}
        own["PYTHONPATH"] = os.pathsep.join(filter(None, (str(_ROOT), own.get("PYTHONPATH"))))
        command = [sys.executable, "-m", "app.services.worker_process"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=own)

    @property
    def alive(self) -> bool:
        """It can take another file."""
        return self._process.poll() is None

    def ask(self, request: bytes, seconds: float) -> bytes | None:
        """The answer; b"" when the process died of it, None when time was up."""
        answer: list[bytes] = []

        def talk() -> None:
            try:
                self._process.stdin.write(request + b"\n")
                self._process.stdin.flush()
                answer.append(self._process.stdout.readline())
            except (OSError, ValueError):
                answer.append(b"")

        thread = threading.Thread(target=talk, daemon=True, name="saeeval-reading")
        thread.start()
        thread.join(seconds)
        return answer[0] if answer else None

    def end(self) -> None:
        """Stop it, whatever it is doing."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            try:
                pipe.close()
            except OSError:
                continue


_idle: list[_Process] = []
_guard, _slots = threading.Lock(), threading.BoundedSemaphore(AT_ONCE)


def call(function: Callable[..., Any], *args: object, seconds: float = SECONDS) -> Any:
    """``function(*args)`` in another process; arguments and result are JSON values, the function one of a module.

    Raises the function's SaeEvalError; DataError when it takes longer than ``seconds``, needs too much memory, or breaks.
    """
    request = json.dumps([function.__module__, function.__name__, args]).encode()
    if not _slots.acquire(timeout=seconds):
        raise DataError("several files are being read already; try again in a minute")
    try:
        process = _take()
        answer = process.ask(request, seconds)
        _give_back(process, keep=bool(answer))
    finally:
        _slots.release()
    if answer is None:
        raise DataError(f"reading the file took longer than {seconds:g} s; give a smaller one")
    return _result(answer)


def warm() -> None:
    """Start a process, so that the first file does not wait for it."""
    _give_back(_take(), keep=True)


def _take() -> _Process:
    with _guard:
        while _idle:
            process = _idle.pop()
            if process.alive:
                return process
            process.end()
    return _Process()


def _give_back(process: _Process, *, keep: bool) -> None:
    with _guard:
        if keep and not _idle:
            _idle.append(process)
            return
    process.end()


def _result(answer: bytes) -> Any:
    if not answer:
        raise DataError("the file cannot be read: it needs more memory than a file may take, or it is damaged")
    kind, value = json.loads(answer)
    if kind == "ok":
        return value
    error = getattr(errors, kind, None)
    known = isinstance(error, type) and issubclass(error, SaeEvalError)
    raise (error if known else DataError)(value)
