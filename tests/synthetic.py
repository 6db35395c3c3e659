"""A small made-up recording with known structure, for tests of views: no language model, no SAE weights.

Three classes a, b, c and two genders. Latents 0-3 fire on class a, 4-7 on b, 8-11 on c, 12-15 on one gender, the others on
nothing in particular. The residual is the sum of decoder rows, so probes read the latents.
"""

import numpy as np
from scipy.sparse import csc_array

from app.services.loading import Loaded
from saeeval_core.config import RunConfig, get_protocol
from saeeval_core.recordings.context_windows import WINDOW, Contexts
from saeeval_core.recordings.recording import LatentRecording, RecordingKey, ResidualRecording
from saeeval_core.texts.labelled import LabelledTexts
from saeeval_core.texts.tasks import Contrast, TaskSet

CLASSES = ("a", "b", "c")
HOSTILE = "<script>alert(1)</script> **x** $y$ \u202eabc"


def make_loaded(n_texts: int = 360, n_latents: int = 40, d: int = 24, seed: int = 0, task: str = "toy") -> Loaded:
    """One model, SAE and task set as the services hand them out."""
    rng = np.random.default_rng(seed)
    label = np.arange(n_texts) % 3
    gender = rng.integers(0, 2, n_texts)
    drive = np.full((n_texts, n_latents), 0.1)
    for k in range(3):
        drive[label == k, 4 * k : 4 * k + 4] = 1.0
    drive[gender == 1, 12:16] = 0.8
    fires = rng.random((n_texts, n_latents)) < np.clip(drive, 0, 0.9)
    pooled = (fires * rng.gamma(2.0, 0.5, (n_texts, n_latents)) * drive).astype(np.float32)
    decoder = rng.normal(size=(n_latents, d)).astype(np.float32)
    residuals = (pooled @ decoder + 0.6 * rng.normal(size=(n_texts, d))).astype(np.float32)
    texts = tuple(
        f"text {i} about {CLASSES[label[i]]} {HOSTILE if i % 50 == 0 else ''}".strip() for i in range(n_texts)
    )
    columns = {"kind": np.array(CLASSES)[label], "gender": np.array(["m", "f"])[gender]}
    labelled = LabelledTexts(task, texts, columns, source="made up", composed=True)
    ends = [[m for m, ch in enumerate(t) if ch == " "] + [len(t)] for t in texts]
    key = RecordingKey("toy-model", "stamp", "float32", "blocks.1.hook_resid_post", labelled.fingerprint)
    residual = ResidualRecording(
        key, 0, residuals, np.array([len(e) for e in ends], dtype=np.int32), np.concatenate(ends).astype(np.uint16)
    )
    latents = LatentRecording(
        "toy-sae",
        "f" * 16,
        residual.fingerprint,
        csc_array(pooled),
        np.zeros(n_latents, np.float32),
        fires.mean(0).astype(np.float32),
        decoder,
        _contexts(pooled),
        {"l0": 3.0, "explained_variance": 0.7, "dead": 0.0},
        True,
        {"architecture": "topk", "n_latents": n_latents, "hook": key.hook, "d_in": d},
    )
    pair = (Contrast("kind", "a", "b"), Contrast("gender", "f", "m"))
    task_set = TaskSet(labelled, (pair,), ("kind", CLASSES))
    config = RunConfig(model="toy-model", saes=("toy-sae",), task=task, resamples=200)
    return Loaded(config, get_protocol("robust"), task_set, residual, latents)


def _contexts(pooled: np.ndarray) -> Contexts:
    indptr, text, activation = [0], [], []
    for latent in range(pooled.shape[1]):
        best = np.argsort(-pooled[:, latent], kind="stable")[:4]
        text += best.tolist()
        for row in best:
            window = np.zeros(WINDOW, np.float16)
            window[1] = pooled[row, latent]
            activation.append(window)
        indptr.append(len(text))
    n = len(text)
    return Contexts(
        np.array(indptr), np.array(text, np.int32), np.zeros(n, np.int16), np.array(activation), np.zeros(n, np.uint8)
    )
