"""Short composed English texts, rendered from hand-written stock by a seeded generator.

One text is rendered from one record (a name, a city, a number of years ...), so its sentences agree with each other.
Train texts use the stock's train pools only, dev and test texts its eval pools only, so no pattern, opening or name of
a training text occurs in a scored one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from saeeval_core.config import derive_rng
from saeeval_core.errors import DataError
from saeeval_core.texts.stock import SLOT, Cell, Pattern, Stock
from saeeval_core.texts.wording import DistinctTexts, article, faults

PARTS = ("train", "dev", "test")
SHARES = (0.6, 0.2, 0.2)
MAX_DRAWS = 200
"""Draws of one text, until it has the right length and is not nearly the same as another."""


@dataclass(frozen=True)
class ComposedText:
    """One rendered text with its labels and the record behind it."""

    text: str
    labels: Cell
    """Values of the stock's two labels."""
    split: str
    """`train`, `dev` or `test`."""
    record: str
    register: str
    patterns: tuple[str, ...]
    """Ids of the patterns used, in the order of the text."""
    values: dict[str, str]
    """Slot -> its text: the record's facts, and the word forms that its labels decide."""


def render(stock: Stock, per_cell: int, seed: int) -> list[ComposedText]:
    """Render `per_cell` texts for each combination of labels, split 60/20/20 within each.

    Texts are ordered by cell and part. DataError when the stock is too small for that many texts without
    near-duplicates, or when a text breaks a rule of `faults`.
    """
    counts = _part_sizes(per_cell)
    seen = DistinctTexts()
    out: list[ComposedText] = []
    for cell in stock.cells:
        for part, count in zip(PARTS, counts, strict=True):
            rng = derive_rng(seed, "composed", stock.name, *cell, part)
            for _ in range(count):
                out.append(_draw_distinct(stock, cell, part, rng, seen, f"{stock.name}-{len(out):05d}"))
    return out


def _part_sizes(per_cell: int) -> tuple[int, int, int]:
    dev, test = (round(per_cell * share) for share in SHARES[1:])
    if min(dev, test, per_cell - dev - test) < 1:
        raise DataError(f"per_cell is {per_cell}: at least 5 texts per cell are needed to fill train, dev and test")
    return per_cell - dev - test, dev, test


def _draw_distinct(
    stock: Stock, cell: Cell, part: str, rng: np.random.Generator, seen: DistinctTexts, record: str
) -> ComposedText:
    low, high = stock.words
    for _ in range(MAX_DRAWS):
        drawn = _draw(stock, cell, part, rng, record)
        if drawn is None or not low <= len(drawn.text.split()) <= high:
            continue
        wrong = faults(drawn.text)
        if wrong:
            raise DataError(f"{stock.name}: {'; '.join(wrong)} in {drawn.text!r}: mend one of {drawn.patterns}")
        if seen.add_if_new(drawn.text):
            return drawn
    raise DataError(
        f"{stock.name}: no new {part} text of {low}-{high} words for {'/'.join(cell)} in {MAX_DRAWS} draws: "
        "add patterns, or lower per_cell"
    )


def _draw(stock: Stock, cell: Cell, part: str, rng: np.random.Generator, record: str) -> ComposedText | None:
    """One text, or None when the topics drawn left too few patterns."""
    pool = "train" if part == "train" else "eval"
    weights = np.array([r.weight for r in stock.registers.values()], dtype=float)
    register = list(stock.registers)[rng.choice(len(weights), p=weights / weights.sum())]
    plan = stock.registers[register]
    used: set[str] = set()
    opening = _pick(stock, cell, "open", pool, register, 1, used, rng)
    lowest, highest = plan.body
    body = _pick(stock, cell, "body", pool, register, int(rng.integers(lowest, highest + 1)), used, rng)
    closing = _pick(stock, cell, "close", pool, register, 1, used, rng) if rng.random() < plan.close else []
    if not opening or len(body) < lowest:
        return None
    values = stock.record(cell, register, pool, rng)
    chosen = [*opening, *_varied_order(body, rng), *closing]
    return ComposedText(
        text=" ".join(_fill(p.text, values) for p in chosen),
        labels=cell,
        split=part,
        record=record,
        register=register,
        patterns=tuple(p.id for p in chosen),
        values=values,
    )


def _pick(
    stock: Stock, cell: Cell, role: str, pool: str, register: str, count: int, used: set[str], rng: np.random.Generator
) -> list[Pattern]:
    """Up to `count` patterns whose topics are all new; `used` topics are added to."""
    picked: list[Pattern] = []
    for kind in _kinds(stock.mix[role], count, rng):
        # An opening or closing may come from another kind where this one has none; the body's shares are kept.
        for choice in [kind] if role == "body" else [kind, *(k for k in stock.mix[role] if k != kind)]:
            fits = [
                p for p in stock.usable(cell, choice, role, pool, register) if not p.topics & used and p not in picked
            ]
            if fits:
                picked.append(fits[rng.integers(len(fits))])
                used |= picked[-1].topics
                break
    return picked


def _kinds(weights: Mapping[str, float], count: int, rng: np.random.Generator) -> list[str]:
    """`count` kinds in shares as near to the weights as whole numbers allow (systematic sampling), shuffled."""
    edges = np.cumsum(list(weights.values())) / sum(weights.values()) * count
    at = np.searchsorted(edges, np.arange(count) + rng.random(), side="right")
    names = list(weights)
    return [names[min(i, len(names) - 1)] for i in rng.permutation(at)]


def _varied_order(body: Sequence[Pattern], rng: np.random.Generator) -> list[Pattern]:
    """A random order with few neighbours that begin with the same word (a run of "She ..." reads badly)."""
    orders = [[body[i] for i in rng.permutation(len(body))] for _ in range(6)]
    return min(orders, key=lambda order: sum(a.text.split()[0] == b.text.split()[0] for a, b in pairwise(order)))


def _fill(pattern: str, values: Mapping[str, str]) -> str:
    def one(match: re.Match[str]) -> str:
        before, name, key = match.groups()
        text = values[f"{name}.{key}" if key else name]
        text = SLOT.sub(one, text) if "{" in text else text
        if before:
            text = f"{article(text)} {text}"
            return text[0].upper() + text[1:] if before == "A" else text
        return text

    filled = SLOT.sub(one, pattern)
    return filled[0].upper() + filled[1:]
