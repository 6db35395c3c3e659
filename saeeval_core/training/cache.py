"""Activations of a language model on disk, for training SAEs: at the positions that an evaluation reads.

Valid positions only (never the beginning-of-sequence position, whose norm would dominate), in windows of MAX_TOKENS.
Caching resumes after a kill; every shard has a checksum, and one that does not fit it is made again.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from saeeval_core.config import derive_rng, fingerprint
from saeeval_core.errors import ArtifactError, DataError
from saeeval_core.models.batches import padded_batches
from saeeval_core.models.identity import model_stamp
from saeeval_core.models.language_model import LanguageModel
from saeeval_core.storage.artifacts import exists, load_arrays, save_arrays, set_aside
from saeeval_core.storage.json_files import as_artifact, require
from saeeval_core.storage.notices import notice
from saeeval_core.texts.files import LARGE, read_frame
from saeeval_core.wording import plural

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
    """Residual activations, as they are on disk: float16 [tokens, d_model]."""

    folder: Path
    source: ActivationSource
    train: np.ndarray
    """Valid tokens of the texts to train on, float16 [tokens, d_model]."""
    held_out: np.ndarray
    """Valid tokens of texts never used in training, float16 [tokens, d_model]."""

    @property
    def n_tokens(self) -> int:
        """Training tokens."""
        return len(self.train)

    def batches(self, size: int, seed: int, start: int = 0) -> Iterator[torch.Tensor]:
        """Endless batches float32[size, d_model] in shuffled order; ``start`` skips that many batches.

        DataError if there are fewer tokens than one batch takes.
        """
        data, per_epoch = self.train, self.n_tokens // size
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

    A killed run continues where it stopped; a shard that is damaged, of other texts or without a checksum is named on
    stderr and made again. DataError if the texts are too few, or if activations exceed float16; ModelError for an
    unknown hook; ArtifactError for a disk that is full.
    """
    model.check_hook(hook)
    source = ActivationSource(model.name, hook, corpus_fingerprint(texts), model.dtype, seed)
    folder = folder / fingerprint(asdict(source))
    folder.mkdir(parents=True, exist_ok=True)
    order = derive_rng(seed, "corpus").permutation(len(texts))
    goal, done, cursor = max_tokens + max_tokens // 16, 0, 0
    shards: list[np.ndarray] = []
    while done < goal and cursor < len(order):
        path = folder / f"shard-{len(shards):05d}"
        shards.append(_shard(path, model, source, [texts[i] for i in order[cursor : cursor + _SHARD_TEXTS]]))
        cursor += _SHARD_TEXTS
        done += len(shards[-1])
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


def _shard(path: Path, model: LanguageModel, source: ActivationSource, texts: Sequence[str]) -> np.ndarray:
    """float16 [tokens, d_model], of these texts: the stored one, or else made and stored."""
    of = fingerprint([asdict(source), model_stamp(model.name), corpus_fingerprint(texts)])
    older = path.with_suffix(".npy")
    if older.exists():
        notice(f"stored activations made again: {older} was written by an older version, without a checksum")
        older.unlink()
    if exists(path):
        try:
            return _stored_shard(path, of)
        except ArtifactError as error:
            set_aside(path, error, "activations")
    rows = _valid_activations(model, source.hook, model.windows(texts))
    save_arrays(path, {"activations": rows}, {"of": of})
    return rows


def _stored_shard(path: Path, of: str) -> np.ndarray:
    """The stored shard; ArtifactError if it is damaged or of other texts, settings or model."""
    arrays, meta = load_arrays(path)
    with as_artifact(path):
        require(meta["of"] == of, "it was stored for other texts or settings")
        rows = arrays["activations"]
        require(rows.dtype == np.float16 and rows.ndim == 2, f"it holds {rows.dtype} in {rows.ndim} dimensions")
    return rows


def _open_cache(folder: Path, shards: list[np.ndarray], source: ActivationSource) -> ActivationCache:
    """The last sixteenth of the shards (at least one) is held out. ``shards`` is emptied, so that none is held twice."""
    if len(shards) < 2:
        raise DataError(
            f"the corpus fills {plural(len(shards), 'shard')} of {_SHARD_TEXTS} passages; at least 2 are needed"
        )
    n_train = len(shards) - max(1, len(shards) // 16)
    held_out = np.concatenate(shards[n_train:])[:_HELD_OUT_TOKENS]
    del shards[n_train:]
    train = np.empty((sum(map(len, shards)), shards[0].shape[1]), np.float16)
    end = len(train)
    while shards:
        rows = shards.pop()
        train[end - len(rows) : end] = rows
        end -= len(rows)
    return ActivationCache(folder, source, train, held_out)
