"""The parts of a task: train, dev (for choosing) and test. 60/20/20 of each quadrant or class, seeded, or as given."""

from collections import Counter
from dataclasses import replace

import numpy as np

from saeeval_core.config import Protocol, derive_rng
from saeeval_core.errors import DataError
from saeeval_core.texts.labelled import LabelledTexts

TRAIN, DEV, TEST = 0, 1, 2
PARTS = {"train": TRAIN, "dev": DEV, "test": TEST}
PART_NAMES = {DEV: "dev", TEST: "test"}
"""Scored part -> its name."""


def scored_parts(protocol: Protocol) -> tuple[int, ...]:
    """Dev and test, or test alone where the protocol has no dev part."""
    return (DEV, TEST) if protocol.separate_dev else (TEST,)


def draw_parts(
    texts: LabelledTexts, cell: np.ndarray, name: str, seed: int, protocol: Protocol, per_cell: int
) -> tuple[np.ndarray, np.ndarray, dict[str, int]]:
    """(rows int[used], part uint8[used], {reason: rows dropped}): identical texts once, at most ``per_cell`` per cell.

    cell int[texts]: the quadrant or class of each text, -1 for none. DataError when a cell has no text in one of the
    parts, or when the texts' own split holds names other than train, dev and test. A split that puts all of these texts
    into one part is left aside.
    """
    if texts.split is not None and len(set(texts.split[cell >= 0].tolist())) == 1:
        texts = replace(texts, split=None)  # what else the data set holds is not used here: the split divides nothing
    if texts.split is not None:
        unknown = set(texts.split[cell >= 0].tolist()) - set(PARTS)
        if unknown:
            raise DataError(
                f"split column holds {sorted(unknown)}; expected train, dev and test: rename or leave it out"
            )
    rng = derive_rng(seed, "parts", name)
    seen: dict[str, int] = {}
    dropped: Counter[str] = Counter()
    kept = []
    for row in rng.permutation(np.flatnonzero(cell >= 0)):
        first = seen.setdefault(texts.texts[row], row)
        if first == row:
            kept.append(row)
        else:
            across = texts.split is not None and texts.split[row] != texts.split[first]
            dropped["duplicate text in another part" if across else "duplicate text"] += 1
    kept = np.array(kept, dtype=int)
    # The permutation makes "the first per_cell of each cell" a random draw.
    rank = np.zeros(len(kept), dtype=int)
    for c in np.unique(cell[kept]):
        members = cell[kept] == c
        rank[members] = np.arange(members.sum())
    if (rank >= per_cell).any():
        dropped["beyond the drawn number per cell"] = int((rank >= per_cell).sum())
    rows = np.sort(kept[rank < per_cell])
    part = _given_parts(texts, rows, cell, rng) if texts.split is not None else _new_parts(texts, rows, cell, rng)
    if not protocol.separate_dev:
        part[part == DEV] = TEST
    for c in np.unique(cell[rows]):
        missing = [
            p
            for p, code in PARTS.items()
            if code not in part[cell[rows] == c] and (p != "dev" or protocol.separate_dev)
        ]
        if missing:
            raise DataError(
                f"a class or quadrant of {name} has no text in the {missing[0]} part; more texts are needed"
            )
    return rows, part, dict(dropped)


def _given_parts(texts: LabelledTexts, rows: np.ndarray, cell: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """uint8[rows]: parts named by the data set; without dev, a third of each cell's test texts (or groups) is dev."""
    assert texts.split is not None
    part = np.array([PARTS[s] for s in texts.split[rows].tolist()], dtype=np.uint8)
    if (part == DEV).any():
        return part
    test = np.flatnonzero(part == TEST)
    if texts.group is not None:
        groups = rng.permutation(np.unique(texts.group[rows[test]]))
        part[test[np.isin(texts.group[rows[test]], groups[: len(groups) // 3])]] = DEV
        return part
    for c in np.unique(cell[rows]):
        members = rng.permutation(test[cell[rows[test]] == c])
        part[members[: len(members) // 3]] = DEV
    return part


def _new_parts(texts: LabelledTexts, rows: np.ndarray, cell: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """uint8[rows]: 60/20/20 per cell; texts of one group go to one part."""
    part = np.full(len(rows), TRAIN, dtype=np.uint8)
    if texts.group is not None:
        groups, member = np.unique(texts.group[rows], return_inverse=True)
        # Groups are dealt within the cell of their first text, so that every cell is split.
        home = np.array([cell[rows][np.flatnonzero(member == g)[0]] for g in range(len(groups))])
        group_part = np.full(len(groups), TRAIN, dtype=np.uint8)
        for c in np.unique(home):
            group_part[home == c] = _deal(int((home == c).sum()), rng)
        return group_part[member]
    for c in np.unique(cell[rows]):
        members = np.flatnonzero(cell[rows] == c)
        part[members] = _deal(len(members), rng)
    return part


def _deal(n: int, rng: np.random.Generator) -> np.ndarray:
    codes = np.full(n, TRAIN, dtype=np.uint8)
    fifth = n // 5
    codes[:fifth], codes[fifth : 2 * fifth] = DEV, TEST
    return rng.permutation(codes)
