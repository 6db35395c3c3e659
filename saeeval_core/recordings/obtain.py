"""The recordings that a run needs: the shipped or stored ones, or else made in one pass over the texts and stored."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from saeeval_core.config import AUTO_PROBE, DEFAULT_KERNEL, RunConfig, fingerprint, get_protocol
from saeeval_core.errors import ConfigError, DataError, UnsupportedSAE
from saeeval_core.models.identity import model_name, model_settings, model_stamp
from saeeval_core.models.layouts import Exactness, canonical
from saeeval_core.models.packages import BUNDLED_MODEL
from saeeval_core.recordings.keep import keep_recordings, partial_state
from saeeval_core.recordings.known_saes import KnownSae, identify, known_sae
from saeeval_core.recordings.pace import noting_pace
from saeeval_core.recordings.plan import cannot_fit, device_bytes, plan, work_of
from saeeval_core.recordings.recording import (
    LatentHeader,
    LatentRecording,
    RecordingKey,
    ResidualRecording,
    find_latents,
    find_residuals,
)
from saeeval_core.saes.asked import what_is
from saeeval_core.saes.facts import SaeFacts, facts
from saeeval_core.saes.fit import check_settings
from saeeval_core.storage.kept import RECORDINGS, Shelves
from saeeval_core.texts.sources import BUNDLED_TASKS, file_task_set, hub_task_set, load_task_set
from saeeval_core.texts.tables import FileForm
from saeeval_core.texts.tasks import Draw, FixedTasks, TaskSet
from saeeval_core.wording import plural

if TYPE_CHECKING:
    from saeeval_core.models.language_model import LanguageModel
    from saeeval_core.recordings.recorder import Progress, Recorded
    from saeeval_core.saes.loaded import LoadedSAE

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


def needed_texts(config: RunConfig, draw: Draw, *, shipped: bool = True) -> TaskSet:
    """The texts to record: with ``texts_per_cell`` only those of the draw, unless every SAE was recorded on all of them.

    The parts, and so the scores, are the same either way; only the pass is shorter. DataError as the draw.
    """
    whole = draw.task_set
    if config.texts_per_cell >= RunConfig.texts_per_cell or config.task.split(":")[0] not in BUNDLED_TASKS:
        return whole
    if all(is_recorded(config, whole, sae, shipped=shipped) for sae in config.saes):
        return whole
    return FixedTasks.of(draw, config.metrics)


def obtain_recordings(
    config: RunConfig,
    task_set: TaskSet,
    saes: Sequence[str],
    *,
    shipped: bool = True,
    on_progress: "Callable[[Progress], None] | None" = None,
) -> Recordings:
    """The recordings of these SAEs at one probe hook: loaded, or all made in one pass and stored.

    UnsupportedSAE, ModelError or DataError if SAEs, model or texts cannot be used, or are not exact at one probe hook.
    A damaged stored recording is reported on stderr and made again; one that cannot be stored costs a line on stderr.
    """
    known = [identified(config, s) for s in saes]

    def make() -> "Recorded":
        return make_recordings(config, task_set, saes, on_progress=on_progress, one_probe=True)

    return _found_or_made(config, task_set, known, make, shipped)


def obtain_from_objects(
    config: RunConfig,
    task_set: TaskSet,
    model: "Callable[[], LanguageModel]",
    saes: "Sequence[LoadedSAE]",
    *,
    shipped: bool = True,
    on_progress: "Callable[[Progress], None] | None" = None,
) -> Recordings:
    """The same for SAEs that are loaded already, whose names ``config`` holds; ``model`` is asked for if a pass is made.

    All are recorded in one pass.
    """
    known = [KnownSae(s.info.id, s.info.hook or "", s.fingerprint, s.info.n_latents) for s in saes]

    def make() -> "Recorded":
        from saeeval_core.models.in_memory import as_in_use
        from saeeval_core.recordings.recorder import place_of
        from saeeval_core.saes.objects import moved

        lm = model()
        there = [moved(sae, lm.device) for sae in saes]
        with as_in_use(lm):
            places = [place_of(lm, sae) for sae in there]
            _common_probe(config, [(p.sae.info.id, p.read, p.exact) for p in places])
            return _recorded(config, task_set, lm, there, on_progress)

    return _found_or_made(config, task_set, known, make, shipped)


def _found_or_made(
    config: RunConfig, task_set: TaskSet, known: Sequence[KnownSae], make: "Callable[[], Recorded]", shipped: bool
) -> Recordings:
    found = find_recordings(config, task_set, known, shipped=shipped)
    if found is not None:
        return found
    made = make()
    probe = _common_probe(config, [(s.id, s.hook, _exact(s, r)) for s, r in zip(known, made.latents, strict=True)])
    return Recordings(made.residuals[probe], [latents.at(probe) for latents in made.latents])


def identified(config: RunConfig, sae: str) -> KnownSae:
    """As ``identify``; ConfigError for an SAE that would have to be loaded for it, and cannot fit on this machine."""
    found = known_sae(sae)
    if found is None and (line := cannot_fit(config, facts(sae, what_is(sae)))):
        raise ConfigError(line)
    return found or identify(sae)


def make_recordings(
    config: RunConfig,
    task_set: TaskSet,
    saes: Sequence[str],
    *,
    on_progress: "Callable[[Progress], None] | None" = None,
    one_probe: bool = False,
) -> "Recorded":
    """Record these SAEs at every exact probe hook of each, and store it; as many in one pass as fit into memory.

    UnsupportedSAE, ModelError or DataError if SAEs, model or texts cannot be used, ConfigError where they cannot fit on
    this machine; with ``one_probe`` also, before minutes are spent on the pass, where the SAEs are not exact at one
    probe hook.
    """
    groups = list(recorded_groups(config, task_set, saes, on_progress=on_progress, one_probe=one_probe))
    residuals = {hook: own for made in groups for hook, own in made.residuals.items()}
    return replace(groups[0], residuals=residuals, latents=[own for made in groups for own in made.latents])


def recorded_groups(
    config: RunConfig,
    task_set: TaskSet,
    saes: Sequence[str],
    *,
    on_progress: "Callable[[Progress], None] | None" = None,
    one_probe: bool = False,
    model: "LanguageModel | None" = None,
) -> "Iterator[Recorded]":
    """As ``make_recordings``, one group of SAEs after the other: what is not kept of a group is freed before the next.

    ``model``: the one of the settings, where it is loaded already.
    """
    # Only now are torch, transformers and SAELens needed.
    from saeeval_core.models.kernels import kernel_for
    from saeeval_core.models.language_model import load_model, resolve_device
    from saeeval_core.recordings.kept_activations import keeping
    from saeeval_core.recordings.recorder import place_of

    told = [facts(s, what_is(s)) for s in saes]
    planned = plan(config, task_set.texts.texts, told, seconds=False, memory=_room_beside(model))
    planned.check()
    device, n = resolve_device(config.device), len(planned.groups)
    kernel = kernel_for(config.kernel, device)
    heard = noting_pace(config, work_of(config.model, told), on_progress) if n == 1 else on_progress
    with ExitStack() as stack:
        for i, group in enumerate(planned.groups):
            loaded = load_fitting(config, group, device, kernel)
            if i == 0:
                if model is None:
                    model = load_model(config.model, device=device, dtype=config.dtype, kernel=kernel)
                if one_probe and n == 1:
                    places = [place_of(model, sae) for sae in loaded]
                    _common_probe(config, [(p.sae.info.id, p.read, p.exact) for p in places])
                elif one_probe:
                    _common_probe(config, _written(model, told))
                if planned.keeps_activations:
                    hooks = [hook for _, read, exact in _written(model, told) for hook in (read, *exact.probes)]
                    hooks += [exact.write for _, _, exact in _written(model, told)]
                    model = stack.enter_context(keeping(model, hooks, RECORDINGS.own / "partial"))
            assert model is not None
            yield _recorded(config, task_set, model, loaded, _part(heard, i, n))
            del loaded


def _room_beside(model: "LanguageModel | None") -> int | None:
    """Memory for a model and SAEs on the GPU that holds this model already; None where there is no such model."""
    if model is None or not model.device.startswith("cuda"):
        return None
    held = sum(p.numel() * p.element_size() for p in model.hf.parameters())
    return (device_bytes(model.device) or 0) + held


def load_fitting(config: RunConfig, saes: Sequence[str], device: str, kernel: str) -> "list[LoadedSAE]":
    """These SAEs on a device. UnsupportedSAE for one that cannot be loaded, or was made for other settings of the model."""
    from saeeval_core.saes.loaded import load_sae

    loaded = [load_sae(s, device=device, kernel=kernel) for s in saes]
    for sae in loaded:
        check_settings(sae.info, model_settings(config.model) or {})
    return loaded


def _written(model: "LanguageModel", saes: Sequence[SaeFacts]) -> list[tuple[str, str, Exactness]]:
    """(name, hook read, exactness) of SAEs that are not loaded yet, as far as they say their hooks."""
    from saeeval_core.models.sites import exact_hooks

    return [(s.id, model.hook_name(s.hook), exact_hooks(model, s.writes)) for s in saes if s.hook and s.writes]


def _part(on_progress: "Callable[[Progress], None] | None", i: int, n: int) -> "Callable[[Progress], None] | None":
    """The callback for pass ``i`` of ``n`` over the same tokens, which tells of all of them."""
    if on_progress is None or n == 1:
        return on_progress
    return lambda p: on_progress(
        replace(p, done=p.done + i * p.total, total=n * p.total, seconds=p.seconds * (p.done + i * p.total) / p.done)
    )


def _recorded(
    config: RunConfig,
    task_set: TaskSet,
    model: "LanguageModel",
    loaded: "Sequence[LoadedSAE]",
    on_progress: "Callable[[Progress], None] | None",
) -> "Recorded":
    """One pass with these SAEs, stored."""
    from saeeval_core.recordings.recorder import record_pass

    kernel = model.kernel
    key = recording_key(config, "", task_set.texts.fingerprint)
    hooks = [s.info.hook for s in loaded]
    state = [key.fingerprint, hooks, [s.fingerprint for s in loaded]]
    # A pass goes on with the kernel it began with; the state of another kernel stays for that one.
    with partial_state(fingerprint(state if kernel == DEFAULT_KERNEL else [*state, kernel])) as partial:
        made = record_pass(
            model,
            [],
            task_set.texts.texts,
            task_set.texts.fingerprint,
            loaded,
            storage=key.storage,
            cells=label_cells(task_set),
            on_progress=on_progress,
            partial=partial,
        )
        keep_recordings(made.residuals.values(), made.latents, partial)
    return made


def find_recordings(
    config: RunConfig, task_set: TaskSet, saes: Sequence[KnownSae], *, shipped: bool = True
) -> Recordings | None:
    """The stored recordings of these SAEs at one probe hook; None if one is missing.

    UnsupportedSAE where they are not exact at one probe hook.
    """
    keys = [recording_key(config, sae.hook, task_set.texts.fingerprint) for sae in saes]
    found = [find_latents(key, sae.fingerprint, shipped=shipped) for key, sae in zip(keys, saes, strict=True)]
    latents = [r for r in found if r is not None]
    probe = probe_of(config, saes, latents) if len(latents) == len(found) else None
    residuals = None if probe is None else find_residuals(replace(keys[0], hook=probe), shipped=shipped)
    return None if residuals is None else Recordings(residuals, [own.at(residuals.key.hook) for own in latents])


def is_recorded(
    config: RunConfig, task_set: TaskSet, sae: str, hook: str | None = None, *, shipped: bool = True
) -> bool:
    """Whether the latents of this SAE on these texts are stored; the recording itself is not read.

    ``hook``: the one that it reads, where that is known. UnsupportedSAE for a folder that cannot be used.
    """
    known = known_sae(sae)
    if known is None:
        return False
    key = recording_key(config, hook or known.hook, task_set.texts.fingerprint).of_sae(known.fingerprint)
    return any((f / f"latents-{key}.json").exists() for f in Shelves("recordings", shipped).folders())


def probe_of(
    config: RunConfig, saes: Sequence[KnownSae], latents: Sequence[LatentRecording | LatentHeader]
) -> str | None:
    """The hook at which the settings probe these recorded SAEs; None where a recording does not say all it could.

    UnsupportedSAE where ablation of one of them is not exact there.
    """
    # Earlier versions probed what is added to the residual stream only there.
    silent = any(r.exact is None and r.hook.endswith(("hook_mlp_out", "hook_attn_out")) for r in latents)
    if silent and config.probe_hook:
        return None
    return _common_probe(config, [(s.id, s.hook, _exact(s, r)) for s, r in zip(saes, latents, strict=True)])


def _exact(sae: KnownSae, latents: LatentRecording | LatentHeader) -> Exactness:
    return latents.exact or Exactness(sae.hook, (sae.hook,))


def _common_probe(config: RunConfig, saes: Sequence[tuple[str, str, Exactness]]) -> str:
    """The probe hook of SAEs given by (name, hook read, exactness)."""
    shared = [hook for hook in saes[0][2].probes if all(hook in exact.probes for _, _, exact in saes)]
    if config.probe_hook not in ("", AUTO_PROBE):
        wanted = canonical(config.probe_hook)
    elif not shared:
        hooks = ", ".join(sorted({read for _, read, _ in saes}))
        raise UnsupportedSAE(
            f"the SAEs read different hooks ({hooks}) and share no probe hook; run them one after another"
        )
    elif config.probe_hook == AUTO_PROBE and config.protocol != "saebench":
        wanted = shared[0]
    elif config.probe_hook == AUTO_PROBE:
        wanted = saes[0][2].write
    else:
        wanted = saes[0][1] if saes[0][1] in shared else shared[0]
    for name, _, exact in saes:
        exact.check(name, wanted)
    return wanted


def named_probe(config: RunConfig, recordings: Recordings) -> RunConfig:
    """The settings with the probe hook that was used; "" where it is the hook that every SAE reads."""
    probe = recordings.residuals.key.hook
    return replace(config, probe_hook="" if all(r.hook in ("", probe) for r in recordings.latents) else probe)


def recording_key(config: RunConfig, hook: str, texts_fingerprint: str) -> RecordingKey:
    """Key of the residual recording; bundled texts on the bundled model are stored in half precision, as shipped."""
    named = config.task.split(":")[0] in (*BUNDLED_TASKS, GENERAL) and not config.texts
    storage = "float16" if config.model == BUNDLED_MODEL and named else "float32"
    return RecordingKey(
        model_name(config.model), model_stamp(config.model), config.dtype, hook, texts_fingerprint, storage
    )


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
        raise DataError(f"{plural(empty, 'text')} without any token (control characters only?); remove them")
