"""What happens to files on disks: each function changes one file, or two, and is drawn from a seed."""

import random
from collections.abc import Callable
from pathlib import Path

Damage = Callable[[Path, random.Random], object]


def flip(path: Path, rng: random.Random) -> None:
    """One bit is the other one."""
    content = bytearray(path.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


def cut(path: Path, rng: random.Random) -> None:
    """The end is missing."""
    content = path.read_bytes()
    path.write_bytes(content[: rng.randrange(len(content))])


def empty(path: Path, rng: random.Random) -> None:
    """Nothing is left: what a power cut makes of a file that never reached the disk."""
    path.write_bytes(b"")


def zeros(path: Path, rng: random.Random) -> None:
    """A part of the file, as a disk reads a lost block."""
    content = bytearray(path.read_bytes())
    start = rng.randrange(len(content))
    content[start : start + 512] = bytes(len(content[start : start + 512]))
    path.write_bytes(content)


def swap(one: Path, other: Path) -> None:
    """Two files have each other's content."""
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)


DAMAGES: dict[str, Damage] = {"flip": flip, "cut": cut, "empty": empty, "zeros": zeros}
