"""Forks of this process: a command in one is as fresh as in a process of its own, without loading torch again."""

import os
import signal
import stat
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

STAGES = ("torn", "written", "renamed")
"""Half of the content is in the temporary file; all of it is; it has its name."""


@dataclass(frozen=True)
class Ended:
    """How a fork ended."""

    code: int
    """Exit code, or minus the signal that killed it."""
    out: str
    err: str

    @property
    def killed(self) -> bool:
        return self.code == -signal.SIGKILL

    def fine(self) -> "Ended":
        """Itself, if it ended well and without a traceback."""
        assert self.code == 0, f"{self.code}\n{self.out}\n{self.err}"
        assert "Traceback" not in self.out + self.err
        return self

    def one_line(self) -> str:
        """The one line with which it refused."""
        lines = [line for line in self.err.splitlines() if line.startswith("saeeval: ")]
        assert self.code == 1 and len(lines) == 1 and "Traceback" not in self.err, f"{self.code}\n{self.err}"
        return lines[0]


def forked(work: Callable[[], object], folder: Path) -> Ended:
    """Run ``work`` in a fork; what it writes goes through two files in ``folder``."""
    return together([work], folder)[0]


def together(works: Sequence[Callable[[], object]], folder: Path) -> list[Ended]:
    """The same for several forks at once."""
    _load()
    sys.stdout.flush(), sys.stderr.flush()
    children = []
    for i, work in enumerate(works):
        names = folder / f"fork{i}.out", folder / f"fork{i}.err"
        child = os.fork()
        if child == 0:
            os._exit(_child(work, names))
        children.append((child, names))
    ended = [(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), names) for child, names in children]
    return [Ended(code, *(p.read_text(errors="replace") for p in names)) for code, names in ended]


def own_folders(cache: Path) -> None:
    """A cache and store of this fork's own, and a coarse grid for the probes."""
    import numpy as np

    from saeeval_core.scores import probes
    from saeeval_core.storage import hub

    os.environ["SAEEVAL_CACHE"], os.environ["SAEEVAL_STORE"] = str(cache), str(cache.parent / "store.sqlite")
    hub._resolves, probes.C_GRID = lambda _: False, np.array([0.01, 1.0])


def saeeval(arguments: list[str], cache: Path) -> None:
    """The command, as if typed."""
    from saeeval_core.cli.main import main

    own_folders(cache)
    sys.argv = ["saeeval", *arguments]
    main()


def die_at(write: int, stage: str) -> None:
    """From now on this process kills itself at its ``write``-th file, counted from 1, in that one of STAGES."""
    replace, fsync, done = os.replace, os.fsync, [0]

    def sync(handle: int) -> None:
        if stage == "torn" and done[0] + 1 == write and stat.S_ISREG(os.fstat(handle).st_mode):
            os.ftruncate(handle, os.fstat(handle).st_size // 2)
            die()
        fsync(handle)

    def rename(old: object, new: object, **more: object) -> None:
        done[0] += 1
        if stage == "written" and done[0] == write:
            die()
        replace(old, new, **more)
        if stage == "renamed" and done[0] == write:
            die()

    os.replace, os.fsync = rename, sync


def die() -> None:
    """As a power cut would."""
    os.kill(os.getpid(), signal.SIGKILL)


def names_of_writes(to: Path) -> None:
    """From now on the name of every file that this process writes is added to the file ``to``."""
    replace = os.replace

    def rename(old: object, new: object, **more: object) -> None:
        replace(old, new, **more)
        with to.open("a") as file:
            file.write(f"{Path(str(new)).name}\n")

    os.replace = rename


def _child(work: Callable[[], object], names: tuple[Path, Path]) -> int:
    for handle, path in zip((1, 2), names, strict=True):
        os.dup2(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC), handle)
    sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
    code = 0
    try:
        work()
    except SystemExit as stop:
        code = int(stop.code or 0)
    except BaseException:  # noqa: BLE001  # a fork must not go on as a second test run
        traceback.print_exc()
        code = 70
    sys.stdout.flush(), sys.stderr.flush()
    return code


def _load() -> None:
    """What every command needs is loaded before the first fork."""
    import concept_erasure  # noqa: F401
    import sae_lens  # noqa: F401
    import sklearn.covariance
    import sklearn.decomposition
    import sklearn.linear_model
    import sklearn.preprocessing  # noqa: F401
    import transformer_lens  # noqa: F401
    from transformers.models.llama import modeling_llama  # noqa: F401

    import saeeval_core.controls.attach
    import saeeval_core.evaluation.score
    import saeeval_core.formats.tables
    import saeeval_core.recordings.recorder
    import saeeval_core.saes.loaded
    import saeeval_core.sweep.sweep  # noqa: F401
