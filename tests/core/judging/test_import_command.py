"""From a file or a service to the store: identity of the SAE, what is stored, what is refused, and the two commands."""

import json
from pathlib import Path

import pytest
from test_judging_neuronpedia import FOLDER, packed, row, serve  # noqa: F401
from typer.testing import CliRunner

from saeeval_core.cli.main import app
from saeeval_core.errors import ConfigError, DataError
from saeeval_core.judging.agreement import agreement_command
from saeeval_core.judging.import_command import import_command
from saeeval_core.ledger.store import Store
from saeeval_core.ledger.verdicts import Verdict
from saeeval_core.recordings.known_saes import identify
from saeeval_core.recordings.recording import LatentHeader, RecordingKey
from saeeval_core.saes.local import file_fingerprint, inspect_sae

ROWS = "latent,explanation,rater,rating:nurse,rating:gender\n1,pronouns,ann,0,4\n2,clinic,ann,3,\n1,she,bob,1,4\n2,ward,bob,4,0\n"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "s.sqlite")


@pytest.fixture
def sae(tiny_sae_dirs) -> str:
    return str(tiny_sae_dirs["topk"])


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "ratings.csv"
    path.write_text(ROWS)
    return path


def test_a_file_is_stored_as_imported_and_only_once(store: Store, sae: str, table: Path) -> None:
    found = import_command(str(table), sae, task="bios", store=store)
    assert (found.rows, found.new, found.latents, found.raters) == (4, 4, 2, {"ann": 2, "bob": 2})
    assert (found.concepts, found.rated, found.tasks) == (["gender", "nurse"], 4, ["bios"])
    assert import_command(str(table), sae, task="bios", store=store).new == 0
    table.write_text(ROWS.replace("pronouns", "feminine pronouns"))
    assert import_command(str(table), sae, task="bios", store=store).new == 1
    kept = store.verdicts(found.sae_fingerprint, latent=1, rater="ann")[0]
    assert (kept.explanation, kept.rater_kind, kept.ratings) == (
        "feminine pronouns",
        "imported",
        {"nurse": 0, "gender": 4},
    )


def test_an_import_never_speaks_for_a_person_or_a_judge(store: Store, sae: str, table: Path) -> None:
    own = str(file_fingerprint(inspect_sae(sae)))
    store.add_verdicts([Verdict(1, own, sae, "bios", "bob", "human", {"gender": 0})])
    with pytest.raises(DataError, match="rater 'bob' already has verdicts here of kind human"):
        import_command(str(table), sae, store=store)
    assert store.verdicts(own, rater="ann") == []


def test_rows_about_another_sae_store_nothing(store: Store, sae: str, table: Path) -> None:
    table.write_text("latent,explanation\n1,x\n32,y\n")
    with pytest.raises(DataError, match="names latent 32, but .* has 32 latents: it is about another SAE"):
        import_command(str(table), sae, store=store)
    assert store.verdicts(str(file_fingerprint(inspect_sae(sae)))) == []


def test_a_hub_sae_is_known_from_its_recording_and_the_registry(serve, store: Store, monkeypatch) -> None:  # noqa: F811
    spec = "gpt2-small-res-jb/blocks.0.hook_resid_pre"
    latents = LatentHeader(spec, "print", "pass", (10, 4), {}, True, {})
    key = RecordingKey("gpt2", "stamp", "float32", "blocks.0.hook_resid_pre", "texts")
    monkeypatch.setattr("saeeval_core.recordings.known_saes.recorded_latents", lambda: [latents])
    monkeypatch.setattr("saeeval_core.recordings.known_saes.recorded_passes", lambda: {"pass": key})
    known = identify(spec)
    assert (known.fingerprint, known.n_latents, known.neuronpedia_id) == ("print", 4, "gpt2-small/0-res-jb")
    assert known.hook == "blocks.0.hook_resid_pre"
    url = serve({f"{FOLDER}/batch-0.jsonl.gz": packed(row("3", "dates"), row("0", "names"))})
    found = import_command("neuronpedia", spec, store=store, base_url=url)
    assert (found.new, found.rated, found.raters) == (2, 0, {"Neuronpedia (m)": 2})
    assert [(v.latent, v.explanation, v.task) for v in store.verdicts("print")] == [(0, "names", ""), (3, "dates", "")]
    assert len(store.verdicts("print", task="bios")) == 2  # about the SAE as such, so shown with every task


def test_an_sae_without_a_neuronpedia_id_says_what_to_do(store: Store, sae: str) -> None:
    with pytest.raises(DataError, match="has no neuronpedia id; import explanations from a CSV or JSONL file"):
        import_command("neuronpedia", sae, store=store)


def test_imported_raters_are_compared_for_one_task(store: Store, sae: str, table: Path) -> None:
    import_command(str(table), sae, task="bios", store=store)
    import_command(str(table), sae, task="news", store=store)
    found = agreement_command(sae=sae, task="bios", store=store, resamples=20).to_dict()
    (pair,) = found["pairs"]
    assert (found["task"], pair["n"], pair["exact"], found["interval"]["resamples"]) == (
        "bios",
        3,
        pytest.approx(1 / 3),
        20,
    )
    with pytest.raises(DataError, match="needs two raters"):
        agreement_command(sae=sae, task="reviews", store=store)


def test_the_commands(sae: str, table: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("SAEEVAL_STORE", str(tmp_path / "cli.sqlite"))
    run = CliRunner().invoke
    done = run(
        app, ["import-explanations", str(table), "--sae", sae, "--task", "bios", "--json", str(tmp_path / "i.json")]
    )
    assert done.exit_code == 0
    written = json.loads((tmp_path / "i.json").read_text())
    assert written.pop("sae_fingerprint") and written == {
        "source": str(table),
        "sae": sae,
        "rows": 4,
        "new": 4,
        "latents": 2,
        "raters": {"ann": 2, "bob": 2},
        "tasks": ["bios"],
        "rated": 4,
        "concepts": ["gender", "nurse"],
    }
    out = tmp_path / "a.json"
    done = run(app, ["agreement", "--sae", sae, "--task", "bios", "--resamples", "10", "--json", str(out)])
    assert done.exit_code == 0
    written = json.loads(out.read_text())
    assert written["interval"] == {"level": 0.95, "unit": "latents", "resamples": 10}
    about = {"source", "sae", "sae_fingerprint", "task", "missing_ratings", "interval", "raters", "pairs"}
    assert set(written) == about | {"krippendorff_alpha"} and (written["source"], written["task"]) == ("store", "bios")
    assert set(written["pairs"][0]["by_concept"]) == {"nurse", "gender"}
    assert set(written["krippendorff_alpha"]) == {"ordinal", "interval"}
    wrong = run(app, ["agreement", "--labels", str(table), "--task", "bios"])
    assert isinstance(wrong.exception, ConfigError)
