"""Short composed English texts, rendered from hand-written stock by a seeded generator.

A stock file holds sentence patterns with slots. One text is rendered from one record (a name, a city, a number of
years ...), so its sentences agree with each other. Each list of patterns, and each field marked `pooled`, is split
once into a train pool and an eval pool; train texts use the first only, dev and test texts the second only, so no
pattern, opening or name of train is met again when a probe is scored.

Stock (JSON): `labels` (two: many classes, then two values), `pairs`, `pool_seed`, `train_share`, `words`, `fields`,
`forms`, `registers`, `mix`, `patterns`. A pattern is `@register #topic text with {slots}`; `{a:slot}` puts the
right article before the filler.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np

from saeeval_core.config import derive_rng
from saeeval_core.errors import DataError

PARTS = ("train", "dev", "test")
SHARES = (0.6, 0.2, 0.2)
ROLES = ("open", "body", "close")
MAX_JACCARD = 0.5
"""Texts that share more of their word 5-grams than this are near-duplicates and drawn again."""
MAX_DRAWS = 200

_SLOT = re.compile(r"\{(?:([aA]):)?([A-Za-z_]\w*)(?:\.(\w+))?\}")
_TAGS = re.compile(r"^((?:[@#][\w,]+\s+)*)(.*)$", re.DOTALL)
_ARTICLE_SLOT = re.compile(r"\b[Aa]n?\s+\{(?!a:)")
_ARTICLE = re.compile(r"\b([Aa]n?) ['\"]?([A-Za-z0-9][\w-]*)")
_WORD = re.compile(r"[a-z0-9]+(?:['-][a-z0-9]+)*")
_SENTENCE_START = re.compile(r"(?:^|[a-z0-9)][.!?]['\"]? )['\"]?([a-z])")
_DOUBLED = re.compile(r"\b([a-z]+) \1\b", re.IGNORECASE)
_SMALL = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_MAY_DOUBLE = frozenset({"had", "that"})
_SOUNDS_CONSONANT = re.compile(r"(uni(?!n|m)|use|usu|utili|ukr|eu|one\b|once\b|one-|ubiq)", re.IGNORECASE)
_SOUNDS_VOWEL = re.compile(r"(hour|honest|honou?r|heir\b|8|11\b|11-|18\b|18-|8\d)", re.IGNORECASE)


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
class Stock:
    """A validated stock file; `load_stock` makes it."""

    name: str
    labels: dict[str, tuple[str, ...]]
    """Two labels in order: the classes, then the two values."""
    pairs: tuple[tuple[str, str], ...]
    """Confusable pairs of the first label."""
    words: tuple[int, int]
    fields: dict[str, dict[str, Any]]
    pooled: dict[str, dict[str, frozenset[str]]]
    """Field -> pool -> the fillers of that pool."""
    forms: dict[str, dict[str, dict[str, str]]]
    registers: dict[str, dict[str, Any]]
    mix: dict[str, dict[str, float]]
    patterns: dict[tuple[str, str], tuple[Pattern, ...]]
    """(block, role) -> patterns; blocks are `any`, `label=value` or both labels joined by a comma."""
    sha256: str
    """Of the stock file's bytes."""

    @property
    def cells(self) -> list[tuple[str, str]]:
        """Every combination of the two labels."""
        first, second = self.labels.values()
        return list(product(first, second))


@dataclass(frozen=True)
class ComposedText:
    """One rendered text with its labels and the record behind it."""

    text: str
    labels: tuple[str, str]
    """Values of the stock's two labels."""
    split: str
    """`train`, `dev` or `test`."""
    record: str
    register: str
    patterns: tuple[str, ...]
    """Ids of the patterns used, in the order of the text."""
    values: dict[str, str]
    """Every slot of the record, filled; a record's facts and the word forms its labels give."""


# ---------------------------------------------------------------------------------------------------- rendering


def render(stock: Stock, per_cell: int, seed: int) -> list[ComposedText]:
    """Render `per_cell` texts for each combination of labels, split 60/20/20 within each.

    Texts are ordered by cell and part. Raises DataError when the stock is too small for that many texts without
    near-duplicates, or when a text breaks a rule of `faults`.
    """
    counts = _part_sizes(per_cell)
    seen = _Shingles()
    out: list[ComposedText] = []
    for cell in stock.cells:
        for part, count in zip(PARTS, counts, strict=True):
            rng = derive_rng(seed, "composed", stock.name, *cell, part)
            for _ in range(count):
                out.append(_draw_distinct(stock, cell, part, rng, seen, f"{stock.name}-{len(out):05d}"))
    return out


def faults(text: str) -> list[str]:
    """What is wrong with a rendered text: open slots, articles, doubled words, lower-case sentence starts, spacing."""
    found = [f"unfilled slot near {text[max(0, at - 10) : at + 20]!r}" for at in _find_all(text, "{}")]
    for article, word in _ARTICLE.findall(text):
        if article.lower() != _article(word):
            found.append(f"{article} {word}")
    found += [m.group(0) for m in _DOUBLED.finditer(text) if m.group(1).lower() not in _MAY_DOUBLE]
    found += [f"sentence starts with {m.group(1)!r}" for m in _SENTENCE_START.finditer(text)]
    found += [f"spacing {bad!r}" for bad in ("  ", " ,", " .", "..", ",,") if bad in text]
    return found


def shingles(text: str, size: int = 5) -> frozenset[str]:
    """The lower-cased word 5-grams of a text."""
    words = _WORD.findall(text.lower())
    return frozenset(" ".join(words[i : i + size]) for i in range(max(1, len(words) - size + 1)))


def _part_sizes(per_cell: int) -> tuple[int, int, int]:
    dev, test = (round(per_cell * share) for share in SHARES[1:])
    if min(dev, test, per_cell - dev - test) < 1:
        raise DataError(f"per_cell is {per_cell}: at least 5 texts per cell are needed to fill train, dev and test")
    return per_cell - dev - test, dev, test


def _draw_distinct(
    stock: Stock, cell: tuple[str, str], part: str, rng: np.random.Generator, seen: _Shingles, record: str
) -> ComposedText:
    low, high = stock.words
    for _ in range(MAX_DRAWS):
        drawn = _draw(stock, cell, part, rng, record)
        if drawn is None or not low <= len(drawn.text.split()) <= high:
            continue
        wrong = faults(drawn.text)
        if wrong:
            raise DataError(f"{stock.name}: {'; '.join(wrong)} in {drawn.text!r}: mend one of {drawn.patterns}")
        if seen.add_if_new(shingles(drawn.text)):
            return drawn
    raise DataError(
        f"{stock.name}: no new {part} text of {low}-{high} words for {'/'.join(cell)} in {MAX_DRAWS} draws: "
        "add patterns, or lower per_cell"
    )


def _draw(stock: Stock, cell: tuple[str, str], part: str, rng: np.random.Generator, record: str) -> ComposedText | None:
    """One text, or None when the topics drawn left too few patterns."""
    pool = "train" if part == "train" else "eval"
    weights = np.array([r["weight"] for r in stock.registers.values()], dtype=float)
    register = list(stock.registers)[rng.choice(len(weights), p=weights / weights.sum())]
    plan = stock.registers[register]
    used: set[str] = set()
    opening = _pick(stock, cell, "open", pool, register, 1, used, rng)
    lowest, highest = plan["body"]
    body = _pick(stock, cell, "body", pool, register, int(rng.integers(lowest, highest + 1)), used, rng)
    closing = _pick(stock, cell, "close", pool, register, 1, used, rng) if rng.random() < plan["close"] else []
    if not opening or len(body) < lowest:
        return None
    values = _record(stock, cell, register, pool, rng)
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
    stock: Stock,
    cell: tuple[str, str],
    role: str,
    pool: str,
    register: str,
    count: int,
    used: set[str],
    rng: np.random.Generator,
) -> list[Pattern]:
    """Up to `count` patterns whose topics are all new; `used` topics are added to."""
    picked: list[Pattern] = []
    for kind in _kinds(stock.mix[role], count, rng):
        # An opening or closing may come from another kind where this one has none; the body's shares are kept.
        for choice in [kind] if role == "body" else [kind, *(k for k in stock.mix[role] if k != kind)]:
            fits = [
                p for p in _usable(stock, cell, choice, role, pool, register) if not p.topics & used and p not in picked
            ]
            if fits:
                picked.append(fits[rng.integers(len(fits))])
                used |= picked[-1].topics
                break
    return picked


def _usable(stock: Stock, cell: tuple[str, str], kind: str, role: str, pool: str, register: str) -> list[Pattern]:
    if not stock.mix[role].get(kind):
        return []
    patterns = stock.patterns.get((_block(stock, cell, kind), role), ())
    return [p for p in patterns if p.pool == pool and register in p.registers]


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


def _record(stock: Stock, cell: tuple[str, str], register: str, pool: str, rng: np.random.Generator) -> dict[str, str]:
    """Every slot's text: labels, word forms, then the fields in their order."""
    values: dict[str, str] = dict(zip(stock.labels, cell, strict=True))
    for label, value in zip(stock.labels, cell, strict=True):
        values |= stock.forms.get(label, {}).get(value, {})
    for name, field in stock.fields.items():
        if "range" in field:
            low, high, *step = field["range"]
            values[name] = str(rng.integers(low, high + 1) if not step else rng.choice(range(low, high + 1, step[0])))
        elif "minus" in field:
            left, right = (int(values.get(str(term), term)) for term in field["minus"])
            values[name] = str(left - right)
        elif "words" in field:
            values[name] = _number_words(int(values[field["words"]]))
        else:
            choices = field["choice"][values[field["by"]]] if "by" in field else field["choice"]
            if name in stock.pooled:
                choices = [c for c in choices if _filler(c) in stock.pooled[name][pool]]
            chosen = choices[rng.integers(len(choices))]
            values[name] = _filler(chosen)
            if isinstance(chosen, dict):
                values |= {f"{name}.{key}": text for key, text in chosen.items()}
    return values | stock.registers[register].get("forms", {})


def _fill(pattern: str, values: Mapping[str, str]) -> str:
    def one(match: re.Match[str]) -> str:
        article, name, key = match.groups()
        text = values[f"{name}.{key}" if key else name]
        text = _SLOT.sub(one, text) if "{" in text else text
        if article:
            text = f"{_article(text)} {text}"
            return text[0].upper() + text[1:] if article == "A" else text
        return text

    filled = _SLOT.sub(one, pattern)
    return filled[0].upper() + filled[1:]


def _article(word: str) -> str:
    """`a` or `an` by the sound of the next word; capitals such as MRI are read letter by letter."""
    first = re.split(r"[\s-]", word)[0]
    if first.isupper() and len(word) > 1 and (len(first) > 1 or "-" in word[:2]):
        return "an" if first[0] in "AEFHILMNORSX" else "a"
    if _SOUNDS_VOWEL.match(word):
        return "an"
    return "an" if word[0].lower() in "aeiou" and not _SOUNDS_CONSONANT.match(word) else "a"


def _number_words(number: int) -> str:
    """A number below a hundred in words, others in digits."""
    if not 0 <= number <= 99:
        return str(number)
    if number < len(_SMALL):
        return _SMALL[number]
    return _TENS[number // 10 - 2] + (f"-{_SMALL[number % 10]}" if number % 10 else "")


class _Shingles:
    """Inverted index of the 5-grams seen: near-duplicates without comparing every pair of texts."""

    def __init__(self) -> None:
        self._where: dict[str, list[int]] = {}
        self._sizes: list[int] = []

    def add_if_new(self, grams: frozenset[str]) -> bool:
        shared = Counter(other for gram in grams for other in self._where.get(gram, ()))
        for other, both in shared.items():
            if both > MAX_JACCARD * (len(grams) + self._sizes[other] - both):
                return False
        for gram in grams:
            self._where.setdefault(gram, []).append(len(self._sizes))
        self._sizes.append(len(grams))
        return True


def _find_all(text: str, characters: str) -> list[int]:
    return [i for i, c in enumerate(text) if c in characters]


def _filler(choice: str | Mapping[str, str]) -> str:
    return choice if isinstance(choice, str) else choice["name"]


def _block(stock: Stock, cell: tuple[str, str], kind: str) -> str:
    """The block a kind of sentence means for this cell: `profession` -> `profession=nurse`."""
    if kind == "any":
        return "any"
    values = dict(zip(stock.labels, cell, strict=True))
    return ",".join(f"{label}={values[label]}" for label in kind.split(","))


# ------------------------------------------------------------------------------------------------------- loading


def load_stock(path: Path | str) -> Stock:
    """Read and validate a stock file; DataError says what is wrong and where."""
    path = Path(path)
    try:
        raw = path.read_bytes()
        data = json.loads(raw)
    except FileNotFoundError as error:
        raise DataError(f"no stock file at {path}: give the path of a stock JSON") from error
    except ValueError as error:
        raise DataError(f"{path.name} is not JSON ({error}): mend it at that place") from error
    need = {"name", "labels", "pairs", "pool_seed", "train_share", "words", "fields", "forms", "registers", "mix"}
    missing = sorted((need | {"patterns"}) - set(data))
    if missing:
        raise DataError(f"{path.name} lacks {', '.join(missing)}: add these keys")
    if len(data["labels"]) != 2:
        raise DataError(f"{path.name} has {len(data['labels'])} labels, expected two: the classes, then the two values")
    stock = Stock(
        name=data["name"],
        labels={label: tuple(values) for label, values in data["labels"].items()},
        pairs=tuple((a, b) for a, b in data["pairs"]),
        words=(data["words"][0], data["words"][1]),
        fields=data["fields"],
        pooled=_split_fields(data, path.name),
        forms=data["forms"],
        registers=data["registers"],
        mix=data["mix"],
        patterns=_split_patterns(data, path.name),
        sha256=hashlib.sha256(raw).hexdigest(),
    )
    _check(stock, path.name)
    return stock


def _split_fields(data: Mapping[str, Any], where: str) -> dict[str, dict[str, frozenset[str]]]:
    pooled: dict[str, dict[str, frozenset[str]]] = {}
    for name, field in data["fields"].items():
        if not field.get("pooled"):
            continue
        lists = field["choice"].values() if "by" in field else [field["choice"]]
        pool_of: dict[str, str] = {}
        for i, choices in enumerate(lists):
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
    if _find_all(_SLOT.sub("", text), "{}"):
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
    blocks = {_block(stock, cell, kind) for cell in stock.cells for kind in kinds}
    for block, _ in stock.patterns:
        if block not in blocks:
            raise DataError(f"{where}: block {block!r} fits no cell: expected 'any' or {first}=... or {second}=...")
    for cell in stock.cells:
        for register in stock.registers:
            for pool in ("train", "eval"):
                _check_cell(stock, cell, register, pool, where)


def _check_cell(stock: Stock, cell: tuple[str, str], register: str, pool: str, where: str) -> None:
    try:
        values = _record(stock, cell, register, pool, np.random.default_rng(0))
    except (KeyError, ValueError) as error:
        raise DataError(f"{where}: the fields give no record for {'/'.join(cell)} ({error}): mend fields") from error
    for role in ROLES:
        usable = {kind: _usable(stock, cell, kind, role, pool, register) for kind in stock.mix[role]}
        empty = [kind for kind, patterns in usable.items() if stock.mix[role][kind] > 0 and not patterns]
        if empty and (role == "body" or len(empty) == len(usable)):
            raise DataError(
                f"{where}: no {role} pattern in {_block(stock, cell, empty[0])} for register {register} in the {pool} "
                "pool: add some"
            )
        for pattern in (p for patterns in usable.values() for p in patterns):
            for _, name, key in _SLOT.findall(pattern.text):
                slot = f"{name}.{key}" if key else name
                if slot not in values:
                    raise DataError(f"{where}: {pattern.id} has an unknown slot {slot!r}: expected a field or form")
