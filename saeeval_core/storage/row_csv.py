"""Tables as CSV, and cells read back from it."""

import csv
import io
from collections.abc import Mapping, Sequence

_RUN_BY_SPREADSHEETS = ("=", "+", "-", "@", "\t", "\r")


def csv_text(rows: Sequence[Mapping[str, object]], columns: Sequence[str] = ()) -> str:
    """Rows as CSV with these columns (default: all, in order of first appearance); None and missing cells are empty.

    Text that a spreadsheet would run as a formula, also as the name of a column, is quoted with "'".
    """
    names = list(columns) or list(dict.fromkeys(k for row in rows for k in row))
    return "".join(_line([_inert(v) for v in row]) for row in (names, *([r.get(k) for k in names] for r in rows)))


def read_cell(value: object) -> str:
    """Text of a cell as it was before ``csv_text`` quoted it; "" for None."""
    text = "" if value is None else str(value)
    return text[1:] if text[:1] == "'" and text[1:2] in _RUN_BY_SPREADSHEETS else text


def _line(cells: Sequence[object]) -> str:
    """One row. With "\\r\\n" as its end the writer quotes a lone "\\r" too, without which no reader takes the file."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerow(cells)
    return out.getvalue()[:-2] + "\n"


def _inert(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.startswith(_RUN_BY_SPREADSHEETS) else value
