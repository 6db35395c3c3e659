"""The command, run in this process, and arguments with which it works."""

import re
import sys

import numpy as np
import pytest

from saeeval_core.cli import main as cli

LABELS = ["--target", "profession=nurse,surgeon", "--spurious", "gender=female,male"]


class Call:
    """Runs the command in this process."""

    def __init__(self, monkeypatch, capsys) -> None:
        self.monkeypatch, self.capsys = monkeypatch, capsys

    def __call__(self, *args: str) -> tuple[int, str, str]:
        """(exit code, stdout, stderr)"""

        def leave(code: int) -> None:
            raise SystemExit(code)

        self.monkeypatch.setattr(sys, "argv", ["saeeval", *map(str, args)])
        self.monkeypatch.setattr(cli.os, "_exit", leave)
        code = 0
        try:
            cli.main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        out, err = self.capsys.readouterr()
        return code, out, err

    def refuses(self, pattern: str, *args: str, code: int = 1) -> str:
        """The one line on stderr, which matches."""
        got, out, err = self(*args)
        assert got == code, out + err
        assert "Traceback" not in out + err
        lines = [line for line in err.splitlines() if line.startswith("saeeval: ")]
        assert len(lines) == 1, err
        assert re.search(pattern, lines[0]), lines[0]
        return lines[0]


@pytest.fixture
def call(monkeypatch, capsys, cache) -> Call:
    monkeypatch.setattr("saeeval_core.storage.hub._resolves", lambda endpoint: False)
    monkeypatch.setattr("saeeval_core.scores.probes.C_GRID", np.array([0.01, 1.0]))
    return Call(monkeypatch, capsys)


@pytest.fixture
def args(tiny_model_dir, tiny_sae_dirs, tiny_texts_file) -> list[str]:
    """A run that works."""
    return [
        "run",
        "--model",
        str(tiny_model_dir),
        "--sae",
        str(tiny_sae_dirs["topk"]),
        "--texts",
        str(tiny_texts_file),
        *LABELS,
        "--metrics",
        "shift",
        "--n",
        "1,2",
        "--device",
        "cpu",
    ]
