"""Explanations and ratings made elsewhere, from tables of one latent per row, Neuronpedia's own files among them.

Every row is checked against the SAE; nothing is stored when a single row does not fit.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from saeeval_core.errors import DataError
from saeeval_core.ledger.verdicts import Verdict
from saeeval_core.recordings.known_saes import KnownSae
from saeeval_core.texts.files import label_of, read_table, stem
from saeeval_core.texts.tables import FileForm

_RATINGS = ("rating:", "ratings.")
"""Starts of columns with ratings: of spreadsheets, and of objects ``ratings`` in JSON."""
Row = Mapping[str, object]
"""Column -> cell, None or absent where there is none."""


def read_explanations(
    path: Path, sae: KnownSae, *, task: str = "", rater: str = "", form: FileForm = FileForm()
) -> list[Verdict]:
    """Verdicts in the rows of a file of any kind that texts are read from, with rater kind "imported".

    Columns: ``latent``; optional ``explanation``, ``reason``, ``rater``, ``model``, ``sae``, ``sae_fingerprint``,
    ``n_latents`` (checked), ratings as ``rating:CONCEPT`` columns or, in JSON, an object ``ratings``. Or those of
    Neuronpedia's exports (``published``). Whole numbers may be written as 3.0. DataError names the first row that does
    not fit.
    """
    rows = list(_one_explanation_each(read_rows(path, form)))
    if not rows:
        raise DataError(f"'{path.name}' holds no rows; expected one latent per row")
    if "latent" not in rows[0][1] and {"index", "description"} <= rows[0][1].keys():
        return [replace(v, task=task) for v in published(path.name, (row for _, row in rows), sae)]
    return [_imported(path.name, number, row, sae, task, rater or stem(path)) for number, row in rows]


def published(name: str, rows: Iterable[Row], sae: KnownSae) -> list[Verdict]:
    """The last explanation per latent and author in Neuronpedia's rows, without ratings, by latent.

    Columns: ``index``, ``description``; ``modelId`` and ``layer`` (checked), ``explanationModelName`` or ``typeName``.
    DataError for rows about another SAE, or about several, and for a latent that it does not have.
    """
    model, _, source = (sae.neuronpedia_id or "").partition("/")
    found: dict[tuple[int, str], Verdict] = {}
    for row in rows:
        about = (label_of(row.get("modelId")) or model, label_of(row.get("layer")) or source)
        model, source = model or about[0], source or about[1]
        if about != (model, source):
            raise DataError(f"'{name}' is for '{'/'.join(about)}', not for '{model}/{source}': another SAE")
        latent, text = _whole(row.get("index")), str(row.get("description") or "").strip()
        if latent is None or "description" not in row:
            raise DataError(f"an explanation of '{name}' has no index or description; its format has changed")
        author = label_of(row.get("explanationModelName")) or label_of(row.get("typeName")) or "unknown author"
        rater = f"Neuronpedia ({author})"
        found[latent, rater] = Verdict(
            latent, sae.fingerprint, sae.id, "", rater, "imported", explanation=text, model=author
        )
    check_latents(name, (latent for latent, _ in found), sae)
    return [found[key] for key in sorted(found)]


def _one_explanation_each(rows: Iterable[tuple[int, Row]]) -> Iterator[tuple[int, Row]]:
    """Rows of a table, and of records of latents as Neuronpedia's API gives them: one row per explanation in them."""
    for number, row in rows:
        nested = row.get("explanations")
        if "index" not in row or not isinstance(nested, list):
            yield number, row
            continue
        about = {k: row[k] for k in ("modelId", "layer", "index") if k in row}
        for one in nested:
            if not isinstance(one, dict):
                raise DataError(f"row {number}: an explanation is no object; its format has changed")
            if any(str(one.get(k, v)) != str(v) for k, v in about.items()):
                raise DataError(f"row {number}: an explanation is of another latent than the record it stands in")
            yield number, {k: v for k, v in one.items() if not isinstance(v, dict | list)} | about


def check_latents(name: str, latents: Iterable[int], sae: KnownSae) -> None:
    """DataError if a latent does not exist in the SAE: the explanations then belong to another one."""
    outside = [i for i in latents if not 0 <= i < sae.n_latents]
    if outside:
        raise DataError(
            f"'{name}' names latent {outside[0]}, but '{sae.id}' has {sae.n_latents} latents: it is about another SAE"
        )


def read_rows(path: Path, form: FileForm = FileForm()) -> Iterator[tuple[int, Row]]:
    """(number from 1, row) of a table without its empty cells. DataError if it is none."""
    frame = read_table(path, form=form).frame.astype(object)
    for number, values in enumerate(frame.itertuples(index=False, name=None), 1):
        if any(isinstance(v, str) and any("\ud800" <= c <= "\udfff" for c in v) for v in values):
            raise DataError(f"row {number} of '{path.name}' holds half characters (lone surrogates); save it as UTF-8")
        cells = zip(map(str, frame.columns), values, strict=True)
        yield number, {name: value for name, value in cells if isinstance(value, list) or label_of(value)}


def _whole(cell: object) -> int | None:
    """The whole number in a cell, 3 for 3.0; None for anything else."""
    text = label_of(cell) if not isinstance(cell, list | bool) else ""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def _imported(name: str, number: int, row: Row, sae: KnownSae, task: str, rater: str) -> Verdict:
    latent = _whole(row.get("latent"))
    if latent is None:
        raise DataError(f"row {number} of '{name}' has no whole number in 'latent'; add that column")
    check_latents(name, [latent], sae)
    claims = {"sae": sae.id, "sae_fingerprint": sae.fingerprint, "n_latents": str(sae.n_latents)}
    for key, expected in claims.items():
        if key in row and expected not in (str(row[key]), label_of(row[key])):
            raise DataError(f"row {number} of '{name}' is about {key} '{row[key]}', expected '{expected}': another SAE")
    return Verdict(
        latent=latent,
        sae_fingerprint=sae.fingerprint,
        sae=sae.id,
        task=str(row.get("task") or task),
        rater=str(row.get("rater") or rater),
        rater_kind="imported",
        ratings=_ratings(name, number, row),
        explanation=str(row.get("explanation") or ""),
        reason=str(row.get("reason") or ""),
        model=str(row.get("model") or ""),
    )


def _ratings(name: str, number: int, row: Row) -> dict[str, int]:
    if "ratings" in row:
        raise DataError(f"row {number} of '{name}': 'ratings' is not an object of concept: rating")
    out = {}
    for column, cell in row.items():
        start = next((s for s in _RATINGS if column.startswith(s)), None)
        if start is None:
            continue
        concept, rating = column.removeprefix(start), _whole(cell)
        if rating is None or rating > 4:
            raise DataError(
                f"row {number} of '{name}': rating '{cell}' of '{concept}' is not a whole number from 0 to 4"
            )
        out[concept] = rating
    return out
