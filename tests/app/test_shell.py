"""The shell: pickers, run box, one clear error box, links, start without heavy libraries."""

import io
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from foreign_files import plain_arrays
from streamlit.testing.v1 import AppTest

from app.jobs import recording as recording_job
from app.services import access, picked
from app.services.access import Access
from app.widgets import keys
from saeeval_core.config import DTYPES, PRECISION, RunConfig
from saeeval_core.errors import UnsupportedSAE
from saeeval_core.ledger.connection import default_path
from saeeval_core.models.packages import PACKAGED, installed
from saeeval_core.saes import releases

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
    assert "256 latents" not in facts and "MB" in facts and "blocks.15.hook_resid_post" in facts and "bundled" in facts


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

    job = recording_job.RecordingJob(RunConfig(), status="running", step="reading", done=1, total=4, eta=3.0)
    monkeypatch.setattr(recording_job, "job_of", lambda config: job)
    test = page(planted_app, sae=str(folder))
    assert not test.exception and [b.label for b in test.button].count("Cancel") == 1
    test.button(key="w_cancel").click().run()
    assert not test.exception and test.button(key="w_cancel").disabled and job.cancelling
    job.carry_out(lambda: job.check("stopped; press Run to go on from here"))
    test = page(planted_app, sae=str(folder))
    assert "press Run to go on" in test.info[0].value and not test.error


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ({"sae": "gemma-scope-2b"}, "nearest"),
        ({"sae": "gpt2-small-res-jb/blocks.99.hook_resid_pre"}, "the release holds"),
        ({"model": "a/b/c"}, "Hub id"),
        ({"model": "/nowhere"}, "no folder"),
    ],
)
def test_a_name_that_stands_for_nothing_is_told_before_run(planted_app, url, says):
    test = page(planted_app, **url)
    (error,) = test.error
    assert says in error.value and not test.exception and "w_run" not in [b.key for b in test.button]


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


def test_an_sae_made_for_another_model_says_so(planted_app):
    test = page(planted_app, sae="gpt2-small-res-jb/blocks.8.hook_resid_pre")
    assert "made for gpt2" in test.sidebar.warning[0].value.replace("\\", "")


def assert_only_what_is_here(models: list[str]) -> None:
    """Other tests of this process may have recorded folders of their own."""
    named = [m for m in models if not Path(m).is_dir()]
    assert named == [*filter(installed, PACKAGED)]


def test_the_models_of_the_registry_are_offered_by_name(planted_app, monkeypatch):
    test = page(planted_app)
    box = test.sidebar.selectbox(key="w_model")
    assert box.options[0] == "smollm2-135m-instruct" and {"gpt2-small", "google/gemma-3-270m"} <= set(box.options)
    box.set_value("gpt2-small").run()
    assert not test.exception and test.session_state["view"]["model"] == "gpt2-small"
    assert "gpt2" in test.session_state["view"]["sae"]

    def gone() -> Path:
        raise UnsupportedSAE("SAELens's registry is not installed")

    releases.registry_models.cache_clear()
    monkeypatch.setattr(releases, "_registry_file", gone)
    try:
        assert_only_what_is_here(page(planted_app).sidebar.selectbox(key="w_model").options)
    finally:
        releases.registry_models.cache_clear()


def test_a_read_only_server_offers_only_what_is_here(planted_app):
    access.put(Access(read_only=True))
    try:
        test = page(planted_app)
        assert_only_what_is_here(test.sidebar.selectbox(key="w_model").options)
        assert picked.saes_on_offer("gpt2-small") == ()
    finally:
        access.put(Access())


def test_a_zipped_folder_becomes_the_sae(planted_app, assets, tmp_path):
    source, blob = next((assets / "saes").iterdir()), io.BytesIO()
    with zipfile.ZipFile(blob, "w") as archive:
        for file in source.iterdir():
            archive.write(file, f"mine/{file.name}")
    test = page(planted_app)
    test.sidebar.file_uploader(key="w_sae_zip").upload("mine.zip", blob.getvalue()).run()
    test.sidebar.button(key="w_sae_zip_use").click().run()
    assert not test.exception and Path(test.session_state["view"]["sae"]).name.startswith("mine-")
    assert list(default_path().parent.glob("saes/mine-*/cfg.json"))
    test.sidebar.file_uploader(key="w_sae_zip").upload("mine.zip", b"no zip").run()
    test.sidebar.button(key="w_sae_zip_use").click().run()
    assert "cannot be unpacked" in test.sidebar.error[0].value and not test.exception


def test_a_file_of_arrays_becomes_the_sae_at_the_hook_written_there(planted_app):
    blob = io.BytesIO()
    np.savez(blob, **plain_arrays(576, 64))
    test = page(planted_app)
    test.sidebar.file_uploader(key="w_sae_zip").upload("mine.npz", blob.getvalue()).run()
    test.sidebar.button(key="w_sae_zip_use").click().run()
    assert not test.exception and "names no hook" in test.sidebar.error[0].value
    test.sidebar.text_input(key="w_sae_hook").set_value("blocks.15.hook_resid_post").run()
    test.sidebar.button(key="w_sae_zip_use").click().run()
    sae = test.session_state["view"]["sae"]
    assert not test.exception and sae.endswith("mine.npz@blocks.15.hook_resid_post")
    facts = " ".join(h.value if hasattr(h, "value") else str(h) for h in test.sidebar.get("html"))
    assert "64 latents" in facts and "read as the plain form (mine.npz): ReLU" in facts
    # The link alone says the same.
    again = page(planted_app, sae=sae)
    assert not again.exception and not again.error and again.session_state["view"]["sae"] == sae


def test_a_link_to_a_file_of_an_earlier_version_says_so(planted_app):
    test = page(planted_app, task="own")
    assert not test.exception and "Your data" in test.error[0].value


def test_a_kept_task_is_in_the_task_box_of_every_session_and_opens_by_its_link(planted_app):
    from saeeval_core.texts.choices import TaskLabels
    from saeeval_core.texts.own import delete_task, keep_task
    from saeeval_core.texts.sources import load_task_set

    page(planted_app)
    texts = load_task_set("bios").texts
    labels = TaskLabels.read("profession=professor,teacher", "gender=female,male", "")
    made = keep_task("jobs", texts, labels, file_name="Jobs.csv")
    test = page(planted_app, task=made.ref)
    box = test.sidebar.selectbox(key="w_task")
    assert not test.exception and box.value == made.ref and any(o.startswith("jobs (kept here") for o in box.options)
    delete_task("jobs")
    test = page(planted_app, task=made.ref)
    assert not test.exception and "unknown own task" in test.error[0].value


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


def precision_box(test: AppTest):
    (box,) = [s for s in test.sidebar.selectbox if s.label == "Precision of the model"]
    return box


def test_half_precision_is_offered_with_the_change_it_makes(planted_app):
    test = page(planted_app)
    box = precision_box(test)
    assert box.options == list(DTYPES) and box.value == DTYPES[0] and box.help == PRECISION
    assert "dtype" not in test.query_params
    half = page(planted_app, dtype="bfloat16")
    assert precision_box(half).value == "bfloat16" and not half.exception
    assert "w_run" in [b.key for b in half.button], "nothing is recorded in it yet"
    assert precision_box(page(planted_app, dtype="int4")).value == DTYPES[0]


def test_a_talk_goes_from_view_to_view_and_has_a_visible_way_out():
    script = """
from app import state
from app.widgets import keys
state.restore()
keys.way_out("latents", {name: name.replace("_", " ") for name in keys.TOLD})
"""
    test = AppTest.from_string(script)
    test.query_params["present"] = "1"
    test.run()
    assert [b.label for b in test.button] == ["tpp matrix", "compare", "Leave (Esc)"]
    assert keys._beside("overview", -1) is None and keys._beside("your_data", 1) is None
    test.button(key="w_leave_present").click().run()
    assert not test.exception and not test.button
