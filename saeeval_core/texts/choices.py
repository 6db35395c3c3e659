"""Labels as people name them, and when two spellings are one label.

On the command line "COLUMN=VALUE,VALUE": names with commas, "=" or outer spaces stand in double quotes.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from saeeval_core.errors import DataError

_QUOTED = r'\s*"(?:[^"]|"")*"\s*'
_CHOICE = re.compile(rf'({_QUOTED}|[^="][^=]*)=((?:{_QUOTED}|[^,"][^,]*|)(?:,(?:{_QUOTED}|[^,"][^,]*|))*)', re.DOTALL)
_VALUE = re.compile(rf"({_QUOTED}|[^,]*)(?:,|$)", re.DOTALL)
_DECIMAL = re.compile(r"(-?)(0|[1-9][0-9]*)(?:\.([0-9]+))?", re.ASCII)
_EXACT = 1e22
"""Below it a float without decimals is written in full."""
QUOTING = 'put names with commas, = or outer spaces in double quotes, as in "my, column"="a, b",c'
_SHAPE = (
    '{"target": {"column": ..., "positive": ..., "negative": ...}, "spurious": {...}, '
    '"classes": {"column": ..., "values": [...]}}'
)


@dataclass(frozen=True)
class LabelChoice:
    """A label column and the values of it that are used; of a contrast the positive one, then the negative one."""

    column: str
    values: tuple[str, ...]

    @classmethod
    def read(cls, text: str) -> "LabelChoice | None":
        """Of "COLUMN=VALUE,VALUE" as typed; None for "". DataError as ``read_choice``."""
        return cls(*read_choice(text)) if text else None

    def __str__(self) -> str:
        return write_choice(self.column, self.values)


@dataclass(frozen=True)
class TaskLabels:
    """The labels of a task: those of SHIFT, those of TPP, or both."""

    target: LabelChoice | None = None
    spurious: LabelChoice | None = None
    classes: LabelChoice | None = None

    @classmethod
    def read(cls, target: str, spurious: str, classes: str) -> "TaskLabels":
        """Of three values as typed on the command line, each "" to leave it out. DataError as ``read_choice``."""
        return cls(*map(LabelChoice.read, (target, spurious, classes)))

    @classmethod
    def from_json(cls, value: object) -> "TaskLabels":
        """Inverse of ``to_json``, and the form of ``--labels FILE.json``. DataError says which part does not fit."""
        if not isinstance(value, Mapping) or not set(value) <= {"target", "spurious", "classes"}:
            raise DataError(f"labels are not of the form {_SHAPE}")
        pairs = {name: ("positive", "negative") for name in ("target", "spurious")}
        found = {name: _of_json(name, given, pairs.get(name)) for name, given in value.items() if given is not None}
        return cls(**found)

    def to_json(self) -> dict[str, object]:
        """JSON values; labels that are not chosen are absent."""
        out: dict[str, object] = {}
        for name in ("target", "spurious"):
            if (pair := getattr(self, name)) is not None:
                out[name] = {"column": pair.column, "positive": pair.values[0], "negative": pair.values[1]}
        if self.classes is not None:
            out["classes"] = {"column": self.classes.column, "values": list(self.classes.values)}
        return out

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are used, each once."""
        return tuple(dict.fromkeys(c.column for c in (self.target, self.spurious, self.classes) if c))

    def __bool__(self) -> bool:
        return any((self.target, self.spurious, self.classes))


def _of_json(name: str, given: object, pair: tuple[str, str] | None) -> LabelChoice:
    if isinstance(given, Mapping) and isinstance(given.get("column"), str):
        values = [given.get(key) for key in pair] if pair else given.get("values")
        if isinstance(values, list) and all(isinstance(v, str | int | float) for v in values) and values:
            return LabelChoice(given["column"], tuple(map(json_label, values)))
    raise DataError(f"'{name}' of the labels does not fit; expected {_SHAPE}")


def json_label(value: object) -> str:
    """A value of JSON as its text there: "true", "5"."""
    return str(value).lower() if isinstance(value, bool) else str(value)


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


def text_label(text: str) -> str:
    """The label of a cell, without outer spaces: decimal numbers of one value are one label ("5", "5.0", "5.00").

    Everything else is the text it is: 05, +5, 5e0 and 1_1 are no spelling of 5 or 11.
    """
    text = text.strip()
    if not (found := _DECIMAL.fullmatch(text)):
        return text
    sign, whole, decimals = found.groups()
    decimals = (decimals or "").rstrip("0")
    zero = whole == "0" and not decimals
    return f"{'' if zero else sign}{whole}{'.' if decimals else ''}{decimals}"


def _unquoted(part: str) -> str:
    part = part.strip()
    return part[1:-1].replace('""', '"') if part.startswith('"') else part


def _quoted(name: str) -> str:
    plain = name == name.strip() and not {",", "=", '"'} & set(name)
    return name if plain else '"' + name.replace('"', '""') + '"'
