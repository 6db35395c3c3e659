"""The evidence shown for a latent, the same for a judge and for people.

Contexts are read from the texts by the references that a recording holds; promoted tokens come from a stored table, so
that no language model is loaded.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np

from saeeval_core.config import fingerprint
from saeeval_core.errors import ArtifactError, DataError
from saeeval_core.evidence.sources import EvidenceSource
from saeeval_core.evidence.tokens import TokenCosine, TokenTable, find_token_table
from saeeval_core.recordings.context_windows import ContextRef
from saeeval_core.recordings.recording import LatentRecording

_AROUND = 24  # tokens of running text shown on each side of a recorded window


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
    """|s*f| at each token."""
    before: str
    """Text just before the window (activations not recorded)."""
    after: str
    source: str
    """Name of the set of texts, such as "bios"."""
    cell: str
    """Labels of the text, such as "nurse, female"; "" for general text and in blind evidence."""
    kind: str
    """"top", "sampled" (from lower activation intervals), "top of its cell", "silent" (a near miss) or "window"."""
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
    """All evidence for one latent."""

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
    """True: no labels of texts, so that nothing shows why the latent was picked."""
    near_misses: tuple[EvidenceContext, ...] = ()
    """Windows of the latents most like it in texts on which it is silent itself."""

    @property
    def hash(self) -> str:
        """First 16 hex digits of the SHA-256 of the content; of tokens the text alone, as cosines vary by rounding.

        Without near misses it is what earlier versions, which had none, stored.
        """
        content = asdict(self) | {name: [t.token for t in getattr(self, name)] for name in ("promoted", "suppressed")}
        return fingerprint(content if self.near_misses else {k: c for k, c in content.items() if k != "near_misses"})

    def groups(self) -> dict[tuple[str, str], list[EvidenceContext]]:
        """(source, heading) -> contexts: per source the strongest, then lower intervals, then one group per cell."""
        out: dict[tuple[str, str], list[EvidenceContext]] = {}
        for c in self.contexts:
            heading = {"top": "strongest", "sampled": "lower intervals"}.get(c.kind, c.cell or "strongest")
            out.setdefault((c.source, heading), []).append(c)
        return out


def latent_evidence(
    sources: Sequence[EvidenceSource],
    latent: int,
    *,
    tokens: TokenTable | None = None,
    blind: bool = False,
    similar: int = 8,
) -> LatentEvidence:
    """Evidence for one latent from ``sources``, the task's own texts first; at most ``similar`` neighbours.

    The first source gives density and co-activation. ``blind`` leaves out everything that shows labels of texts.
    DataError for a latent the SAE does not have; ArtifactError if sources belong to different SAEs or texts.
    """
    check_sources(sources, latent)
    first = sources[0].latents
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


def check_sources(sources: Sequence[EvidenceSource], latent: int) -> None:
    """DataError for a latent the SAE does not have; ArtifactError if sources belong to different SAEs or texts."""
    first = sources[0].latents
    if not 0 <= latent < first.n_latents:
        raise DataError(f"SAE '{first.sae}' has latents 0 to {first.n_latents - 1}, not {latent}")
    for s in sources:
        _check_same(s, first)


def shown_evidence(sources: Sequence[EvidenceSource], latent: int, *, similar: int = 8) -> LatentEvidence:
    """The evidence shown to people: contexts of every source, and promoted tokens where this SAE's table is stored."""
    own = sources[0].latents
    return latent_evidence(sources, latent, tokens=find_token_table(own.sae, own.sae_fingerprint), similar=similar)


def for_judge(evidence: LatentEvidence, k: int = 5) -> LatentEvidence:
    """The blind part for a judge: per source the ``k`` strongest contexts and two from lower intervals; the tokens."""
    kept = []
    for source in dict.fromkeys(c.source for c in evidence.contexts):
        own = [c for c in evidence.contexts if c.source == source]
        lower = [c for c in own if c.kind == "sampled"]
        kept += [c for c in own if c.kind == "top"][:k]
        kept += [lower[i] for i in sorted({len(lower) // 3, 2 * len(lower) // 3}) if i < len(lower)]
    return replace(evidence, contexts=tuple(replace(c, cell="") for c in kept), neighbours=(), coactive=(), blind=True)


def neighbours(latents: LatentRecording, latent: int, k: int) -> tuple[Neighbour, ...]:
    """The k latents with the highest decoder cosine, itself left out."""
    if not k:
        return ()
    d = latents.decoder
    return _nearest(d @ d[latent], np.sqrt(np.einsum("ij,ij->i", d, d)), latent, k)


def coactive(latents: LatentRecording, latent: int, k: int) -> tuple[Neighbour, ...]:
    """The k latents whose pooled columns have the highest cosine with this one's; none if this one never fires."""
    column = np.asarray(latents.latents[:, [latent]].todense(), dtype=np.float64).ravel()
    if not k or not column.any():
        return ()
    return _nearest(np.asarray(latents.latents.T @ column), latents.column_norms, latent, k)


def _contexts(source: EvidenceSource, latent: int, blind: bool) -> list[EvidenceContext]:
    refs = source.latents.contexts.of(latent)
    strongest = max((float(np.abs(r.activation).max()) for r in refs), default=0.0)
    shown = [resolved(source, r, strongest) for r in refs]
    # Contexts picked by their labels would show the labels.
    return [replace(c, cell="") for c in shown if c.kind != "top of its cell"] if blind else shown


def resolved(source: EvidenceSource, ref: ContextRef, strongest: float) -> EvidenceContext:
    """A window with its text; ``strongest``: the latent's strongest recorded activation in this source, for its share."""
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
    key = source.residuals.key
    if not source.latents.belongs_to(key) or key.texts != source.texts.fingerprint:
        raise ArtifactError(f"the recording does not belong to the texts '{source.texts.name}'; record them again")


def _nearest(products: np.ndarray, norms: np.ndarray, latent: int, k: int) -> tuple[Neighbour, ...]:
    scale = norms * norms[latent]
    cosine = np.where(scale > 0, products / np.where(scale > 0, scale, 1), -np.inf)
    cosine[latent] = -np.inf
    order = np.argsort(-cosine, kind="stable")[:k]
    return tuple(Neighbour(int(i), round(float(cosine[i]), 4)) for i in order if np.isfinite(cosine[i]))
