"""The recordings that a run needs: the shipped or stored ones, or else made in one pass over the texts and stored."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from saeeval_core.config import RunConfig, fingerprint, get_protocol
from saeeval_core.errors import ConfigError, DataError, UnsupportedSAE
from saeeval_core.models.identity import BUNDLED_MODEL, model_stamp
from saeeval_core.recordings.keep import keep_recordings, partial_state
from saeeval_core.recordings.known_saes import KnownSae, identify
from saeeval_core.recordings.plan import noting_pace
from saeeval_core.recordings.recording import (
    LatentRecording,
    RecordingKey,
    ResidualRecording,
    find_latents,
    find_residuals,
)
from saeeval_core.texts.sources import BUNDLED_TASKS, file_task_set, hub_task_set, load_task_set
from saeeval_core.texts.tables import FileForm
from saeeval_core.texts.tasks import Draw, TaskSet

if TYPE_CHECKING:
    from saeeval_core.recordings.recorder import Progress

GENERAL = "general"
"""Name of the general text, in which contexts are shown besides the task's own texts."""


@dataclass(frozen=True)
class Recordings:
    """What one pass recorded: the residuals, and the latents of each SAE."""

    residuals: ResidualRecording
    latents: list[LatentRecording]


def task_set_of(config: RunConfig) -> TaskSet:
    """The texts and tasks of these settings. Of a file or Hub data set only the texts drawn for a task are kept.

    ConfigError for label options with a named task; DataError for texts or labels that cannot be used.
    """
    labels = {
        "target": config.target,
        "spurious": config.spurious,
        "classes": config.classes,
        "group_column": config.group_column,
    }
    if config.texts.startswith("hub:"):
        found = hub_task_set(config.texts.removeprefix("hub:"), config.text_column, **labels)
    elif config.texts:
        form = FileForm(config.encoding, config.delimiter)
        found = file_task_set(Path(config.texts), config.text_column, **labels, form=form)
    else:
        found = load_task_set(config.task)
        if any(labels.values()) or config.encoding or config.delimiter:
            raise ConfigError(
                "--target, --spurious, --classes, --labels, --group-column, --encoding and --delimiter go with --texts "
                "FILE, not with a named task"
            )
        if config.task.split(":")[0] in BUNDLED_TASKS:
            return found
    return found.drawn(seed=config.seed, protocol=get_protocol(config.protocol), per_cell=config.texts_per_cell)


def draw_of(config: RunConfig, task_set: TaskSet) -> Draw:
    """The parts of the texts under the settings' protocol and seed."""
    return Draw(task_set, get_protocol(config.protocol), config.seed, config.texts_per_cell)


def obtain_recordings(
    config: RunConfig,
    task_set: TaskSet,
    saes: Sequence[str],
    *,
    shipped: bool = True,
    on_progress: "Callable[[Progress], None] | None" = None,
) -> Recordings:
    """The recordings of these SAEs, which must read one hook: loaded, or all made in one pass and stored.

    UnsupportedSAE, ModelError or DataError if SAEs, model or texts cannot be used. A damaged stored recording is
    reported on stderr and made again; one that cannot be stored costs a line on stderr.
    """
    known = [identify(s) for s in saes]
    hook = common_hook(known)
    key = recording_key(config, hook, task_set.texts.fingerprint)
    found = _find(key, known, shipped)
    if found is not None:
        return found
    # Only now are torch, transformers and SAELens needed.
    from saeeval_core.models.language_model import load_model
    from saeeval_core.recordings.recorder import record
    from saeeval_core.saes.loaded import load_sae

    model = load_model(config.model, device=config.device, dtype=config.dtype)
    loaded = [load_sae(s, device=model.device) for s in saes]
    with partial_state(fingerprint([key.fingerprint, [s.fingerprint for s in loaded]])) as partial:
        residuals, latents = record(
            model,
            hook,
            task_set.texts.texts,
            task_set.texts.fingerprint,
            loaded,
            storage=key.storage,
            cells=label_cells(task_set),
            on_progress=noting_pace(config, on_progress),
            partial=partial,
        )
        keep_recordings(residuals, latents, partial)
    return Recordings(residuals, latents)


def recording_key(config: RunConfig, hook: str, texts_fingerprint: str) -> RecordingKey:
    """Key of the residual recording; bundled texts on the bundled model are stored in half precision, as shipped."""
    named = config.task.split(":")[0] in (*BUNDLED_TASKS, GENERAL) and not config.texts
    storage = "float16" if config.model == BUNDLED_MODEL and named else "float32"
    return RecordingKey(config.model, model_stamp(config.model), config.dtype, hook, texts_fingerprint, storage)


def common_hook(saes: Sequence[KnownSae]) -> str:
    """The one hook all these SAEs read. UnsupportedSAE for several hooks."""
    hooks = sorted({sae.hook for sae in saes})
    if len(hooks) > 1:
        raise UnsupportedSAE(f"the SAEs read different hooks ({', '.join(hooks)}); run them one after another")
    return hooks[0]


def label_cells(task_set: TaskSet) -> np.ndarray | None:
    """int64[texts]: number of each text's combination of labels, so that contexts can be kept for each.

    None without labels or for more than 64 combinations.
    """
    names = task_set.label_columns
    if not names:
        return None
    joined = np.array(["\t".join(values) for values in zip(*(task_set.texts.columns[n] for n in names), strict=True)])
    cells = np.unique(joined, return_inverse=True)[1]
    return cells if cells.max() < 64 else None


def check_tokens(residuals: ResidualRecording) -> None:
    """DataError if a text has no tokens: it has no pooled residual to score."""
    empty = int((residuals.n_valid == 0).sum())
    if empty:
        raise DataError(f"{empty} text(s) consist of no tokens at all (control characters only?); remove them")


def _find(key: RecordingKey, saes: Sequence[KnownSae], shipped: bool) -> Recordings | None:
    residuals = find_residuals(key, shipped=shipped)
    if residuals is None:
        return None
    latents = [find_latents(key, sae.fingerprint, shipped=shipped) for sae in saes]
    kept = [r for r in latents if r is not None]
    return Recordings(residuals, kept) if len(kept) == len(latents) else None
