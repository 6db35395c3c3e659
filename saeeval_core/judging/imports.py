"""Explanations and ratings made elsewhere, from CSV or JSONL files.

Every row is checked against the SAE; nothing is stored when a single row does not fit.
"""

import csv
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from saeeval_core.errors import DataError
from saeeval_core.ledger.verdicts import Verdict
from saeeval_core.recordings.known_saes import KnownSae
from saeeval_core.storage.parse_json import NotJson, parse_json

_CONCEPT = "rating:"
Row = Mapping[str, object]
"""Column -> cell: text in CSV, any JSON value in JSONL."""


def read_explanations(path: Path, sae: KnownSae, *, task: str = "", rater: str = "") -> list[Verdict]:
    """Verdicts in the rows of a CSV or JSONL file, with rater kind "imported".

    Columns: ``latent``; optional ``explanation``, ``reason``, ``rater``, ``model``, ``sae``, ``sae_fingerprint``,
    ``n_latents`` (checked), ratings as ``rating:CONCEPT`` columns or, in JSONL, an object ``ratings``.
    DataError names the first row that does not fit.
    """
    rows = list(read_rows(path))
    if not rows:
        raise DataError(f"'{path.name}' holds no rows; expected one latent per row")
    return [_imported(path.name, line, row, sae, task, rater or path.stem) for line, row in rows]


def check_latents(name: str, latents: Iterable[int], sae: KnownSae) -> None:
    """DataError if a latent does not exist in the SAE: the explanations then belong to another one."""
    outside = [i for i in latents if not 0 <= i < sae.n_latents]
    if outside:
        raise DataError(
            f"'{name}' names latent {outside[0]}, but '{sae.id}' has {sae.n_latents} latents: it is about another SAE"
        )


def read_rows(path: Path) -> Iterator[tuple[int, Row]]:
    """(line number, row) of a CSV or JSONL file. DataError if it is not one."""
    try:
        content = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise DataError(f"file '{path}' does not exist; give a .csv or .jsonl file") from None
    except UnicodeDecodeError:
        raise DataError(f"'{path.name}' is not UTF-8; save it again with UTF-8 encoding") from None
    except (OSError, ValueError) as error:  # a folder, a name that is too long, NUL, half characters
        why = getattr(error, "strerror", None) or error
        raise DataError(f"'{path}' cannot be read ({why}); give a .csv or .jsonl file") from None
    if path.suffix.lower() == ".csv":
        reader = csv.DictReader(content.splitlines(), strict=True)
        csv.field_size_limit(2**31 - 1)  # an explanation may be longer than the 131,072 characters Python allows
        try:
            for row in reader:
                yield reader.line_num, {k: v for k, v in row.items() if k is not None}
        except csv.Error as error:
            raise DataError(
                f"'{path.name}' is no CSV from line {reader.line_num} on ({error}); save it again"
            ) from None
        return
    if path.suffix.lower() not in (".jsonl", ".ndjson"):
        raise DataError(f"'{path.name}' ends in '{path.suffix}'; give a .csv or .jsonl file")
    for number, line in enumerate(content.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = parse_json(line)
        except NotJson as error:
            raise DataError(
                f"line {number} of '{path.name}' is not JSON ({error}); one object per line is expected"
            ) from None
        if not isinstance(row, dict):
            raise DataError(f"line {number} of '{path.name}' is not an object; one object per line is expected")
        yield number, row


def _imported(name: str, line: int, row: Row, sae: KnownSae, task: str, rater: str) -> Verdict:
    try:
        latent = int(str(row["latent"]))
    except (KeyError, ValueError):
        raise DataError(f"line {line} of '{name}' has no whole number in 'latent'; add that column") from None
    check_latents(name, [latent], sae)
    claims = {"sae": sae.id, "sae_fingerprint": sae.fingerprint, "n_latents": str(sae.n_latents)}
    for key, expected in claims.items():
        if row.get(key) not in (None, "") and str(row[key]) != expected:
            raise DataError(f"line {line} of '{name}' is about {key} '{row[key]}', expected '{expected}': another SAE")
    return Verdict(
        latent=latent,
        sae_fingerprint=sae.fingerprint,
        sae=sae.id,
        task=str(row.get("task") or task),
        rater=str(row.get("rater") or rater),
        rater_kind="imported",
        ratings=_ratings(name, line, row),
        explanation=str(row.get("explanation") or ""),
        reason=str(row.get("reason") or ""),
        model=str(row.get("model") or ""),
    )


def _ratings(name: str, line: int, row: Row) -> dict[str, int]:
    given = row.get("ratings") or {}
    if not isinstance(given, dict):
        raise DataError(f"line {line} of '{name}': 'ratings' is not an object of concept: rating")
    cells = dict(given) | {k.removeprefix(_CONCEPT): v for k, v in row.items() if k.startswith(_CONCEPT)}
    out = {}
    for concept, value in cells.items():
        if value in (None, ""):
            continue
        if isinstance(value, bool) or str(value) not in ("0", "1", "2", "3", "4"):
            raise DataError(
                f"line {line} of '{name}': rating '{value}' of '{concept}' is not a whole number from 0 to 4"
            )
        out[concept] = int(value)
    return out
