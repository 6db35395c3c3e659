"""Verdicts on the loaded SAE's latents: the current one of every rater, shipped ones included, and what latents are called."""

from collections.abc import Iterable

from app.services import ledger
from app.services.loading import Loaded
from app.services.shared import shared
from saeeval_core.config import assets_dir
from saeeval_core.judging.imports import SaeIdentity, load_shipped
from saeeval_core.ledger.store import Verdict, default_path


def current(loaded: Loaded) -> list[Verdict]:
    """The current verdict of every rater on this SAE's latents, for these texts."""
    return _current(loaded, newest(loaded))


def newest(loaded: Loaded) -> int:
    """Changes with every verdict on this SAE: what is derived from verdicts is kept under this number."""
    _ship_verdicts(str(default_path()), loaded)
    return ledger.store().newest_verdict(loaded.latents.sae_fingerprint)


def by_standing(given: Iterable[Verdict]) -> list[Verdict]:
    """Whose explanation is shown first: a person's, an LLM's, an imported one, then the offline judge's word lists."""
    order = ("human", "llm", "imported", "local")
    return sorted(given, key=lambda v: order.index(v.rater_kind))


def latents_named(loaded: Loaded) -> dict[int, tuple[str, str]]:
    """latent -> (explanation, who gave it), from the usable verdicts on these texts: people, then LLMs, then the rest."""
    return _named(loaded, newest(loaded))


@shared(max_entries=16)
def _named(loaded: Loaded, _newest: int) -> dict[int, tuple[str, str]]:
    found: dict[int, tuple[str, str]] = {}
    for v in by_standing(current(loaded)):
        if v.ok and v.explanation and v.latent not in found:
            found[v.latent] = (v.explanation, f"explanation by {v.rater} ({v.rater_kind})")
    return found


@shared(max_entries=16)
def _current(loaded: Loaded, _newest: int) -> list[Verdict]:
    return ledger.store().verdicts(loaded.latents.sae_fingerprint, task=loaded.task_set.texts.name)


@shared(max_entries=32)
def _ship_verdicts(_store_path: str, loaded: Loaded) -> int:
    """Verdicts that come with the bundle enter the store once."""
    own = SaeIdentity(loaded.latents.sae, loaded.latents.sae_fingerprint, loaded.latents.n_latents)
    return load_shipped(ledger.store(), assets_dir() / "verdicts", own)
