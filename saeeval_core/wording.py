"""Words of sentences and tables: counts with their noun, excerpts that end where a word ends, times to the minute."""

import re

_FIRST_WORD, _LAST_WORD = re.compile(r"^\S*\s+"), re.compile(r"\s+\S*$")


def plural(n: float, one: str, many: str = "") -> str:
    """A count with its noun: "1 pair", "4,096 latents", "2 classes"; ``many`` where no rule makes it from ``one``."""
    if n == 1:
        return f"1 {one}"
    return f"{n:,} {many or _many(one)}"


def head(text: str, most: int) -> str:
    """The first whole words of a text, at most ``most`` characters; "…" stands for what is left out.

    A single word that is longer, as in languages without spaces, is cut.
    """
    if len(text) <= most:
        return text
    kept = text[:most] if text[most].isspace() else _LAST_WORD.sub("", text[:most]) or text[:most]
    return f"{kept.rstrip()}…"


def tail(text: str, most: int) -> str:
    """The last whole words, in the same way."""
    if len(text) <= most:
        return text
    kept = text[-most:] if text[-most - 1].isspace() else _FIRST_WORD.sub("", text[-most:]) or text[-most:]
    return f"…{kept.lstrip()}"


def short_time(at: str) -> str:
    """A stored time (UTC, ISO 8601) to the minute, as people write it."""
    return f"{at[:16].replace('T', ' ')} UTC"


def _many(one: str) -> str:
    if one.endswith(("s", "x", "ch", "sh")):
        return f"{one}es"
    if one.endswith("y") and one[-2] not in "aeiou":
        return f"{one[:-1]}ies"
    return f"{one}s"
