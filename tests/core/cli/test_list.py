"""The list of SAEs: one line each, narrowed by options, with the share that can be scored."""

import json

import pytest

from saeeval_core.config import DEFAULT_SAE
from saeeval_core.errors import ConfigError


@pytest.fixture
def listed(call, tmp_path):
    """Rows of the JSON and lines of the list."""

    def run(*options: str) -> tuple[list[dict], list[str]]:
        code, out, err = call("list", "saes", *options, "--json", str(tmp_path / "list.json"))
        assert code == 0, err
        return json.loads((tmp_path / "list.json").read_text()), out.splitlines()

    return run


def test_ids_stand_on_one_line_with_all_columns_and_the_share_below(listed):
    rows, lines = listed("--sae", "gemma-scope-2b-pt-res/*", "--width", "1m")
    assert list(rows[0]) == [
        *("sae", "where", "architecture", "hook", "writes", "latents", "L0", "GB", "expl. var.", "dead"),
        *("scorable", "reason"),
    ]
    assert len(lines) == len(rows) + 2
    for row, line in zip(rows, lines[1:], strict=False):
        assert line.startswith(f"{row['sae']} ") and row["hook"] in line
        assert row["scorable"] or row["reason"] in line
    assert lines[-1].startswith("13,823 of the 13,857 SAEs in SAELens's registry (99.75%) can be scored")
    assert "26: its decoder rows are sums" in lines[-1] and "8: the token embedding" in lines[-1]


def test_embeddings_are_listed_with_the_reason(listed):
    rows, lines = listed("--sae", "gemma-scope-2b-pt-res/embedding/*")
    assert rows and not any(row["scorable"] for row in rows)
    assert "no: the token embedding has no place in a block" in lines[1]


def test_the_bundled_model_by_its_name_on_the_hub_has_the_bundled_saes(listed):
    rows, _ = listed("--model", "HuggingFaceTB/SmolLM2-135M-Instruct")
    assert DEFAULT_SAE in [row["sae"] for row in rows]
    own = next(row for row in rows if row["sae"] == DEFAULT_SAE)
    assert (own["where"], own["latents"], own["writes"]) == ("bundled", 4096, own["hook"])
    assert own["expl. var."] > 0.5 and own["scorable"] is True and own["reason"] == ""


def test_filters_narrow_the_registry(listed):
    rows, _ = listed("--model", "gemma-3-270m", "--hook", "hook_z", "--architecture", "jumprelu", "--width", "4k-16k")
    assert rows and all(row["hook"].endswith("hook_z") and row["latents"] == 16384 for row in rows)


def test_folders_are_listed(listed, tiny_sae_dirs):
    rows, _ = listed("--sae", str(tiny_sae_dirs["topk"].parent))
    assert {row["sae"] for row in rows} == {str(folder) for folder in tiny_sae_dirs.values()}


def test_bad_filters_are_one_line(call):
    call.refuses("--width is 'wide'; give a number of latents", "list", "saes", "--width", "wide")
    call.refuses("nothing found for --hook nowhere --width 3", "list", "saes", "--hook", "nowhere", "--width", "3")
    call.refuses("--hook x narrows the list of SAEs; tasks are listed whole", "list", "tasks", "--hook", "x")


def test_a_glob_is_taken_wherever_an_sae_is(call, monkeypatch):
    given = []

    class Asked(ConfigError):
        pass

    def stop(config, *_: object, **__: object) -> None:
        given.append(config.saes)
        raise Asked("far enough")

    monkeypatch.setattr("saeeval_core.evaluation.prepare.prepare", stop)
    monkeypatch.setattr("saeeval_core.sweep.sweep.sweep", stop)
    for command in ("run", "sweep"):
        call.refuses("far enough", command, "--sae", "smollm2-*-topk-*", "--sae", "smollm2-*-standard-*")
    assert given == [(DEFAULT_SAE, "smollm2-135m-l15-standard-4k")] * 2
    call.refuses("names 4 SAEs", "judge", "--sae", "smollm2-*")
