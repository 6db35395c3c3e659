"""What is odd about labelled texts before minutes are spent on them: one finding a line, with examples."""

import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import product

import numpy as np

from saeeval_core.config import MAX_TOKENS
from saeeval_core.texts.choices import LabelChoice, TaskLabels
from saeeval_core.texts.labelled import LabelledTexts, Unused
from saeeval_core.texts.tasks import MIN_PER_QUADRANT
from saeeval_core.texts.wording import DistinctTexts
from saeeval_core.wording import head

NEAR = 3_000
"""Texts among which near-duplicates are looked for: all pairs of many would take minutes."""
MANY = 20_000
"""Texts whose words are looked at."""
_PIECE = re.compile(r"\w+|[^\w\s]")
_WORD = re.compile(r"[^\W\d_]{2,}")
_TELLING, _SHARE = 0.95, 0.1
"""A word tells a label when so many of its texts have it, and so many of the label's texts hold the word."""
_EXAMPLES = 3
_SHOWN = 120


@dataclass(frozen=True)
class Finding:
    """One thing that was looked for."""

    what: str
    count: int
    """0: nothing was found."""
    line: str
    examples: tuple[str, ...] = ()


@dataclass(frozen=True)
class Quadrant:
    """The texts with one value of the target and one of the spurious label."""

    target: str
    spurious: str
    texts: int
    """Different texts."""
    training: int
    """How many of them are in the training part."""
    needed: int
    """How many that must be."""
    needed_texts: int
    """Texts from which on enough are drawn for training, where texts bring no parts of their own."""

    @property
    def enough(self) -> bool:
        """Whether there are."""
        return self.training >= self.needed


def quadrants(texts: LabelledTexts, target: LabelChoice, spurious: LabelChoice) -> tuple[Quadrant, ...]:
    """The four quadrants, in the order of the values; SHIFT needs twice as many where the labels agree.

    DataError for unknown columns.
    """
    found = []
    for t, a in product(target.values, spurious.values):
        own = np.flatnonzero(_has(texts, target.column, t) & _has(texts, spurious.column, a))
        rows = list({texts.texts[i]: i for i in own}.values())
        needed = MIN_PER_QUADRANT * (2 if target.values.index(t) == spurious.values.index(a) else 1)
        found.append(Quadrant(t, a, len(rows), _training(texts, rows), needed, _enough(needed)))
    return tuple(found)


def class_counts(texts: LabelledTexts, classes: LabelChoice) -> dict[str, tuple[int, int]]:
    """Class -> (different texts, those in the training part); each needs MIN_PER_QUADRANT of the latter."""
    out = {}
    for name in classes.values:
        rows = list({texts.texts[i]: i for i in np.flatnonzero(_has(texts, classes.column, name))}.values())
        out[name] = (len(rows), _training(texts, rows))
    return out


def check_texts(texts: LabelledTexts, labels: TaskLabels) -> tuple[Finding, ...]:
    """Everything that is looked for, in a fixed order, whether it was found or not. DataError for unknown columns."""
    used = _used(texts, labels)
    return (
        _empty(texts),
        *_identical(texts, labels, used),
        _near(texts, used),
        _long(texts, used),
        _parts(texts, used),
        *(_words(texts, used, c) for c in (labels.target, labels.spurious, labels.classes) if c),
        *(_balance(texts, c) for c in (labels.target, labels.spurious, labels.classes) if c),
    )


def _has(texts: LabelledTexts, column: str, value: str) -> np.ndarray:
    return texts.column(column) == texts.canonical(column, value)


def _used(texts: LabelledTexts, labels: TaskLabels) -> np.ndarray:
    """int[used]: rows with the labels of SHIFT or of TPP."""
    found = np.zeros(len(texts.texts), dtype=bool)
    pair = [c for c in (labels.target, labels.spurious) if c]
    for chosen in (pair, [labels.classes] if labels.classes else []):
        if chosen:
            found |= np.all([np.any([_has(texts, c.column, v) for v in c.values], axis=0) for c in chosen], axis=0)
    return np.flatnonzero(found)


def _training(texts: LabelledTexts, rows: list[int]) -> int:
    if texts.split is not None:
        return int((texts.split[rows] == "train").sum()) if rows else 0
    return len(rows) - 2 * (len(rows) // 5)


def _enough(training: int) -> int:
    """The number of texts from which on 60 % of them, as parts are drawn, are at least ``training``."""
    short = [n for n in range(3 * training) if n - 2 * (n // 5) < training]
    return max(short, default=-1) + 1


def _empty(texts: LabelledTexts) -> Finding:
    count = texts.dropped.get(Unused.NO_TEXT, 0)
    return Finding("empty texts", count, f"{count:,} rows without text are left out" if count else "no empty texts")


def _identical(texts: LabelledTexts, labels: TaskLabels, used: np.ndarray) -> tuple[Finding, Finding]:
    columns = [texts.column(c) for c in labels.columns]
    seen: dict[str, Counter[tuple[str, ...]]] = defaultdict(Counter)
    for i in used:
        seen[texts.texts[i]][tuple(str(c[i]) for c in columns)] += 1
    twice = [t for t, found in seen.items() if found.total() > 1]
    odd = [t for t in twice if len(seen[t]) > 1]
    again = sum(seen[t].total() - 1 for t in twice)
    return (
        Finding(
            "identical texts",
            again,
            f"{again:,} texts repeat another one; each is used once" if again else "no text stands twice",
            _cut(twice),
        ),
        Finding(
            "identical texts, different labels",
            len(odd),
            f"{len(odd):,} texts stand there with different labels; the labels of one of the rows count"
            if odd
            else "no text has two labels",
            _cut(odd),
        ),
    )


def _near(texts: LabelledTexts, used: np.ndarray) -> Finding:
    distinct = list(dict.fromkeys(texts.texts[i] for i in used))
    accepted = DistinctTexts()
    found = [t for t in distinct[:NEAR] if not accepted.add_if_new(t)]
    among = "" if len(distinct) <= NEAR else f" among the first {NEAR:,}"
    line = (
        f"{len(found):,} texts{among} share most of their word sequences with another one and may stand in both parts"
    )
    return Finding("near-duplicates", len(found), line if found else f"no near-duplicates{among}", _cut(found))


def _long(texts: LabelledTexts, used: np.ndarray) -> Finding:
    most = MAX_TOKENS - 1
    some, first = used[:MANY], "the first " if len(used) > MANY else ""
    count = sum(len(_PIECE.findall(texts.texts[i])) > most for i in some)
    line = (
        f"at least {count:,} of {first}{len(some):,} texts have more than {most} tokens: only their beginning is read"
    )
    return Finding("long texts", count, line if count else f"no text has more than {most} words and signs")


def _parts(texts: LabelledTexts, used: np.ndarray) -> Finding:
    if texts.split is None:
        return Finding("texts in several parts", 0, "parts are drawn here, and no text stands in two")
    home: dict[str, set[str]] = defaultdict(set)
    for i in used:
        home[texts.texts[i]].add(str(texts.split[i]))
    across = [t for t, parts in home.items() if len(parts) > 1]
    line = f"{len(across):,} texts stand in several parts of the file; each is used in one of them"
    return Finding("texts in several parts", len(across), line if across else "no text is in two parts", _cut(across))


def _words(texts: LabelledTexts, used: np.ndarray, choice: LabelChoice) -> Finding:
    values = texts.column(choice.column)
    names = [texts.canonical(choice.column, v) for v in choice.values]
    holds: dict[str, Counter[str]] = defaultdict(Counter)
    sizes: Counter[str] = Counter()
    for i in used[:: max(1, len(used) // MANY)]:
        if (label := str(values[i])) in names:
            sizes[label] += 1
            for word in set(_WORD.findall(texts.texts[i].lower())):
                holds[word][label] += 1
    found = []
    for word, counts in holds.items():
        label, most = counts.most_common(1)[0]
        if len(sizes) > 1 and most >= _TELLING * counts.total() and most >= max(5, _SHARE * sizes[label]):
            found.append((most / sizes[label], word, label, most))
    found.sort(reverse=True)
    examples = tuple(f"{word}: in {most:,} of {sizes[label]:,} texts of {label}" for _, word, label, most in found[:8])
    what = f"words that alone tell '{choice.column}'"
    line = f"{len(found):,} words stand almost only in texts of one value: a probe may learn them and nothing else"
    return Finding(what, len(found), line if found else "no word tells the label", examples)


def _balance(texts: LabelledTexts, choice: LabelChoice) -> Finding:
    counts = {v: int(_has(texts, choice.column, v).sum()) for v in choice.values}
    low, high = min(counts.values()), max(counts.values())
    line = ", ".join(f"{v}: {n:,}" for v, n in counts.items())
    uneven = int(high > 5 * max(1, low))
    return Finding(f"balance of '{choice.column}'", uneven, line + ("; the smallest class decides" if uneven else ""))


def _cut(texts: list[str]) -> tuple[str, ...]:
    return tuple(head(t, _SHOWN) for t in texts[:_EXAMPLES])
