"""``saeeval import-explanations``: store explanations and ratings made elsewhere, after checks against the SAE."""

from collections import Counter
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from saeeval_core.errors import DataError
from saeeval_core.judging.imports import read_explanations
from saeeval_core.judging.neuronpedia import BASE_URL, fetch_explanations
from saeeval_core.ledger.store import Store
from saeeval_core.ledger.verdicts import Verdict
from saeeval_core.recordings.known_saes import KnownSae, identify
from saeeval_core.texts.tables import FileForm

NEURONPEDIA = "neuronpedia"
"""Source that means the public service, in place of a file."""


@dataclass(frozen=True)
class ImportOutcome:
    """The outcome of an import."""

    source: str
    sae: str
    sae_fingerprint: str
    rows: int
    new: int
    """Rows whose content was not in the store."""
    latents: int
    """Different latents among the rows."""
    raters: dict[str, int]
    """Rater -> rows."""
    tasks: list[str]
    rated: int
    """Rows with ratings."""
    concepts: list[str]

    def to_dict(self) -> dict[str, object]:
        """Plain JSON values."""
        return asdict(self)


def import_command(
    source: str,
    sae: str,
    *,
    task: str = "",
    rater: str = "",
    form: FileForm = FileForm(),
    store: Store | None = None,
    base_url: str = BASE_URL,
) -> ImportOutcome:
    """Store a file's rows, or Neuronpedia's explanations, as rater kind "imported".

    Without ``task`` a row is shown with every task. Rows whose content the store already has are left out. DataError,
    and nothing stored, when one row does not fit the SAE.
    """
    known = identify(sae)
    if source == NEURONPEDIA:
        rows = [replace(v, task=task) for v in fetch_explanations(known, base_url=base_url)]
    else:
        rows = read_explanations(Path(source), known, task=task, rater=rater, form=form)
    store = store or Store()
    _refuse_taken_names(store, known, rows)
    now = {(v.task, v.rater, v.latent): _said(v) for v in store.verdicts(known.fingerprint)}
    new = [v for v in rows if now.get((v.task, v.rater, v.latent)) != _said(v)]
    store.add_verdicts(new)
    return ImportOutcome(
        source=source,
        sae=known.id,
        sae_fingerprint=known.fingerprint,
        rows=len(rows),
        new=len(new),
        latents=len({v.latent for v in rows}),
        raters=dict(Counter(v.rater for v in rows)),
        tasks=sorted({v.task for v in rows}),
        rated=sum(bool(v.ratings) for v in rows),
        concepts=sorted({c for v in rows for c in v.ratings}),
    )


def _refuse_taken_names(store: Store, sae: KnownSae, rows: list[Verdict]) -> None:
    """DataError for rows under the name of a person or of a judge that ran here."""
    taken = {name: kind for name, kind, _ in store.raters(sae.fingerprint) if kind != "imported"}
    for v in rows:
        if v.rater in taken:
            raise DataError(
                f"rater '{v.rater}' already has verdicts here of kind {taken[v.rater]}, which an import may not replace; "
                "give the imported rows another name (column rater, or --rater)"
            )


def _said(v: Verdict) -> tuple[str, str, dict[str, int]]:
    return v.explanation, v.reason, dict(v.ratings)
