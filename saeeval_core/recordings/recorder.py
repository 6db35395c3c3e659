"""The *pass*: texts through the language model to some hooks, then through any number of SAEs, pooled on the way.

No padded token is encoded, no text twice, and no array of texts x tokens x latents is ever held: memory grows with the
number of texts only by the pooled arrays. A killed pass resumes from the last state it wrote.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from saeeval_core.config import DEFAULT_KERNEL
from saeeval_core.errors import ArtifactError, DataError, ModelError, UnsupportedSAE
from saeeval_core.models.batches import padded_batches
from saeeval_core.models.identity import model_stamp
from saeeval_core.models.language_model import LanguageModel, TokenizedTexts
from saeeval_core.models.layouts import Exactness, crosses_output_matrix
from saeeval_core.models.sites import exact_hooks, through_output_matrix
from saeeval_core.recordings.pooled import PooledLatents, rounded, scaled_codes
from saeeval_core.recordings.recording import LatentRecording, RecordingKey, ResidualRecording
from saeeval_core.recordings.seconds import PassSeconds, Stopwatch
from saeeval_core.recordings.segments import Held, Segments, valid_positions
from saeeval_core.saes.fit import check_fits
from saeeval_core.saes.loaded import LoadedSAE
from saeeval_core.saes.registry import SaeInfo
from saeeval_core.saes.release_names import family_of, short_model_name
from saeeval_core.storage.artifacts import exists, load_arrays, save_arrays
from saeeval_core.storage.notices import try_to_store

CODES_AT_ONCE = 16_000_000
"""Largest tokens x latents array held while encoding (64 MB in float32); on a GPU ``codes_at_once`` takes more."""
BYTES_PER_CODE = 64
"""Of GPU memory set aside for each: the code, its copies on the way to a mean in float64, and room for the rest."""
EV_TOKENS = 16_384
"""Tokens on which explained variance is measured."""
STATE_LAYOUT = 4
"""Of the state that a pass can resume from; another layout is not read."""
SAVE_EVERY = 30.0
"""Seconds between the states a killed pass can resume from."""


@dataclass(frozen=True)
class Progress:
    """How far a pass is."""

    done: int
    total: int
    """Valid tokens."""
    seconds: float

    @property
    def eta(self) -> float | None:
        """Seconds left at the mean pace so far."""
        return self.seconds / self.done * (self.total - self.done) if self.done else None


OnProgress = Callable[[Progress], None]
"""Called after every batch; an exception it raises (such as Cancelled) stops the pass, keeping what is done."""


@dataclass(frozen=True)
class Recorded:
    """What one pass gives."""

    residuals: Mapping[str, ResidualRecording]
    """Hook -> pooled activations there: every hook asked for, every one an SAE writes, and all their exact probe hooks."""
    latents: list[LatentRecording]
    seconds: PassSeconds


def record(
    model: LanguageModel,
    hook: str,
    texts: Sequence[str],
    texts_fingerprint: str,
    saes: Sequence[LoadedSAE],
    **options: Any,
) -> tuple[ResidualRecording, list[LatentRecording]]:
    """As ``record_pass`` with one probe hook: the residuals there, and the latents with decoder rows for that hook.

    UnsupportedSAE for an SAE that cannot be ablated exactly there.
    """
    found = record_pass(model, [hook], texts, texts_fingerprint, saes, **options)
    for latents in found.latents:
        exact = latents.exact or Exactness(latents.hook, (latents.hook,))
        exact.check(latents.sae, hook)
    return found.residuals[hook], [latents.at(hook) for latents in found.latents]


def record_pass(
    model: LanguageModel,
    hooks: Sequence[str],
    texts: Sequence[str],
    texts_fingerprint: str,
    saes: Sequence[LoadedSAE],
    *,
    storage: str = "float32",
    cells: np.ndarray | None = None,
    on_progress: OnProgress | None = None,
    partial: Path | None = None,
) -> Recorded:
    """Pooled activations (means over the valid tokens of a text) and, for each SAE, pooled latents, contexts and figures.

    Residuals are recorded at ``hooks``, where each SAE writes and at all its exact probe hooks. ``cells`` int[texts]:
    label cell of each text, -1 for none; every cell's strongest contexts are kept, so that evidence can be shown by
    quadrant. With ``partial``, the state is written to that folder now and then and continued from there; who saves the
    recordings removes it then. ModelError or UnsupportedSAE if hooks or widths do not fit or memory runs out; DataError
    if no text has a token, or values exceed the range of ``storage``.
    """
    begun = begin(model, hooks, texts, texts_fingerprint, saes, storage=storage, cells=cells)
    begun.go(on_progress, partial)
    return begun.finish()


def begin(
    model: LanguageModel,
    hooks: Sequence[str],
    texts: Sequence[str],
    texts_fingerprint: str,
    saes: Sequence[LoadedSAE],
    *,
    storage: str,
    cells: np.ndarray | None,
) -> "Begun":
    """A pass as in ``record_pass`` of which nothing is done yet. ModelError, UnsupportedSAE or DataError as there."""
    places = [place_of(model, sae) for sae in saes]
    for hook in hooks:
        model.check_hook(hook)
    unique, inverse = np.unique(np.asarray(texts, dtype=object), return_inverse=True)
    tokens = model.tokenize(list(unique))
    n_valid = np.array([len(ids) - 1 for ids in tokens.ids], dtype=np.int32)
    if not n_valid.any():
        raise DataError("no text has a single token besides the beginning-of-sequence token; give texts with words")
    unique_cells = None
    if cells is not None:
        unique_cells = np.full(len(unique), -1)
        unique_cells[inverse] = cells
    pooled_at = [*hooks, *(h for p in places for h in (*p.exact.probes, p.exact.write))]
    named = (model.name, model_stamp(model.name), model.dtype)
    keys = {h: RecordingKey(*named, h, texts_fingerprint, storage) for h in (*pooled_at, *(p.read for p in places))}
    run = _Pass(model, {h: keys[h] for h in pooled_at}, tokens, n_valid, places, unique_cells)
    return Begun(model, run, keys, tokens, inverse)


@dataclass(frozen=True, eq=False)
class Begun:
    """A pass, and what makes recordings of what it collects."""

    model: LanguageModel
    run: "_Pass"
    keys: Mapping[str, RecordingKey]
    tokens: TokenizedTexts
    inverse: np.ndarray
    """int[texts]: the distinct text of each."""

    def go(self, on_progress: OnProgress | None, partial: Path | None) -> None:
        """Do what is left. ModelError where memory runs out."""
        try:
            self.run.resume(partial)
            self.run.go(on_progress, partial)
            self.run.take_held()
        except torch.OutOfMemoryError:
            raise ModelError(
                f"out of memory on {self.model.device}; use --dtype bfloat16, a smaller SAE or --device cpu"
            ) from None

    def finish(self) -> Recorded:
        """The recordings. DataError for values beyond the range in which they are stored."""
        run, model, inverse = self.run, self.model, self.inverse
        residuals = {hook: _residual_recording(run, hook, self.tokens, inverse, model) for hook in run.keys}
        latents = [
            pooled.finish(self.keys[place.read], place.exact, _projected(model, place), inverse, place.notes)
            for pooled, place in zip(run.pooled, run.places, strict=True)
        ]
        return Recorded(residuals, latents, run.watch.total())


@dataclass(frozen=True, eq=False)
class Place:
    """An SAE, the hook it reads and what is known about the one it writes."""

    sae: LoadedSAE
    read: str
    exact: Exactness
    notes: tuple[str, ...] = ()
    """What a reader of its scores must know."""


def place_of(model: LanguageModel, sae: LoadedSAE) -> Place:
    """Where an SAE belongs in the model. UnsupportedSAE or ModelError if hooks or widths do not fit."""
    info = sae.info
    if info.hook is None or info.hook_out is None:
        raise UnsupportedSAE(f"SAE '{info.id}' names no hook; add metadata.hook_name to its cfg.json")
    try:
        d_in, d_out = model.widths([info.hook, info.hook_out])
    except ModelError as error:
        raise UnsupportedSAE(f"SAE '{info.id}', made for {info.model or 'another model'}: {error}") from None
    check_fits(info, d_in, d_out)
    return Place(sae, info.hook, exact_hooks(model, info.hook_out), (*_other_model(model, info), *info.notes))


def _other_model(model: LanguageModel, info: SaeInfo) -> tuple[str, ...]:
    """A line where the SAE's settings name another model; folders are known by their last name."""
    if not info.model or short_model_name(info.model) == short_model_name(model.name):
        return ()
    said, own = family_of(info.model), model.hf.config.get_text_config().model_type
    family = f", of another family ({own})" if said not in (None, own) else ""
    return (f"it was made for {info.model}; this model is {short_model_name(model.name)}{family}",)


def _projected(model: LanguageModel, place: Place) -> np.ndarray | None:
    """float32[latents, d_model]: D W_O, where the heads' output is probed behind W_O; else None."""
    if not any(crosses_output_matrix(place.exact.write, probe) for probe in place.exact.probes):
        return None
    return through_output_matrix(model, place.exact.write, place.sae.decoder).cpu().numpy()


def codes_at_once(device: str) -> int:
    """Largest tokens x latents array held while encoding: on a GPU as many as a quarter of its memory takes.

    Of all its memory, not of what is free: what else is on the card must not change a bit of a recording.
    """
    if not device.startswith("cuda"):
        return CODES_AT_ONCE
    return max(CODES_AT_ONCE, torch.cuda.mem_get_info(device)[1] // 4 // BYTES_PER_CODE)


@torch.inference_mode()
def token_latents(
    model: LanguageModel, hook: str, text: str, sae: LoadedSAE
) -> tuple[np.ndarray, np.ndarray, list[tuple[int, int]]]:
    """One text: s*f float32[tokens, latents], activations at ``hook`` float32[tokens, width], its tokens' character spans.

    DataError for a text without tokens.
    """
    tokens = model.tokenize([text])
    if len(tokens.ids[0]) < 2:
        raise DataError("the text has no token; type at least one word")
    ids = torch.from_numpy(tokens.ids[0][None].astype(np.int64)).to(model.device)
    read = sae.info.hook or hook
    found = model.activations(ids, torch.ones_like(ids), list(dict.fromkeys([read, hook])))
    codes = scaled_codes(sae, found[read][0, 1:].float())[1]
    ends = tokens.ends[0].tolist()
    return codes.cpu().numpy(), found[hook][0, 1:].float().cpu().numpy(), list(zip([0, *ends[:-1]], ends, strict=True))


Arrays = Mapping[str, np.ndarray]
"""What a pass has collected of some of its batches: arrays [...] by name."""


class _Pass:
    """State of one pass: which batches are done, and what they gave."""

    def __init__(
        self,
        model: LanguageModel,
        keys: Mapping[str, RecordingKey],
        tokens: TokenizedTexts,
        n_valid: np.ndarray,
        places: Sequence[Place],
        cells: np.ndarray | None,
    ) -> None:
        """``keys``: hook whose activations are pooled -> key of the recording."""
        self.model, self.keys, self.n_valid, self.places = model, keys, n_valid, places
        self.batches = list(padded_batches([ids for ids in tokens.ids]))
        self.done, self.whole = 0, True
        self.part = 0, 1
        self.read = list(dict.fromkeys([*keys, *(p.read for p in places)]))
        widths = zip(keys, model.widths(list(keys)), strict=True)
        self.residuals = {hook: np.full((len(n_valid), width), np.nan) for hook, width in widths}
        self.held = {hook: Held(self._taker(hook), torch.device(model.device)) for hook in keys}
        widest = max((p.sae.info.n_latents for p in places), default=1)
        self.tokens_at_once = max(1, codes_at_once(model.device) // widest)
        ev_every = max(1, int(n_valid.sum()) // EV_TOKENS)
        self.watch = Stopwatch(model.device)
        self.pooled = [PooledLatents(p.sae, n_valid, cells, ev_every, self.watch) for p in places]

    def keep_only(self, number: int, of: int) -> None:
        """Leave part ``number`` of ``of`` parts of the batches to be done."""
        n = len(self.batches)
        self.batches, self.part = self.batches[number * n // of : (number + 1) * n // of], (number, of)

    @torch.inference_mode()
    def go(self, on_progress: OnProgress | None, partial: Path | None) -> None:
        started = saved = time.monotonic()
        pause = SAVE_EVERY
        before = sum(int(self.n_valid[rows].sum()) for rows, _, _ in self.batches[: self.done])
        total, now = sum(int(self.n_valid[rows].sum()) for rows, _, _ in self.batches), 0
        try:
            for rows, ids, mask in self.batches[self.done :]:
                self._batch(rows, ids, mask)
                self.done, self.whole = self.done + 1, True
                now += int(self.n_valid[rows].sum())
                if on_progress:
                    on_progress(
                        Progress(before + now, total, (time.monotonic() - started) * (before + now) / max(now, 1))
                    )
                if partial is not None and time.monotonic() - saved > pause:
                    begun = time.monotonic()
                    self.save(partial)
                    saved = time.monotonic()
                    # Many SAEs make a large state: writing it must not take more than a small share of the time.
                    pause = max(SAVE_EVERY, 20 * (saved - begun))
        except BaseException:
            # Cancelled, interrupted or out of memory. Of a batch that is half done the states before it stay.
            if partial is not None and self.done and self.whole:
                self.save(partial)
            raise

    def _batch(self, rows: np.ndarray, ids: torch.Tensor, mask: torch.Tensor) -> None:
        ids, mask = ids.to(self.model.device), mask.to(self.model.device)
        with self.watch.part("model"):
            values = self.model.activations(ids, mask, self.read)
        self.whole = False  # only now does anything change, so an interrupted model pass leaves a state to keep
        start = 0
        while start < len(rows):
            # Texts of one group are encoded together; a group never exceeds what ``codes_at_once`` allows.
            room = max(1, self.tokens_at_once // max(1, ids.shape[1] - 1))
            group = slice(start, start + room)
            inside = valid_positions(self.n_valid[rows[group]], ids.shape[1], ids.device)
            own = {h: v[group].flatten(0, 1).index_select(0, inside).float() for h, v in values.items()}
            self._group(rows[group], own)
            start += room

    def _group(self, rows: np.ndarray, x: Mapping[str, torch.Tensor]) -> None:
        """Texts rows int[group] that are encoded together; x: hook -> float32[tokens, width], their valid tokens."""
        lengths = self.n_valid[rows]
        if not lengths.any():  # texts without tokens have nothing to encode
            return
        filled = lengths > 0
        with self.watch.part("residuals"):
            for hook, held in self.held.items():
                segments = Segments(lengths[filled], x[hook].device)
                held.add(rows[filled], segments.means(segments.padded(x[hook])))
        edges = np.concatenate([[0], np.cumsum(lengths)])
        for own, place in zip(self.pooled, self.places, strict=True):
            own.add(rows, x[place.read], x[place.exact.write], edges)

    def _taker(self, hook: str) -> Callable[[np.ndarray, torch.Tensor], None]:
        def take(rows: np.ndarray, means: torch.Tensor) -> None:
            self.residuals[hook][rows] = means.cpu().numpy()

        return take

    def take_held(self) -> None:
        """What waits on the device is in ``residuals`` afterwards."""
        for held in self.held.values():
            held.take()

    @property
    def _identity(self) -> list[list[str]]:
        """What a saved state has to be of."""
        kernel = [] if self.model.kernel == DEFAULT_KERNEL else [[self.model.kernel]]
        part = [] if self.part == (0, 1) else [[f"part {self.part}"]]
        own = [key.fingerprint for key in self.keys.values()], [p.sae.fingerprint for p in self.places]
        return [*own, *kernel, *part]

    def state(self) -> Arrays:
        """Everything collected so far."""
        self.take_held()
        rows = np.concatenate([np.zeros(0, np.int64), *(rows for rows, _, _ in self.batches[: self.done])])
        arrays = {"done": np.array([self.done]), "rows": rows}
        arrays |= {f"at {hook}": own[rows] for hook, own in self.residuals.items()}
        for i, pooled in enumerate(self.pooled):
            arrays |= {f"{i}.{name}": array for name, array in pooled.state().items()}
        return arrays

    def absorb(self, arrays: Arrays) -> None:
        """Take in the ``state`` of the batches that follow those so far."""
        for hook, own in self.residuals.items():
            own[arrays["rows"]] = arrays[f"at {hook}"]
        for i, pooled in enumerate(self.pooled):
            prefix = f"{i}."
            pooled.absorb({k[len(prefix) :]: v for k, v in arrays.items() if k.startswith(prefix)})

    def save(self, partial: Path) -> None:
        """One artifact with everything so far. A disk that is full costs a notice, never the pass."""
        meta = {"layout": STATE_LAYOUT, "of": self._identity}
        try_to_store(f"state of a pass in {partial}", lambda: save_arrays(partial / "state", self.state(), meta))

    def resume(self, partial: Path | None) -> None:
        """Continue from a saved state of the same pass; a damaged or foreign one is ignored and overwritten."""
        if partial is None or not exists(partial / "state"):
            return
        try:
            arrays, meta = load_arrays(partial / "state")
        except ArtifactError:
            return
        if (meta.get("layout"), meta.get("of")) != (STATE_LAYOUT, self._identity):
            return
        self.absorb(arrays)
        self.done = int(arrays["done"][0])


def _residual_recording(
    run: _Pass, hook: str, tokens: TokenizedTexts, inverse: np.ndarray, model: LanguageModel
) -> ResidualRecording:
    key = run.keys[hook]
    residuals = rounded(run.residuals[hook][inverse], key.storage, "pooled residuals")
    ends = np.concatenate([tokens.ends[i] for i in inverse]).astype(np.uint16)
    return ResidualRecording(key, model.bos_id, residuals, run.n_valid[inverse], ends, model.note, model.kernel)
