"""SAEBench 0.6.0's own functions against ours: the same token activations, the same SAE (s = 1), one thread.

SAEBench takes padded activations [texts, 128, d] with masked positions zeroed and runs the SAE for every number; we pool
once. With its padding leak imitated the numbers are the same.
"""

import numpy as np
import pytest
import torch
from toys import D_MODEL, GENDER, HOOK, PROFESSION, Planted, latent_recording, residual_recording, tiny_sae

from saeeval_core.config import MAX_TOKENS, PROTOCOLS
from saeeval_core.scores.probes import Probe, fit_adamw
from saeeval_core.scores.saebench_tpp import redrawn_tpp
from saeeval_core.scores.shift import shift_board, shift_latents
from saeeval_core.scores.shift_probes import ShiftProbes
from saeeval_core.texts.parts import TEST, TRAIN
from saeeval_core.texts.tasks import ShiftTask, ShiftTraining, TppTask

pytest.importorskip("sae_bench", reason="sae-bench is not installed (make bench-setup)")

from sae_bench.evals.scr_and_tpp import main as theirs  # noqa: E402
from sae_bench.evals.sparse_probing import probe_training  # noqa: E402
from sae_bench.sae_bench_utils.activation_collection import create_meaned_model_activations  # noqa: E402

pytestmark = pytest.mark.saebench

SAEBENCH, NS = PROTOCOLS["saebench"], [1, 2, 5, 10, 20]
TARGET, CUE, BIASED = "professor / nurse", "male / female", "male_professor / female_nurse"
OTHER = {TARGET: "nurse_data_only", CUE: "female_data_only", BIASED: "female_nurse_data_only"}
TRAINING = {"batch_size": 16, "epochs": 20, "lr": 1e-3, "early_stopping_patience": 20, "l1_penalty": 1e-3}


def padded(texts: int, directions: np.ndarray, seed: int) -> torch.Tensor:
    """[texts, 128, d]: noise plus each text's own direction on 3 to 127 valid tokens; position 0 and the rest are zero."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(texts, MAX_TOKENS, D_MODEL)) * 1.5 + directions[:, None]
    position, length = np.arange(MAX_TOKENS), rng.integers(3, 128, texts)
    x[(position == 0) | (position > length[:, None])] = 0
    return torch.from_numpy(x).float()


def world(sae, x: torch.Tensor, shift: ShiftTask | None, tpp: TppTask | None) -> Planted:
    """Our recordings of the same activations: SAEBench's own pooled residuals, and latents of the valid tokens."""
    valid = x.sum(-1) != 0
    with torch.no_grad():
        pooled = torch.stack([sae.encode(t[v]).double().mean(0) for t, v in zip(x, valid, strict=True)]).numpy()
        zero = sae.encode(torch.zeros(1, D_MODEL))[0].numpy()
    residuals = create_meaned_model_activations({"all": x})["all"].numpy()
    return Planted(
        residual_recording(residuals, valid.sum(1).numpy().astype(np.int32)),
        latent_recording(pooled, sae.W_dec.detach().numpy(), zero_code=zero),
        shift,
        tpp,
        (),
        (),
    )


def probe_of(probe: torch.nn.Module) -> Probe:
    return Probe(probe.net.weight[0].detach().double().numpy(), probe.net.bias.item(), 0)


def shift_case(per_quadrant: int = 60):
    """(task, activations): target and spurious label add two directions; the spurious one is stronger."""
    rng = np.random.default_rng(1)
    quadrant = np.repeat([3, 2, 1, 0], per_quadrant)
    part = np.tile([TRAIN] * (per_quadrant * 2 // 3) + [TEST] * (per_quadrant // 3), 4).astype(np.uint8)
    target, spurious = quadrant >= 2, quadrant % 2 == 1
    axes = rng.normal(size=(2, D_MODEL)) * 0.2
    noise = rng.normal(size=(len(quadrant), D_MODEL)) * 0.3
    directions = np.where(target, 1, -1)[:, None] * axes[0] + np.where(spurious, 1.6, -1.6)[:, None] * axes[1] + noise
    task = ShiftTask(PROFESSION, GENDER, np.arange(len(quadrant)), target, spurious, part)
    return task, padded(len(quadrant), directions, 2)


def their_groups(task: ShiftTask, values: torch.Tensor, part: int) -> dict[str, torch.Tensor]:
    """SAEBench's six sets; rows in our order."""
    inside = task.part == part
    sets = {
        TARGET: (task.target_label, ~task.target_label),
        CUE: (task.spurious_label, ~task.spurious_label),
        BIASED: (task.target_label & task.spurious_label, ~task.target_label & ~task.spurious_label),
    }
    return {
        key: values[torch.from_numpy(np.flatnonzero(inside & rows))]
        for name, pair in sets.items()
        for key, rows in zip((name, OTHER[name]), pair, strict=True)
    }


def compare_shift(sae, task: ShiftTask, x: torch.Tensor, made: Planted, *, learnable: bool = True) -> float:
    """Both directions, every N: equal latents and accuracies. Returns the largest difference once padding is masked."""
    train, test = their_groups(task, x, TRAIN), their_groups(task, x, TEST)
    pooled = [create_meaned_model_activations(groups) for groups in (train, test)]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        probes, _ = probe_training.train_probe_on_activations(*pooled, use_sklearn=False, perform_scr=True, **TRAINING)
        with torch.no_grad():
            classes = [TARGET, CUE, BIASED]
            clean = theirs.get_probe_test_accuracy(probes, list(OTHER), pooled[1], 500, True)
            effects = theirs.get_all_node_effects_for_one_sae(sae, probes, classes, True, train, 25)
            ablated = theirs.perform_feature_ablations(probes, sae, 25, test, effects, NS, classes, 500, True)
    rows = np.flatnonzero(task.part == TRAIN)
    agree = rows[task.target_label[rows] == task.spurious_label[rows]]
    base, oracle, attribute = (probe_of(probes[name]) for name in (BIASED, TARGET, CUE))
    ours = ShiftProbes(ShiftTraining(0, rows, agree), base, oracle, attribute)
    worst, moved, shifted = 0.0, False, False
    for direction, own, label, cue in ((task, ours, TARGET, CUE), (task.swapped(), ours.swapped(), CUE, TARGET)):
        board = shift_board(made.residuals, direction, own, SAEBENCH, part=TEST, seed=0, resamples=20)
        assert board.base.value == pytest.approx(clean[f"{BIASED} probe on {label} data"], abs=1e-6)
        assert board.oracle.value == pytest.approx(clean[label], abs=1e-6)
        view = shift_latents(made.residuals, made.latents, board, SAEBENCH)
        masked = shift_latents(made.residuals, made.latents, board, PROTOCOLS["paper"])
        for n, score in zip(NS, view.curve(view.attribute_ranking, NS), strict=True):
            selected = theirs.select_top_n_features(effects[cue], n, cue).nonzero().flatten().tolist()
            assert sorted(view.attribute_ranking[:n].tolist()) == selected
            expected = ablated[cue][n][f"{BIASED} probe on {label} data"]
            assert score.accuracy.value == pytest.approx(expected, abs=1e-6)
            moved |= score.accuracy.value != board.base.value
            shifted |= bool(np.abs(view.removed(view.attribute_ranking[:n])).max() > 1e-3)
            worst = max(worst, abs(float(masked.score(selected).accuracy.value) - expected))
        results = theirs.get_scr_plotting_dict(ablated, clean)
        number = 1 if label == TARGET else 2
        for n, score in zip(NS, view.curve(view.attribute_ranking, NS), strict=True):
            assert (score.score.value or 0) == pytest.approx(results[f"scr_dir{number}_threshold_{n}"], abs=1e-5)
    assert shifted, "a control: ablating moves the logits"
    assert moved or not learnable, "a control: ablating does something"
    return worst


@pytest.mark.parametrize("architecture", ["topk", "standard", "jumprelu", "gated"])
def test_shift_selects_the_same_latents_and_gives_the_same_accuracies(architecture):
    sae, (task, x) = tiny_sae(architecture), shift_case()
    difference = compare_shift(sae, task, x, world(sae, x, task, None))
    leaks = bool(sae.encode(torch.zeros(1, D_MODEL)).any())
    assert (difference > 0) == leaks, "what fires on zeros leaks, and masking the padding then changes the numbers"


@pytest.mark.parametrize("architecture", ["topk", "standard"])
@pytest.mark.parametrize("seed", [0, 7])
def test_tpp_is_the_same_when_the_generator_is_consumed_in_its_order(architecture, seed):
    sae, rng = tiny_sae(architecture), np.random.default_rng(3)
    label = np.repeat([0, 1, 2], 60)
    part = np.tile([TRAIN] * 40 + [TEST] * 20, 3).astype(np.uint8)
    axes = rng.normal(size=(3, D_MODEL)) * 0.6
    x = padded(180, axes[label] + rng.normal(size=(180, D_MODEL)) * 0.3, 4)
    task = TppTask("meal", ("tea", "soup", "bread"), np.arange(180), label, part)
    made = world(sae, x, None, task)
    train, test = (
        {name: x[torch.from_numpy(np.flatnonzero((part == p) & (label == c)))] for c, name in enumerate(task.classes)}
        for p in (TRAIN, TEST)
    )
    pooled = [create_meaned_model_activations(groups) for groups in (train, test)]
    classes = list(task.classes)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        probes, _ = probe_training.train_probe_on_activations(*pooled, use_sklearn=False, **TRAINING)
        with torch.no_grad():
            clean = theirs.get_probe_test_accuracy(probes, classes, pooled[1], 500, False)
            effects = theirs.get_all_node_effects_for_one_sae(sae, probes, classes, False, train, 25)
            ablated = theirs.perform_feature_ablations(probes, sae, 25, test, effects, NS, classes, 500, False)
    overall, _ = theirs.create_tpp_plotting_dict(ablated, clean)
    before = torch.random.get_rng_state()
    ours = redrawn_tpp(made.residuals, made.latents, task, SAEBENCH, ns=NS, seed=seed)
    assert torch.equal(before, torch.random.get_rng_state()), "the global generator is left as it was"
    assert [c.value for c in ours.clean] == pytest.approx([clean[c] for c in classes], abs=1e-6)
    assert np.abs(matrix_of(ours.scores[-1])).max() > 0.05, "a control: ablating does something"
    for n, cell in zip(NS, ours.scores, strict=True):
        expected = [[clean[j] - ablated[i][n][j] for j in classes] for i in classes]
        np.testing.assert_allclose(matrix_of(cell), expected, atol=1e-6)
        assert cell.score.value == pytest.approx(overall[f"tpp_threshold_{n}_total_metric"], abs=1e-6)
        assert list(cell.n_ablated) == [int(theirs.select_top_n_features(effects[c], n, c).sum()) for c in classes]


def matrix_of(score) -> np.ndarray:
    """float[classes, classes]"""
    return np.array([[e.value for e in row] for row in score.matrix])


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_probe_training_gives_the_same_weights(seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(203, D_MODEL)).astype(np.float32)
    y = x @ rng.normal(size=D_MODEL) + rng.normal(size=203) > 0
    inputs, labels = torch.from_numpy(x), torch.from_numpy(y.astype(np.int32))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        probe, accuracy = probe_training.train_probe_gpu(
            inputs[:150], labels[:150], inputs[150:], labels[150:], dim=D_MODEL, **TRAINING
        )
    ours = fit_adamw(x[:150], y[:150], SAEBENCH, seed=seed, test=(x[150:], y[150:]))
    np.testing.assert_allclose(ours.weight, probe.net.weight[0].detach().numpy(), atol=1e-6)
    assert ours.bias == pytest.approx(probe.net.bias.item(), abs=1e-6)
    assert float(((ours.logits(x[150:]) > 0) == y[150:]).mean()) == pytest.approx(accuracy)


@pytest.mark.needs_shared("bias_in_bios_sample.parquet")
def test_real_biographies_through_the_recorder(tiny_model, shared, tmp_path):
    """Real texts with their real lengths: our recording against SAEBench's functions on the padded activations."""
    import pandas as pd

    from saeeval_core.recordings.recorder import record
    from saeeval_core.saes.loaded import load_sae

    frame = pd.read_parquet(shared / "bias_in_bios_sample.parquet")
    frame = frame[frame.profession.isin(["nurse", "surgeon"])].groupby(["profession", "gender"]).head(60)
    frame = frame.sort_values(["profession", "gender"]).reset_index(drop=True)
    model = common_words(tiny_model, frame.hard_text)
    target, spurious = (frame.profession == "nurse").to_numpy(), (frame.gender == "female").to_numpy()
    part = np.tile([TRAIN] * 40 + [TEST] * 20, 4).astype(np.uint8)
    task = ShiftTask(PROFESSION, GENDER, np.arange(len(frame)), target, spurious, part)
    sae = tiny_sae("topk")
    sae.save_model(tmp_path)
    residuals, (latents,) = record(model, HOOK, list(frame.hard_text), "print", [load_sae(str(tmp_path))])
    x = torch.zeros(len(frame), MAX_TOKENS, D_MODEL)
    for row, ids in enumerate(model.tokenize(list(frame.hard_text)).ids):
        tokens = torch.from_numpy(ids[None].astype(np.int64))
        x[row, 1 : len(ids)] = model.activations(tokens, torch.ones_like(tokens), [HOOK])[HOOK][0, 1:]
    assert len(set(residuals.n_valid.tolist())) > 10
    # A random model's probes are near chance on real text, so only the logits are sure to move.
    compare_shift(sae, task, x, Planted(residuals, latents, task, None, (), ()), learnable=False)


def common_words(model, texts):
    """The tiny model with a word-level tokenizer of the texts' 500 most frequent words."""
    from collections import Counter
    from dataclasses import replace

    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from transformers import PreTrainedTokenizerFast

    counts = Counter(w for t in texts for w, _ in Whitespace().pre_tokenize_str(t))
    vocabulary = ["<s>", "<unk>", *(w for w, _ in counts.most_common(500))]
    raw = Tokenizer(WordLevel({w: i for i, w in enumerate(vocabulary)}, "<unk>"))
    raw.pre_tokenizer = Whitespace()
    return replace(model, tokenizer=PreTrainedTokenizerFast(tokenizer_object=raw, bos_token="<s>", unk_token="<unk>"))
