"""A small file system that can be filled and made read-only."""

import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest


class Disk:
    """A file system in memory."""

    def __init__(self, path: Path, kilobytes: int) -> None:
        path.mkdir()
        self.path, self._ballast = path, path / "ballast"
        if self._mount("-t", "tmpfs", "-o", f"size={kilobytes}k", "none", str(path)):
            pytest.skip("mounting a small disk needs root")

    def fill(self, free: int = 0) -> None:
        """Leave so many bytes."""
        with self._ballast.open("wb", buffering=0) as file, suppress(OSError):
            while file.write(bytes(4096)):
                pass
        size = self._ballast.stat().st_size
        with self._ballast.open("rb+") as file:
            file.truncate(max(0, size - free))

    def free(self) -> None:
        """Give the room back."""
        self._ballast.unlink()

    def writable(self, on: bool) -> None:
        """Make it read-only, or writable again."""
        self._mount("-o", f"remount,{'rw' if on else 'ro'}", str(self.path))

    def gone(self) -> None:
        subprocess.run(["umount", "-l", str(self.path)], check=False, capture_output=True)

    @staticmethod
    def _mount(*arguments: str) -> int:
        if shutil.which("mount") is None:
            return 1
        return subprocess.run(["mount", *arguments], check=False, capture_output=True).returncode
