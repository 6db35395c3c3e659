"""The steering hook of the set on screen: what goes into the ZIP, and what the page offers."""

import io
import zipfile
from types import SimpleNamespace

import pytest
from viewing import opened, view

from app.deciding.desk import shift_place
from app.jobs import live_model, steering
from app.services import ledger, scoring
from saeeval_core.config import RunConfig
from saeeval_core.errors import UnsupportedSAE
from saeeval_core.holding import export as export_module
from saeeval_core.holding import follow
from saeeval_core.ledger.places import new_set


@pytest.fixture
def loaded(planted_app):
    """The planted bundle, as views get it."""
    return opened(RunConfig())


@pytest.fixture
def exported(monkeypatch):
    """(edit, about) of every export; no model is loaded."""
    seen = []

    def export(model, edit, folder, about):
        seen.append((edit, about))
        (folder / "steering_hook.py").write_text("hook")
        return [folder / "steering_hook.py"]

    monkeypatch.setattr(live_model, "_model", lambda *_: SimpleNamespace(name="a model"))
    monkeypatch.setattr(live_model, "_sae", lambda _: SimpleNamespace(info=SimpleNamespace(id="an SAE")))
    monkeypatch.setattr(follow, "edit_of", lambda model, sae, evaluation, latents, asked: asked)
    monkeypatch.setattr(export_module, "export_hook", export)
    return seen


def test_the_zip_holds_what_the_command_writes(loaded, exported):
    direction = scoring.shift_directions(loaded)[0]
    made = steering.zipped(loaded, direction, (5, 17), "mean")
    asked, about = exported[0]
    assert zipfile.ZipFile(io.BytesIO(made)).read("steering_hook.py") == b"hook"
    assert asked.ids == (5, 17) and asked.ablation == "mean" and asked.direction is direction
    assert about == {"model": "a model", "sae": "an SAE", "ablation": "mean", "pair": direction.name}


def test_it_is_offered_for_the_set_that_it_was_made_for(loaded, exported, monkeypatch):
    pair = scoring.shift_directions(loaded)[0].pair
    place = shift_place(loaded, scoring.default_direction(loaded, pair))
    mine = new_set(ledger.store(), place, "Ada", "mine")
    test = view("shift_lab", {"pair": pair}, {"who": "Ada"})
    test.button(key="w_steer").click().run()
    assert "the set is empty" in test.error[0].value and not exported
    ledger.store().decide(mine.id, "Ada", {5: "ablate"})
    test.button(key="w_steer").click().run()
    assert not test.exception and not test.error and exported[0][0].ids == (5,)
    assert any("Steering hook" in d.label for d in test.get("download_button"))
    ledger.store().decide(mine.id, "Ada", {6: "ablate"})
    test.run()
    assert not any("Steering hook" in d.label for d in test.get("download_button"))

    def refuse(*_):
        raise UnsupportedSAE("this SAE cannot be written as a hook")

    monkeypatch.setattr(export_module, "export_hook", refuse)
    test.button(key="w_steer").click().run()
    assert "cannot be written as a hook" in test.error[0].value
