"""Short names for SAEs that stand side by side."""

from collections.abc import Sequence
from os.path import commonprefix


def short_names(names: Sequence[str]) -> dict[str, str]:
    """Name -> what tells it from the others: what all begin and end with is left out, at a hyphen, slash or underscore.

    Two names never become one; a single name stays whole.
    """
    distinct = list(dict.fromkeys(names))
    if len(distinct) < 2:
        return {n: n for n in distinct}
    start = _cut(commonprefix(distinct))
    rest = [n[start:] for n in distinct]
    end = _cut(commonprefix([r[::-1] for r in rest]))
    short = [r[: len(r) - end] for r in rest]
    return dict(zip(distinct, short if all(short) else rest if all(rest) else distinct, strict=True))


def _cut(shared: str) -> int:
    """How much of a shared beginning may go: up to its last mark between words."""
    return max(shared.rfind(mark) for mark in "-/_") + 1
