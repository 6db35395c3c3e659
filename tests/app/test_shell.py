"""The shell: pickers, run box, one clear error box, links, start without heavy libraries."""

import subprocess
import sys
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from app.jobs import recording as recording_job

ROOT = Path(__file__).resolve().parents[2]


def page(planted_app, **url: str) -> AppTest:
    """The whole main script, on the planted bundle of ``planted_app``."""
    test = AppTest.from_file(str(ROOT / "app" / "main.py"), default_timeout=30)
    for name, value in url.items():
        test.query_params[name] = value
    return test.run()


def test_opens_on_the_default_with_facts_in_the_sidebar(planted_app):
    test = page(planted_app)
    assert not test.exception and not test.error
    assert test.sidebar.selectbox(key="w_model").value == "smollm2-135m-instruct"
    facts = " ".join(h.value if hasattr(h, "value") else str(h) for h in test.sidebar.get("html"))
    assert "256 latents" in facts and "blocks.15.hook_resid_post" in facts and "bundled" in facts


def test_an_unknown_sae_in_a_link_is_one_clear_box(planted_app):
    test = page(planted_app, sae="./nowhere")
    assert not test.exception
    assert [e.value for e in test.error][0].count("\n") == 0 and "nowhere" in test.error[0].value


def test_what_was_not_recorded_offers_a_run(planted_app, assets, tmp_path, monkeypatch):
    import shutil

    folder = tmp_path / "copy-of-the-sae"
    shutil.copytree(next((assets / "saes").iterdir()), folder)
    weights = folder / "sae_weights.safetensors"
    from safetensors.numpy import load_file, save_file

    save_file({"W_dec": load_file(weights)["W_dec"] * 2}, weights)
    test = page(planted_app, sae=str(folder))
    assert not test.exception and not test.error
    assert test.button(key="w_run_main").label == "Run"

    class Running:
        """A run that goes on while the page is drawn."""

        active, error, done, total, eta, step = True, None, 1, 4, 3.0, "reading"

    monkeypatch.setattr(recording_job, "job_of", lambda config: Running)
    test = page(planted_app, sae=str(folder))
    assert not test.exception and [b.label for b in test.button].count("Cancel") == 2  # in the sidebar and on the page


def test_a_probe_hook_that_is_not_exact_is_one_clear_box_and_can_be_left(planted_app):
    test = page(planted_app, probe="blocks.15.hook_mlp_out")
    line = test.error[0].value.replace("\\", "")
    assert not test.exception and "exact probe hooks: blocks.15.hook_resid_post" in line
    (box,) = [s for s in test.sidebar.selectbox if s.label == "Probe hook"]
    assert box.value == "blocks.15.hook_mlp_out" and "15.hook_resid_post" in box.options
    test = box.select("blocks.15.hook_resid_post").run()
    assert not test.exception and not test.error and "probe" not in test.query_params


def test_a_probe_hook_is_offered_only_where_there_are_several_exact_ones(planted_app, monkeypatch):
    assert "Probe hook" not in [s.label for s in page(planted_app).sidebar.selectbox]
    two = ("blocks.15.hook_resid_post", "blocks.15.hook_resid_mid")
    monkeypatch.setattr("app.widgets.pickers.offered_probes", lambda *_: two)
    test = page(planted_app)
    (box,) = [s for s in test.sidebar.selectbox if s.label == "Probe hook"]
    assert box.options == [h.removeprefix("blocks.") for h in two] and box.value == two[0], (
        "the hook that the SAE reads"
    )


def test_a_link_to_somebody_elses_file_says_so(planted_app):
    test = page(planted_app, task="own")
    assert not test.exception and "another session" in test.error[0].value


def test_the_task_box_shows_a_task_that_was_chosen_elsewhere(planted_app):
    test = page(planted_app)
    assert test.sidebar.selectbox(key="w_task").value == "bios"
    test.session_state["own_texts"] = {"texts": "mine.csv", "text_column": "text"}
    test.session_state["view"] = {**test.session_state["view"], "task": "own"}
    assert test.run().sidebar.selectbox(key="w_task").value == "own"


def test_who_is_deciding_is_kept_and_not_in_the_url(planted_app):
    test = page(planted_app)
    test.sidebar.text_input(key="w_who").set_value("Ada").run()
    assert test.session_state["who"] == "Ada" and "who" not in test.query_params


@pytest.mark.parametrize("module", ["app.shell", "app.views.shift_lab", "app.views.overview", "app.launch"])
def test_starting_loads_no_language_model_library(module):
    code = f"import {module}, sys; print([m for m in ('torch', 'transformers', 'transformer_lens', 'sae_lens') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert out.stdout.strip().splitlines()[-1] == "[]"


def test_the_two_places_with_server_settings_agree():
    import tomllib

    from app.launch import OPTIONS

    stored = tomllib.loads((ROOT / "app/.streamlit/config.toml").read_text())
    flat = {}
    for section, values in stored.items():
        for k, v in values.items():
            flat |= (
                {f"{section}.{k}.{kk}": vv for kk, vv in v.items()} if isinstance(v, dict) else {f"{section}.{k}": v}
            )
    assert flat == OPTIONS
