"""Labelled texts from tables: CSV, Parquet and JSONL files, and data frames of any origin."""

import json
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saeeval_core.errors import DataError, unknown_name
from saeeval_core.texts.choices import number_label
from saeeval_core.texts.labelled import LabelledTexts

if TYPE_CHECKING:
    import pandas as pd

_SURROGATE = re.compile("[\ud800-\udfff]")


def from_frame(frame: "pd.DataFrame", name: str, text_column: str, group_column: str, source: str) -> LabelledTexts:
    """Labelled texts of a table; every other column with at most 1,000 distinct values becomes a label column.

    Empty texts are dropped and counted. DataError for a missing column, no text, NUL characters or lone surrogates.
    """
    import pandas as pd

    for column in (text_column, *filter(None, (group_column,))):
        if column not in frame:
            raise DataError(
                unknown_name(
                    "column", column, map(str, frame.columns), f"'{name}' has {', '.join(map(str, frame.columns))}"
                )
            )
    frame = _without_categories(frame)
    is_text = frame[text_column].map(lambda v: isinstance(v, str) and bool(v.strip()))
    dropped = {"empty text": int((~is_text).sum())} if not is_text.all() else {}
    frame = frame[is_text]
    if frame.empty:
        raise DataError(f"column '{text_column}' of '{name}' holds no text")
    if any(_SURROGATE.search(t) for t in frame[text_column]):
        raise DataError(f"'{name}' holds half characters (lone surrogates) in column '{text_column}'; save it as UTF-8")
    if any("\0" in t for t in frame[text_column]):
        raise DataError(f"'{name}' holds NUL characters in column '{text_column}'; save it as plain UTF-8 text")
    kinds = pd.api.types
    numeric = frozenset(c for c in frame if kinds.is_numeric_dtype(frame[c]) and not kinds.is_bool_dtype(frame[c]))
    columns = {}
    for column in frame:
        if column in (text_column, group_column, "split") or not frame[column].map(pd.api.types.is_scalar).all():
            continue
        values = frame[column].map(
            lambda v, n=column in numeric: "" if pd.isna(v) else number_label(v) if n else str(v)
        )
        if values.nunique() <= 1000:
            columns[str(column)] = values.to_numpy(dtype=str)
    split = (
        frame["split"].astype(str).replace({"validation": "dev", "valid": "dev", "val": "dev"})
        if "split" in frame
        else None
    )
    return LabelledTexts(
        name,
        tuple(frame[text_column]),
        columns,
        numeric,
        None if split is None else split.to_numpy(dtype=str),
        frame[group_column].astype(str).to_numpy(dtype=str) if group_column else None,
        source,
        dropped=dropped,
    )


def _without_categories(frame: "pd.DataFrame") -> "pd.DataFrame":
    """The same table with the values of categorical columns themselves."""
    import pandas as pd

    found = [c for c in frame if isinstance(frame[c].dtype, pd.CategoricalDtype)]
    return frame.assign(**{c: frame[c].astype(object).infer_objects() for c in found})


@dataclass(frozen=True)
class Bounds:
    """The largest file of texts that is read, looked at before anything is parsed."""

    size: int
    """Bytes of the file, and of the values of a Parquet file when unpacked."""
    rows: int
    columns: int = 2_000


LARGE = Bounds(size=2 << 30, rows=20_000_000)
"""For files that the owner of the machine names."""
SMALL = Bounds(size=200 << 20, rows=1_000_000, columns=500)
"""For files sent to a server that others use too."""
_LIBRARY = (
    ValueError,
    OSError,
    TypeError,
    LookupError,
    ArithmeticError,
    NotImplementedError,
    RecursionError,
    MemoryError,
)
"""What pandas and pyarrow raise for files they cannot read; only their own calls are guarded by it."""


def read_frame(path: Path, bounds: Bounds = LARGE) -> "pd.DataFrame":
    """The table of a .csv, .parquet or .jsonl file.

    DataError for another type or encoding, a damaged file, one above ``bounds``, or anything but a plain file.
    """
    import pandas as pd

    readers = {".csv": pd.read_csv, ".parquet": pd.read_parquet, ".jsonl": lambda p: pd.read_json(p, lines=True)}
    kind = path.suffix.lower()
    if not os.path.exists(path):  # False, too, for what can be no name of a file
        raise DataError(f"file '{path}' does not exist; give a .csv, .parquet or .jsonl file")
    if not path.is_file():
        raise DataError(f"'{path}' is a folder, pipe or device; give a .csv, .parquet or .jsonl file")
    if kind not in readers:
        raise DataError(f"'{path.name}' ends in '{path.suffix}'; give a .csv, .parquet or .jsonl file")
    with _one_line(path):
        _check_bounds(path, kind, bounds)
        frame = readers[kind](path)
    if not frame.columns.is_unique:
        twice = frame.columns[frame.columns.duplicated()][0]
        raise DataError(f"'{path.name}' has two columns named '{twice}'; rename one of them")
    return frame


@contextmanager
def _one_line(path: Path) -> Iterator[None]:
    """A DataError of one line in place of what the libraries that read tables raise."""
    try:
        yield
    except UnicodeDecodeError:
        raise DataError(f"'{path.name}' is not UTF-8; save it again with UTF-8 encoding") from None
    except _LIBRARY as error:
        why = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise DataError(f"'{path.name}' cannot be read as {path.suffix[1:]}: {why}") from None


def _check_bounds(path: Path, kind: str, bounds: Bounds) -> None:
    _within(path, path.stat().st_size, bounds.size, "bytes")
    if kind == ".parquet":
        _check_parquet(path, bounds)
        return
    columns: set[str] = set()
    with path.open("rb") as file:
        for number, line in enumerate(file):
            if b"\0" in line:
                raise DataError(f"'{path.name}' holds NUL bytes (a binary or UTF-16 file?); save it as UTF-8 text")
            _within(path, number, bounds.rows, "rows")
            if kind == ".jsonl":
                columns.update(_keys(line))
                _within(path, len(columns), bounds.columns, "columns")
            elif number == 0:
                _within(path, line.count(b",") + 1, bounds.columns, "columns")


def _keys(line: bytes) -> Iterable[str]:
    """Keys of a line of JSON; none where it is no object, which the reader of the table will say better."""
    try:
        found = json.loads(line)
    except ValueError:
        return ()
    return found if isinstance(found, dict) else ()


def _check_parquet(path: Path, bounds: Bounds) -> None:
    """Repeated values are stored once: what they take when unpacked is counted, without unpacking them."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        about, schema = file.metadata, file.schema_arrow
    _within(path, about.num_columns, bounds.columns, "columns")
    _within(path, about.num_rows, bounds.rows, "rows")
    groups = [about.row_group(g) for g in range(about.num_row_groups)]
    values = sum(g.column(c).num_values for g in groups for c in range(about.num_columns))
    size = max(8 * values, sum(g.total_byte_size for g in groups))
    _within(path, size, bounds.size, "bytes when unpacked")
    names = [f.name for f in schema if str(f.type) in ("string", "large_string", "binary", "large_binary")]
    with pq.ParquetFile(path, read_dictionary=names) as file:
        for batch in file.iter_batches(batch_size=4096, columns=names):
            size += sum(map(_unpacked, batch.columns))
            _within(path, size, bounds.size, "bytes when unpacked")


def _unpacked(column: Any) -> int:
    """Bytes of the texts of one column of a batch, read as dictionary and indices."""
    import pyarrow.compute as pc

    if not hasattr(column, "dictionary"):  # of two columns of one name
        return column.nbytes
    lengths = pc.binary_length(column.dictionary)
    return pc.sum(pc.cast(pc.take(lengths, column.indices), "int64")).as_py() or 0


def _within(path: Path, found: int, most: int, what: str) -> None:
    if found > most:
        raise DataError(f"'{path.name}' has more than {most:,} {what}; split the file or keep only what is needed")
