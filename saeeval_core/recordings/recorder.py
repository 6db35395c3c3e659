"""The *pass*: texts through the language model to a hook, then through any number of SAEs, pooled on the way.

No padded token is encoded, no text twice, and no array of texts x tokens x latents is ever held: memory grows with the
number of texts only by the pooled arrays. A killed pass resumes from the last state it wrote.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from saeeval_core.errors import ArtifactError, DataError, ModelError, UnsupportedSAE
from saeeval_core.models.identity import model_stamp
from saeeval_core.models.language_model import LanguageModel, TokenizedTexts, padded_batches
from saeeval_core.recordings.pooled import PooledLatents, rounded, scaled_codes
from saeeval_core.recordings.recording import LatentRecording, RecordingKey, ResidualRecording
from saeeval_core.recordings.segments import Segments
from saeeval_core.saes.loaded import LoadedSAE
from saeeval_core.saes.registry import check_fits
from saeeval_core.storage.artifacts import exists, load_arrays, save_arrays
from saeeval_core.storage.notices import try_to_store

CODES_AT_ONCE = 16_000_000
"""Largest tokens x latents array held while encoding (64 MB in float32); on a GPU ``codes_at_once`` takes more."""
BYTES_PER_CODE = 64
"""Of GPU memory set aside for each: the code, its copies on the way to a mean in float64, and room for the rest."""
EV_TOKENS = 16_384
"""Tokens on which explained variance is measured."""
STATE_LAYOUT = 2
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


def record(
    model: LanguageModel,
    hook: str,
    texts: Sequence[str],
    texts_fingerprint: str,
    saes: Sequence[LoadedSAE],
    *,
    storage: str = "float32",
    cells: np.ndarray | None = None,
    on_progress: OnProgress | None = None,
    partial: Path | None = None,
) -> tuple[ResidualRecording, list[LatentRecording]]:
    """Pooled residuals (means over the valid tokens of a text) and, for each SAE, pooled latents, contexts and figures.

    ``cells`` int[texts]: label cell of each text, -1 for none; every cell's strongest contexts are kept, so that
    evidence can be shown by quadrant. With ``partial``, the state is written to that folder now and then and continued
    from there; who saves the recordings removes it then. ModelError or UnsupportedSAE if hook or widths do not fit or
    memory runs out; DataError if no text has a token, or values exceed the range of ``storage``.
    """
    model.check_hook(hook)
    for sae in saes:
        check_fits(sae.info, model.d_model, [hook])
    unique, inverse = np.unique(np.asarray(texts, dtype=object), return_inverse=True)
    tokens = model.tokenize(list(unique))
    n_valid = np.array([len(ids) - 1 for ids in tokens.ids], dtype=np.int32)
    if not n_valid.any():
        raise DataError("no text has a single token besides the beginning-of-sequence token; give texts with words")
    unique_cells = None
    if cells is not None:
        unique_cells = np.full(len(unique), -1)
        unique_cells[inverse] = cells
    key = RecordingKey(model.name, model_stamp(model.name), model.dtype, hook, texts_fingerprint, storage)
    run = _Pass(model, hook, tokens, n_valid, saes, unique_cells, key)
    try:
        run.resume(partial)
        run.go(on_progress, partial)
    except torch.OutOfMemoryError:
        raise ModelError(
            f"out of memory on {model.device}; use --dtype bfloat16, a smaller SAE or --device cpu"
        ) from None
    residuals = _residual_recording(run, tokens, inverse, key, model)
    latents = [run.pooled[i].finish(sae, residuals.fingerprint, inverse, storage) for i, sae in enumerate(saes)]
    return residuals, latents


def codes_at_once(device: str) -> int:
    """Largest tokens x latents array held while encoding: on a GPU as many as a good part of its free memory takes."""
    if not device.startswith("cuda"):
        return CODES_AT_ONCE
    return max(CODES_AT_ONCE, torch.cuda.mem_get_info(device)[0] // BYTES_PER_CODE)


@torch.inference_mode()
def token_latents(
    model: LanguageModel, hook: str, text: str, sae: LoadedSAE
) -> tuple[np.ndarray, np.ndarray, list[tuple[int, int]]]:
    """One text: s*f float32[tokens, latents], residuals float32[tokens, d_model], character spans of its valid tokens.

    DataError for a text without tokens.
    """
    tokens = model.tokenize([text])
    if len(tokens.ids[0]) < 2:
        raise DataError("the text has no token; type at least one word")
    ids = torch.from_numpy(tokens.ids[0][None].astype(np.int64)).to(model.device)
    x = model.activations(ids, torch.ones_like(ids), [hook])[hook][0, 1:].float()
    codes = scaled_codes(sae, x)[1]
    ends = tokens.ends[0].tolist()
    return codes.cpu().numpy(), x.cpu().numpy(), list(zip([0, *ends[:-1]], ends, strict=True))


class _Pass:
    """State of one pass: which batches are done, and what they gave."""

    def __init__(
        self,
        model: LanguageModel,
        hook: str,
        tokens: TokenizedTexts,
        n_valid: np.ndarray,
        saes: Sequence[LoadedSAE],
        cells: np.ndarray | None,
        key: RecordingKey,
    ) -> None:
        self.model, self.hook, self.key, self.n_valid = model, hook, key, n_valid
        self.batches = list(padded_batches([ids for ids in tokens.ids]))
        self.done = 0
        self.residuals = np.full((len(n_valid), model.d_model), np.nan)
        ev_every = max(1, int(n_valid.sum()) // EV_TOKENS)
        self.pooled = [PooledLatents(sae, n_valid, cells, ev_every) for sae in saes]

    @torch.inference_mode()
    def go(self, on_progress: OnProgress | None, partial: Path | None) -> None:
        started = saved = time.monotonic()
        pause = SAVE_EVERY
        before = sum(int(self.n_valid[rows].sum()) for rows, _, _ in self.batches[: self.done])
        total, now = int(self.n_valid.sum()), 0
        try:
            for rows, ids, mask in self.batches[self.done :]:
                self._batch(rows, ids, mask)
                self.done += 1
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
            # Cancelled, interrupted or out of memory: a batch is complete or not counted.
            if partial is not None and self.done:
                self.save(partial)
            raise

    def _batch(self, rows: np.ndarray, ids: torch.Tensor, mask: torch.Tensor) -> None:
        ids, mask = ids.to(self.model.device), mask.to(self.model.device)
        values = self.model.activations(ids, mask, [self.hook])[self.hook]
        if values.shape[-1] != self.model.d_model:
            raise UnsupportedSAE(
                f"hook {self.hook} has width {values.shape[-1]}, expected d_model {self.model.d_model}"
            )
        start = 0
        while start < len(rows):
            # Texts of one group are encoded together; a group never exceeds CODES_AT_ONCE.
            widest = max((p.sae.info.n_latents for p in self.pooled), default=1)
            room = max(1, codes_at_once(self.model.device) // widest // max(1, ids.shape[1] - 1))
            group = rows[start : start + room]
            lengths = self.n_valid[group]
            x = values[start : start + len(group), 1:][mask[start : start + len(group), 1:].bool()].float()
            edges = np.concatenate([[0], np.cumsum(lengths)])
            if len(x):
                segments = Segments(lengths[lengths > 0], x.device)
                self.residuals[group[lengths > 0]] = segments.means(segments.padded(x)).cpu().numpy()
            for pooled in self.pooled if len(x) else ():  # texts without tokens have nothing to encode
                pooled.add(group, x, edges)
            start += room

    def save(self, partial: Path) -> None:
        """One artifact with everything so far. A disk that is full costs a notice, never the pass."""
        arrays = {"residuals": self.residuals, "done": np.array([self.done])}
        for i, pooled in enumerate(self.pooled):
            arrays |= {f"{i}.{name}": array for name, array in pooled.state().items()}
        meta = {"layout": STATE_LAYOUT, "key": self.key.fingerprint, "saes": [p.sae.fingerprint for p in self.pooled]}
        try_to_store(f"state of a pass in {partial}", lambda: save_arrays(partial / "state", arrays, meta))

    def resume(self, partial: Path | None) -> None:
        """Continue from a saved state of the same pass; a damaged or foreign one is ignored and overwritten."""
        if partial is None or not exists(partial / "state"):
            return
        try:
            arrays, meta = load_arrays(partial / "state")
        except ArtifactError:
            return
        if (
            meta.get("layout") != STATE_LAYOUT
            or meta.get("key") != self.key.fingerprint
            or meta.get("saes") != [p.sae.fingerprint for p in self.pooled]
        ):
            return
        self.residuals, self.done = arrays["residuals"], int(arrays["done"][0])
        for i, pooled in enumerate(self.pooled):
            prefix = f"{i}."
            pooled.restore({k[len(prefix) :]: v for k, v in arrays.items() if k.startswith(prefix)})


def _residual_recording(
    run: _Pass, tokens: TokenizedTexts, inverse: np.ndarray, key: RecordingKey, model: LanguageModel
) -> ResidualRecording:
    residuals = rounded(run.residuals[inverse], key.storage, "pooled residuals")
    ends = [tokens.ends[i] for i in inverse]
    return ResidualRecording(
        key, model.bos_id, residuals, run.n_valid[inverse], np.concatenate(ends).astype(np.uint16), model.note
    )
