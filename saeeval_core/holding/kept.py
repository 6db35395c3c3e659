"""Results of following a set: stored ones, and new ones, for which model and SAE are loaded."""

from collections.abc import Sequence

from saeeval_core.config import RunConfig
from saeeval_core.errors import DataError
from saeeval_core.evaluation.boards import Evaluation
from saeeval_core.holding.asked import Asked, AskedSet, asked_key
from saeeval_core.holding.follow import hold
from saeeval_core.holding.follow_classes import hold_classes
from saeeval_core.holding.held import Held, HeldClasses
from saeeval_core.holding.hooks import some_hooks
from saeeval_core.holding.passes import DAMAGE_TEXTS
from saeeval_core.models.identity import model_settings
from saeeval_core.models.language_model import load_model
from saeeval_core.models.shapes import block_count
from saeeval_core.recordings.recorder import OnProgress
from saeeval_core.recordings.recording import LatentRecording
from saeeval_core.saes.loaded import load_sae
from saeeval_core.storage.kept import KeptJson, Shelves
from saeeval_core.texts.labelled import LabelledTexts
from saeeval_core.texts.news import general_texts

_HELD = KeptJson(Shelves("holding", shipped=False), "holding", version=2)


def default_hooks(model: str, probe: str) -> tuple[str, ...]:
    """The probe hook and some later ones of the model of this name, which is loaded only if its settings are not here."""
    n_layers = block_count(model_settings(model) or {}) or load_model(model).n_layers
    return tuple(some_hooks(n_layers, probe))


def damage_texts() -> tuple[LabelledTexts | None, str]:
    """(general text on which change of loss is measured, "") or (None, why there is none)."""
    try:
        return general_texts(DAMAGE_TEXTS), ""
    except DataError as error:
        return None, str(error)


def kept_hold(
    evaluation: Evaluation, latents: LatentRecording, asked: Asked, hooks: Sequence[str], general: LabelledTexts | None
) -> Held | HeldClasses | None:
    """The stored result of the same question, as ``followed`` takes it; None where there is none."""
    read = Held.of_json if isinstance(asked, AskedSet) else HeldClasses.of_json
    try:
        found: Held | HeldClasses = _HELD.find(asked_key(evaluation, latents, asked, hooks, general), read)
        return found
    except LookupError:
        return None


def followed(
    config: RunConfig,
    evaluation: Evaluation,
    latents: LatentRecording,
    asked: Asked,
    hooks: Sequence[str],
    *,
    general: LabelledTexts | None = None,
    on_progress: OnProgress | None = None,
) -> Held | HeldClasses:
    """The stored result of the same question, or else a new one, which is stored.

    ``config``: model, SAE, device and precision. Errors of ``hold`` and of ``hold_classes``, and those of loading.
    """
    if (kept := kept_hold(evaluation, latents, asked, hooks, general)) is not None:
        return kept
    model = load_model(config.model, device=config.device, dtype=config.dtype)
    args = model, load_sae(config.saes[0], device=model.device), evaluation, latents
    found: Held | HeldClasses
    if isinstance(asked, AskedSet):
        found = hold(*args, asked, hooks, general=general, on_progress=on_progress)
    else:
        found = hold_classes(*args, asked, hooks, general=general, on_progress=on_progress)
    _HELD.keep(asked_key(evaluation, latents, asked, hooks, general), found.to_json())
    return found
