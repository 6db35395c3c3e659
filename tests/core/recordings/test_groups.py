"""SAEs that do not fit together: groups over kept activations, or with a second pass, give what one pass gives."""

from dataclasses import replace

import numpy as np
import pytest
from toys import save_tiny_sae

from saeeval_core.config import RunConfig
from saeeval_core.models.language_model import LanguageModel
from saeeval_core.recordings import obtain
from saeeval_core.recordings.obtain import make_recordings, task_set_of
from saeeval_core.storage.kept import RECORDINGS

LABELS = {"target": "profession=nurse,surgeon", "spurious": "gender=female,male"}


@pytest.fixture
def asked(tiny_model_dir, tiny_texts_file, tmp_path) -> RunConfig:
    saes = [save_tiny_sae(tmp_path / f"sae{i}", "topk", seed=i, hook=f"blocks.{i}.hook_resid_post") for i in range(2)]
    return RunConfig(str(tiny_model_dir), tuple(map(str, saes)), "", str(tiny_texts_file), **LABELS, device="cpu")


def recorded(asked, monkeypatch, cache, groups: bool, keeps: bool = False) -> tuple[object, int, list[tuple[int, int]]]:
    """(what was recorded, batches that the model's own blocks read, progress that was told)."""
    monkeypatch.setenv("SAEEVAL_CACHE", str(cache / f"{groups}{keeps}"))
    own, calls, heard = LanguageModel._plain_activations, [], []

    def counted(self, ids, *rest):
        if ids.shape[1] > 2:
            calls.append(ids.shape)
        return own(self, ids, *rest)

    def planned(*args, **named):
        found = plan(*args, **named)
        together = (asked.saes,) if not groups else tuple((sae,) for sae in asked.saes)
        return replace(found, groups=together, keeps_activations=keeps)

    plan = obtain.plan
    with monkeypatch.context() as patch:
        patch.setattr(LanguageModel, "_plain_activations", counted)
        patch.setattr(obtain, "plan", planned)
        made = make_recordings(
            asked, task_set_of(asked), asked.saes, on_progress=lambda p: heard.append((p.done, p.total))
        )
    return made, len(calls), heard


def test_groups_give_what_one_pass_gives(asked, monkeypatch, cache):
    whole, once, heard = recorded(asked, monkeypatch, cache, groups=False)
    kept, still_once, told = recorded(asked, monkeypatch, cache, groups=True, keeps=True)
    again, twice, _ = recorded(asked, monkeypatch, cache, groups=True)
    for made in (kept, again):
        assert list(made.residuals) == list(whole.residuals)
        for hook, residuals in whole.residuals.items():
            np.testing.assert_array_equal(made.residuals[hook].residuals, residuals.residuals)
        for own, other in zip(whole.latents, made.latents, strict=True):
            assert own.fingerprint == other.fingerprint and own.unsupervised == other.unsupervised
            assert (own.latents != other.latents).nnz == 0
    assert still_once == once < twice, "the model reads the texts once more only where nothing is kept"
    assert told[-1][0] == told[-1][1] == 2 * heard[-1][1] and told[0][0] < told[0][1]
    assert not list((RECORDINGS.own / "partial").glob("activations-*")), "what was kept is gone afterwards"
