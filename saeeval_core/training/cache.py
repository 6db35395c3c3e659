"""Activations of a language model on disk, for training SAEs: at the positions that an evaluation reads.

Valid positions only (never the beginning-of-sequence position, whose norm would dominate), in windows of MAX_TOKENS.
Caching resumes after a kill.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from saeeval_core.config import derive_rng, fingerprint
from saeeval_core.errors import DataError
from saeeval_core.models.batches import padded_batches
from saeeval_core.models.language_model import LanguageModel
from saeeval_core.storage.artifacts import write_atomic
from saeeval_core.texts.files import LARGE, read_frame

_SHARD_TEXTS = 512
_HELD_OUT_TOKENS = 50_000
"""Most held-out tokens that are kept."""

Progress = Callable[[str, int, int], None]
"""Called with (what is done, units done, units in all)."""


@dataclass(frozen=True)
class ActivationSource:
    """Where cached activations come from; decides the folder they are kept in."""

    model: str
    hook: str
    corpus: str
    """Fingerprint of the texts, in order."""
    dtype: str = "float32"
    seed: int = 0
    """Shuffles the texts."""


@dataclass(frozen=True)
class ActivationCache:
    """Residual activations on disk: float16 [tokens, d_model], read through a memory map."""

    folder: Path
    source: ActivationSource
    train: list[np.ndarray]
    """Shards, each float16 [tokens, d_model]."""
    held_out: np.ndarray
    """Valid tokens of texts never used in training, float16 [tokens, d_model]."""

    @property
    def n_tokens(self) -> int:
        """Training tokens."""
        return sum(len(shard) for shard in self.train)

    def batches(self, size: int, seed: int, start: int = 0) -> Iterator[torch.Tensor]:
        """Endless batches float32[size, d_model] in shuffled order; ``start`` skips that many batches.

        DataError if there are fewer tokens than one batch takes.
        """
        data = np.concatenate(self.train)
        per_epoch = len(data) // size
        if per_epoch == 0:
            raise DataError(f"the cache holds {len(data)} tokens, fewer than one batch of {size}: use more text")
        epoch, position = divmod(start, per_epoch)
        while True:
            order = derive_rng(seed, "epoch", epoch).permutation(len(data))
            for i in range(position, per_epoch):
                yield torch.from_numpy(data[np.sort(order[i * size : (i + 1) * size])].astype(np.float32))
            epoch, position = epoch + 1, 0


def cache_activations(
    model: LanguageModel,
    hook: str,
    texts: Sequence[str],
    folder: Path,
    *,
    max_tokens: int,
    seed: int = 0,
    progress: Progress | None = None,
) -> ActivationCache:
    """Run ``model`` over shuffled ``texts`` until ``max_tokens`` valid tokens, and 1/16 more to hold out, are on disk.

    Shards are written by rename, so that a killed run continues where it stopped. DataError if the texts are too few,
    or if activations exceed float16; ModelError for an unknown hook.
    """
    model.check_hook(hook)
    source = ActivationSource(model.name, hook, corpus_fingerprint(texts), model.dtype, seed)
    folder = folder / fingerprint(asdict(source))
    folder.mkdir(parents=True, exist_ok=True)
    order = derive_rng(seed, "corpus").permutation(len(texts))
    goal, done, shards, cursor = max_tokens + max_tokens // 16, 0, [], 0
    while done < goal and cursor < len(order):
        path = folder / f"shard-{len(shards):05d}.npy"
        chunk = [texts[i] for i in order[cursor : cursor + _SHARD_TEXTS]]
        if not path.exists():
            rows = _valid_activations(model, hook, model.windows(chunk))
            write_atomic(path, lambda file, rows=rows: np.save(file, rows))
        shards.append(path)
        cursor += _SHARD_TEXTS
        done += np.load(path, mmap_mode="r").shape[0]
        if progress:
            progress("caching activations", min(done, goal), goal)
    return _open_cache(folder, shards, source)


def corpus_fingerprint(texts: Sequence[str]) -> str:
    """First 16 hex digits of the SHA-256 over all texts in order."""
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text.encode("utf-8", "surrogatepass") + b"\0")
    return digest.hexdigest()[:16]


def read_corpus(path: Path) -> list[str]:
    """Passages of a Parquet or JSONL file with a ``text`` column, or the paragraphs of a plain text file.

    DataError if there is no file, no such column or no text.
    """
    if not path.exists():
        raise DataError(f"corpus file '{path}' does not exist; give a .parquet or .jsonl with a text column, or a .txt")
    if path.suffix == ".txt":
        texts = _paragraphs(path)
    else:
        frame = read_frame(path)
        if "text" not in frame:
            few = ", ".join(map(str, frame.columns[:6]))
            raise DataError(f"'{path.name}' has columns {few}; a corpus needs a column named text")
        texts = frame["text"].tolist()
    texts = [t for t in texts if isinstance(t, str) and t.strip() and "\0" not in t]
    if not texts:
        raise DataError(f"'{path}' holds no text; a corpus needs at least a few thousand passages")
    return texts


def _paragraphs(path: Path) -> list[str]:
    if not path.is_file():
        raise DataError(f"'{path}' is a folder, pipe or device; give a .parquet, .jsonl or .txt file")
    if path.stat().st_size > LARGE.size:
        raise DataError(f"'{path.name}' has more than {LARGE.size:,} bytes; split the file or keep only what is needed")
    return path.read_text(encoding="utf-8", errors="replace").split("\n\n")


def _valid_activations(model: LanguageModel, hook: str, texts: Sequence[str]) -> np.ndarray:
    kept = []
    for _, ids, mask in padded_batches(model.tokenize(texts).ids):
        values = model.activations(ids.to(model.device), mask.to(model.device), [hook])[hook]
        kept.append(values[:, 1:][mask[:, 1:].bool()].to(torch.float16).cpu().numpy())
    rows = np.concatenate(kept)
    if not np.isfinite(rows).all():
        raise DataError(f"activations at {hook} exceed float16; choose an earlier layer")
    return rows


def _open_cache(folder: Path, shards: Sequence[Path], source: ActivationSource) -> ActivationCache:
    """The last sixteenth of the shards (at least one) is held out."""
    if len(shards) < 2:
        raise DataError(f"the corpus fills {len(shards)} shard(s) of {_SHARD_TEXTS} passages; at least 2 are needed")
    n_held = max(1, len(shards) // 16)
    opened = [np.load(p, mmap_mode="r") for p in shards]
    return ActivationCache(folder, source, opened[:-n_held], np.concatenate(opened[-n_held:])[:_HELD_OUT_TOKENS])
