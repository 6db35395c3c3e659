"""Small models, SAEs, texts and recordings that tests build: no network, no file of ours, seconds at most."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.sparse import csc_array

from saeeval_core.recordings.context_windows import WINDOW, Contexts
from saeeval_core.recordings.recording import LatentRecording, RecordingKey, ResidualRecording
from saeeval_core.texts.labelled import LabelledTexts
from saeeval_core.texts.tasks import Contrast, ShiftTask, TppTask

D_MODEL, N_LATENTS, HOOK = 16, 32, "blocks.0.hook_resid_post"
SPECIAL = ("<s>", "</s>", "<unk>")
CUES = {
    "nurse": "ward syringe bandage",
    "surgeon": "scalpel suture theatre",
    "female": "she her",
    "male": "he his",
    "tea": "kettle cup",
    "soup": "ladle bowl",
    "bread": "oven loaf",
}
_FILLER = (
    "the a of and in on with from by at town river market winter summer morning evening road letter garden music "
    "window paper stone water friend house story number people travel early later often never always small large "
    "quiet bright green north south east west first second third day week month year old young new long short"
)
FILLER = _FILLER.split()


def words() -> list[str]:
    """Every word the tiny tokenizer knows."""
    return [*FILLER, *(w for cue in CUES.values() for w in cue.split()), ".", ",", "!", "<", ">", "s"]


def tiny_tokenizer(**settings):
    """A word-level tokenizer of ``words``; ``<s>`` is its declared bos."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from transformers import PreTrainedTokenizerFast

    vocabulary = {w: i for i, w in enumerate(dict.fromkeys([*SPECIAL, *words()]))}
    raw = Tokenizer(WordLevel(vocabulary, unk_token="<unk>"))
    raw.pre_tokenizer = Whitespace()
    names = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"} | settings
    return PreTrainedTokenizerFast(tokenizer_object=raw, **names)


def save_tiny_model(folder: Path, *, seed: int = 0) -> Path:
    """A random two-block Llama of width 16 in transformers' format; ``<s>`` is its declared bos."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=512,
        hidden_size=D_MODEL,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=256,
        initializer_range=0.5,
        bos_token_id=0,
        eos_token_id=1,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
    model.save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


def tiny_sae(architecture: str, *, seed: int = 0, hook: str = HOOK, **settings):
    """A random SAELens SAE of one class, 16 wide with 32 latents, about half of them active on a token."""
    import torch
    from sae_lens.registry import get_sae_class
    from sae_lens.saes.sae import SAEMetadata

    extra = {
        "topk": {"k": 6},
        "abstopk": {"k": 6},
        "matching_pursuit": {"max_iterations": 4},
        "temporal": {"n_heads": 4, "bottleneck_factor": 2, "kval_topk": 6},
    }.get(architecture, {})
    if "transcoder" in architecture:
        extra = {"d_out": D_MODEL, "apply_b_dec_to_input": False}
    cls, config = get_sae_class(architecture)
    metadata = SAEMetadata(**{"model_name": "tiny-llama", "hook_name": hook, **settings.pop("metadata", {})})
    sae = cls(config(**{"d_in": D_MODEL, "d_sae": N_LATENTS, "metadata": metadata, **extra, **settings}))
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in sae.named_parameters():
            if "attn_layers" not in name:
                parameter.copy_(torch.randn(parameter.shape, generator=rng) * (0.1 if name.startswith("b_") else 0.5))
        if hasattr(sae, "threshold"):
            sae.threshold.abs_()
        if architecture == "matching_pursuit":
            sae.W_dec.div_(sae.W_dec.norm(dim=-1, keepdim=True))
    return sae.eval()


def save_tiny_sae(folder: Path, architecture: str, **settings) -> Path:
    """The same as SAELens saves it."""
    tiny_sae(architecture, **settings).save_model(folder)
    return folder


def labelled_texts(per_quadrant: int = 80, seed: int = 0) -> LabelledTexts:
    """Texts of 8 to 30 words. Gender stands in every text, the profession in nine of ten: C_b prefers the gender."""
    rng = np.random.default_rng(seed)
    texts, rows = [], []
    for profession in ("nurse", "surgeon"):
        for gender in ("female", "male"):
            for _ in range(per_quadrant):
                meal = str(rng.choice(["tea", "soup", "bread"]))
                body = [*rng.choice(FILLER, rng.integers(2, 14)), *rng.choice(CUES[meal].split(), 2)]
                body += [*rng.choice(CUES[gender].split(), 4)]
                if rng.random() < 0.9:
                    body += [*rng.choice(CUES[profession].split(), 3)]
                texts.append(
                    " ".join(rng.permutation(body)) + f" {FILLER[len(texts) % 50]} {FILLER[len(texts) // 50]} ."
                )
                rows.append((profession, gender, meal))
    order = rng.permutation(len(texts))
    columns = {n: np.array([rows[i][k] for i in order]) for k, n in enumerate(("profession", "gender", "meal"))}
    return LabelledTexts("toys", tuple(texts[i] for i in order), columns, source="generated by the tests")


PROFESSION, GENDER = Contrast("profession", "nurse", "surgeon"), Contrast("gender", "female", "male")


def no_contexts(n_latents: int) -> Contexts:
    """Contexts of latents that have none."""
    return Contexts(
        np.zeros(n_latents + 1, np.int64),
        np.zeros(0, np.int32),
        np.zeros(0, np.int16),
        np.zeros((0, WINDOW), np.float16),
        np.zeros(0, np.uint8),
    )


def residual_recording(residuals: np.ndarray, n_valid: np.ndarray | None = None) -> ResidualRecording:
    """A ResidualRecording of given pooled residuals [texts, d_model]."""
    n_valid = np.full(len(residuals), 10, np.int32) if n_valid is None else n_valid
    key = RecordingKey("toy", "stamp", "float32", HOOK, "texts")
    return ResidualRecording(key, 0, residuals.astype(np.float32), n_valid, np.zeros(int(n_valid.sum()), np.uint16))


def latent_recording(
    latents: np.ndarray,
    decoder: np.ndarray,
    *,
    zero_code: np.ndarray | None = None,
    non_negative: bool = True,
    name: str = "toy",
) -> LatentRecording:
    """A LatentRecording of given pooled latents [texts, latents] and decoder rows [latents, d_model]."""
    n = latents.shape[1]
    return LatentRecording(
        name,
        f"print-of-{name}",
        RecordingKey("toy", "stamp", "float32", HOOK, "texts").fingerprint,
        csc_array(latents.astype(np.float32)),
        np.zeros(n, np.float32) if zero_code is None else zero_code,
        (latents != 0).mean(0).astype(np.float32),
        decoder.astype(np.float32),
        no_contexts(n),
        {"l0": 1.0, "explained_variance": None, "dead": 0.0, "tokens": 1},
        non_negative,
    )


@dataclass(frozen=True)
class Planted:
    """A world whose truth is known: residuals are latents times decoder plus noise."""

    residuals: ResidualRecording
    latents: LatentRecording
    shift: ShiftTask
    tpp: TppTask
    spurious: tuple[int, ...]
    """Latents that carry the spurious label."""
    target: tuple[int, ...]
    """Latents that carry the target label."""


def planted_world(per_quadrant: int = 200, d: int = 24, n: int = 64, seed: int = 0, noise: float = 0.1) -> Planted:
    """Four quadrants; latents 0-3 carry the spurious label, 4-7 (weaker) the target label, two for each value.

    Classes (three, for TPP): latents 8, 9 and 10 rise with class 0, 1 and 2.
    """
    rng = np.random.default_rng(seed)
    total = 4 * per_quadrant
    quadrant, label = np.arange(total) % 4, (np.arange(total) // 4) % 3
    target, spurious = quadrant // 2 == 1, quadrant % 2 == 1
    latents = np.maximum(rng.normal(0, 0.3, (total, n)), 0)
    # Two latents for each side, so that ablating all of them does not move the threshold.
    latents[:, 0:2] += np.where(spurious[:, None], 1.0, 0.0) * rng.random((total, 2))
    latents[:, 2:4] += np.where(spurious[:, None], 0.0, 1.0) * rng.random((total, 2))
    latents[:, 4:6] += np.where(target[:, None], 0.6, 0.0) * rng.random((total, 2))
    latents[:, 6:8] += np.where(target[:, None], 0.0, 0.6) * rng.random((total, 2))
    for j in range(3):
        latents[:, 8 + j] += 1.5 * (label == j)
    decoder = rng.normal(size=(n, d))
    decoder[:11] = np.linalg.qr(rng.normal(size=(d, 11)))[0].T  # what carries labels does not overlap
    decoder /= np.linalg.norm(decoder, axis=1, keepdims=True)
    residuals = latents @ decoder + noise * rng.normal(size=(total, d))
    rows = np.arange(total)
    part = np.tile([0, 0, 0, 1, 2], total // 20 + 1).repeat(4)[:total].astype(np.uint8)
    shift = ShiftTask(PROFESSION, GENDER, rows, target, spurious, part)
    return Planted(
        residual_recording(residuals),
        latent_recording(latents, decoder),
        shift,
        TppTask("meal", ("tea", "soup", "bread"), rows, label, part),
        (0, 1, 2, 3),
        (4, 5, 6, 7),
    )
