"""Labels as people name them, "COLUMN=VALUE,VALUE": names with commas, "=" or outer spaces stand in double quotes."""

import re
from collections.abc import Iterable

from saeeval_core.errors import DataError

_QUOTED = r'\s*"(?:[^"]|"")*"\s*'
_CHOICE = re.compile(rf'({_QUOTED}|[^="][^=]*)=((?:{_QUOTED}|[^,"][^,]*|)(?:,(?:{_QUOTED}|[^,"][^,]*|))*)', re.DOTALL)
_VALUE = re.compile(rf"({_QUOTED}|[^,]*)(?:,|$)", re.DOTALL)
_DIGITS = re.compile(r"[+-]?[0-9]{1,22}")
_EXACT = 1e22
"""Below it a float without decimals is written in full."""
QUOTING = 'put names with commas, = or outer spaces in double quotes, as in "my, column"="a, b",c'


def read_choice(text: str) -> tuple[str, tuple[str, ...]]:
    """(column, its values) of COLUMN=A,B,C; inside double quotes ``""`` is one quote, outside outer spaces are dropped.

    A column alone has no values. DataError for quotes that do not close or stand inside a name.
    """
    if not text.lstrip().startswith('"') and "=" not in text:
        return text, ()
    if not (found := _CHOICE.fullmatch(text)):
        raise DataError(f"'{text}' is not COLUMN=VALUE,VALUE; {QUOTING}")
    parts = [m[1] for m in _VALUE.finditer(found[2]) if m[0]]
    column = _unquoted(found[1]) if found[1].lstrip().startswith('"') else found[1]
    return column, tuple(v for v in map(_unquoted, parts) if v)


def write_choice(column: str, values: Iterable[str]) -> str:
    """Inverse of ``read_choice``, with quotes where they are needed."""
    return f"{_quoted(column)}={','.join(map(_quoted, values))}"


def number_label(value: object) -> str:
    """The label of a number: every digit that makes it another number, and no ".0" ("5" for 5.0)."""
    if hasattr(value, "is_integer") and value.is_integer() and abs(value) < _EXACT:  # type: ignore[operator]
        return str(int(value))  # type: ignore[call-overload]
    return str(value)


def typed_number(text: str) -> str:
    """The label of the number that was typed: "5.0" gives "5". ValueError for what is none."""
    return number_label(int(text) if _DIGITS.fullmatch(text.strip()) else float(text))


def _unquoted(part: str) -> str:
    part = part.strip()
    return part[1:-1].replace('""', '"') if part.startswith('"') else part


def _quoted(name: str) -> str:
    plain = name == name.strip() and not {",", "=", '"'} & set(name)
    return name if plain else '"' + name.replace('"', '""') + '"'
