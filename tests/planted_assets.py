"""A whole small bundle on disk, as the app expects it: texts, one SAE, and its recording, with a planted spurious cue.

No language model is involved: pooled latents are drawn, residuals are made of them. Some texts are hostile on purpose.
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd
from safetensors.numpy import save_file
from scipy.sparse import csc_array

from saeeval_core.config import DEFAULT_SAE, RunConfig
from saeeval_core.recordings.context_windows import WINDOW, Contexts
from saeeval_core.recordings.obtain import recording_key
from saeeval_core.recordings.recording import LatentRecording, ResidualRecording, save_latents, save_residuals
from saeeval_core.saes.local import file_fingerprint, inspect_sae
from saeeval_core.texts.sources import load_task_set

HOOK = "blocks.15.hook_resid_post"
GENDER_LATENTS = (5, 17, 33, 64, 90)
PROFESSIONS = ("professor", "teacher", "surgeon", "nurse")
HOSTILE = (
    "<script>window.hacked = true</script> <img src=x onerror='window.hacked=true'>",
    "**bold** $x^2$ [link](javascript:1)",
    "שלום עולם مرحبا",
    "\U0001f600\U0001f468‍\U0001f469‍\U0001f467 zero​width",
    "x" * 10_000,
    "&lt;b&gt; \\ ` ~~",
)
_CUES = {"female": ("she", "her", "herself"), "male": ("he", "him", "his")}
_WORK = {
    "professor": ("lectures", "seminar", "faculty"),
    "teacher": ("pupils", "classroom", "homework"),
    "surgeon": ("scalpel", "operation", "theatre"),
    "nurse": ("ward", "bandage", "patients"),
}
_FILLER = [
    "the",
    "of",
    "and",
    "in",
    "on",
    "with",
    "from",
    "town",
    "river",
    "winter",
    "morning",
    "road",
    "letter",
    "music",
    "paper",
    "stone",
    "house",
    "often",
    "small",
    "green",
    "year",
]


def make_assets(folder: Path, *, per_cell: int = 150, width: int = 256, d_model: int = 48, seed: int = 0) -> Path:
    """Write the bundle below ``folder`` and return it; set SAEEVAL_ASSETS to it *before* calling (names come from there)."""
    rng = np.random.default_rng(seed)
    rows = [_text(rng, p, g, i) for i in range(per_cell) for p in PROFESSIONS for g in _CUES]
    (folder / "texts").mkdir(parents=True)
    frame = pd.DataFrame(
        {
            "text": [" ".join(w) for _, _, w in rows],
            "profession": [p for p, _, _ in rows],
            "gender": [g for _, g, _ in rows],
        }
    )
    frame.to_parquet(folder / "texts" / "bios.parquet")
    about = {
        "target": "profession",
        "spurious": {"column": "gender", "positive": "female", "negative": "male"},
        "pairs": [["professor", "teacher"], ["surgeon", "nurse"]],
        "source": "planted for tests",
    }
    (folder / "texts" / "bios.json").write_text(json.dumps(about))

    sae = folder / "saes" / DEFAULT_SAE
    sae.mkdir(parents=True)
    decoder = rng.standard_normal((width, d_model)).astype(np.float32)
    decoder /= np.linalg.norm(decoder, axis=1, keepdims=True)
    decoder[list(GENDER_LATENTS)] = decoder[5] + 0.15 * decoder[list(GENDER_LATENTS)]
    save_file({"W_dec": decoder}, sae / "sae_weights.safetensors")
    cfg = {
        "architecture": "topk",
        "d_in": d_model,
        "d_sae": width,
        "k": 16,
        "metadata": {"hook_name": HOOK, "model_name": "smollm2-135m-instruct"},
    }
    (sae / "cfg.json").write_text(json.dumps(cfg))

    texts = load_task_set("bios").texts
    words = [w for _, _, w in rows]
    pooled = _pooled(rng, rows, width)
    residuals = (pooled @ decoder + 0.25 * rng.standard_normal((len(rows), d_model))).astype(np.float32)
    key = recording_key(RunConfig(), HOOK, texts.fingerprint)
    n_valid = np.array([len(w) for w in words], dtype=np.int32)
    ends = np.concatenate([np.cumsum([len(x) + 1 for x in w]) - 1 for w in words]).astype(np.uint16)
    recording = ResidualRecording(key, 0, residuals, n_valid, ends, "planted")
    (folder / "recordings").mkdir()
    save_residuals(recording, folder / "recordings")
    latents = LatentRecording(
        DEFAULT_SAE,
        str(file_fingerprint(inspect_sae(DEFAULT_SAE))),
        recording.fingerprint,
        csc_array(pooled),
        np.zeros(width, np.float32),
        (pooled > 0).mean(0).astype(np.float32),
        decoder,
        _contexts(rng, pooled, words),
        {"l0": float((pooled > 0).sum(1).mean()), "explained_variance": 0.8, "dead": 0.0, "tokens": int(n_valid.sum())},
        about={"architecture": "TopKSAE", "n_latents": width, "hook": HOOK},
    )
    save_latents(latents, folder / "recordings", storage="float32")
    _ship_probes(folder)
    return folder


def _ship_probes(folder: Path) -> None:
    """Fit the probes once, over a coarse grid (seconds instead of minutes), and ship them like the real bundle does."""
    import shutil
    from unittest.mock import patch

    from app.services import loading, scoring
    from saeeval_core.config import cache_dir
    from saeeval_core.scores import probes

    with patch.object(probes, "C_GRID", np.array([0.003, 0.1])):
        loaded = loading.load(RunConfig())
        assert loaded is not None
        scoring.shift_directions(loaded)
        scoring.tpp_view(loaded, 1)
    for path in (cache_dir() / "recordings").glob("probes-*"):
        shutil.copy(path, folder / "recordings" / path.name)


def _text(rng: np.random.Generator, profession: str, gender: str, i: int) -> tuple[str, str, list[str]]:
    words = [
        *rng.choice(_FILLER, 12),
        *rng.choice(_CUES[gender], 3),
        *rng.choice(_WORK[profession], 3),
        f"no{rng.integers(10**6)}",
    ]
    words = [str(w) for w in rng.permutation(words)]
    if i < len(HOSTILE):
        words.insert(2, HOSTILE[i].replace(" ", " "))
    return profession, gender, words


def _pooled(rng: np.random.Generator, rows: list, width: int) -> np.ndarray:
    """float32[texts, latents]: sparse noise, gender latents stronger than the profession's own."""
    n = len(rows)
    out = np.where(rng.random((n, width)) < 8 / width + 0.01, rng.gamma(2, 0.15, (n, width)), 0)
    female = np.array([g == "female" for _, g, _ in rows])
    for k, i in enumerate(GENDER_LATENTS):
        out[:, i] += female * rng.gamma(4, 0.13 / (1 + 0.3 * k), n)
    for j, p in enumerate(PROFESSIONS):
        own = np.array([q == p for q, _, _ in rows])
        for i in (100 + 3 * j, 101 + 3 * j):
            out[:, i] += own * rng.gamma(3, 0.22, n) * (rng.random(n) < 0.8)
    return out.astype(np.float32)


def _contexts(rng: np.random.Generator, pooled: np.ndarray, words: list[list[str]]) -> Contexts:
    indptr, text, position, activation, kind = [0], [], [], [], []
    for latent in range(pooled.shape[1]):
        order = np.argsort(-pooled[:, latent], kind="stable")
        order = order[pooled[order, latent] > 0]
        chosen = [(t, 0) for t in order[:10]] + [(t, 1) for t in order[10:100:12]] + [(t, 2) for t in order[100:130:4]]
        hostile = [t for t in range(len(HOSTILE) * 8) if latent == GENDER_LATENTS[0] and pooled[t, latent] > 0]
        chosen = [(t, 0) for t in hostile] + [(t, k) for t, k in chosen if t not in hostile]
        for t, k in chosen:
            n = len(words[t])
            start = 0 if t in hostile else int(rng.integers(0, max(1, n - WINDOW)))
            window = np.zeros(WINDOW, np.float16)
            hit = rng.choice(min(n, WINDOW), 2, replace=False)
            window[hit] = pooled[t, latent] * np.array([1, 0.4]) * 8
            if t in hostile:
                window[2] = 50.0 + t % 7
            text.append(t)
            position.append(start)
            activation.append(window)
            kind.append(k)
        indptr.append(len(text))
    return Contexts(
        np.array(indptr, np.int64),
        np.array(text, np.int32),
        np.array(position, np.int16),
        np.array(activation, np.float16).reshape(-1, WINDOW),
        np.array(kind, np.uint8),
    )


if __name__ == "__main__":
    import os
    import sys

    target = Path(sys.argv[1])
    os.environ["SAEEVAL_ASSETS"] = str(target)
    size = {"width": int(sys.argv[2]), "per_cell": int(sys.argv[3])} if len(sys.argv) > 3 else {}
    make_assets(target, **size)
