"""What the TPP page's component asks for besides presses: another N, cell, scale or kind of probe; a latent; texts read."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from saeeval_core.scores.ablation import ABLATIONS

_CELL = re.compile(r"([0-9]{1,6}),([0-9]{1,6})")
_MOST = 10**6
_WORDS = {"scale": ("", "relative"), "fresh": ("", "1"), "ablation": tuple(ABLATIONS)}


@dataclass(frozen=True)
class Wishes:
    """One message."""

    link: Mapping[str, str]
    """Values of the link that it sets."""
    read: bool
    """The language model may read the texts of the cell."""
    open: int | None
    """The latent to open."""
    client: str
    seq: int
    """Number of the message; the next drawing says that it was heard."""


def read_cell(text: str) -> tuple[int, int] | None:
    """(ablated class, probe) of "i,j"; None for anything else. Whether there are so many classes is not checked."""
    found = _CELL.fullmatch(text)
    return (int(found[1]), int(found[2])) if found else None


def read_wishes(sent: Mapping[str, object]) -> Wishes:
    """From a browser's message; what cannot be read is as if it had not been asked for."""
    cell, client = sent.get("cell"), sent.get("client")
    link: dict[str, str] = {}
    if (n := _whole(sent.get("n"))) is not None:
        link["n"] = str(n)
    if isinstance(cell, str) and (cell == "" or read_cell(cell)):
        link["cell"] = cell
    for name, known in _WORDS.items():
        if (word := sent.get(name)) in known:
            link[name] = str(word)
    seq = sent.get("seq")
    return Wishes(
        link,
        sent.get("read") is True,
        _whole(sent.get("open")),
        client[:80].encode("utf-8", "replace").decode() if isinstance(client, str) else "",
        seq if type(seq) is int else 0,
    )


def _whole(value: object) -> int | None:
    return value if type(value) is int and 0 <= value <= _MOST else None
