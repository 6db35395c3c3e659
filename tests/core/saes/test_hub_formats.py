"""Other people's files in repositories of the Hub: fetched into its cache, then as local ones. Downloads come from a folder."""

import shutil
from pathlib import Path

import httpx2
import pytest
import torch
from foreign_files import HOOK, D, learned, plain, rand, save_arrays, scoped, sparsified
from huggingface_hub.errors import LocalEntryNotFoundError, RemoteEntryNotFoundError
from refusals import Canary, refused

from saeeval_core.saes.loaded import load_sae
from saeeval_core.saes.placed import placed

X = 2 * rand(9, D, seed=7)
REPO = "org/repo"


@pytest.fixture
def remote(tmp_path, monkeypatch) -> Path:
    """A folder that stands for a repository of the Hub; what is asked for is copied into a cache of the Hub's form."""
    source, cache = tmp_path / "remote", tmp_path / "models--org--repo" / "snapshots" / "a1"

    def download(repo_id: str, filename: str, **_: object) -> str:
        assert repo_id == REPO and ".." not in filename
        if (source / filename).is_file():
            (cache / filename).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source / filename, cache / filename)
            return str(cache / filename)
        answer = httpx2.Response(404, request=httpx2.Request("GET", "https://huggingface.co"))
        raise RemoteEntryNotFoundError("no file", response=answer)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    monkeypatch.setattr("saeeval_core.storage.hub._resolves", lambda endpoint: True)
    return source


MADE = {
    "a": lambda folder: learned(folder / "a", "BatchTopKSAE"),
    "layers.3": lambda folder: sparsified(folder / "layers.3"),
    "layers.3.mlp": lambda folder: sparsified(folder / "layers.3.mlp", transcode=True),
    "resid_post/layer_3_width_16k_l0_small": lambda folder: scoped(folder / "resid_post/layer_3_width_16k_l0_small"),
    "transcoder/layer_3": lambda folder: scoped(folder / "transcoder/layer_3", affine=True),
}


@pytest.mark.parametrize("place", MADE)
def test_a_folder_of_a_repository_is_read_as_the_same_folder_here(remote, place):
    made = MADE[place](remote)
    sae, local = load_sae(f"hub:{REPO}/{place}"), load_sae(str(made.path))
    torch.testing.assert_close(sae.encode(X), made.encode(X), rtol=1e-4, atol=1e-4)
    assert (sae.info.hook, sae.info.hook_out, sae.info.model) == (
        local.info.hook,
        local.info.hook_out,
        local.info.model,
    )
    assert sae.fingerprint == local.fingerprint and sae.info.id == f"hub:{REPO}/{place}"
    assert sae.info.location == f"https://huggingface.co/{REPO}/{place}"
    assert any(made.kind in note for note in sae.info.notes)


def test_gemma_scope_without_the_registry(remote, monkeypatch):
    arrays = plain(remote / "layer_3/width_16k/average_l0_50/params.npz", "JumpReLU")
    sae = load_sae(placed(f"hub:{REPO}/layer_3/width_16k/average_l0_50", HOOK))
    torch.testing.assert_close(sae.encode(X), arrays.encode(X), rtol=1e-4, atol=1e-4)
    assert sae.info.hook == HOOK and sae.fingerprint == load_sae(placed(str(arrays.path), HOOK)).fingerprint


def test_a_file_is_named_with_its_path(remote):
    made = plain(remote / "some/mine.safetensors", "TopK")
    spec = placed(f"hub:{REPO}/some/mine.safetensors", HOOK)
    sae = load_sae(spec)
    torch.testing.assert_close(sae.encode(X), made.encode(X), rtol=1e-4, atol=1e-4)
    assert (sae.info.id, sae.info.hook, sae.info.given_hooks) == (spec, HOOK, f"{HOOK}:{HOOK}")
    assert sae.fingerprint == load_sae(placed(str(made.path), HOOK)).fingerprint


def test_a_plain_file_becomes_a_transcoder_by_its_name(remote):
    plain(remote / "mine.npz")
    sae = load_sae(placed(f"hub:{REPO}/mine.npz", "blocks.3.hook_mlp_out", "blocks.3.mlp.hook_in"))
    assert sae.info.is_transcoder and (sae.info.hook, sae.info.hook_out) == (
        "blocks.3.mlp.hook_in",
        "blocks.3.hook_mlp_out",
    )


def test_a_checkpoint_finds_its_settings_one_folder_up(remote):
    made = learned(remote / "run", "AutoEncoder")
    (made.path / "checkpoints").mkdir()
    shutil.move(made.path / "ae.pt", made.path / "checkpoints" / "ae_500.pt")
    sae = load_sae(f"hub:{REPO}/run/checkpoints/ae_500.pt")
    torch.testing.assert_close(sae.encode(X), made.encode(X), rtol=1e-4, atol=1e-4)


def test_nothing_that_comes_from_the_hub_is_executed(remote, tmp_path, monkeypatch):
    monkeypatch.setenv("SAEEVAL_CANARY", str(tmp_path / "canary"))
    made = learned(remote / "a", "AutoEncoder")
    torch.save(Canary(), made.path / "ae.pt")
    assert "nothing in it was executed" in refused(lambda: load_sae(f"hub:{REPO}/a"))
    assert not (tmp_path / "canary").exists()


def test_what_is_not_there_costs_a_line_that_says_what_was_looked_for(remote):
    save_arrays(remote / "a" / "other.npz", {"x": rand(3).numpy()})
    line = refused(lambda: load_sae(f"hub:{REPO}/a"))
    assert "has no SAE at that path; expected one of sae_weights.safetensors, " in line and "params.npz" in line


def test_without_a_network_the_cache_is_used_and_else_the_line_says_so(remote, monkeypatch):
    made = scoped(remote / "b")
    whole = load_sae(f"hub:{REPO}/b")

    def offline(repo_id: str, filename: str, **_: object) -> str:
        found = remote.parent / "models--org--repo" / "snapshots" / "a1" / filename
        if not found.exists():
            raise LocalEntryNotFoundError("not in the cache")
        return str(found)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", offline)
    monkeypatch.setattr("saeeval_core.storage.hub._resolves", lambda endpoint: False)
    assert load_sae(f"hub:{REPO}/b").fingerprint == whole.fingerprint == load_sae(str(made.path)).fingerprint
    line = refused(lambda: load_sae(f"hub:{REPO}/c"))
    assert "not on this machine and the Hub cannot be reached" in line
