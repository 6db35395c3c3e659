"""Evidence for the latents of the loaded SAE: contexts in the task's texts and in general text, promoted tokens."""

from app.services.loading import Loaded, general_texts
from app.services.shared import shared
from saeeval_core.evidence.evidence import LatentEvidence, shown_evidence
from saeeval_core.evidence.intruder import Trial, judged_evidence, trials_of
from saeeval_core.evidence.sources import EvidenceSource, evidence_sources
from saeeval_core.scores.contributions import peak_tokens


@shared(max_entries=4096)
def evidence_of(loaded: Loaded, latent: int) -> LatentEvidence:
    """Evidence for a latent: from the task's own texts, and from general text and promoted tokens where stored."""
    return shown_evidence(_sources(loaded), latent)


@shared(max_entries=512)
def blind_evidence_of(loaded: Loaded, latent: int) -> LatentEvidence:
    """What judges are shown for a latent, near misses included, for people who rate it blind."""
    return judged_evidence(_sources(loaded), latent)


@shared(max_entries=512)
def trials(loaded: Loaded, latent: int) -> list[Trial]:
    """A latent's trials of the intruder task, the same that judges get."""
    return trials_of(_sources(loaded), latent)


@shared(max_entries=16)
def _sources(loaded: Loaded) -> list[EvidenceSource]:
    return evidence_sources(loaded.config, loaded.task_set, loaded.residuals, loaded.latents, texts=general_texts)


@shared(max_entries=8192)
def tokens_of(loaded: Loaded, latent: int) -> str:
    """A latent's strongest tokens in one line; "" where no contexts are recorded. Text from data: not trusted."""
    found = peak_tokens(loaded.task_set.texts.texts, loaded.residuals, loaded.latents.contexts.of(latent))
    return " \u00b7 ".join(token[:40] for token in found)
