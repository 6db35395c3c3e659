"""Globs and folders wherever an SAE is named."""

import pytest

from saeeval_core.config import DEFAULT_SAE
from saeeval_core.errors import UnsupportedSAE
from saeeval_core.saes.named import named_saes, one_sae
from saeeval_core.saes.registry import bundled_names


def test_what_is_no_glob_stands_for_itself_once():
    names = [DEFAULT_SAE, "hub:me/mine", "gpt2-small-res-jb/blocks.8.hook_resid_pre", "./nowhere", "", DEFAULT_SAE]
    assert named_saes(names) == names[:-1] and named_saes([]) == []


def test_a_glob_names_bundled_saes_releases_and_folders(tiny_sae_dirs):
    assert named_saes(["smollm2-*"]) == bundled_names()
    found = named_saes(["gemma-scope-2-270m-pt-res/*"])
    assert len(found) == 52 and all(name.startswith("gemma-scope-2-270m-pt-res/") for name in found)
    deep = named_saes(["gemma-scope-2b-pt-res/layer_12/*/average_l0_82"])
    assert deep == ["gemma-scope-2b-pt-res/layer_12/width_16k/average_l0_82"]
    assert named_saes(["gpt2-small-res-jb:blocks.8.*"]) == ["gpt2-small-res-jb/blocks.8.hook_resid_pre"]
    folder = tiny_sae_dirs["topk"]
    assert named_saes([f"{folder.parent}/*topk*"]) == sorted(
        str(f) for f in folder.parent.iterdir() if "topk" in f.name
    )


def test_a_folder_of_saes_names_every_sae_below_it(tiny_sae_dirs, tmp_path):
    folder = tiny_sae_dirs["topk"]
    assert named_saes([str(folder)]) == [str(folder)]
    deeper = tmp_path / "a" / "b"
    deeper.parent.mkdir()
    deeper.symlink_to(folder)
    assert named_saes([str(tmp_path)]) == [str(deeper)]
    empty = tmp_path / "a" / "nothing"
    empty.mkdir()
    assert named_saes([str(empty)]) == [str(empty)], "who loads it says what it lacks"


def test_what_can_be_scored_nowhere_is_left_out_and_said(capsys):
    found = named_saes(["gemma-scope-2b-pt-res*"])
    every = named_saes(["gemma-scope-2b-pt-res*"], inexact=True)
    assert len(every) - len(found) == 4 and not any("embedding" in name for name in found)
    assert "4 of 374 SAEs matching 'gemma-scope-2b-pt-res*' left out: the token embedding" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("gemma-scop-2b*", "nearest: gemma-scope-2b"),
        ("mntss-*", "none of the 26 can be scored: its decoder rows are sums"),
    ],
)
def test_a_glob_of_nothing_is_one_line(name, says):
    with pytest.raises(UnsupportedSAE, match=says) as error:
        named_saes([name])
    assert "\n" not in str(error.value)


def test_where_one_is_wanted_several_are_refused():
    assert one_sae(DEFAULT_SAE) == DEFAULT_SAE and one_sae("smollm2-*-topk-4k") == DEFAULT_SAE
    with pytest.raises(UnsupportedSAE, match=r"names 4 SAEs \(smollm2-135m-l15-jumprelu-4k, .*name one"):
        one_sae("smollm2-*")
