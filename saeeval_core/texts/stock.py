"""Stock of composed texts: hand-written sentence patterns with slots, read from a file and checked.

Each list of patterns, and each field marked `pooled`, is split once into a train pool and an eval pool.

Stock (JSON): `labels` (two: many classes, then two values), `pairs`, `pool_seed`, `train_share`, `words`, `fields`,
`forms`, `registers`, `mix`, `patterns`. A pattern is `@register #topic text with {slots}`; `{a:slot}` puts the
right article before the filler.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from saeeval_core.config import derive_rng
from saeeval_core.errors import DataError
from saeeval_core.storage.parse_json import NotJson, parse_json
from saeeval_core.texts.wording import number_words

ROLES = ("open", "body", "close")
SLOT = re.compile(r"\{(?:([aA]):)?([A-Za-z_]\w*)(?:\.(\w+))?\}")
"""(article, name of the field, key of its filler)"""
_TAGS = re.compile(r"^((?:[@#][\w,]+\s+)*)(.*)$", re.DOTALL)
_ARTICLE_SLOT = re.compile(r"\b[Aa]n?\s+\{(?!a:)")
_KEYS = {
    "name",
    "labels",
    "pairs",
    "pool_seed",
    "train_share",
    "words",
    "fields",
    "forms",
    "registers",
    "mix",
    "patterns",
}

Cell = tuple[str, str]
"""Values of the stock's two labels."""
Filler = str | Mapping[str, str]
"""What a slot is filled with: a word, or a `name` with other forms of it under further keys."""


@dataclass(frozen=True)
class Pattern:
    """One hand-written sentence pattern."""

    id: str
    """Block, role and position in the stock, as in `profession=nurse/body/12`."""
    text: str
    pool: str
    """`train` or `eval`."""
    registers: frozenset[str]
    topics: frozenset[str]


@dataclass(frozen=True)
class Field:
    """How one slot of a record is filled: by a choice, a random number, a difference, or a number in words."""

    choice: Sequence[Filler] | Mapping[str, Sequence[Filler]] = ()
    """Fillers; with ``by``, label value -> fillers."""
    by: str = ""
    """Label on which the fillers depend."""
    pooled: bool = False
    """Fillers are split into the two pools."""
    range: Sequence[int] = ()
    """Lowest and highest number, and the step between them unless it is 1."""
    minus: Sequence[int | str] = ()
    """Two terms, each a number or the name of a field before it."""
    words: str = ""
    """Field before it whose number is spelled out."""

    @property
    def lists(self) -> list[Sequence[Filler]]:
        """The lists of fillers, one for each value of ``by``."""
        return list(self.choice.values()) if isinstance(self.choice, Mapping) else [self.choice]


@dataclass(frozen=True)
class Register:
    """A manner of writing."""

    weight: float
    """How often it is drawn, against the others."""
    body: tuple[int, int]
    """Fewest and most sentences between opening and closing."""
    close: float
    """Share of its texts that have a closing sentence."""
    forms: Mapping[str, str] = field(default_factory=dict)
    """Slots that read differently in this register."""


@dataclass(frozen=True)
class Stock:
    """A validated stock file; `load_stock` makes it."""

    name: str
    labels: dict[str, tuple[str, ...]]
    """Two labels in order: the classes, then the two values."""
    pairs: tuple[tuple[str, str], ...]
    """Confusable pairs of the first label."""
    words: tuple[int, int]
    """Fewest and most words of a text."""
    fields: dict[str, Field]
    pooled: dict[str, dict[str, frozenset[str]]]
    """Field -> pool -> the fillers of that pool."""
    forms: dict[str, dict[str, dict[str, str]]]
    """Label -> value -> slot -> word, such as the pronouns."""
    registers: dict[str, Register]
    mix: dict[str, dict[str, float]]
    """Role -> kind of sentence -> its share."""
    patterns: dict[tuple[str, str], tuple[Pattern, ...]]
    """(block, role) -> patterns; blocks are `any`, `label=value` or both labels joined by a comma."""
    sha256: str
    """Of the stock file's bytes."""

    @property
    def cells(self) -> list[Cell]:
        """Every combination of the two labels."""
        first, second = self.labels.values()
        return list(product(first, second))

    def block(self, cell: Cell, kind: str) -> str:
        """The block a kind of sentence means for this cell: `profession` -> `profession=nurse`."""
        if kind == "any":
            return "any"
        values = dict(zip(self.labels, cell, strict=True))
        return ",".join(f"{label}={values[label]}" for label in kind.split(","))

    def usable(self, cell: Cell, kind: str, role: str, pool: str, register: str) -> list[Pattern]:
        """Patterns of one kind and role that fit the cell, the pool and the register."""
        if not self.mix[role].get(kind):
            return []
        patterns = self.patterns.get((self.block(cell, kind), role), ())
        return [p for p in patterns if p.pool == pool and register in p.registers]

    def record(self, cell: Cell, register: str, pool: str, rng: np.random.Generator) -> dict[str, str]:
        """Every slot's text: labels, word forms, then the fields in their order.

        KeyError or ValueError for fields that do not fit together.
        """
        values: dict[str, str] = dict(zip(self.labels, cell, strict=True))
        for label, value in zip(self.labels, cell, strict=True):
            values |= self.forms.get(label, {}).get(value, {})
        for name, f in self.fields.items():
            if f.range:
                low, high, *step = f.range
                drawn = rng.integers(low, high + 1) if not step else rng.choice(range(low, high + 1, step[0]))
                values[name] = str(drawn)
            elif f.minus:
                left, right = (int(values.get(str(term), term)) for term in f.minus)
                values[name] = str(left - right)
            elif f.words:
                values[name] = number_words(int(values[f.words]))
            else:
                values |= self._filled(name, f, values, pool, rng)
        return values | dict(self.registers[register].forms)

    def _filled(
        self, name: str, f: Field, values: Mapping[str, str], pool: str, rng: np.random.Generator
    ) -> dict[str, str]:
        """One filler drawn, under the field's name and, where it has several forms, under `field.key`."""
        choices = f.choice[values[f.by]] if isinstance(f.choice, Mapping) else f.choice
        if name in self.pooled:
            choices = [c for c in choices if _filler(c) in self.pooled[name][pool]]
        chosen = choices[rng.integers(len(choices))]
        keys = {} if isinstance(chosen, str) else {f"{name}.{key}": text for key, text in chosen.items()}
        return {name: _filler(chosen)} | keys


def load_stock(path: Path | str) -> Stock:
    """Read and validate a stock file; DataError says what is wrong and where."""
    path = Path(path)
    try:
        raw = path.read_bytes()
        data = parse_json(raw)
    except FileNotFoundError as error:
        raise DataError(f"no stock file at {path}: give the path of a stock JSON") from error
    except NotJson as error:
        raise DataError(f"{path.name} is not JSON ({error}): mend it at that place") from error
    missing = sorted(_KEYS - set(data))
    if missing:
        raise DataError(f"{path.name} lacks {', '.join(missing)}: add these keys")
    if len(data["labels"]) != 2:
        raise DataError(f"{path.name} has {len(data['labels'])} labels, expected two: the classes, then the two values")
    try:
        fields = {name: Field(**own) for name, own in data["fields"].items()}
        registers = {name: Register(**own) for name, own in data["registers"].items()}
    except TypeError as error:
        raise DataError(f"{path.name} has a field or register of another form ({error}): mend it") from error
    stock = Stock(
        name=data["name"],
        labels={label: tuple(values) for label, values in data["labels"].items()},
        pairs=tuple((a, b) for a, b in data["pairs"]),
        words=(data["words"][0], data["words"][1]),
        fields=fields,
        pooled=_split_fields(data, fields, path.name),
        forms=data["forms"],
        registers=registers,
        mix=data["mix"],
        patterns=_split_patterns(data, path.name),
        sha256=hashlib.sha256(raw).hexdigest(),
    )
    _check(stock, path.name)
    return stock


def _split_fields(
    data: Mapping[str, Any], fields: Mapping[str, Field], where: str
) -> dict[str, dict[str, frozenset[str]]]:
    pooled: dict[str, dict[str, frozenset[str]]] = {}
    for name, f in fields.items():
        if not f.pooled:
            continue
        pool_of: dict[str, str] = {}
        for i, choices in enumerate(f.lists):
            fillers = [_filler(c) for c in choices]
            if len(set(fillers)) < len(fillers):
                twice = Counter(fillers).most_common(1)[0][0]
                raise DataError(f"{where}: field {name} lists {twice!r} twice: keep one")
            # A filler that another list has already placed keeps its pool.
            for filler, pool in zip(fillers, _pools(data, [""] * len(fillers), "field", name, str(i)), strict=True):
                pool_of.setdefault(filler, pool)
        pooled[name] = {
            pool: frozenset(f for f, placed in pool_of.items() if placed == pool) for pool in ("train", "eval")
        }
    return pooled


def _split_patterns(data: Mapping[str, Any], where: str) -> dict[tuple[str, str], tuple[Pattern, ...]]:
    patterns: dict[tuple[str, str], tuple[Pattern, ...]] = {}
    seen: dict[str, str] = {}
    for block, roles in data["patterns"].items():
        for role, lines in roles.items():
            if role not in ROLES:
                raise DataError(f"{where}: role {role!r} in {block}: expected one of {', '.join(ROLES)}")
            made = []
            pools = _pools(data, [" ".join(re.findall(r"@\S+", line)) for line in lines], block, role)
            for i, (line, pool) in enumerate(zip(lines, pools, strict=True)):
                pattern = _parse(line, pool, f"{block}/{role}/{i}", frozenset(data["registers"]), where)
                if pattern.text in seen:
                    raise DataError(f"{where}: {pattern.id} repeats {seen[pattern.text]}: keep one")
                seen[pattern.text] = pattern.id
                made.append(pattern)
            patterns[block, role] = tuple(made)
    return patterns


def _pools(data: Mapping[str, Any], groups: Sequence[str], *names: str) -> list[str]:
    """Pool of each entry of a list, seeded by the stock's own pool_seed and the list's name only.

    Entries of one group (the same registers) are spread over both pools, so that no register is left out of one.
    """
    rng = derive_rng(data["pool_seed"], "pool", data["name"], *names)
    order = sorted(zip(groups, rng.random(len(groups)), range(len(groups)), strict=True))
    steps = np.floor(np.arange(len(groups) + 1) * data["train_share"] + rng.random() * (1 - data["train_share"]))
    pools = ["eval"] * len(groups)
    for (_, _, i), step in zip(order, np.diff(steps), strict=True):
        if step:
            pools[i] = "train"
    return pools


def _parse(line: str, pool: str, id_: str, registers: frozenset[str], where: str) -> Pattern:
    match = _TAGS.match(line)
    assert match is not None, line  # the expression matches any string
    tags, text = match.group(1).split(), match.group(2).strip()
    named = frozenset(r for tag in tags if tag[0] == "@" for r in tag[1:].split(","))
    if named - registers:
        unknown = sorted(named - registers)[0]
        raise DataError(f"{where}: {id_} names register {unknown!r}: expected one of {', '.join(sorted(registers))}")
    if not text or text[-1] not in ".!?\"'":
        raise DataError(f"{where}: {id_} does not end a sentence: {text!r}")
    if _ARTICLE_SLOT.search(text):
        raise DataError(f"{where}: {id_} has a fixed article before a slot: write {{a:slot}} in {text!r}")
    if set("{}") & set(SLOT.sub("", text)):
        raise DataError(f"{where}: {id_} has a brace that is not a slot: {text!r}")
    topics = frozenset(t for tag in tags if tag[0] == "#" for t in tag[1:].split(","))
    return Pattern(id_, text, pool, named or registers, topics)


def _check(stock: Stock, where: str) -> None:
    """Names agree with each other, every slot can be filled, and every cell has openings and body in both pools."""
    first, second = stock.labels
    kinds = {"any", first, second, f"{first},{second}"}
    for role in ROLES:
        unknown = set(stock.mix.get(role, {"missing": 0})) - kinds
        if unknown:
            raise DataError(f"{where}: mix[{role!r}] has {sorted(unknown)}: expected some of {sorted(kinds)}")
    stray = {name for pair in stock.pairs for name in pair} - set(stock.labels[first])
    if stray:
        raise DataError(f"{where}: pairs name {sorted(stray)}: expected values of {first}")
    blocks = {stock.block(cell, kind) for cell in stock.cells for kind in kinds}
    for block, _ in stock.patterns:
        if block not in blocks:
            raise DataError(f"{where}: block {block!r} fits no cell: expected 'any' or {first}=... or {second}=...")
    for cell in stock.cells:
        for register in stock.registers:
            for pool in ("train", "eval"):
                _check_cell(stock, cell, register, pool, where)


def _check_cell(stock: Stock, cell: Cell, register: str, pool: str, where: str) -> None:
    try:
        values = stock.record(cell, register, pool, np.random.default_rng(0))
    except (KeyError, ValueError) as error:
        raise DataError(f"{where}: the fields give no record for {'/'.join(cell)} ({error}): mend fields") from error
    for role in ROLES:
        usable = {kind: stock.usable(cell, kind, role, pool, register) for kind in stock.mix[role]}
        empty = [kind for kind, patterns in usable.items() if stock.mix[role][kind] > 0 and not patterns]
        if empty and (role == "body" or len(empty) == len(usable)):
            raise DataError(
                f"{where}: no {role} pattern in {stock.block(cell, empty[0])} for register {register} in the {pool} "
                "pool: add some"
            )
        for pattern in (p for patterns in usable.values() for p in patterns):
            for _, name, key in SLOT.findall(pattern.text):
                slot = f"{name}.{key}" if key else name
                if slot not in values:
                    raise DataError(f"{where}: {pattern.id} has an unknown slot {slot!r}: expected a field or form")


def _filler(choice: Filler) -> str:
    return choice if isinstance(choice, str) else choice["name"]
