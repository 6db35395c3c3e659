"""Labelled texts from tables: CSV, Parquet and JSONL files, and data frames of any origin."""

from pathlib import Path
from typing import TYPE_CHECKING

from saeeval_core.errors import DataError, unknown_name
from saeeval_core.texts.choices import number_label
from saeeval_core.texts.labelled import LabelledTexts

if TYPE_CHECKING:
    import pandas as pd


def from_frame(frame: "pd.DataFrame", name: str, text_column: str, group_column: str, source: str) -> LabelledTexts:
    """Labelled texts of a table; every other column with at most 1,000 distinct values becomes a label column.

    Empty texts are dropped and counted. DataError for a missing column, no text, or NUL characters.
    """
    import pandas as pd

    for column in filter(None, (text_column, group_column)):
        if column not in frame:
            raise DataError(
                unknown_name(
                    "column", column, map(str, frame.columns), f"'{name}' has {', '.join(map(str, frame.columns))}"
                )
            )
    is_text = frame[text_column].map(lambda v: isinstance(v, str) and bool(v.strip()))
    dropped = {"empty text": int((~is_text).sum())} if not is_text.all() else {}
    frame = frame[is_text]
    if frame.empty:
        raise DataError(f"column '{text_column}' of '{name}' holds no text")
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


def read_frame(path: Path) -> "pd.DataFrame":
    """The table of a .csv, .parquet or .jsonl file. DataError for another type or encoding, or a damaged file."""
    import pandas as pd

    readers = {".csv": pd.read_csv, ".parquet": pd.read_parquet, ".jsonl": lambda p: pd.read_json(p, lines=True)}
    if not path.exists():
        raise DataError(f"file '{path}' does not exist; give a .csv, .parquet or .jsonl file")
    if path.suffix.lower() not in readers:
        raise DataError(f"'{path.name}' ends in '{path.suffix}'; give a .csv, .parquet or .jsonl file")
    if path.suffix.lower() != ".parquet" and b"\0" in path.read_bytes():
        raise DataError(f"'{path.name}' holds NUL bytes (a binary or UTF-16 file?); save it as UTF-8 text")
    try:
        return readers[path.suffix.lower()](path)
    except UnicodeDecodeError:
        raise DataError(f"'{path.name}' is not UTF-8; save it again with UTF-8 encoding") from None
    except (ValueError, OSError) as error:  # pandas' and pyarrow's parse errors are ValueErrors
        raise DataError(f"'{path.name}' cannot be read as {path.suffix[1:]}: {str(error).splitlines()[0]}") from None
