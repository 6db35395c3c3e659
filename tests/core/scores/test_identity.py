"""The identity everything stands on, against a slow route: encode each token alone, zero latents, keep the
reconstruction error, decode, pool, read with a probe. For every SAELens class that loads and every normalisation."""

import json

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sae_lens import (
    SAE,
    BatchTopKTrainingSAE,
    BatchTopKTrainingSAEConfig,
    MatryoshkaBatchTopKTrainingSAE,
    MatryoshkaBatchTopKTrainingSAEConfig,
)
from sae_lens.saes.sae import SAEMetadata
from toys import D_MODEL, FILLER, HOOK, N_LATENTS, save_tiny_sae

from saeeval_core.config import MAX_TOKENS, PROTOCOLS
from saeeval_core.recordings.recorder import record
from saeeval_core.saes.loaded import load_sae
from saeeval_core.saes.registry import CLASSES
from saeeval_core.scores import ablation
from saeeval_core.scores.shift import shift_board, shift_latents
from saeeval_core.texts.parts import DEV, TEST

NORMS = ("none", "layer_norm", "constant_norm_rescale")
LENGTHS = st.lists(st.integers(1, 30) | st.integers(120, 140), min_size=1, max_size=3)


def cases() -> list[str]:
    found = [f"{architecture}/{norm}" for architecture in CLASSES for norm in NORMS]
    return [
        *found,
        "temporal/constant_scalar_rescale",
        "topk/rescaled",
        "abstopk/rescaled",
        "jumprelu/no bias on input",
        "standard/folded scaling",
        "standard/centred",
        "batchtopk/none",
        "matryoshka/none",
    ]


def saved(folder, case: str):
    """Folder of the SAE of one case."""
    architecture, _, how = case.partition("/")
    if architecture in ("batchtopk", "matryoshka"):
        return _saved_training(folder, architecture)
    extra = {
        "constant_scalar_rescale": {"normalize_activations": how, "activation_normalization_factor": 0.37},
        "rescaled": {"rescale_acts_by_decoder_norm": True},
        "no bias on input": {"apply_b_dec_to_input": False},
        "folded scaling": {"normalize_activations": "expected_average_only_in"},
        "centred": {},
    }.get(how, {"normalize_activations": how})
    save_tiny_sae(folder, architecture, **extra)
    if how == "folded scaling":
        (folder / "activation_scaler.json").write_text(json.dumps({"scaling_factor": 0.4}))
    if how == "centred":
        cfg = json.loads((folder / "cfg.json").read_text())
        cfg["metadata"]["model_from_pretrained_kwargs"] = {"center_writing_weights": True}
        (folder / "cfg.json").write_text(json.dumps(cfg))
    return folder


def _saved_training(folder, kind: str):
    values = {
        "d_in": D_MODEL,
        "d_sae": N_LATENTS,
        "k": 5,
        "metadata": SAEMetadata(model_name="tiny-llama", hook_name=HOOK),
    }
    if kind == "batchtopk":
        sae = BatchTopKTrainingSAE(BatchTopKTrainingSAEConfig(**values))
    else:
        values["matryoshka_widths"] = [8, N_LATENTS]
        sae = MatryoshkaBatchTopKTrainingSAE(MatryoshkaBatchTopKTrainingSAEConfig(**values))
    sae.topk_threshold = torch.tensor(0.02, dtype=sae.topk_threshold.dtype)
    sae.save_inference_model(folder)
    return folder


class SlowRoute:
    """SAELens's own encode and decode, one token at a time, on activations of each text alone."""

    def __init__(self, folder, case: str) -> None:
        self.module = SAE.load_from_disk(folder)
        self.sequences = case.startswith("temporal")
        self.centred = case.endswith("centred")
        if case.endswith("folded scaling"):
            self.module.fold_activation_norm_scaling_factor(0.4)

    @torch.no_grad()
    def pooled(self, x: torch.Tensor, ids: list[int], masked: int = 0) -> np.ndarray:
        """float64[d_model]: mean over x [tokens, d_model] after ablation; ``masked`` zero positions are summed too."""
        if masked:
            rows = torch.cat([x, torch.zeros(masked, x.shape[1])])
            return self._ablated(rows, ids).double().sum(0).numpy() / len(x)
        if self.sequences:  # a token's code depends on those before it
            return self._ablated(x[None], ids)[0].double().mean(0).numpy()
        return torch.cat([self._ablated(token, ids) for token in x.split(1)]).double().mean(0).numpy()

    def _ablated(self, x: torch.Tensor, ids: list[int]) -> torch.Tensor:
        given = x - x.mean(-1, keepdim=True) if self.centred else x
        codes = self.module.encode(given)
        whole = self.module.decode(codes)
        without = self.module.encode(given).clone()  # again: decode forgets the norms it needs
        without[..., ids] = 0
        return self.module.decode(without) + (x - whole)


def make_texts(lengths: list[int], seed: int) -> list[str]:
    rng = np.random.default_rng(seed)
    texts = [" ".join(rng.choice(FILLER, n)) for n in lengths]
    return [*texts, texts[0]]  # one text twice


@torch.no_grad()
def token_residuals(model, text: str) -> torch.Tensor:
    """[tokens, d_model] at the hook, from the model's own hidden states on the unpadded text; bos left out."""
    ids = torch.from_numpy(model.tokenize([text]).ids[0][None].astype(np.int64))
    return model.hf(input_ids=ids, output_hidden_states=True).hidden_states[1][0, 1:]


@pytest.mark.filterwarnings("ignore:\\nThis SAE has non-empty")
@pytest.mark.parametrize("case", cases())
def test_recording_and_ablation_equal_the_slow_route(case, tiny_model, tmp_path_factory):
    folder = saved(tmp_path_factory.mktemp("sae") / "sae", case)
    sae, slow = load_sae(str(folder)), SlowRoute(folder, case)

    examples = 2 if case.startswith("matching_pursuit") else 4  # its greedy encoding is slow

    @settings(max_examples=examples, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(LENGTHS, st.integers(0, 10_000), st.sets(st.integers(0, N_LATENTS - 1), max_size=12))
    def check(lengths, seed, chosen):
        texts, ids = make_texts(lengths, seed), sorted(chosen)
        residuals, (latents,) = record(tiny_model, HOOK, texts, "print", [sae])
        weight = np.random.default_rng(seed).normal(size=D_MODEL)
        removed = ablation.removed(latents.latents, ids, ablation.dot(latents.decoder, weight))
        ablated = ablation.ablate_residuals(residuals.residuals, latents.latents, ids, latents.decoder)
        for row, text in enumerate(texts):
            x = token_residuals(tiny_model, text)
            assert len(x) == residuals.n_valid[row] == min(len(text.split()), MAX_TOKENS - 1)
            expected = slow.pooled(x, ids)
            size = float(x.abs().max()) * (1 + len(ids))
            np.testing.assert_allclose(ablated[row], expected, atol=2e-5 * size)
            z = residuals.residuals[row].astype(np.float64) @ weight - removed[row]
            np.testing.assert_allclose(z, expected @ weight, atol=2e-4 * size)

    check()


@pytest.mark.parametrize("architecture", ["topk", "standard", "jumprelu", "gated", "abstopk"])
def test_the_padding_leak_is_what_zeroed_positions_add(architecture, tiny_model, tmp_path):
    """SAEBench sums 128 positions, masked ones zeroed, and divides by the valid ones."""
    folder = save_tiny_sae(tmp_path / "sae", architecture)
    sae, slow = load_sae(str(folder)), SlowRoute(folder, architecture)
    texts = make_texts([3, 60, 140], 0)
    residuals, (latents,) = record(tiny_model, HOOK, texts, "print", [sae])
    weight, ids = np.random.default_rng(0).normal(size=D_MODEL), list(range(0, N_LATENTS, 3))
    dot = ablation.dot(latents.decoder, weight)
    assert latents.zero_code[ids].any() == (architecture != "jumprelu"), "a threshold stops it, nothing else"
    removed = ablation.removed(latents.latents, ids, dot)
    leak = ablation.padding_leak(ids, latents.zero_code, dot, residuals.n_valid)
    for row, text in enumerate(texts):
        x = token_residuals(tiny_model, text)
        expected = slow.pooled(x, ids, masked=MAX_TOKENS - len(x)) @ weight
        z = residuals.residuals[row].astype(np.float64) @ weight - removed[row] - leak[row]
        np.testing.assert_allclose(z, expected, atol=1e-3 * (1 + MAX_TOKENS / len(x)))


@pytest.mark.parametrize("part", [DEV, TEST])
@pytest.mark.parametrize("protocol", ["robust", "saebench"])
def test_curves_sets_and_orders_agree(planted, planted_probes, protocol, part):
    protocol = PROTOCOLS[protocol]
    board = shift_board(planted.residuals, planted.shift, planted_probes, protocol, part=part, seed=0, resamples=50)
    view = shift_latents(planted.residuals, planted.latents, board, protocol)
    ranking = view.attribute_ranking
    ns = [7, 1, 20, 3, 64]
    for n, along in zip(ns, view.curve(ranking, ns), strict=True):
        alone = view.score(ranking[:n])
        shuffled = view.score(np.random.default_rng(n).permutation(ranking[:n]))
        for other in (alone, shuffled):
            assert along.n_ablated == other.n_ablated == min(n, len(ranking))
            assert along.accuracy.value == other.accuracy.value and along.score.value == other.score.value
            assert along.worst_group == other.worst_group and along.leakage.value == other.leakage.value
            np.testing.assert_allclose(along.samples, other.samples, atol=1e-6)
    empty = view.score([])
    assert empty.accuracy.value == board.base.value
    assert empty.score.value in (None, 0.0)


def test_mean_ablation_sets_each_pooled_latent_to_its_training_mean(planted, planted_probes):
    probes = planted_probes
    board = shift_board(planted.residuals, planted.shift, probes, PROTOCOLS["robust"], part=TEST, seed=0, resamples=50)
    view = shift_latents(planted.residuals, planted.latents, board, PROTOCOLS["robust"])
    ids = [0, 2, 5, 40]
    dense = planted.latents.latents.toarray().astype(np.float64)
    mean = dense[planted.shift.rows[probes.training.biased]].mean(0)
    x = planted.residuals.residuals[board.rows] - (dense[board.rows][:, ids] - mean[ids]) @ planted.latents.decoder[ids]
    right = (probes.base.logits(x) > 0) == board.target
    assert view.mean_ablated.score(ids).accuracy.value == pytest.approx(float(right @ board.weights))


def test_asking_for_more_than_is_ranked_ablates_what_there_is_and_says_so(planted):
    latents = planted.latents.latents
    ranking = np.array([3, 1])
    removed, counts = ablation.removed_by_n(latents, ranking, np.ones(latents.shape[1]), [0, 1, 2, 50])
    assert counts == [0, 1, 2, 2] and not removed[0].any()
    np.testing.assert_array_equal(removed[2], removed[3])
