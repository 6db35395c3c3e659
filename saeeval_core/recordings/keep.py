"""Store what a pass recorded, and the state from which a killed pass goes on, which is removed only then."""

from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from saeeval_core.recordings.recording import (
    LatentRecording,
    ResidualRecording,
    save_latents,
    save_residuals,
    use_unsaved,
)
from saeeval_core.storage.kept import RECORDINGS
from saeeval_core.storage.notices import try_to_store

_LOCK = "lock"


@contextmanager
def partial_state(name: str) -> Iterator[Path | None]:
    """The folder for the state of a pass of that name; None while another pass uses it.

    Two passes on one folder would overwrite each other's state; the second then runs without one.
    """
    folder = RECORDINGS.own / "partial" / name
    with ExitStack() as locks:
        try:
            _lock(folder, locks)
        except BlockingIOError:
            yield None
        else:
            yield folder


def keep_recordings(
    residuals: Collection[ResidualRecording], latents: Collection[LatentRecording], partial: Path | None
) -> None:
    """Store the recordings of one pass, then remove its partial state.

    Where they cannot be stored, this process goes on with them in memory, and the state stays for the next one.
    """

    def write() -> None:
        for at_hook in residuals:
            save_residuals(at_hook, RECORDINGS.own)
        storage = next(iter(residuals)).key.storage
        for own in latents:
            save_latents(own, RECORDINGS.own, storage=storage)

    if not try_to_store(f"recording in {RECORDINGS.own}", write):
        use_unsaved(residuals, latents)
    elif partial is not None:
        for path in partial.glob("state*"):
            path.unlink(missing_ok=True)


def _lock(folder: Path, locks: ExitStack) -> None:
    """Lock a file in the folder until ``locks`` closes or the process dies; BlockingIOError if another has it.

    The file stays: removing it would give two passes a lock each. Where there are no locks (Windows, some network
    disks) or the folder cannot be written, passes go on without: a state is verified when it is read.
    """
    try:
        import fcntl

        folder.mkdir(parents=True, exist_ok=True)
        file = locks.enter_context((folder / _LOCK).open("w"))
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except (ImportError, OSError):
        return
