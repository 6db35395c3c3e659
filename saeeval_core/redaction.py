"""Keys out of text: what a server echoes and what a library puts into its errors is shown, logged and stored without."""

import base64
import os
import re
from functools import lru_cache

KEY_VARIABLES = (
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_AUTH_TOKEN",
    "OPENAI_API_KEY",
    "SAEEVAL_JUDGE_KEY",
    "NEURONPEDIA_API_KEY",
    "HF_TOKEN",
    "HUGGING_FACE_HUB_TOKEN",
    "HUGGINGFACEHUB_API_TOKEN",
)
"""Variables of the environment whose values are never shown."""
HIDDEN = "[key]"
_SHORTEST = 6  # a shorter value would blot out ordinary words
_LOOKS_LIKE_A_KEY = re.compile(r"\b(?:hf_(?!hook_)|api_org_|sk-ant-|sk-proj-|sk-svcacct-)[A-Za-z0-9_-]{8,}")
_PASSWORD = re.compile(r"(?<=://)[^\s/@:'\"]{1,200}:[^\s/@'\"]{1,200}(?=@)")


def redacted(text: str, *keys: str) -> str:
    """The text with every one of ``keys`` and of KEY_VARIABLES' values replaced by "[key]".

    They are found as they are and escaped, whole or in part: as in JSON, ``repr``, addresses, HTML, base64, and as UTF-8
    read as Latin-1. So is whatever looks like a key of Anthropic, OpenAI or the Hub, and a password in an address.
    """
    for key in (*keys, *(os.environ.get(name, "") for name in KEY_VARIABLES)):
        for part in key.split():  # a value with a line break may be shown line by line
            if len(part) >= _SHORTEST:
                text = _pattern(part).sub(HIDDEN, text)
    return _PASSWORD.sub(HIDDEN, _LOOKS_LIKE_A_KEY.sub(HIDDEN, text))


@lru_cache(maxsize=64)
def _pattern(key: str) -> re.Pattern[str]:
    """The key with each character in any of its spellings, or all of it in base64."""
    raw = key.encode("utf-8", "surrogatepass")
    packed = {e(raw).decode().rstrip("=") for e in (base64.b64encode, base64.urlsafe_b64encode)}
    return re.compile("|".join(["".join(map(_spellings, key)), *map(re.escape, sorted(packed))]))


def _spellings(character: str) -> str:
    """A regular expression for one character: itself, escaped with its number, or as bytes of UTF-8."""
    number = ord(character)
    pair = character.encode("utf-16-be", "surrogatepass")
    units = [int.from_bytes(pair[i : i + 2], "big") for i in range(0, len(pair), 2)]
    escaped = "".join(rf"\\{{1,8}}u{_hex(unit, 4)}" for unit in units)
    in_bytes = "".join(
        rf"(?:{re.escape(chr(byte))}|\\{{1,8}}x{_hex(byte, 2)}|%(?:25){{0,4}}{_hex(byte, 2)})"
        for byte in character.encode("utf-8", "surrogatepass")
    )
    named = rf"&(?:amp;)?#(?:0{{0,6}}{number}|[xX]0{{0,6}}{_hex(number, 1)});"
    short = rf"\\{{1,8}}x{_hex(number, 2)}" if number < 256 else rf"\\{{1,8}}U{_hex(number, 8)}"
    return rf"(?:\\{{0,8}}{re.escape(character)}|{escaped}|{short}|{named}|{in_bytes})"


def _hex(number: int, digits: int) -> str:
    """Hexadecimal in either case."""
    return "".join(f"[{d}{d.upper()}]" if d.isalpha() else d for d in f"{number:0{digits}x}")
