"""The pass: equal to the model's own activations, resumable, stored as scored, with contexts that point back to the text."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from baselines import pca_basis, residual_basis
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from toys import D_MODEL, FILLER, HOOK, N_LATENTS, save_tiny_sae
from transformers import PreTrainedTokenizerFast

from saeeval_core.errors import ArtifactError, Cancelled, DataError, ModelError, UnsupportedSAE
from saeeval_core.models.batches import padded_batches
from saeeval_core.recordings import pooled, recorder, recording, segments
from saeeval_core.recordings.recorder import record, record_pass, token_latents
from saeeval_core.recordings.recording import load_latents, load_residuals, save_latents, save_residuals
from saeeval_core.saes.loaded import load_sae


def some_texts(count: int = 60, seed: int = 0) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(FILLER, rng.integers(1, 60))) + f" {i}" for i in range(count)]


@torch.no_grad()
def own_hidden_states(model, text: str, layer: int) -> torch.Tensor:
    ids = torch.from_numpy(model.tokenize([text]).ids[0][None].astype(np.int64))
    return model.hf(input_ids=ids, output_hidden_states=True).hidden_states[layer][0]


def same(one: recording.LatentRecording, other: recording.LatentRecording) -> None:
    """Bit for bit."""
    for name in ("data", "indices", "indptr"):
        np.testing.assert_array_equal(getattr(one.latents, name), getattr(other.latents, name))
    for name in ("zero_code", "density", "decoder"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    for name in ("indptr", "text", "position", "activation", "kind"):
        np.testing.assert_array_equal(getattr(one.contexts, name), getattr(other.contexts, name))
    assert dict(one.unsupervised) == dict(other.unsupervised)
    assert one.fingerprint == other.fingerprint and one.non_negative == other.non_negative


# Positive control: the numbers are the model's.


@pytest.mark.parametrize(
    ("hook", "layer"), [("0.hook_resid_pre", 0), ("0.hook_resid_post", 1), ("1.hook_resid_pre", 1)]
)
def test_pooled_residuals_are_the_model_s_hidden_states(tiny_model, hook, layer):
    texts = some_texts(20)
    residuals, _ = record(tiny_model, f"blocks.{hook}", texts, "print", [])
    for row, text in enumerate(texts):
        hidden = own_hidden_states(tiny_model, text, layer)
        assert residuals.n_valid[row] == len(hidden) - 1
        np.testing.assert_allclose(residuals.residuals[row], hidden[1:].mean(0), rtol=1e-4, atol=1e-4)


def test_the_first_position_is_never_pooled(tiny_model):
    text = "river stone water"
    row = record(tiny_model, HOOK, [text], "print", [])[0].residuals[0]
    with_bos = own_hidden_states(tiny_model, text, 1).mean(0).numpy()
    assert not np.allclose(row, with_bos, atol=1e-2)
    assert tiny_model.tokenize([text]).ids[0][0] == tiny_model.bos_id == 0


def test_what_the_mlp_adds_is_pooled_too(tiny_model):
    texts = some_texts(6)
    plain, _ = record(tiny_model, "blocks.1.hook_resid_post", texts, "print", [])
    mlp, _ = record(tiny_model, "blocks.1.hook_mlp_out", texts, "print", [])
    middle, _ = record(tiny_model, "blocks.1.hook_resid_mid", texts, "print", [])
    np.testing.assert_allclose(middle.residuals + mlp.residuals, plain.residuals, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    "hook", ["blocks.2.hook_resid_post", "blocks.0.hook_resid_posst", "blocks.0.hook_mlp_outt", "no"]
)
def test_a_misspelt_hook_is_refused(tiny_model, hook):
    with pytest.raises(ModelError, match="does not exist in"):
        record(tiny_model, hook, ["river"], "print", [])


def test_an_sae_of_another_width_or_hook_is_refused(tiny_model, tmp_path):
    narrow = load_sae(str(save_tiny_sae(tmp_path / "a", "standard", d_in=8)))
    with pytest.raises(UnsupportedSAE, match="reads 8 values but the model has 16"):
        record(tiny_model, HOOK, ["river"], "print", [narrow])
    elsewhere = load_sae(str(save_tiny_sae(tmp_path / "b", "standard", hook="blocks.1.hook_resid_post")))
    with pytest.raises(UnsupportedSAE, match="cannot be scored at .*exact probe hooks: blocks.1.hook_resid_post"):
        record(tiny_model, HOOK, ["river"], "print", [elsewhere])
    nowhere = load_sae(str(save_tiny_sae(tmp_path / "c", "standard", hook="blocks.7.hook_resid_post")))
    with pytest.raises(UnsupportedSAE, match="made for tiny-llama: hook 'blocks.7.hook_resid_post' does not exist"):
        record_pass(tiny_model, [], ["river"], "print", [nowhere])


def test_an_sae_of_another_model_is_never_scored_without_a_word(tiny_model, tmp_path):
    metadata = {"model_name": "pythia-160m-deduped", "prepend_bos": False}
    other = load_sae(str(save_tiny_sae(tmp_path / "other", "standard", metadata=metadata)))
    _, (latents,) = record(tiny_model, HOOK, some_texts(3), "print", [other])
    made_for, bos, *_ = latents.notes
    assert made_for == "it was made for pythia-160m-deduped; this model is tiny-llama, of another family (llama)"
    assert "without a beginning-of-sequence token" in bos
    own = load_sae(str(save_tiny_sae(tmp_path / "own", "standard")))
    _, (latents,) = record(tiny_model, HOOK, some_texts(3), "print", [own])
    assert not any("made for" in note for note in latents.notes)


def test_an_explained_variance_below_zero_is_said(tiny_model, tmp_path):
    sae = load_sae(str(save_tiny_sae(tmp_path / "sae", "standard")))
    _, (bad,) = record(tiny_model, HOOK, some_texts(3), "print", [replace(sae, bias=sae.bias + 100)])
    assert bad.unsupervised["explained_variance"] < 0 and "below 0" in bad.notes[-1]


# Tokens.


def test_special_tokens_in_a_text_are_plain_text(tiny_model):
    ids = tiny_model.tokenize(["river <s> stone </s>"]).ids[0]
    assert (ids[1:] != tiny_model.bos_id).all() and len(ids) > 5


def test_texts_are_cut_at_128_positions(tiny_model):
    residuals, _ = record(tiny_model, HOOK, [" ".join(["river"] * 300)], "print", [])
    assert residuals.n_valid.tolist() == [127]


def test_batches_hold_every_text_once_and_little_padding():
    rng = np.random.default_rng(0)
    ids = [np.zeros(n, np.int32) for n in rng.integers(1, 129, 300)]
    seen, padded, real = [], 0, 0
    for rows, block, mask in padded_batches(ids, 1024):
        seen += rows.tolist()
        assert mask.sum(1).tolist() == [len(ids[r]) for r in rows]
        padded, real = padded + block.numel(), real + int(mask.sum())
    assert sorted(seen) == list(range(300)) and real / padded > 0.9


def test_texts_without_tokens(tiny_model, tiny_sae_dirs):
    sae = load_sae(str(tiny_sae_dirs["topk"]))
    residuals, (latents,) = record(tiny_model, HOOK, ["river stone", " \t ", "water"], "print", [sae])
    assert residuals.n_valid.tolist() == [2, 0, 1]
    assert np.isnan(residuals.residuals[1]).all() and not latents.latents[[1]].nnz
    with pytest.raises(DataError, match="no text has a single token"):
        record(tiny_model, HOOK, ["  ", "\t"], "print", [sae])


@pytest.mark.parametrize("architecture", ["topk", "temporal"])
def test_a_batch_of_nothing_but_empty_texts(tiny_model, tmp_path, monkeypatch, architecture):
    sae = load_sae(str(save_tiny_sae(tmp_path / "sae", architecture)))
    monkeypatch.setattr(recorder, "CODES_AT_ONCE", 1)  # every text is encoded alone
    residuals, (latents,) = record(tiny_model, HOOK, ["", " ", "river stone"], "print", [sae])
    assert residuals.n_valid.tolist() == [0, 0, 2] and latents.latents.nnz


# What is stored.


def test_identical_texts_are_recorded_alike_and_order_does_not_matter(tiny_model, tiny_sae_dirs):
    sae = load_sae(str(tiny_sae_dirs["standard"]))
    texts = some_texts(25)
    residuals, (latents,) = record(tiny_model, HOOK, texts, "print", [sae])
    order = np.random.default_rng(1).permutation(25).tolist() + [3, 3, 7]
    mixed, (mixed_latents,) = record(tiny_model, HOOK, [texts[i] for i in order], "print", [sae])
    np.testing.assert_array_equal(mixed.residuals, residuals.residuals[order])
    np.testing.assert_array_equal(mixed_latents.latents.toarray(), latents.latents.toarray()[order])
    assert mixed_latents.unsupervised["tokens"] == latents.unsupervised["tokens"], "identical texts count once"


def test_several_saes_in_one_pass_equal_each_alone(tiny_model, tiny_sae_dirs):
    saes = [load_sae(str(tiny_sae_dirs[n])) for n in ("topk", "abstopk", "jumprelu")]
    texts = some_texts(30)
    _, together = record(tiny_model, HOOK, texts, "print", saes)
    for sae, one in zip(saes, together, strict=True):
        same(one, record(tiny_model, HOOK, texts, "print", [sae])[1][0])


def test_splitting_the_encoding_changes_nothing_but_rounding(tiny_model, tiny_sae_dirs, monkeypatch):
    sae = load_sae(str(tiny_sae_dirs["standard"]))
    texts = some_texts(30)
    _, (one,) = record(tiny_model, HOOK, texts, "print", [sae])
    monkeypatch.setattr(recorder, "CODES_AT_ONCE", 4000)
    _, (other,) = record(tiny_model, HOOK, texts, "print", [sae])
    np.testing.assert_allclose(one.latents.toarray(), other.latents.toarray(), atol=1e-5)


def test_what_waits_on_a_gpu_is_taken_in_the_end(tiny_model, tiny_sae_dirs, monkeypatch):
    saes, texts = [load_sae(str(tiny_sae_dirs[n])) for n in ("topk", "abstopk")], some_texts(200)
    residuals, latents = record(tiny_model, HOOK, texts, "print", saes)
    for most in (segments.HELD_VALUES, 100 * D_MODEL):
        monkeypatch.setattr(segments, "HELD_VALUES", most)
        for module in (recorder, pooled):
            monkeypatch.setattr(module, "Held", lambda take, _device: segments.Held(take, torch.device("cuda")))
        held, held_latents = record(tiny_model, HOOK, texts, "print", saes)
        np.testing.assert_array_equal(held.residuals, residuals.residuals)
        for one, other in zip(held_latents, latents, strict=True):
            same(one, other)


def test_a_batch_that_stops_halfway_is_not_in_the_state(tiny_model, tiny_sae_dirs, tmp_path, monkeypatch):
    sae, texts = load_sae(str(tiny_sae_dirs["topk"])), some_texts(200)
    _, (whole,) = record(tiny_model, HOOK, texts, "print", [sae])
    monkeypatch.setattr(recorder, "CODES_AT_ONCE", 8000)  # several groups a batch
    _, (in_groups,) = record(tiny_model, HOOK, texts, "print", [sae])
    seen = []

    def interrupted(self, *rows):
        seen.append(1)
        if len(seen) == 10:
            raise KeyboardInterrupt
        return add(self, *rows)

    add = pooled.PooledLatents.add
    monkeypatch.setattr(pooled.PooledLatents, "add", interrupted)
    with pytest.raises(KeyboardInterrupt):
        record(tiny_model, HOOK, texts, "print", [sae], partial=tmp_path)
    _, (resumed,) = record(tiny_model, HOOK, texts, "print", [sae], partial=tmp_path)
    same(resumed, in_groups)
    np.testing.assert_array_equal(resumed.density, whole.density)


@pytest.mark.parametrize("storage", ["float32", "float16"])
def test_a_fresh_recording_equals_its_saved_self_bit_for_bit(tiny_model, tiny_sae_dirs, tmp_path, storage):
    saes = [load_sae(str(tiny_sae_dirs[n])) for n in ("topk", "abstopk")]
    cells = np.arange(40) % 4
    residuals, latents = record(tiny_model, HOOK, some_texts(40), "print", saes, storage=storage, cells=cells)
    again = load_residuals(save_residuals(residuals, tmp_path))
    for name in ("residuals", "n_valid", "token_ends"):
        np.testing.assert_array_equal(getattr(residuals, name), getattr(again, name))
    assert (again.key, again.bos_id, again.note) == (residuals.key, residuals.bos_id, residuals.note)
    for one in latents:
        same(one, load_latents(save_latents(one, tmp_path, storage=storage)))


def test_half_precision_is_really_half(tiny_model, tiny_sae_dirs):
    sae = load_sae(str(tiny_sae_dirs["topk"]))
    full, _ = record(tiny_model, HOOK, some_texts(10), "print", [sae])
    half, (latents,) = record(tiny_model, HOOK, some_texts(10), "print", [sae], storage="float16")
    np.testing.assert_array_equal(half.residuals, full.residuals.astype(np.float16).astype(np.float32))
    np.testing.assert_array_equal(latents.latents.data, latents.latents.data.astype(np.float16).astype(np.float32))
    assert half.fingerprint != full.fingerprint


def test_loaded_arrays_cannot_be_written(tiny_recording, tmp_path):
    residuals, (latents, _) = tiny_recording
    again = load_residuals(save_residuals(residuals, tmp_path))
    with pytest.raises(ValueError, match="read-only"):
        again.residuals[0, 0] = 1
    loaded = load_latents(save_latents(latents, tmp_path, storage="float32"))
    with pytest.raises(ValueError, match="read-only"):
        loaded.latents.data[0] = 1


# Unsupervised figures, token by token.


@pytest.mark.parametrize("architecture", ["topk", "standard", "abstopk"])
def test_density_l0_and_explained_variance_are_those_of_the_tokens(tiny_model, tiny_sae_dirs, architecture):
    sae = load_sae(str(tiny_sae_dirs[architecture]))
    texts = some_texts(30)
    _, (latents,) = record(tiny_model, HOOK, texts, "print", [sae])
    parts = [token_latents(tiny_model, HOOK, t, sae)[:2] for t in texts]
    codes, x = (np.concatenate(p).astype(np.float64) for p in zip(*parts, strict=True))
    np.testing.assert_allclose(latents.density, (codes != 0).mean(0), atol=1e-6)
    assert latents.unsupervised["l0"] == pytest.approx((codes != 0).sum(1).mean())
    assert latents.unsupervised["dead"] == pytest.approx((~codes.any(0)).mean())
    assert latents.unsupervised["tokens"] == len(x)
    rebuilt = codes @ sae.decoder.double().numpy() + sae.bias.double().numpy()
    expected = 1 - ((x - rebuilt) ** 2).sum() / ((x - x.mean(0)) ** 2).sum()
    assert latents.unsupervised["explained_variance"] == pytest.approx(expected, rel=1e-3)


def test_explained_variance_of_bases_with_a_known_answer(tiny_model):
    texts = some_texts(30)
    basis = residual_basis(D_MODEL, hook=HOOK)
    x = np.concatenate([token_latents(tiny_model, HOOK, t, basis)[1] for t in texts])
    three = pca_basis(x, 3, hook=HOOK)
    _, (whole, part) = record(tiny_model, HOOK, texts, "print", [basis, three])
    assert whole.unsupervised["explained_variance"] == pytest.approx(1.0)
    assert not whole.non_negative
    spectrum = np.linalg.svd(x - x.mean(0), compute_uv=False) ** 2
    assert part.unsupervised["explained_variance"] == pytest.approx(spectrum[:3].sum() / spectrum.sum(), rel=1e-3)


# Contexts.


def test_contexts_are_windows_of_what_the_latent_really_does(tiny_model, tiny_sae_dirs):
    sae = load_sae(str(tiny_sae_dirs["topk"]))
    texts = some_texts(60)
    cells = np.arange(60) % 4
    residuals, (latents,) = record(tiny_model, HOOK, texts, "print", [sae], cells=cells)
    codes = [token_latents(tiny_model, HOOK, t, sae)[0] for t in texts]
    peaks = np.stack([c.max(0) for c in codes])
    seen = set()
    for latent in range(N_LATENTS):
        refs = latents.contexts.of(latent)
        firing = np.flatnonzero(peaks[:, latent])
        assert bool(refs) == (len(firing) >= 3)
        assert len({r.text for r in refs}) == len(refs), "one window per text"
        for ref in refs:
            own = codes[ref.text][ref.position : ref.position + recording.WINDOW, latent]
            np.testing.assert_allclose(ref.activation[: len(own)], own, rtol=2e-3, atol=2e-3)
            assert not ref.activation[len(own) :].any()
            assert ref.activation.max() == pytest.approx(peaks[ref.text, latent], rel=2e-3), (
                "the strongest token is inside"
            )
            seen.add(ref.kind)
        top = [r.text for r in refs if r.kind == "top"]
        strongest = np.sort(peaks[:, latent])[::-1][: len(top)]
        np.testing.assert_allclose(peaks[top, latent], strongest[strongest > 0], rtol=2e-3)
        if len(firing) >= 10:
            assert len(top) == 10
        for cell in range(4):
            inside = [i for i in firing if cells[i] == cell]
            if inside and refs:
                best = max(inside, key=lambda i: peaks[i, latent])
                assert any(peaks[r.text, latent] >= peaks[best, latent] * 0.998 for r in refs if cells[r.text] == cell)
    assert seen == {"top", "sampled", "top of its cell"}
    assert residuals.n_valid[0] == len(codes[0])


def byte_level(model):
    """The same model with a tokenizer that cuts every character into bytes."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    raw = Tokenizer(BPE({"<s>": 0, **{c: i + 1 for i, c in enumerate(alphabet)}}, []))
    raw.pre_tokenizer, raw.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    return replace(model, tokenizer=PreTrainedTokenizerFast(tokenizer_object=raw, bos_token="<s>"))


STRANGE = [
    "naïve café — 東京 🙂🙂 river",
    '👩‍👩‍👧 <b>stone</b> & "quoted"',
    "e\u0301 \u202eright to left",
    "tab\tand\nnewline",
]


@pytest.mark.parametrize("bytes_", [False, True])
def test_token_spans_slice_back_to_the_text(tiny_model, tiny_sae_dirs, bytes_):
    model = byte_level(tiny_model) if bytes_ else tiny_model
    sae = load_sae(str(tiny_sae_dirs["topk"]))
    residuals, _ = record(model, HOOK, STRANGE, "print", [sae])
    for row, text in enumerate(STRANGE):
        spans = residuals.token_spans(row)
        assert len(spans) == residuals.n_valid[row]
        assert "".join(text[a:b] for a, b in spans) == text[: spans[-1][1]]
        assert all(a <= b for a, b in spans)
        codes, _, own_spans = token_latents(model, HOOK, text, sae)
        assert own_spans == spans and len(codes) == len(spans)
        if bytes_:
            assert len(spans) == min(len(text.encode()), 127)


# Cancelled and killed passes.


class Stop:
    """Raises after some batches, as a cancel button or a kill would."""

    def __init__(self, after: int, error: type[BaseException] = Cancelled) -> None:
        self.after, self.error, self.calls = after, error, 0

    def __call__(self, progress) -> None:
        self.calls += 1
        if self.calls == self.after:
            raise self.error("stopped")


@pytest.fixture
def small_batches(monkeypatch):
    monkeypatch.setattr(recorder, "padded_batches", lambda ids: padded_batches(ids, 256))


@pytest.mark.parametrize("error", [Cancelled, KeyboardInterrupt])
@pytest.mark.parametrize("architecture", ["topk", "abstopk"])
def test_a_stopped_pass_resumes_to_identical_arrays(
    tiny_model, tiny_sae_dirs, tmp_path, small_batches, error, architecture
):
    saes = [load_sae(str(tiny_sae_dirs[architecture])), load_sae(str(tiny_sae_dirs["standard"]))]
    texts, cells = [*some_texts(60), "", *some_texts(3)], np.arange(64) % 3
    whole_residuals, whole = record(tiny_model, HOOK, texts, "print", saes, cells=cells)
    for after in (1, 4):
        with pytest.raises(error):
            record(
                tiny_model, HOOK, texts, "print", saes, cells=cells, partial=tmp_path, on_progress=Stop(after, error)
            )
        assert (tmp_path / "state.safetensors").exists()
    counter = Stop(10**6)
    residuals, latents = record(
        tiny_model, HOOK, texts, "print", saes, cells=cells, partial=tmp_path, on_progress=counter
    )
    fresh = Stop(10**6)
    record(tiny_model, HOOK, texts, "print", saes, cells=cells, on_progress=fresh)
    assert counter.calls == fresh.calls - 5, "what was done is not done again"
    np.testing.assert_array_equal(residuals.residuals, whole_residuals.residuals)
    for one, other in zip(latents, whole, strict=True):
        same(one, other)
    assert (tmp_path / "state.json").exists(), "the state goes only when the recordings are stored"


@pytest.mark.parametrize("damage", ["cut", "sidecar", "other texts"])
def test_a_damaged_or_foreign_state_is_ignored(tiny_model, tiny_sae_dirs, tmp_path, small_batches, damage):
    saes = [load_sae(str(tiny_sae_dirs["topk"]))]
    texts = some_texts(40)
    with pytest.raises(Cancelled):
        record(tiny_model, HOOK, texts, "print", saes, partial=tmp_path, on_progress=Stop(3))
    print_ = "print"
    if damage == "cut":
        data = tmp_path / "state.safetensors"
        data.write_bytes(data.read_bytes()[:-100])
    elif damage == "sidecar":
        (tmp_path / "state.json").write_text('{"sha256": ')
    else:
        texts, print_ = some_texts(40, seed=9), "other print"
    residuals, (latents,) = record(tiny_model, HOOK, texts, print_, saes, partial=tmp_path)
    expected, (expected_latents,) = record(tiny_model, HOOK, texts, print_, saes)
    np.testing.assert_array_equal(residuals.residuals, expected.residuals)
    same(latents, expected_latents)


def test_progress_counts_tokens_up_to_all(tiny_model, small_batches):
    seen = []
    texts = some_texts(40)
    residuals, _ = record(tiny_model, HOOK, texts, "print", [], on_progress=seen.append)
    assert [p.done for p in seen] == sorted({p.done for p in seen}) and len(seen) > 3
    assert seen[-1].done == seen[-1].total == residuals.n_valid.sum() and seen[-1].eta == 0


# Damage on disk.


@pytest.mark.parametrize("kind", ["residuals", "latents"])
def test_damage_is_named(tiny_recording, tmp_path, kind):
    residuals, (latents, _) = tiny_recording
    load = load_residuals if kind == "residuals" else load_latents
    path = (
        save_residuals(residuals, tmp_path)
        if kind == "residuals"
        else save_latents(latents, tmp_path, storage="float32")
    )
    data, sidecar = path.with_name(path.name + ".safetensors"), path.with_name(path.name + ".json")
    good, said = data.read_bytes(), sidecar.read_text()
    for damage, line in (
        (lambda: data.write_bytes(good[:-7]), "is damaged: checksum"),
        (lambda: data.write_bytes(good[:500] + b"x" + good[501:]), "is damaged: checksum"),
        (lambda: data.unlink(), "cannot be read"),
        (lambda: sidecar.write_text(said[:40]), "is not valid JSON"),
        (lambda: sidecar.unlink(), "never finished"),
        (lambda: sidecar.write_text(said.replace(f'"{kind}"', '"probes"')), "its seal does not fit"),
    ):
        damage()
        with pytest.raises(ArtifactError, match=line) as caught:
            load(path)
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)
        data.write_bytes(good)
        sidecar.write_text(said)
    load(path)


def test_a_full_disk_leaves_no_half_written_artifact(tiny_recording, tmp_path, monkeypatch):
    from saeeval_core.storage import artifacts

    residuals, _ = tiny_recording
    path = save_residuals(residuals, tmp_path)

    def full(*args, **more):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(artifacts.os, "replace", full)
    with pytest.raises(ArtifactError, match="No space left on device; free some space"):
        save_residuals(residuals, tmp_path)
    with pytest.raises(ArtifactError):
        load_residuals(path)  # the old sidecar went first: never old words beside new data
    assert not list(tmp_path.glob(".*")), "no temporary file stays"
