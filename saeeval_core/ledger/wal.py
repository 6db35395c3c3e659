"""SQLite's write-ahead log, read without SQLite, which silently drops everything from the first damaged frame on.

Format: sqlite.org/fileformat2.html, "The Write-Ahead Log".
"""

import struct
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

PAGE = 4096
"""Bytes per page of every store; SQLite's default."""
_HEADER, _FRAME = 32, 24
_MAGIC = {0x377F0682: "<u4", 0x377F0683: ">u4"}


@dataclass(frozen=True)
class Frame:
    """One page as the log has it."""

    page: int
    """Its number in the file, from 1."""
    ends: bool
    """Whether a transaction ends with it."""
    content: bytes
    ok: bool
    """Whether its checksum fits."""


@dataclass(frozen=True)
class Log:
    """The frames of one log, in order."""

    frames: tuple[Frame, ...] = ()
    """Up to the last whole transaction."""
    damaged: bool = False
    """SQLite would drop whole transactions of these frames."""
    torn: bool = False
    """After them stands a frame that does not fit: a write that was cut off, or a last transaction that is damaged."""


def read_log(path: Path) -> Log:
    """The log in a file, empty without one. OSError if it cannot be read."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return Log()
    return _parse(data) if len(data) > _HEADER else Log()


def _parse(data: bytes) -> Log:
    magic, _, size = struct.unpack(">3I", data[:12])
    order = _MAGIC.get(magic, "<u4")
    salt, stored = data[16:24], _pair(data[24:32])
    header_ok = magic in _MAGIC and size == PAGE and _checksum(data[:24], (0, 0), order) == stored
    first = data[_HEADER + 8 : _HEADER + 16]
    frames = _frames(data, salt if header_ok else first, stored if header_ok else None, order)
    whole = max((i for i, f in enumerate(frames) if f.ok and f.ends), default=-1) + 1
    damaged = whole > 0 and (not header_ok or not all(f.ok for f in frames[:whole]))
    return Log(tuple(frames[:whole]), damaged, any(not f.ok for f in frames[whole:]))


def _frames(data: bytes, salt: bytes, chain: tuple[int, int] | None, order: str) -> list[Frame]:
    """Frames of this generation of the log: those of an older one, which follow, have other salts."""
    found: list[Frame] = []
    computed = chain
    for start in range(_HEADER, len(data) - _FRAME - PAGE + 1, _FRAME + PAGE):
        head, content = data[start : start + _FRAME], data[start + _FRAME : start + _FRAME + PAGE]
        if head[8:12] != salt[:4] and head[12:16] != salt[4:]:  # damage hits one half, another generation has neither
            break
        page, size = struct.unpack(">2I", head[:8])
        stored = _pair(head[16:24])
        # A damaged checksum must not make the frame after it look damaged, so either way to go on is right.
        sums = {_checksum(head[:8] + content, before, order) for before in (chain, computed) if before}
        ok = head[8:16] == salt and (stored in sums or not sums)  # without a sound header nothing precedes the first
        computed = _checksum(head[:8] + content, computed, order) if computed else stored
        chain = stored
        found.append(Frame(page, size > 0, content, ok))
    return found


def _pair(data: bytes) -> tuple[int, int]:
    first, second = struct.unpack(">2I", data)
    return first, second


def _checksum(data: bytes, before: tuple[int, int], order: str) -> tuple[int, int]:
    """SQLite's: for words x, y: s += x + t; t += y + s; all modulo 2^32. Linear, so one product per frame."""
    words = np.frombuffer(data, order).astype(np.uint64).reshape(-1, 2)
    weights, start = _weights(len(words))
    total = (weights * words[:, None, :]).astype(np.uint32).astype(np.uint64).sum(axis=(0, 2))
    total += (start * np.array(before, np.uint64)).astype(np.uint32).astype(np.uint64).sum(axis=1)
    return int(total[0] & 0xFFFFFFFF), int(total[1] & 0xFFFFFFFF)


@lru_cache(maxsize=4)
def _weights(n: int) -> tuple[np.ndarray, np.ndarray]:
    """uint64[n, 2, 2]: what each pair of words adds to the two sums at the end; uint64[2, 2]: what the first sums add."""
    step, power, rows = np.array([[1, 1], [1, 2]], object), np.eye(2, dtype=object), []
    enter = np.array([[1, 0], [1, 1]], object)
    for _ in range(n):
        rows.append(power @ enter % (1 << 32))
        power = step @ power % (1 << 32)
    return np.array(rows[::-1]).astype(np.uint64), power.astype(np.uint64)
