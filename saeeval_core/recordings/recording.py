"""What one pass over the texts produces: pooled residuals, and per SAE pooled latents and contexts.

Everything that a score needs is here, so no score runs the language model or the SAE again.
Arrays are read-only and can be shared between threads. Importing this module loads neither torch nor transformers.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from scipy.sparse import csc_array

from saeeval_core.config import MAX_TOKENS, assets_dir, cache_dir, fingerprint
from saeeval_core.errors import ArtifactError, UnsupportedSAE
from saeeval_core.recordings.checks import check_contexts, check_per_latent, check_residuals
from saeeval_core.recordings.codec import from_gaps, read_bfloat16, to_gaps
from saeeval_core.storage.artifacts import Sidecar, load_arrays, save_arrays
from saeeval_core.storage.json_files import as_artifact, require, typed
from saeeval_core.storage.kept import RECORDINGS, Shelves
from saeeval_core.storage.manifest import is_as_shipped
from saeeval_core.storage.packing import pack, unpack

SCHEMA = 1
"""Increased whenever the meaning of a stored array changes; older recordings are then made again."""
WINDOW = 16
"""Tokens in a stored context."""
KINDS = ("top", "sampled", "top of its cell")
STORAGE = ("float16", "float32")
"""Precisions of stored arrays."""
R = TypeVar("R")
_UNSAVED = 32
_unsaved: dict[tuple[Path, str], Any] = {}
"""(cache folder, name) -> recording that could not be written there."""


@dataclass(frozen=True)
class RecordingKey:
    """Everything that decides a residual recording; computed without loading the model."""

    model: str
    stamp: str
    """Identity of the weights and tokenizer on disk."""
    dtype: str
    hook: str
    texts: str
    """Fingerprint of the texts."""
    storage: str = "float32"
    """Precision of stored arrays; stored values are the ones scored."""

    @property
    def fingerprint(self) -> str:
        """First 16 hex digits of the SHA-256 of the key."""
        return fingerprint({**vars(self), "max_tokens": MAX_TOKENS, "schema": SCHEMA})

    def of_sae(self, sae_fingerprint: str) -> str:
        """Fingerprint of the latent recording of one SAE on the same pass."""
        return fingerprint([self.fingerprint, sae_fingerprint])

    @classmethod
    def of_sidecar(cls, meta: Sidecar) -> "RecordingKey":
        """The key in the sidecar of a residual recording. LookupError, TypeError or ValueError if it is none."""
        require(meta["kind"] == "residuals", f"it holds '{meta['kind']}', expected 'residuals'")
        key = cls(**typed(meta, "key", dict))
        require(all(isinstance(v, str) for v in vars(key).values()), "a part of its key is no text")
        require(key.storage in STORAGE, f"its precision is '{key.storage}', expected {' or '.join(STORAGE)}")
        return key


@dataclass(frozen=True)
class LatentHeader:
    """What the sidecar of a latent recording says."""

    sae: str
    sae_fingerprint: str
    residual_fingerprint: str
    shape: tuple[int, int]
    """(texts, latents)"""
    unsupervised: Mapping[str, float | None]
    non_negative: bool
    about: Mapping[str, Any]

    @classmethod
    def of_sidecar(cls, meta: Sidecar) -> "LatentHeader":
        """Inverse of the sidecar of ``save_latents``. LookupError, TypeError or ValueError if it is none."""
        require(meta["kind"] == "latents", f"it holds '{meta['kind']}', expected 'latents'")
        rows, columns = (typed({"shape": n}, "shape", int) for n in typed(meta, "shape", list))
        require(0 <= rows < 2**31 and 0 < columns < 2**31, f"its shape is {rows} x {columns}")
        figures = typed(meta, "unsupervised", dict)
        require(all(v is None or isinstance(v, int | float) for v in figures.values()), "a figure is no number")
        return cls(
            typed(meta, "sae", str),
            typed(meta, "sae_fingerprint", str),
            typed(meta, "residual_fingerprint", str),
            (rows, columns),
            figures,
            typed(meta, "non_negative", bool),
            typed(meta, "about", dict),
        )


@dataclass(frozen=True)
class ContextRef:
    """A window of tokens in one text, with the activation of one latent at each of them."""

    text: int
    """Row of the text in the recording."""
    position: int
    """Valid-token index of the window's first token."""
    activation: np.ndarray
    """float32[WINDOW]: |s*f| per token, 0 past the end of the text."""
    kind: str
    """One of KINDS."""


@dataclass(frozen=True)
class Contexts:
    """Contexts of all latents, latent by latent; kept as references so that no third-party text is stored."""

    indptr: np.ndarray
    """int64[latents + 1]: contexts of latent i are numbers indptr[i] to indptr[i + 1] - 1."""
    text: np.ndarray
    """int32[contexts]: row of the text in the recording."""
    position: np.ndarray
    """int16[contexts]: valid-token index of the window's first token."""
    activation: np.ndarray
    """float16[contexts, WINDOW]: |s*f| per token, 0 past the end of the text."""
    kind: np.ndarray
    """uint8[contexts]: index into KINDS."""

    @classmethod
    def empty(cls, n_latents: int) -> "Contexts":
        """No contexts for any of ``n_latents`` latents."""
        return cls(
            np.zeros(n_latents + 1, np.int64),
            np.zeros(0, np.int32),
            np.zeros(0, np.int16),
            np.zeros((0, WINDOW), np.float16),
            np.zeros(0, np.uint8),
        )

    def of(self, latent: int) -> list[ContextRef]:
        """Contexts of one latent: the strongest first, then the sampled, then the best of each cell."""
        return [
            ContextRef(
                int(self.text[i]), int(self.position[i]), self.activation[i].astype(np.float32), KINDS[self.kind[i]]
            )
            for i in range(self.indptr[latent], self.indptr[latent + 1])
        ]


@dataclass(frozen=True)
class ResidualRecording:
    """Pooled residuals of every text at one hook of one model."""

    key: RecordingKey
    bos_id: int
    residuals: np.ndarray
    """float32[texts, d_model]: mean over valid tokens, summed in float64. NaN rows belong to texts without tokens."""
    n_valid: np.ndarray
    """int32[texts]: tokens pooled (positions 1..len-1)."""
    token_ends: np.ndarray
    """uint16[valid tokens]: character end of each valid token in its text."""
    note: str = ""
    """Shown with results: what is special about the model's weights."""

    @property
    def fingerprint(self) -> str:
        """The key's fingerprint."""
        return self.key.fingerprint

    @cached_property
    def _first(self) -> np.ndarray:
        return np.concatenate([[0], np.cumsum(self.n_valid, dtype=np.int64)])

    def token_spans(self, text: int) -> list[tuple[int, int]]:
        """(character start, character end) of each valid token of one text, without gaps."""
        ends = self.token_ends[self._first[text] : self._first[text + 1]].astype(int)
        return list(zip([0, *ends[:-1]], ends, strict=True))


@dataclass(frozen=True)
class LatentRecording:
    """Pooled latents of every text for one SAE, with what is shown and reported about its latents."""

    sae: str
    sae_fingerprint: str
    residual_fingerprint: str
    latents: csc_array
    """float32[texts, latents]: mean over valid tokens of s*f. Column-sparse, because one decision reads one column."""
    zero_code: np.ndarray
    """float32[latents]: s(0) f(0), needed only to imitate SAEBench's padding leak."""
    density: np.ndarray
    """float32[latents]: share of valid tokens on which the latent is active."""
    decoder: np.ndarray
    """float32[latents, d_model]: D, so that ablating latent i moves the residual by -s f_i D_i."""
    contexts: Contexts
    unsupervised: Mapping[str, float | None]
    """l0 (active latents per token), explained_variance, dead (share of latents that never fired here), tokens."""
    non_negative: bool = True
    """False where codes can be below 0."""
    about: Mapping[str, Any] | None = None
    """Architecture, width and hook of the SAE, as results show them."""

    @property
    def fingerprint(self) -> str:
        """Fingerprint of this SAE on its pass."""
        return fingerprint([self.residual_fingerprint, self.sae_fingerprint])

    @property
    def n_latents(self) -> int:
        """Width of the SAE."""
        return self.decoder.shape[0]


def save_residuals(recording: ResidualRecording, folder: Path) -> Path:
    """Write into ``folder`` and return the path; residuals in the key's ``storage``. ArtifactError if writing fails."""
    path = folder / f"residuals-{recording.fingerprint}"
    arrays = {
        "residuals": recording.residuals.astype(recording.key.storage),
        "n_valid": recording.n_valid,
        "token_ends": recording.token_ends,
    }
    packed, layout = pack(arrays)
    meta = {"kind": "residuals", "key": vars(recording.key), "bos_id": recording.bos_id, "note": recording.note}
    save_arrays(path, packed, meta | {"packed": layout})
    return path


def save_latents(recording: LatentRecording, folder: Path, *, storage: str) -> Path:
    """Write into ``folder`` and return the path; pooled latents in ``storage`` precision, row numbers as one-byte gaps.

    The decoder of a bundled SAE is not stored: it is read from the SAE's weights. ArtifactError if writing fails.
    """
    path = folder / f"latents-{recording.fingerprint}"
    c = recording.contexts
    data, gaps, indptr = to_gaps(recording.latents)
    arrays = {
        "data": data.astype(storage),
        "gaps": gaps,
        "indptr": indptr,
        "zero_code": recording.zero_code,
        "density": recording.density,
        "context_indptr": c.indptr,
        "context_text": c.text,
        "context_position": c.position,
        "context_activation": c.activation,
        "context_kind": c.kind,
    }
    if not _is_bundled(recording.sae):
        arrays["decoder"] = recording.decoder
    meta = {
        "kind": "latents",
        "sae": recording.sae,
        "sae_fingerprint": recording.sae_fingerprint,
        "residual_fingerprint": recording.residual_fingerprint,
        "shape": list(recording.latents.shape),
        "unsupervised": dict(recording.unsupervised),
        "non_negative": recording.non_negative,
        "about": dict(recording.about or {}),
    }
    packed, layout = pack(arrays)
    save_arrays(path, packed, meta | {"packed": layout})
    return path


def load_residuals(path: Path) -> ResidualRecording:
    """Inverse of ``save_residuals``, read-only; ArtifactError if damaged, half-written or of another kind."""
    packed, meta = load_arrays(path)
    with as_artifact(path):
        key = RecordingKey.of_sidecar(meta)
        a = unpack(packed, typed(meta, "packed", dict))
        recording = ResidualRecording(
            key,
            typed(meta, "bos_id", int),
            a["residuals"].astype(np.float32),
            a["n_valid"],
            a["token_ends"],
            typed({"note": ""} | meta, "note", str),
        )
        check_residuals(a["residuals"], recording.n_valid, recording.token_ends, key.storage)
    _freeze(recording.residuals, recording.n_valid, recording.token_ends)
    return recording


def load_latents(path: Path) -> LatentRecording:
    """Inverse of ``save_latents``, read-only; ArtifactError if damaged, half-written or of another kind."""
    packed, meta = load_arrays(path)
    with as_artifact(path):
        header = LatentHeader.of_sidecar(meta)
        a = unpack(packed, typed(meta, "packed", dict))
        c = Contexts(*(a[f"context_{n}"] for n in ("indptr", "text", "position", "activation", "kind")))
        check_contexts(c.indptr, c.text, c.position, c.activation, c.kind, header.shape, (WINDOW, len(KINDS)))
        check_per_latent(header.shape[1], zero_code=a["zero_code"], density=a["density"])
        require(a["data"].dtype.name in STORAGE, f"its latents are {a['data'].dtype}")
        latents = from_gaps(a["data"].astype(np.float32), a["gaps"], a["indptr"], header.shape)
        decoder = a["decoder"] if "decoder" in a else bundled_decoder(header.sae, header.sae_fingerprint)
        require(decoder.ndim == 2 and len(decoder) == header.shape[1], f"its decoder has shape {decoder.shape}")
    recording = LatentRecording(
        header.sae,
        header.sae_fingerprint,
        header.residual_fingerprint,
        latents,
        a["zero_code"],
        a["density"],
        decoder,
        c,
        header.unsupervised,
        header.non_negative,
        header.about,
    )
    kept = recording.latents  # scipy may have copied what it was given
    _freeze(kept.data, kept.indices, kept.indptr, recording.decoder, recording.density)
    return recording


def find_residuals(key: RecordingKey, *, shipped: bool = True) -> ResidualRecording | None:
    """The finished recording of that key, shipped or made here, or None; one that cannot be used is named on stderr."""

    def load(path: Path) -> ResidualRecording:
        found = load_residuals(path)
        if found.key != key:
            raise ArtifactError(f"{path} is a recording of {found.key}, expected {key}; delete it and rebuild")
        return found

    return _find(f"residuals-{key.fingerprint}", shipped, load)


def find_latents(key: RecordingKey, sae_fingerprint: str, *, shipped: bool = True) -> LatentRecording | None:
    """The finished latent recording of one SAE on that pass, or None; an unusable one is named on stderr."""

    def load(path: Path) -> LatentRecording:
        found = load_latents(path)
        own = found.sae_fingerprint, found.residual_fingerprint
        if own != (sae_fingerprint, key.fingerprint):
            raise ArtifactError(f"{path} is a recording of another SAE or pass ({found.sae}); delete it and rebuild")
        return found

    return _find(f"latents-{key.of_sae(sae_fingerprint)}", shipped, load)


def use_unsaved(residuals: ResidualRecording, latents: Sequence[LatentRecording]) -> None:
    """Let this process find recordings that could not be written to the cache; the last few are held."""
    _unsaved[cache_dir(), f"residuals-{residuals.fingerprint}"] = residuals
    _unsaved.update({(cache_dir(), f"latents-{own.fingerprint}"): own for own in latents})
    for old in list(_unsaved)[:-_UNSAVED]:
        _unsaved.pop(old, None)


def _find(name: str, shipped: bool, load: Callable[[Path], R]) -> R | None:
    found = Shelves(RECORDINGS.folder, shipped).first(name, "recording", load)
    return _unsaved.get((cache_dir(), name)) if found is None else found


def recorded_passes() -> dict[str, RecordingKey]:
    """Fingerprint -> key of all finished residual recordings, shipped first."""
    keys = RECORDINGS.every("residuals", lambda _, meta: RecordingKey.of_sidecar(meta))
    return {key.fingerprint: key for key in keys}


def recorded_latents() -> list[LatentHeader]:
    """What all finished latent recordings say, shipped first."""
    return RECORDINGS.every("latents", lambda _, meta: LatentHeader.of_sidecar(meta))


def bundled_decoder(name: str, sae_fingerprint: str) -> np.ndarray:
    """float32[latents, d_model]: decoder rows of a bundled SAE, read without torch. They need no rescaling.

    UnsupportedSAE if its weights are missing, or not those that were shipped: no recording is at fault.
    """
    from safetensors import SafetensorError, safe_open

    path = assets_dir() / "saes" / name / "sae_weights.safetensors"
    if not _is_bundled(name):
        raise UnsupportedSAE(f"the bundled SAE '{name}' ({sae_fingerprint}) is missing from {path.parent}; restore it")
    damaged = UnsupportedSAE(f"the weights of the bundled SAE '{name}' in {path.parent} are damaged; restore them")
    if not is_as_shipped(path):
        raise damaged
    try:
        with safe_open(path, framework="numpy") as file:
            raw = file.get_slice("W_dec")
            if raw.get_dtype() != "BF16":
                return file.get_tensor("W_dec").astype(np.float32)
    except SafetensorError:
        raise damaged from None
    return read_bfloat16(path, "W_dec")


def _is_bundled(name: str) -> bool:
    """True for the name of a bundled SAE. The path of a folder is none, though weights lie in it."""
    return Path(name).name == name and (assets_dir() / "saes" / name / "sae_weights.safetensors").exists()


def _freeze(*arrays: np.ndarray) -> None:
    for array in arrays:
        array.setflags(write=False)
