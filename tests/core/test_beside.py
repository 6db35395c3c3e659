"""Controls and refits beside the scores of a run: what is added, and that it says what the scores say."""

import io

import numpy as np
import pytest
from rich.console import Console

from saeeval_core import beside, pipeline
from saeeval_core.config import RunConfig, cache_dir, headline_n
from saeeval_core.errors import ConfigError
from saeeval_core.small_n import RECOMMENDED
from saeeval_core.tables import print_run

LABELS = {"target": "profession=nurse,surgeon", "spurious": "gender=female,male", "classes": "meal=tea,soup,bread"}


@pytest.fixture(scope="module")
def prepared(tiny_model_dir, tiny_sae_dirs, tiny_texts_file, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SAEEVAL_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr("saeeval_core.probes.C_GRID", np.array([0.1, 1.0]))
        config = RunConfig(
            model=str(tiny_model_dir),
            saes=(str(tiny_sae_dirs["topk"]), str(tiny_sae_dirs["standard"])),
            task="", texts=str(tiny_texts_file), ns=(1, 5),
            resamples=50, device="cpu", **LABELS,
        )  # fmt: skip
        yield pipeline.prepare(config)


@pytest.fixture(scope="module")
def result(prepared):
    found = pipeline.score(prepared)
    beside.add_controls(prepared, found)
    beside.add_refits(prepared, found)
    return found


def test_every_score_shown_has_its_controls(result):
    row = result["results"][0]
    places = {(c["metric"], c["variant"], c["n"]) for c in row["controls"]}
    for metric in ("shift", "tpp"):
        assert (metric, RECOMMENDED, None) in places
        assert {(metric, "top-N", n) for n in (1, 5)} <= places
        assert not {p for p in places if p[0] == metric and p[2] in (2, 3, 10, 20)}  # N nobody asked for
    names = {c["name"] for c in row["controls"]}
    assert names == set(result["controls"]) == {
        "random latents", "random decoder", "permuted decoder", "pca", "residual basis", "leace",
    }  # fmt: skip


def test_a_warning_is_there_exactly_when_a_headline_is_not_above_a_control(result):
    row = result["results"][0]
    expected = 0
    for metric in ("shift", "tpp"):
        area = row[metric]["small_n_area"]["test"]
        cells = row["shift"]["aggregate"] if metric == "shift" else row["tpp"]["by_n"]
        at = {c["n"]: c["test"]["score"] for c in cells}
        for variant, n, score in ((RECOMMENDED, None, area.get("score", area.get("value"))), ("top-N", 5, at[5])):
            for c in row["controls"]:
                if (c["metric"], c["variant"], c["n"]) == (metric, variant, n) and c["name"] != "leace":
                    expected += score is not None and c["value"] is not None and score <= c["value"]
    assert len(row["warnings"]) == expected
    assert all("not above its control" in line for line in row["warnings"])


def test_refits_keep_the_values_and_name_their_level(result):
    row = result["results"][0]
    for metric, cells in (("shift", row["shift"]["aggregate"]), ("tpp", row["tpp"]["by_n"])):
        found = row[metric]["refits"]
        assert found["level"] == "train and test texts" and found["refits"] == 20
        for own, cell in zip(found["by_n"], cells, strict=True):
            assert own["n"] == cell["n"]
            assert own["value"] == pytest.approx(cell["test"]["score"]) if cell["test"]["score"] is not None else own["value"] is None


def test_the_terminal_shows_controls_warnings_and_refits(result):
    console = Console(width=100, record=True, file=io.StringIO())
    print_run(console, result)
    text = " ".join(console.export_text().split())
    assert "permuted decoder" in text and "train and test texts, 20 refits" in text
    for line in result["results"][0]["warnings"]:
        assert " ".join(line.split())[:60] in text


def test_deleted_words_are_listed(prepared):
    found = pipeline.score(prepared)
    beside.add_controls(prepared, found, deletion=True)
    words = found["probes"]["deleted_words"]
    assert len(words) == 2 and all(0 < len(w["words"]) <= 20 for w in words.values())
    assert "word deletion" in {c["name"] for c in found["results"][0]["controls"]}


def test_refits_of_another_selection_are_refused(prepared):
    found = pipeline.score(prepared)
    found["results"][0]["selection"] = "judge"
    with pytest.raises(ConfigError, match="--select at attribution"):
        beside.add_refits(prepared, found)


def test_the_headline_is_ten_or_what_is_nearest_below():
    assert [headline_n(ns) for ns in ((1, 2, 10, 20), (2, 5), (50, 20))] == [10, 5, 20]


def test_two_saes_are_compared_over_the_same_refits(result):
    found = {d["metric"]: d for d in result["refit_differences"]}
    assert set(found) == {"shift", "tpp"}
    for metric, d in found.items():
        a, b = (row[metric]["refits"]["small_n_area"]["value"] for row in result["results"])
        if a is None or b is None:
            assert d["value"] is None and d["reason"]
        else:
            assert d["value"] == pytest.approx(a - b) and d["ci"][0] <= d["ci"][1]


def test_controls_are_kept_and_a_damaged_file_is_made_again(prepared, capsys):
    latents = prepared.recordings.latents[0]
    first = beside.controls_of(prepared, latents)
    path = cache_dir() / "recordings" / f"{beside.controls_name(prepared, latents)}.json"
    assert beside.kept_controls(prepared, latents) == first
    path.write_text("[{")
    assert beside.controls_of(prepared, latents) == first
    assert "ignored and made again" in capsys.readouterr().err
    assert beside.kept_controls(prepared, latents) == first
