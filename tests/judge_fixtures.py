"""A small recording made by hand: latent 0 fires on "she", 1 on "her", 2 on "hospital", 3 never."""

from collections.abc import Callable, Sequence

import numpy as np
from scipy.sparse import csc_array

from saeeval_core.evidence.sources import EvidenceSource
from saeeval_core.recordings.context_windows import WINDOW, Contexts
from saeeval_core.recordings.recording import LatentRecording, RecordingKey, ResidualRecording
from saeeval_core.texts.labelled import LabelledTexts

Rows = Sequence[tuple[str, str, str]]
WORDS = ("she", "her", "hospital", "never")
TEXTS = (
    ("On Monday she met her patients at the hospital.", "nurse", "female"),
    ("In the evening he left the hospital for his home.", "nurse", "male"),
    ("After that she said that she would operate.", "surgeon", "female"),
    ("He holds the knife in his left hand.", "surgeon", "male"),
    ("Later she wrote a book about her work.", "nurse", "female"),
    ("The hospital asked him to stay.", "surgeon", "male"),
)


def many_windows(name: str = "toy") -> EvidenceSource:
    """Ten texts with "she", ten with "her", and one with both; every window is among the strongest of its latent."""
    rows = [(f"Today {word} went to town number {n}.", "nurse", "female") for word in ("she", "her") for n in range(10)]
    return toy_source(rows=[*rows, ("Then she took her hat.", "surgeon", "female")], own=_all_strongest, name=name)


def toy_source(
    sae_fingerprint: str = "toyprint", *, rows: Rows = TEXTS, own: Callable | None = None, name: str = "toy"
) -> EvidenceSource:
    """Six texts of two labels, one token per word, one SAE of four latents in three dimensions."""
    texts = LabelledTexts(
        name,
        tuple(t for t, _, _ in rows),
        {"profession": np.array([p for _, p, _ in rows]), "gender": np.array([g for _, _, g in rows])},
    )
    tokens = [[w if i == 0 else " " + w for i, w in enumerate(t.split(" "))] for t in texts.texts]
    ends = [np.cumsum([len(w) for w in row]) for row in tokens]
    codes = [
        np.array([[2.0 + r if w.strip(" .") == word else 0 for word in WORDS] for w in row])
        for r, row in enumerate(tokens)
    ]
    key = RecordingKey("toy", "stamp", "float32", "blocks.0.hook_resid_post", texts.fingerprint)
    residuals = ResidualRecording(
        key,
        0,
        np.zeros((len(rows), 3), np.float32),
        np.array([len(t) for t in tokens], np.int32),
        np.concatenate(ends).astype(np.uint16),
    )
    pooled = np.stack([c.mean(0) for c in codes]).astype(np.float32)
    decoder = np.array([[1.0, 0, 0], [0.8, 0.6, 0], [0, 1.0, 0], [0, 0, 1.0]], np.float32)
    density = (np.concatenate(codes) != 0).mean(0).astype(np.float32)
    latents = LatentRecording(
        "toy-sae",
        sae_fingerprint,
        key.fingerprint,
        csc_array(pooled),
        np.zeros(4, np.float32),
        density,
        decoder,
        (own or _contexts)(codes),
        {"l0": 1.0, "explained_variance": None, "dead": 0.25, "tokens": 50.0},
    )
    return EvidenceSource(texts, residuals, latents, ("profession", "gender"))


def _all_strongest(codes: list[np.ndarray]) -> Contexts:
    """Per latent a window of every text on which it is active."""
    on = [[r for r, c in enumerate(codes) if c[:, latent].any()] for latent in range(4)]
    windows = [np.pad(codes[r][:WINDOW, i], (0, WINDOW - min(WINDOW, len(codes[r])))) for i in range(4) for r in on[i]]
    text = [r for own in on for r in own]
    ends = np.cumsum([0, *map(len, on)])
    return Contexts(
        ends,
        np.array(text, np.int32),
        np.zeros(len(text), np.int16),
        np.array(windows, np.float16),
        np.zeros(len(text), np.uint8),
    )


def _contexts(codes: list[np.ndarray]) -> Contexts:
    """Per latent: one top, one sampled (the weakest), the rest as tops of their cells."""
    indptr, text, position, activation, kind = [0], [], [], [], []
    for latent in range(4):
        rows = sorted((r for r, c in enumerate(codes) if c[:, latent].any()), key=lambda r: -codes[r][:, latent].max())
        order = [(r, 0 if i == 0 else 2) for i, r in enumerate(rows)]
        if latent == 0:
            # Latent 0 fires on texts 4, 2, 0: text 4 as top, and every kind once.
            order = [(4, 0), (0, 1), (2, 2), (0, 2)]
        for r, k in order:
            window = np.zeros(WINDOW, np.float16)
            window[: len(codes[r])] = codes[r][:, latent]
            text.append(r), position.append(0), activation.append(window), kind.append(k)
        indptr.append(len(text))
    return Contexts(
        np.array(indptr),
        np.array(text, np.int32),
        np.array(position, np.int16),
        np.array(activation, np.float16).reshape(-1, WINDOW),
        np.array(kind, np.uint8),
    )
