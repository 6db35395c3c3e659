"""Tables that are in memory already: pandas, Hugging Face ``Dataset``, polars, Arrow, or rows in a list."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from saeeval_core.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

_WHAT = "a pandas DataFrame, a Hugging Face Dataset, a list of rows, a dictionary of columns, or the path of a file"


def frame_of(source: Any) -> "pd.DataFrame":
    """The table as pandas has it, itself unchanged; numbered classes of a Hugging Face ``Dataset`` by their names.

    DataError for several tables in one object, such as a ``DatasetDict``, and for what is no table.
    """
    import pandas as pd

    if isinstance(source, pd.DataFrame):
        return source
    if isinstance(source, Mapping) and any(hasattr(part, "to_pandas") for part in source.values()):
        names = ", ".join(map(repr, source))
        raise DataError(f"a {type(source).__name__} holds several tables ({names}); give one of them, as data['train']")
    if hasattr(source, "to_pandas"):
        return _with_class_names(source.to_pandas(), getattr(source, "features", None))
    try:
        if isinstance(source, list | dict):
            return pd.DataFrame(source)
    except (ValueError, TypeError) as error:
        raise DataError(f"the rows make no table ({error}); give {_WHAT}") from None
    raise DataError(f"a {type(source).__name__} is no table; give {_WHAT}")


def _with_class_names(frame: "pd.DataFrame", features: Any) -> "pd.DataFrame":
    """Of columns whose numbers stand for names (``ClassLabel``), the names; none for a number below 0, which is no class."""
    classes = (
        {c: f.names for c, f in features.items() if hasattr(f, "int2str")} if isinstance(features, Mapping) else {}
    )
    named = {
        c: [names[int(v)] if v == v and v is not None and v >= 0 else None for v in frame[c]]
        for c, names in classes.items()
    }
    return frame.assign(**named) if named else frame
