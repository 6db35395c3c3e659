"""What every case of bad input is held to: one line, nothing executed, nothing written elsewhere, bounds.

One file for each row of what is counted. A case is a row of a table: adding one is a line.
"""

import hashlib
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from planted_pages import assets, planted_app  # noqa: F401
from refusals import is_one_line

from saeeval_core.cli import main as cli

SECONDS = 30
"""Of one case; nearly all take some hundredths. A bound against hanging, no timing."""
MEGABYTES = 1500
"""That one case may add to the most memory that the process ever held."""


class TooLate(BaseException):
    """No Exception, because what stands between a library and the person turns those into a line."""


@pytest.fixture(autouse=True)
def held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder for the case's own files; beside it the data folder, a canary and a file that nobody may touch."""
    given, data, private = (tmp_path / name for name in ("given", "data", "private"))
    for folder in (given, data, private):
        folder.mkdir()
    (private / "kept.txt").write_text("nobody's business")
    monkeypatch.setenv("SAEEVAL_CACHE", str(data / "cache"))
    monkeypatch.setenv("SAEEVAL_STORE", str(data / "store.sqlite"))
    monkeypatch.setenv("SAEEVAL_CANARY", str(tmp_path / "canary"))
    monkeypatch.setattr("saeeval_core.storage.hub._resolves", lambda endpoint: False)
    monkeypatch.chdir(given)
    before, most = outside(tmp_path), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    def late(*_: object) -> None:
        raise TooLate(f"more than {SECONDS} s")

    usual = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield given
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, usual)
    assert not (tmp_path / "canary").exists(), "something that came with the input was executed"
    assert outside(tmp_path) == before, "something was written outside the data folder"
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - most) / 1024 < MEGABYTES


def outside(root: Path) -> dict[str, str]:
    """Path -> content hash of everything beside the case's own and the data folder."""
    own = ("given", "data", "store")
    found = [p for p in root.rglob("*") if p.relative_to(root).parts[0].split(".")[0] not in own]
    return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() if p.is_file() else "" for p in found}


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> Callable[..., str]:
    """``call("run", "--task", "x")``: the command in this process; the one line on stderr with which it is refused.

    A usage error of the parser of options is a box of its own, with exit code 2.
    """

    def leave(code: int) -> None:
        raise SystemExit(code)

    def run(*words: str) -> str:
        monkeypatch.setattr(sys, "argv", ["saeeval", *words])
        monkeypatch.setattr(cli.os, "_exit", leave)
        with pytest.raises(SystemExit) as stop:
            cli.main()
        out, err = capsys.readouterr()
        assert stop.value.code not in (0, None) and "Traceback" not in out + err, out + err
        if stop.value.code == 2 and "Usage:" in err:
            return err
        lines = err.splitlines()
        assert len(lines) == 1 and lines[0].startswith("saeeval: "), err
        is_one_line(lines[0].removeprefix("saeeval: "))
        return lines[0]

    return run
