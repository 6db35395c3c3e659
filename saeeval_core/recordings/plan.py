"""What a pass over texts will take, told before anything is loaded: passes, tokens, seconds, memory and disk.

The one place that foretells time and memory. Figures that nothing states before a pass are None.
"""

import json
import re
import shutil
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from saeeval_core.config import MAX_TOKENS, RunConfig, cache_dir
from saeeval_core.errors import ConfigError
from saeeval_core.models.identity import is_folder, model_settings
from saeeval_core.models.layouts import layer_of
from saeeval_core.models.machine import memory_bytes
from saeeval_core.models.shapes import Matrix, Shapes, shapes_of
from saeeval_core.recordings.context_windows import collecting_bytes
from saeeval_core.recordings.pace import known_pace, measured_pace
from saeeval_core.saes.facts import LOADED_BYTES, READING, SaeFacts
from saeeval_core.wording import plural

_PIECE = re.compile(r"\w+|[^\w\s]")
_BYTES = {"float16": 2, "bfloat16": 2, "float32": 4}
_SAMPLE = 2_000
"""Texts whose tokens are counted; of more, every so-manieth."""
_BATCH = 4096
"""Positions that the model reads at once."""
_CODES, _PER_CODE = 16_000_000, 64
"""Most codes held at once on a CPU, and the bytes set aside for each, as in ``recorder``."""
_CELLS = 8
"""Label cells whose contexts are counted."""
_SHARE = 0.8
"""Of memory; the rest is for Python, the texts and others."""
_ENTRY = 12
"""Bytes of a pooled latent that is not 0: its value in float64 and its column."""


@dataclass(frozen=True)
class Plan:
    """What the passes will take; None: not known before one has run."""

    texts: int
    """Distinct ones."""
    tokens: int
    """At least: words and signs, which a tokenizer divides further."""
    groups: tuple[tuple[str, ...], ...]
    """SAEs that are in memory together; each group is a pass of the SAEs over the texts."""
    keeps_activations: bool
    """True: the language model reads the texts once, and later groups read its activations from disk."""
    seconds: float | None
    measured: bool
    """True when an earlier pass like it gave the pace here; else it is the time of the products alone."""
    model_bytes: int | None
    """Of the model's weights in memory."""
    sae_bytes: int | None
    """Of the weights of the largest group; those of which nothing is known are not in it."""
    peak_bytes: int | None
    """Memory at most, model and SAEs included."""
    stored_bytes: int | None
    """On disk, at most."""
    activation_bytes: int
    """On disk during the passes: the activations that are kept for later groups."""
    refused: str = ""
    """Why it cannot be done on this machine, and what can."""
    not_kept: str = ""
    """Why the recordings will not be kept, and what would: a full disk costs a warning, never a result."""

    @property
    def model_passes(self) -> int:
        """How often the language model reads the texts."""
        return min(1, len(self.groups)) if self.keeps_activations else len(self.groups)

    def check(self) -> None:
        """ConfigError where it cannot be done here."""
        if self.refused:
            raise ConfigError(self.refused)


def plan(
    config: RunConfig,
    texts: Sequence[str],
    saes: Sequence[SaeFacts],
    *,
    seconds: bool = True,
    memory: int | None = None,
) -> Plan:
    """What recording these SAEs on these texts will take; nothing is loaded.

    ``seconds``: False leaves out the measurement of the first time. ``memory``: bytes, in place of what this machine has.
    """
    distinct = list(dict.fromkeys(texts))
    tokens = count_tokens(distinct)
    shapes = shapes_of(model_settings(config.model) or {})
    model = _model_bytes(config, shapes)
    room = device_bytes(config.device) if memory is None else memory
    groups = _groups(saes, None if room is None else round(_SHARE * room) - (model or 0), len(distinct), tokens)
    kept = _kept_bytes(saes, shapes, tokens) if len(groups) > 1 else 0
    keeps = 0 < kept <= _free_disk() // 2
    rate, measured = _pace(config, shapes, saes, seconds)
    sizes = [sum(_weights(s) for s in group) for group in groups]
    stored = [_stored(s, len(distinct), tokens) for s in saes]
    return Plan(
        len(distinct),
        tokens,
        tuple(tuple(s.id for s in group) for group in groups),
        keeps,
        None if rate is None else tokens / rate * (1 if keeps else max(1, len(groups))),
        measured,
        model,
        max(sizes, default=0) if all(s.gigabytes is not None for s in saes) else None,
        None
        if model is None
        else model + _working(shapes, config) + max((_need(g, len(distinct), tokens) for g in groups), default=0),
        None if None in stored else sum(n for n in stored if n is not None),
        kept if keeps else 0,
        _refusal(config, saes, room),
        _not_kept(sum(n or 0 for n in stored)),
    )


def work_of(model: str, saes: Iterable[SaeFacts]) -> list[Matrix]:
    """The products of one token: the model up to the deepest hook, then every SAE's encoder; [] where not known."""
    saes, shapes = list(saes), shapes_of(model_settings(model) or {})
    return [] if shapes is None else _work(shapes, saes)


def device_bytes(device: str) -> int | None:
    """Memory of the device on which a pass runs; None where it is not known."""
    if device == "cpu" or not Path("/proc/driver/nvidia").exists():
        return memory_bytes()
    import torch

    from saeeval_core.models.language_model import resolve_device

    found = resolve_device(device)
    return torch.cuda.mem_get_info(found)[0] if found.startswith("cuda") else memory_bytes()


def count_tokens(texts: Sequence[str]) -> int:
    """Tokens that are read, at least: scaled from some of many texts."""
    step = max(1, len(texts) // _SAMPLE)
    some = texts[::step]
    counted = sum(min(MAX_TOKENS - 1, len(_PIECE.findall(t[: 64 * MAX_TOKENS]))) for t in some)
    return round(counted * len(texts) / max(1, len(some)))


def _work(shapes: Shapes, saes: Sequence[SaeFacts]) -> list[Matrix]:
    hooks = [hook for s in saes for hook in (s.hook, s.writes) if hook]
    layers = [layer for hook in hooks if (layer := layer_of(hook)) is not None]
    blocks = min(shapes.blocks, max(layers) + 1) if layers else shapes.blocks
    model = [Matrix(m.wide, m.out, m.times * blocks) for m in shapes.block]
    return [*model, *(Matrix(_width(s, shapes), s.n_latents) for s in saes if s.n_latents)]


def _width(sae: SaeFacts, shapes: Shapes) -> int:
    """Values that it reads: half of its weights' rows where their size is known."""
    known = sae.gigabytes is not None and sae.n_latents
    return round(sae.gigabytes * 1e9 / LOADED_BYTES / sae.n_latents / 2) if known else shapes.hidden  # type: ignore[operator]


def _pace(
    config: RunConfig, shapes: Shapes | None, saes: Sequence[SaeFacts], measure: bool
) -> tuple[float | None, bool]:
    """(tokens per second, whether of an earlier pass)."""
    if shapes is None:
        return None, False
    work = _work(shapes, saes)
    known = known_pace(config, work)
    if known is not None:
        return known, True
    return (measured_pace(config, work) if measure else None), False


def _groups(saes: Sequence[SaeFacts], room: int | None, texts: int, tokens: int) -> list[list[SaeFacts]]:
    """SAEs in order, as many together as fit into ``room`` bytes; one that is too large stands alone."""
    groups: list[list[SaeFacts]] = []
    for sae in saes:
        if groups and (room is None or _need([*groups[-1], sae], texts, tokens) <= room):
            groups[-1].append(sae)
        else:
            groups.append([sae])
    return groups


def _need(group: Sequence[SaeFacts], texts: int, tokens: int) -> int:
    """Bytes of a group in a pass: weights, one more copy of those being read, contexts, pooled latents, codes at work."""
    own = [_weights(s) for s in group]
    collected = sum(collecting_bytes(s.n_latents or 0, _CELLS) + _ENTRY * _entries(s, texts, tokens) for s in group)
    widest = max((s.n_latents or 0 for s in group), default=0)
    return sum(own) + (READING - 1) * max(own, default=0) + collected + min(_CODES, _BATCH * widest) * _PER_CODE


def _weights(sae: SaeFacts) -> int:
    return round((sae.gigabytes or 0) * 1e9)


def _entries(sae: SaeFacts, texts: int, tokens: int) -> int:
    """Pooled latents that are not 0, at most: of every text all latents, or L0 for each of its tokens."""
    every = texts * (sae.n_latents or 0)
    return every if sae.l0 is None else min(every, round(sae.l0 * tokens))


def _stored(sae: SaeFacts, texts: int, tokens: int) -> int | None:
    """Values with one-byte row gaps, decoder rows, contexts."""
    if sae.n_latents is None or sae.gigabytes is None:
        return None
    return 5 * _entries(sae, texts, tokens) + _weights(sae) // 2 + collecting_bytes(sae.n_latents, _CELLS)


def _kept_bytes(saes: Sequence[SaeFacts], shapes: Shapes | None, tokens: int) -> int:
    """Activations of all tokens at every hook that is read, written or may be probed; 0 where hooks are not known."""
    if shapes is None or not all(s.hook and s.writes for s in saes):
        return 0
    hooks = {hook for s in saes for hook in (s.hook, s.writes)}
    return 4 * tokens * shapes.hidden * (len(hooks) + 1)


def _working(shapes: Shapes | None, config: RunConfig) -> int:
    """Bytes of what one batch leaves at once inside a block."""
    return 0 if shapes is None else _BATCH * (3 * shapes.inner + 6 * shapes.hidden) * _BYTES.get(config.dtype, 4)


def _free_disk() -> int:
    with suppress(OSError):
        return shutil.disk_usage(cache_dir()).free
    return 0


def cannot_fit(config: RunConfig, sae: SaeFacts, room: int | None = None) -> str:
    """Why this SAE and the model do not fit by their weights alone, with what would; "" where they do.

    ``room``: bytes, in place of what the device has.
    """
    room = device_bytes(config.device) if room is None else room
    shapes = shapes_of(model_settings(config.model) or {})
    model, own = _model_bytes(config, shapes) or 0, READING * _weights(sae)
    if room is None or model + own <= room:
        return ""
    half = 0 if shapes is None else _BYTES["bfloat16"] * shapes.parameters
    if config.dtype == "float32" and half > 0 and half + own <= room:
        way = f"--dtype bfloat16, with which the model takes {half / 1e9:.1f} GB"
    elif model < room:
        way = f"an SAE of at most {(room - model) / READING / 1e9:.2g} GB (saeeval list saes shows sizes)"
    else:
        way = f"a smaller model, or a machine with {((half or model) + own) / 1e9:.1f} GB"
    takes = (f"the model takes {model / 1e9:.1f} GB in {config.dtype}" if model else "", _reading(sae, own))
    return f"{' and '.join(filter(None, takes))}; there are {room / 1e9:.1f} GB; use {way}"


def _reading(sae: SaeFacts, own: int) -> str:
    return f"reading SAE '{sae.id}' takes {own / 1e9:.1f} GB" if own else ""


def _refusal(config: RunConfig, saes: Sequence[SaeFacts], room: int | None) -> str:
    """Why these SAEs cannot be recorded here, with what can; "" where nothing that is known speaks against it."""
    reasons = [line for sae in saes if (line := cannot_fit(config, sae, room))]
    if reasons:
        others = f" (nor {plural(len(reasons) - 1, 'other SAE')})" if len(reasons) > 1 else ""
        return f"{reasons[0]}{others}"
    return ""


def _not_kept(stored: int) -> str:
    if stored <= (free := _free_disk()):
        return ""
    return (
        f"the recordings take up to {stored / 1e9:.1f} GB and {cache_dir()} has {free / 1e9:.1f} GB free, so they may not "
        "be kept; record fewer SAEs at a time or fewer texts, or set SAEEVAL_CACHE to a larger disk"
    )


def _model_bytes(config: RunConfig, shapes: Shapes | None) -> int | None:
    """Bytes of the model's weights in memory: from the files of a folder, else from the shapes in its config.json."""
    each = _BYTES.get(config.dtype, 4)
    if is_folder(config.model) and (found := _weights_in(Path(config.model).expanduser())):
        return found * each
    return None if shapes is None else shapes.parameters * each


def _weights_in(folder: Path) -> int:
    """Number of weights in a folder's safetensors files."""
    size = 4
    with suppress(OSError, ValueError, AttributeError):
        about = json.loads((folder / "config.json").read_bytes())
        size = _BYTES.get(str(about.get("dtype") or about.get("torch_dtype")), 4)
    return sum(p.stat().st_size for p in folder.glob("*.safetensors")) // size
