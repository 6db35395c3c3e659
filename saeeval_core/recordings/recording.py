"""What one pass over the texts produces: pooled residuals, and per SAE pooled latents and contexts.

Everything that a score needs is here: no score runs the model or the SAE again. Arrays are read-only and can be shared
between threads. Importing this module loads neither torch nor transformers.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from scipy.sparse import csc_array

from saeeval_core.config import MAX_TOKENS, cache_dir, fingerprint
from saeeval_core.errors import ArtifactError
from saeeval_core.models.layouts import Exactness, crosses_output_matrix
from saeeval_core.recordings.bundled_decoder import bundled_decoder, is_bundled
from saeeval_core.recordings.checks import check_contexts, check_per_latent, check_residuals
from saeeval_core.recordings.codec import from_gaps, to_gaps
from saeeval_core.recordings.context_windows import KINDS, WINDOW, Contexts
from saeeval_core.storage.artifacts import Sidecar, load_arrays, save_arrays
from saeeval_core.storage.json_files import as_artifact, require, typed
from saeeval_core.storage.kept import RECORDINGS, Shelves
from saeeval_core.storage.packing import pack, unpack

SCHEMA = 1
"""Increased when the meaning of a stored array changes; older recordings are then made again."""
STORAGE = ("float16", "float32")
"""Precisions of stored arrays."""
BELOW_ZERO = "explained variance is {:.2f}, below 0: the SAE may have been trained on another model, hook or scale"
R = TypeVar("R")
_UNSAVED = 64
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
        return cls.of_dict(typed(meta, "key", dict))

    @classmethod
    def of_dict(cls, values: Mapping[str, Any]) -> "RecordingKey":
        """The key with these fields. TypeError or ValueError if they make none."""
        key = cls(**values)
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
    key: "RecordingKey | None" = None
    """Key of the pass at the hook it reads; None in recordings that were read, written and probed at one hook."""
    exact: Exactness | None = None
    """Hook it writes and where it can be probed; None as ``key``."""

    @property
    def hook(self) -> str:
        """As in ``LatentRecording``, and the next two."""
        return str(self.about.get("hook") or "")

    @property
    def n_latents(self) -> int:
        """Width of the SAE."""
        return self.shape[1]

    def scored_fingerprint(self, probe: str) -> str:
        """That of the recording probed at the hook ``probe``."""
        own = fingerprint([self.residual_fingerprint, self.sae_fingerprint])
        return own if self.exact is None or probe == self.hook else fingerprint([own, probe])

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
            RecordingKey.of_dict(typed(meta, "pass", dict)) if "pass" in meta else None,
            Exactness.of_dict(typed(meta, "exact", dict)) if "exact" in meta else None,
        )


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
    kernel: str = ""
    """What multiplied float32 matrices in the pass; "" in a recording that does not say."""

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
    key: RecordingKey | None = None
    """As in ``LatentHeader``."""
    exact: Exactness | None = None
    """As in ``LatentHeader``."""
    projected: np.ndarray | None = None
    """float32[latents, d_model]: D W_O of an SAE of attention heads; what it adds to the attention's output."""
    probed: str = ""
    """The probe hook of ``decoder``, where it is not the hook that is read."""

    @property
    def fingerprint(self) -> str:
        """Fingerprint of this SAE on its pass."""
        return fingerprint([self.residual_fingerprint, self.sae_fingerprint])

    @property
    def scored_fingerprint(self) -> str:
        """Fingerprint of what is scored: the same latents probed at another hook have other scores."""
        return fingerprint([self.fingerprint, self.probed]) if self.probed else self.fingerprint

    @property
    def hook(self) -> str:
        """The hook it reads; "" in a recording that does not say."""
        return str((self.about or {}).get("hook") or "")

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know before the scores: what may make this SAE and this model no pair."""
        explained = self.unsupervised.get("explained_variance")
        low = () if explained is None or explained >= 0 else (BELOW_ZERO.format(explained),)
        return (*map(str, (self.about or {}).get("notes", ())), *low)

    def at(self, probe: str) -> "LatentRecording":
        """The same latents with the decoder rows as they arrive at the hook ``probe``, one of ``exact.probes``."""
        if self.exact is None or probe == self.hook:
            return self
        crosses = crosses_output_matrix(self.exact.write, probe)
        rows = self.projected if crosses and self.projected is not None else self.decoder
        return replace(self, probed=probe, decoder=rows)

    def belongs_to(self, key: RecordingKey) -> bool:
        """Whether the pass with the residuals of ``key`` recorded these latents too, at whichever hook."""
        return self.residual_fingerprint in (key.fingerprint, replace(key, hook=self.hook).fingerprint)

    @property
    def n_latents(self) -> int:
        """Width of the SAE."""
        return self.decoder.shape[0]

    @cached_property
    def column_norms(self) -> np.ndarray:
        """float32[latents]: norm of each latent's pooled column; kept, because it takes a pass over all codes."""
        return np.sqrt(np.asarray(self.latents.multiply(self.latents).sum(axis=0))).ravel()


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
    kernel = {"kernel": recording.kernel} if recording.kernel else {}
    save_arrays(path, packed, meta | kernel | {"packed": layout})
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
    if not is_bundled(recording.sae):
        arrays["decoder"] = recording.decoder
    if recording.projected is not None:
        arrays["projected"] = recording.projected
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
    if recording.key is not None and recording.exact is not None:
        meta |= {"pass": vars(recording.key), "exact": asdict(recording.exact)}
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
            typed({"kernel": ""} | meta, "kernel", str),
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
        projected = a.get("projected", decoder)
        for rows in (decoder, projected):
            require(rows.ndim == 2 and len(rows) == header.shape[1], f"its decoder has shape {rows.shape}")
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
        header.key,
        header.exact,
        a.get("projected"),
    )
    kept = recording.latents  # scipy may have copied what it was given
    _freeze(kept.data, kept.indices, kept.indptr, recording.decoder, recording.density)
    return recording


def find_residuals(key: RecordingKey, *, shipped: bool = True) -> ResidualRecording | None:
    """The finished recording of that key, shipped or made here, or None; an unusable one is named on stderr."""

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


def use_unsaved(residuals: Iterable[ResidualRecording], latents: Iterable[LatentRecording]) -> None:
    """Let this process find recordings that could not be written to the cache; the last few are held."""
    _unsaved.update({(cache_dir(), f"residuals-{own.fingerprint}"): own for own in residuals})
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


def _freeze(*arrays: np.ndarray) -> None:
    for array in arrays:
        array.setflags(write=False)
