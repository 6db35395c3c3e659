"""English of composed texts: articles, numbers in words, faults of a text, and near-duplicates."""

import re
from collections import Counter

MAX_JACCARD = 0.5
"""Texts that share more of their word 5-grams than this are near-duplicates."""

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


def faults(text: str) -> list[str]:
    """Faults of a rendered text: open slots, wrong articles, doubled words, lower-case sentence starts, spacing."""
    found = [f"unfilled slot near {text[max(0, at - 10) : at + 20]!r}" for at, c in enumerate(text) if c in "{}"]
    for before, word in _ARTICLE.findall(text):
        if before.lower() != article(word):
            found.append(f"{before} {word}")
    found += [m.group(0) for m in _DOUBLED.finditer(text) if m.group(1).lower() not in _MAY_DOUBLE]
    found += [f"sentence starts with {m.group(1)!r}" for m in _SENTENCE_START.finditer(text)]
    found += [f"spacing {bad!r}" for bad in ("  ", " ,", " .", "..", ",,") if bad in text]
    return found


def article(word: str) -> str:
    """`a` or `an` by the sound of the next word; capitals such as MRI are read letter by letter."""
    first = re.split(r"[\s-]", word)[0]
    if first.isupper() and len(word) > 1 and (len(first) > 1 or "-" in word[:2]):
        return "an" if first[0] in "AEFHILMNORSX" else "a"
    if _SOUNDS_VOWEL.match(word):
        return "an"
    return "an" if word[0].lower() in "aeiou" and not _SOUNDS_CONSONANT.match(word) else "a"


def number_words(number: int) -> str:
    """A number below a hundred in words, others in digits."""
    if not 0 <= number <= 99:
        return str(number)
    if number < len(_SMALL):
        return _SMALL[number]
    return _TENS[number // 10 - 2] + (f"-{_SMALL[number % 10]}" if number % 10 else "")


def shingles(text: str, size: int = 5) -> frozenset[str]:
    """The lower-cased word 5-grams of a text."""
    words = _WORD.findall(text.lower())
    return frozenset(" ".join(words[i : i + size]) for i in range(max(1, len(words) - size + 1)))


class DistinctTexts:
    """Texts accepted so far, with an index of word 5-grams to find near-duplicates without comparing all pairs."""

    def __init__(self) -> None:
        self._where: dict[str, list[int]] = {}
        self._sizes: list[int] = []

    def add_if_new(self, text: str) -> bool:
        """Accept a text unless the Jaccard overlap of its 5-grams with those of an accepted one exceeds MAX_JACCARD."""
        grams = shingles(text)
        shared = Counter(other for gram in grams for other in self._where.get(gram, ()))
        for other, both in shared.items():
            if both > MAX_JACCARD * (len(grams) + self._sizes[other] - both):
                return False
        for gram in grams:
            self._where.setdefault(gram, []).append(len(self._sizes))
        self._sizes.append(len(grams))
        return True
