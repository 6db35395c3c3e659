"""What is shown for a latent: one value, the same for a judge and for people.

Contexts are read from the texts by the references a recording holds; promoted tokens come from a stored table, so that
nothing here loads a language model.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from saeeval_core.config import assets_dir, cache_dir, fingerprint
from saeeval_core.errors import ArtifactError, DataError
from saeeval_core.recordings.recording import ContextRef, LatentRecording, ResidualRecording
from saeeval_core.storage.artifacts import exists, load_arrays, save_arrays
from saeeval_core.texts.labelled import LabelledTexts

TOKENS_KEPT = 10
_AROUND = 24  # tokens of running text shown on each side of a recorded window


@dataclass(frozen=True)
class TokenCosine:
    """A token of the vocabulary and the cosine of its unembedding row with the decoder row."""

    token: str
    cosine: float


@dataclass(frozen=True)
class Neighbour:
    """Another latent of the same SAE and its cosine with this one."""

    latent: int
    cosine: float


@dataclass(frozen=True)
class EvidenceContext:
    """A window of one text with the latent's activation at each of its tokens."""

    tokens: tuple[str, ...]
    """Text of each token; joined they are the window."""
    activations: tuple[float, ...]
    """s*f at each token."""
    before: str
    """Text just before the window (activations not recorded)."""
    after: str
    source: str
    """Name of the set of texts, such as "bios"."""
    cell: str
    """Labels of the text, such as "nurse, female"; "" for general text and in blind evidence."""
    kind: str
    """"top", "sampled" (from lower activation intervals) or "top of its cell"."""
    share: float
    """Strongest activation in the window as a share of the latent's strongest recorded one in this source."""
    text_row: int = -1
    """Row of the text in its source."""

    @property
    def peak(self) -> float:
        """Strongest activation by magnitude, with its sign."""
        return max(self.activations, key=abs, default=0.0)

    @property
    def interval(self) -> str:
        """Activation interval in quarters of the strongest, such as "50-75 %"."""
        quarter = min(3, int(self.share * 4))
        return f"{25 * quarter}-{25 * quarter + 25} %"


@dataclass(frozen=True)
class LatentEvidence:
    """Everything shown for one latent."""

    latent: int
    sae: str
    sae_fingerprint: str
    contexts: tuple[EvidenceContext, ...]
    promoted: tuple[TokenCosine, ...] = ()
    suppressed: tuple[TokenCosine, ...] = ()
    density: float | None = None
    """Share of the texts' tokens on which the latent is active."""
    neighbours: tuple[Neighbour, ...] = ()
    """Nearest decoder directions."""
    coactive: tuple[Neighbour, ...] = ()
    """Latents whose pooled activations over the texts are most alike."""
    blind: bool = False
    """True: no labels of texts, so nothing tells why the latent was picked."""

    @property
    def hash(self) -> str:
        """First 16 hex digits of the SHA-256 over the content; of tokens their text, because cosines round differently."""
        tokens = {name: [t.token for t in getattr(self, name)] for name in ("promoted", "suppressed")}
        return fingerprint(asdict(self) | tokens)

    def groups(self) -> dict[tuple[str, str], list[EvidenceContext]]:
        """(source, heading) -> contexts: per source the strongest, then lower intervals, then one group per cell."""
        out: dict[tuple[str, str], list[EvidenceContext]] = {}
        for c in self.contexts:
            heading = {"top": "strongest", "sampled": "lower intervals"}.get(c.kind, c.cell or "strongest")
            out.setdefault((c.source, heading), []).append(c)
        return out


@dataclass(frozen=True)
class EvidenceSource:
    """Texts, their recording and this SAE's latents on them."""

    texts: LabelledTexts
    residuals: ResidualRecording
    latents: LatentRecording
    columns: tuple[str, ...] = ()
    """Label columns that name a text's cell; empty for general text."""

    def cell(self, row: int) -> str:
        """Labels of one text, such as "nurse, female"."""
        return ", ".join(v for c in self.columns if (v := str(self.texts.columns[c][row])))


def latent_evidence(
    sources: Sequence[EvidenceSource],
    latent: int,
    *,
    tokens: "TokenTable | None" = None,
    blind: bool = False,
    similar: int = 8,
) -> LatentEvidence:
    """Evidence for one latent from the task's own texts and, if given, general text. The first source gives density
    and co-activation. DataError for a latent the SAE does not have; ArtifactError if sources belong to different SAEs.
    """
    first = sources[0].latents
    if not 0 <= latent < first.n_latents:
        raise DataError(f"SAE '{first.sae}' has latents 0 to {first.n_latents - 1}, not {latent}")
    for s in sources:
        _check_same(s, first)
    contexts = tuple(c for s in sources for c in _contexts(s, latent, blind))
    promoted, suppressed = tokens.of(latent) if tokens is not None else ((), ())
    return LatentEvidence(
        latent,
        first.sae,
        first.sae_fingerprint,
        contexts,
        promoted,
        suppressed,
        float(first.density[latent]),
        neighbours(first, latent, similar),
        coactive(first, latent, similar),
        blind,
    )


def for_judge(evidence: LatentEvidence, k: int = 5) -> LatentEvidence:
    """The blind part a judge is shown: per source the k strongest contexts and two from lower intervals; the tokens."""
    kept = []
    for source in dict.fromkeys(c.source for c in evidence.contexts):
        own = [c for c in evidence.contexts if c.source == source]
        lower = [c for c in own if c.kind == "sampled"]
        kept += [c for c in own if c.kind == "top"][:k]
        kept += [lower[i] for i in sorted({len(lower) // 3, 2 * len(lower) // 3}) if i < len(lower)]
    return replace(evidence, contexts=tuple(replace(c, cell="") for c in kept), neighbours=(), coactive=(), blind=True)


def neighbours(latents: LatentRecording, latent: int, k: int) -> tuple[Neighbour, ...]:
    """The k latents with the highest decoder cosine, itself left out."""
    d = latents.decoder
    return _nearest(d @ d[latent], np.sqrt(np.einsum("ij,ij->i", d, d)), latent, k)


def coactive(latents: LatentRecording, latent: int, k: int) -> tuple[Neighbour, ...]:
    """The k latents whose pooled columns have the highest cosine with this one's; none for a latent that never fires."""
    column = np.asarray(latents.latents[:, [latent]].todense(), dtype=np.float64).ravel()
    if not column.any():
        return ()
    norms = np.sqrt(np.asarray(latents.latents.multiply(latents.latents).sum(axis=0))).ravel()
    return _nearest(np.asarray(latents.latents.T @ column), norms, latent, k)


# Promoted tokens

COSINE_EDGES = np.linspace(-0.24, 0.24, 25)
"""Bin edges of the histogram over the vocabulary."""


@dataclass(frozen=True)
class TokenTable:
    """Per latent the tokens its decoder row promotes and suppresses most, by cosine with the unembedding."""

    sae_fingerprint: str
    strings: tuple[str, ...]
    """The tokens that occur in the table."""
    promoted: np.ndarray
    """int32[latents, k], index into ``strings``, strongest first"""
    promoted_cosine: np.ndarray
    """float16[latents, k]"""
    suppressed: np.ndarray
    """int32[latents, k]"""
    suppressed_cosine: np.ndarray
    """float16[latents, k]"""
    histogram: np.ndarray
    """uint32[latents, len(COSINE_EDGES) - 1]: vocabulary tokens per bin of cosine; the outer bins hold what lies beyond."""
    meta: dict = field(default_factory=dict)

    def of(self, latent: int) -> tuple[tuple[TokenCosine, ...], tuple[TokenCosine, ...]]:
        """(promoted, suppressed), strongest first."""
        return (
            self._row(self.promoted[latent], self.promoted_cosine[latent]),
            self._row(self.suppressed[latent], self.suppressed_cosine[latent]),
        )

    def _row(self, ids: np.ndarray, cosines: np.ndarray) -> tuple[TokenCosine, ...]:
        return tuple(TokenCosine(self.strings[i], round(float(c), 4)) for i, c in zip(ids, cosines, strict=True))

    def save(self, path: Path) -> None:
        """Write ``path.safetensors`` and ``path.json``."""
        arrays = {
            "promoted": self.promoted,
            "promoted_cosine": self.promoted_cosine,
            "suppressed": self.suppressed,
            "suppressed_cosine": self.suppressed_cosine,
            "histogram": self.histogram,
        }
        meta = {
            "kind": "tokens",
            "sae_fingerprint": self.sae_fingerprint,
            "strings": list(self.strings),
            "about": self.meta,
        }
        save_arrays(path, arrays, meta)


def promoted_tokens(
    decoder: np.ndarray,
    unembedding: np.ndarray,
    token_strings: Sequence[str],
    k: int = TOKENS_KEPT,
    *,
    sae_fingerprint: str,
) -> TokenTable:
    """cos(W_U[v], D_i) for every token v: the k highest and k lowest per latent (paper.md section 1.3).

    decoder [latents, d_model], unembedding [vocabulary, d_model]; the model's final normalisation is left out, as there.
    """
    directions, rows = _unit(decoder), _unit(unembedding)
    best, worst, counts = [], [], []
    inside = np.nextafter(np.float32(COSINE_EDGES[-1]), np.float32(0))
    for start in range(0, len(directions), 256):
        cosine = directions[start : start + 256] @ rows.T
        best.append(_top(cosine, k))
        worst.append(_top(-cosine, k))
        clipped = np.clip(cosine, COSINE_EDGES[0], inside)
        counts += [np.histogram(row, COSINE_EDGES)[0].astype(np.uint32) for row in clipped]
    up, up_cosine = (np.concatenate(part) for part in zip(*best, strict=True))
    down, down_cosine = (np.concatenate(part) for part in zip(*worst, strict=True))
    used, index = np.unique(np.concatenate([up, down]), return_inverse=True)
    index = index.reshape(2, *up.shape).astype(np.int32)
    strings = tuple(token_strings[i] for i in used)
    return TokenTable(
        sae_fingerprint,
        strings,
        index[0],
        up_cosine.astype(np.float16),
        index[1],
        (-down_cosine).astype(np.float16),
        np.stack(counts),
    )


def load_token_table(path: Path) -> TokenTable:
    """ArtifactError if missing or damaged."""
    a, meta = load_arrays(path)
    if meta.get("kind") != "tokens":
        raise ArtifactError(f"{path} holds '{meta.get('kind')}', expected 'tokens'; delete it and rebuild")
    names = ("promoted", "promoted_cosine", "suppressed", "suppressed_cosine", "histogram")
    return TokenTable(meta["sae_fingerprint"], tuple(meta["strings"]), *(a[n] for n in names), meta.get("about", {}))


def token_table_paths(sae: str, sae_fingerprint: str) -> list[Path]:
    """Where the table of an SAE may lie: beside a bundled SAE, or made on this machine."""
    return [assets_dir() / "saes" / sae / "tokens", cache_dir() / "tokens" / sae_fingerprint]


def find_token_table(sae: str, sae_fingerprint: str) -> TokenTable | None:
    """The stored table of exactly these weights, or None."""
    for path in token_table_paths(sae, sae_fingerprint):
        if (
            exists(path)
            and (table := _cached_table(path, path.with_suffix(".json").stat().st_mtime_ns)).sae_fingerprint
            == sae_fingerprint
        ):
            return table
    return None


def make_token_table(latents: LatentRecording, model: str, *, keep: bool = True) -> TokenTable:
    """Compute the table with the language model's unembedding (loads it) and keep it in the cache folder."""
    from saeeval_core.models.language_model import load_model

    lm = load_model(model)
    unembedding = lm.unembedding()
    strings = [lm.tokenizer.decode([i]) for i in range(len(unembedding))]
    table = promoted_tokens(latents.decoder, unembedding, strings, sae_fingerprint=latents.sae_fingerprint)
    if keep:
        table.save(token_table_paths(latents.sae, latents.sae_fingerprint)[1])
    return table


@lru_cache(maxsize=8)
def _cached_table(path: Path, _modified: int) -> TokenTable:
    return load_token_table(path)


def _contexts(source: EvidenceSource, latent: int, blind: bool) -> list[EvidenceContext]:
    refs = source.latents.contexts.of(latent)
    strongest = max((float(np.abs(r.activation).max()) for r in refs), default=0.0)
    shown = [_resolve(source, r, strongest) for r in refs]
    # Contexts picked by their labels would give the labels away.
    return [replace(c, cell="") for c in shown if c.kind != "top of its cell"] if blind else shown


def _resolve(source: EvidenceSource, ref: ContextRef, strongest: float) -> EvidenceContext:
    text, spans = source.texts.texts[ref.text], source.residuals.token_spans(ref.text)
    inside = spans[ref.position : ref.position + len(ref.activation)]
    start, end = (inside[0][0], inside[-1][1]) if inside else (0, 0)
    far = min(len(spans), ref.position + len(inside) + _AROUND)
    activations = tuple(round(float(a), 3) for a in ref.activation[: len(inside)])
    return EvidenceContext(
        tokens=tuple(text[a:b] for a, b in inside),
        activations=activations,
        before=text[spans[max(0, ref.position - _AROUND)][0] : start] if inside else "",
        after=text[end : spans[far - 1][1]] if inside else "",
        source=source.texts.name,
        cell=source.cell(ref.text),
        kind=ref.kind,
        share=round(float(np.abs(ref.activation).max()) / strongest, 3) if strongest else 0.0,
        text_row=ref.text,
    )


def _check_same(source: EvidenceSource, first: LatentRecording) -> None:
    if source.latents.sae_fingerprint != first.sae_fingerprint:
        raise ArtifactError(
            f"evidence mixes two SAEs ({source.latents.sae}, {first.sae}); record the same SAE on both sets of texts"
        )
    if (
        source.latents.residual_fingerprint != source.residuals.fingerprint
        or source.residuals.key.texts != source.texts.fingerprint
    ):
        raise ArtifactError(f"the recording does not belong to the texts '{source.texts.name}'; record them again")


def _nearest(products: np.ndarray, norms: np.ndarray, latent: int, k: int) -> tuple[Neighbour, ...]:
    scale = norms * norms[latent]
    cosine = np.where(scale > 0, products / np.where(scale > 0, scale, 1), -np.inf)
    cosine[latent] = -np.inf
    order = np.argsort(-cosine, kind="stable")[:k]
    return tuple(Neighbour(int(i), round(float(cosine[i]), 4)) for i in order if np.isfinite(cosine[i]))


def _unit(rows: np.ndarray) -> np.ndarray:
    rows = rows.astype(np.float32)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def _top(values: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Column ids and values of the k highest per row, highest first."""
    ids = (
        np.argpartition(-values, k - 1, axis=1)[:, :k]
        if k < values.shape[1]
        else np.tile(np.arange(values.shape[1]), (len(values), 1))
    )
    picked = np.take_along_axis(values, ids, axis=1)
    order = np.argsort(-picked, axis=1, kind="stable")
    return np.take_along_axis(ids, order, axis=1), np.take_along_axis(picked, order, axis=1)
