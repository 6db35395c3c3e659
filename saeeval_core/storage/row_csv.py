"""Tables as CSV, and cells read back from it."""

import csv
import io
from collections.abc import Mapping, Sequence

_RUN_BY_SPREADSHEETS = ("=", "+", "-", "@", "\t", "\r")


def csv_text(rows: Sequence[Mapping[str, object]], columns: Sequence[str] = ()) -> str:
    """Rows as CSV with these columns (default: all, in order of first appearance); None and missing cells are empty.

    Text that a spreadsheet would run as a formula is quoted with "'".
    """
    names = list(columns) or list(dict.fromkeys(k for row in rows for k in row))
    out = io.StringIO()
    writer = csv.DictWriter(out, names, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({k: _inert(v) for k, v in row.items()})
    return out.getvalue()


def read_cell(value: object) -> str:
    """Text of a cell as it was before ``csv_text`` quoted it; "" for None."""
    text = "" if value is None else str(value)
    return text[1:] if text[:1] == "'" and text[1:2] in _RUN_BY_SPREADSHEETS else text


def _inert(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.startswith(_RUN_BY_SPREADSHEETS) else value
