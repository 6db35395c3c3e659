"""What a typed name stands for, before anything is loaded."""

import pytest

from saeeval_core.config import DEFAULT_SAE
from saeeval_core.errors import UnsupportedSAE
from saeeval_core.saes.asked import HubPlace, what_is
from saeeval_core.saes.registry import SaeInfo
from saeeval_core.saes.releases import RegistryRow


def test_every_kind_of_name(tiny_sae_dirs):
    folder = next(iter(tiny_sae_dirs.values()))
    assert isinstance(what_is(DEFAULT_SAE), SaeInfo) and isinstance(what_is(str(folder)), SaeInfo)
    for sep in "/:":
        row = what_is(f"gpt2-small-res-jb{sep}blocks.8.hook_resid_pre")
        assert isinstance(row, RegistryRow) and row.spec == "gpt2-small-res-jb/blocks.8.hook_resid_pre"
    assert what_is("hub:me/mine") == what_is("me/mine") == HubPlace("me/mine", "")
    assert what_is("hub:me/mine/a/b") == HubPlace("me/mine", "a/b")


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("hub:me", "expected hub:org/repo"),
        ("gpt2-small-res-jb/blocks.99.hook_resid_pre", "the release holds 1"),
        ("gemma-scope-2b", "nearest"),
        ("gpt2-small-res-jbb/x", "gpt2-small-res-jb"),
        ("./nowhere", "no folder"),
        ("", "unknown SAE"),
    ],
)
def test_a_name_of_nothing_says_what_is_near(spec, says):
    with pytest.raises(UnsupportedSAE, match=says) as error:
        what_is(spec)
    assert "\n" not in str(error.value)
