"""Near misses and the intruder task: windows on which a latent is silent although the latents most like it are active.

A trial shows four windows of one latent and one of another, all of the same texts, each with the same number of marked
tokens. The other is one of the nearest by decoder cosine, and the latent itself is silent on all of that window's text.
Whoever can tell which is the intruder has seen what the four have in common. A trial depends on the recording and its
number alone: people and judges get the same ones.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice

import numpy as np

from saeeval_core.config import derive_rng, fingerprint
from saeeval_core.evidence.evidence import (
    EvidenceContext,
    LatentEvidence,
    check_sources,
    for_judge,
    neighbours,
    resolved,
    shown_evidence,
)
from saeeval_core.evidence.sources import EvidenceSource
from saeeval_core.recordings.context_windows import ContextRef

WINDOWS = 5
"""Windows of a trial, one of them the intruder: who guesses is right in one of five."""
CHANCE = 1 / WINDOWS
TRIALS = 4
"""Trials of a latent that are asked unless another number is given."""
_MARKS = 3
_MISSES = 2  # of each source
_NEAREST = 40  # latents looked at for windows, the nearest first
_POOL = 5  # of which one is drawn among these


@dataclass(frozen=True)
class Trial:
    """Five windows to choose from. A window's activations are 1 at its marked tokens and 0 elsewhere."""

    latent: int
    sae: str
    sae_fingerprint: str
    number: int
    """Which of the latent's trials, from 0."""
    windows: tuple[EvidenceContext, ...]
    intruder: int
    """Place of the intruder among the windows, from 0."""
    other: int
    """The latent that the intruder's marks are of."""

    @property
    def hash(self) -> str:
        """First 16 hex digits of the SHA-256 of everything in it."""
        return fingerprint(asdict(self))


def judged_evidence(sources: Sequence[EvidenceSource], latent: int) -> LatentEvidence:
    """The evidence shown to who rates a latent without knowing why it was picked: ``for_judge``, and near misses."""
    shown = for_judge(shown_evidence(sources, latent, similar=0))
    return replace(shown, near_misses=tuple(c for s in sources for c in near_misses(s, latent, _MISSES)))


def near_misses(source: EvidenceSource, latent: int, k: int) -> tuple[EvidenceContext, ...]:
    """The strongest windows of the ``k`` nearest latents in texts on which this latent is silent; nothing is marked.

    Fewer where its nearest have none; none where ``k`` is 0.
    """
    found = (next(iter(own)) for _, own in _of_the_nearest(source, latent)) if k else iter(())
    shown: dict[int, EvidenceContext] = {}
    for ref in found:
        if len(shown) < k and ref.text not in shown:
            context = resolved(source, ref, 0.0)
            silent = tuple(0.0 for _ in context.tokens)
            shown[ref.text] = replace(context, activations=silent, cell="", kind="silent", share=0.0)
        if len(shown) == k:
            break
    return tuple(shown.values())


def trials_of(sources: Sequence[EvidenceSource], latent: int, n: int = TRIALS) -> list[Trial]:
    """The first ``n`` trials of a latent, which go through the sources in turn.

    [] where it has too few windows, or none of its nearest is active without it. DataError for a latent that the SAE does
    not have.
    """
    check_sources(sources, latent)
    fit = [hand for s in sources if (hand := _Hand.of(s, latent)) is not None]
    return [fit[number % len(fit)].deal(latent, number) for number in range(n if fit else 0)]


@dataclass(frozen=True)
class _Hand:
    """What the trials of a latent are drawn from, in one source."""

    source: EvidenceSource
    mine: list[ContextRef]
    nearest: list[tuple[int, list[ContextRef]]]
    """(latent, its windows), at most _POOL."""

    @classmethod
    def of(cls, source: EvidenceSource, latent: int) -> "_Hand | None":
        mine = _windows_of(source, latent)
        nearest = list(islice(_of_the_nearest(source, latent), _POOL)) if len(mine) >= WINDOWS - 1 else []
        return cls(source, mine, nearest) if nearest else None

    def deal(self, latent: int, number: int) -> Trial:
        sae = self.source.latents
        rng = derive_rng(0, "intruder", sae.sae_fingerprint, self.source.texts.fingerprint, latent, number)
        refs = [self.mine[i] for i in rng.permutation(len(self.mine))[: WINDOWS - 1]]
        other, theirs = self.nearest[int(rng.integers(len(self.nearest)))]
        place = int(rng.integers(WINDOWS))
        refs.insert(place, theirs[int(rng.integers(len(theirs)))])
        marks = min(_MARKS, *(int((r.activation != 0).sum()) for r in refs))
        windows = tuple(_with_marks(resolved(self.source, r, 0.0), marks) for r in refs)
        return Trial(latent, sae.sae, sae.sae_fingerprint, number, windows, place, other)


def _windows_of(source: EvidenceSource, latent: int) -> list[ContextRef]:
    """Windows that were not picked by their labels, as those would show them."""
    return [r for r in source.latents.contexts.of(latent) if r.kind != "top of its cell" and r.activation.any()]


def _of_the_nearest(source: EvidenceSource, latent: int) -> Iterator[tuple[int, list[ContextRef]]]:
    """(latent, its windows in texts on which ``latent`` is silent), the nearest by decoder cosine first; none empty."""
    fires = set(source.latents.latents[:, [latent]].nonzero()[0].tolist())
    for near in neighbours(source.latents, latent, _NEAREST):
        own = [r for r in _windows_of(source, near.latent) if r.text not in fires]
        if near.cosine > 0 and own:
            yield near.latent, own


def _with_marks(context: EvidenceContext, n: int) -> EvidenceContext:
    """The window with its n strongest tokens marked, and nothing that tells how strong they are."""
    strongest = np.argsort([-abs(a) for a in context.activations], kind="stable")[:n].tolist()
    marks = tuple(float(i in strongest) for i in range(len(context.activations)))
    return replace(context, activations=marks, cell="", kind="window", share=1.0)
