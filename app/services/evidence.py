"""What is shown for a latent of the loaded SAE: contexts in the task's texts and in general text, promoted tokens."""

from app.services.loading import Loaded, load
from app.services.shared import shared
from saeeval_core.config import RunConfig
from saeeval_core.errors import SaeEvalError
from saeeval_core.evidence.evidence import LatentEvidence, latent_evidence
from saeeval_core.evidence.sources import EvidenceSource
from saeeval_core.evidence.tokens import find_token_table
from saeeval_core.recordings.obtain import GENERAL
from saeeval_core.recordings.recording import list_recordings
from saeeval_core.scores.contributions import peak_tokens


@shared(max_entries=4096)
def evidence_of(loaded: Loaded, latent: int) -> LatentEvidence:
    """What is shown for a latent: the task's own texts, general text where it is recorded, promoted tokens if stored."""
    task_set = loaded.task_set
    labels = [c.column for pair in task_set.pairs for c in pair] or ([task_set.tpp[0]] if task_set.tpp else [])
    sources = [EvidenceSource(task_set.texts, loaded.residuals, loaded.latents, tuple(dict.fromkeys(labels)))]
    general = general_text(loaded)
    if general is not None:
        sources.append(EvidenceSource(general.task_set.texts, general.residuals, general.latents))
    return latent_evidence(sources, latent, tokens=find_token_table(loaded.latents.sae, loaded.latents.sae_fingerprint))


@shared(max_entries=16)
def general_text(loaded: Loaded) -> Loaded | None:
    """The same SAE on general text (news articles), or None when that has not been recorded or is the task itself."""
    if loaded.task_set.texts.name == GENERAL:
        return None
    others = {
        m["residual_fingerprint"]
        for m in list_recordings("latents")
        if m["sae_fingerprint"] == loaded.latents.sae_fingerprint
    }
    if others <= {loaded.residuals.fingerprint}:
        return None  # this SAE has been recorded on nothing else: no need to look the texts up
    try:
        found = load(
            RunConfig(model=loaded.config.model, saes=loaded.config.saes, task=GENERAL, dtype=loaded.config.dtype)
        )
    except SaeEvalError:
        return None
    return found if found and found.latents.sae_fingerprint == loaded.latents.sae_fingerprint else None


@shared(max_entries=8192)
def tokens_of(loaded: Loaded, latent: int) -> str:
    """The tokens a latent is strongest on, in one line; "" where no contexts are recorded. Untrusted text."""
    found = peak_tokens(loaded.task_set.texts.texts, loaded.residuals, loaded.latents.contexts.of(latent))
    return " \u00b7 ".join(token[:40] for token in found)
