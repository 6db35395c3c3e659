"""What one pass over the texts produces: pooled residuals, and per SAE pooled latents and contexts.

Everything that a score needs is here, so no score runs the language model or the SAE again.
Arrays are read-only and can be shared between threads. Importing this module loads neither torch nor transformers.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csc_array

from saeeval_core.config import MAX_TOKENS, assets_dir, fingerprint
from saeeval_core.errors import ArtifactError
from saeeval_core.recordings.codec import from_gaps, read_bfloat16, to_gaps
from saeeval_core.storage.artifacts import Sidecar, exists, load_arrays, load_meta, save_arrays
from saeeval_core.storage.kept import RECORDINGS, Shelves
from saeeval_core.storage.packing import pack, unpack

SCHEMA = 1
"""Increased whenever the meaning of a stored array changes; older recordings are then made again."""
WINDOW = 16
"""Tokens in a stored context."""
KINDS = ("top", "sampled", "top of its cell")


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
    if not (assets_dir() / "saes" / recording.sae / "sae_weights.safetensors").exists():
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
    arrays, meta = _read(path, "residuals")
    recording = ResidualRecording(
        RecordingKey(**meta["key"]),
        meta["bos_id"],
        arrays["residuals"].astype(np.float32),
        arrays["n_valid"],
        arrays["token_ends"],
        meta.get("note", ""),
    )
    _freeze(recording.residuals, recording.n_valid, recording.token_ends)
    return recording


def load_latents(path: Path) -> LatentRecording:
    """Inverse of ``save_latents``, read-only; ArtifactError if damaged, half-written or of another kind."""
    a, meta = _read(path, "latents")
    shape = tuple(meta["shape"])
    latents = from_gaps(a["data"].astype(np.float32), a["gaps"], a["indptr"], shape)
    decoder = a["decoder"] if "decoder" in a else bundled_decoder(meta["sae"], meta["sae_fingerprint"])
    contexts = Contexts(*(a[f"context_{n}"] for n in ("indptr", "text", "position", "activation", "kind")))
    recording = LatentRecording(
        meta["sae"],
        meta["sae_fingerprint"],
        meta["residual_fingerprint"],
        latents,
        a["zero_code"],
        a["density"],
        decoder,
        contexts,
        meta["unsupervised"],
        meta["non_negative"],
        meta["about"],
    )
    kept = recording.latents  # scipy may have copied what it was given
    _freeze(kept.data, kept.indices, kept.indptr, recording.decoder, recording.density)
    return recording


def find_residuals(key: RecordingKey, *, shipped: bool = True) -> ResidualRecording | None:
    """The finished recording of that key, shipped or made here, or None. ArtifactError if it is damaged."""
    path = next(filter(exists, Shelves(RECORDINGS.folder, shipped).places(f"residuals-{key.fingerprint}")), None)
    return None if path is None else load_residuals(path)


def find_latents(key: RecordingKey, sae_fingerprint: str, *, shipped: bool = True) -> LatentRecording | None:
    """The finished latent recording of one SAE on that pass, or None. ArtifactError if it is damaged."""
    name = f"latents-{key.of_sae(sae_fingerprint)}"
    path = next(filter(exists, Shelves(RECORDINGS.folder, shipped).places(name)), None)
    return None if path is None else load_latents(path)


def list_recordings(kind: str) -> list[Sidecar]:
    """Sidecars, with their "path", of all finished recordings of one kind ("residuals" or "latents"), shipped first."""
    return [
        load_meta(path.with_suffix("")) | {"path": str(path.with_suffix(""))}
        for folder in RECORDINGS.folders()
        for path in sorted(folder.glob(f"{kind}-*.json"))
    ]


def bundled_decoder(name: str, sae_fingerprint: str) -> np.ndarray:
    """float32[latents, d_model]: decoder rows of a bundled SAE, read without torch. They need no rescaling.

    ArtifactError if its weights are missing.
    """
    from safetensors import safe_open

    path = assets_dir() / "saes" / name / "sae_weights.safetensors"
    if not path.exists():
        raise ArtifactError(f"the bundled SAE '{name}' ({sae_fingerprint}) is missing from {path.parent}; restore it")
    with safe_open(path, framework="numpy") as file:
        raw = file.get_slice("W_dec")
        if raw.get_dtype() != "BF16":
            return file.get_tensor("W_dec").astype(np.float32)
    return read_bfloat16(path, "W_dec")


def _read(path: Path, kind: str) -> tuple[dict[str, np.ndarray], Sidecar]:
    packed, meta = load_arrays(path)
    if meta.get("kind") != kind:
        raise ArtifactError(f"{path} holds '{meta.get('kind')}', expected '{kind}'; delete it and rebuild")
    return unpack(packed, meta.get("packed", {})), meta


def _freeze(*arrays: np.ndarray) -> None:
    for array in arrays:
        array.setflags(write=False)
