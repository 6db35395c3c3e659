"""Sweeps: every SAE is rows or one failed row, one pass per hook, resumed, typed the same in JSON and CSV."""

import csv
import io
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from saeeval_core.config import RunConfig, cache_dir
from saeeval_core.evaluation.result_json import to_json
from saeeval_core.evaluation.score import run
from saeeval_core.formats.saebench_files import load_rows
from saeeval_core.scores.area import RECOMMENDED
from saeeval_core.scores.selections import NOTHING_PASSED, Selected
from saeeval_core.sweep import summary as sweep_summary
from saeeval_core.sweep import sweep
from saeeval_core.sweep.columns import BLANK, ScoreRow
from saeeval_core.sweep.rows import JudgedSelection, Scorer, Unit, display_name
from saeeval_core.sweep.summary import rank_agreement, to_csv
from saeeval_core.sweep.sweep import SweepConfig

LABELS = {"target": "profession=nurse,surgeon", "spurious": "gender=female,male", "classes": "meal=tea,soup,bread"}


@pytest.fixture(scope="module")
def own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SAEEVAL_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def config(tiny_model_dir, tiny_sae_dirs, tiny_texts_file) -> SweepConfig:
    texts = RunConfig(task="", texts=str(tiny_texts_file), resamples=60, **LABELS)
    saes = (str(tiny_sae_dirs["topk"]), str(tiny_sae_dirs["standard"]), "/no/such/sae")
    return SweepConfig(saes, tasks=("toys",), ns=(1, 2, 20), model=str(tiny_model_dir), device="cpu", own_texts=texts)


@pytest.fixture(scope="module")
def passes() -> list:
    return []


@pytest.fixture(scope="module")
def result(config, own_cache, passes, tmp_path_factory) -> dict:
    from saeeval_core.recordings import recorder

    original = recorder.record_pass
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recorder, "record_pass", lambda *a, **k: passes.append(len(a[4])) or original(*a, **k))
        folder = tmp_path_factory.mktemp("out")
        found = sweep.sweep(config, folder / "a.json", folder / "a.csv")
    for stored, row in zip(load_rows(folder / "a.json"), found["rows"], strict=True):
        assert asdict(stored) == {k: pytest.approx(v, abs=1e-5) if isinstance(v, float) else v for k, v in row.items()}
    text = (folder / "a.json").read_text()
    assert str(Path(config.saes[0]).parent) not in text and str(config.model) not in text
    with (folder / "a.csv").open() as file:
        assert len(list(csv.DictReader(file))) == len(found["rows"])
    return found


def test_one_pass_for_all_saes_of_a_hook(result, passes):
    assert passes == [2]


def test_every_row_has_every_column(result):
    assert all(set(r) == set(BLANK) for r in result["rows"])


def test_a_failed_sae_is_one_row_with_its_message(result):
    (row,) = [r for r in result["rows"] if r["status"] == "failed"]
    assert row["sae"] == "/no/such/sae" and row["error"] and row["node"] is row["value"] is None


def test_scores_come_with_intervals_or_a_reason(result):
    scored = [r for r in result["rows"] if r["status"] == "ok"]
    assert {r["metric"] for r in scored} == {"shift", "tpp"}
    for r in scored:
        assert (r["value"] is None) == (r["ci_low"] is None)
        assert r["value"] is not None or r["reason"]
    variants = {r["variant"] for r in scored if r["role"] == "sae" and r["scope"] == "all"}
    assert variants == {"top-N", "mean ablation", "small-N area", "mean ablation, small-N area", "selective erasure"}


def test_e_is_a_row_of_shift_with_the_value_that_stands_beside_s(result):
    rows = [r for r in result["rows"] if r["variant"] == "selective erasure"]
    saes = {r["sae"] for r in result["rows"] if r["role"] == "sae" and r["status"] == "ok"}
    assert {r["sae"] for r in rows if r["role"] == "sae"} == saes and {r["metric"] for r in rows} == {"shift"}
    assert {"random decoder", "permuted decoder", "pca"} <= {r["control"] for r in rows}
    beside = {(r["sae"], r["n"]): r for r in result["rows"] if r["metric"] == "shift" and r["selective_erasure"]}
    for r in (r for r in rows if r["role"] == "sae"):
        assert r["value"] == pytest.approx(beside[r["sae"], r["n"]]["selective_erasure"])
    assert any(d["variant"] == "selective erasure" for d in result["differences"])


def test_controls_of_every_sae_and_bases_once(result):
    names = [
        r["sae"]
        for r in result["rows"]
        if r["role"] == "control" and r["metric"] == "tpp" and r["variant"] == "top-N" and r["n"] == 1
    ]
    assert len(names) == len(set(names)) == 2 * 3 + 2


def test_random_latents_stand_beside_every_sae_with_their_range(result):
    rows = result["rows"]
    own = [r for r in rows if r["control"] == "random latents"]
    assert {r["of"] for r in own} == {r["sae"] for r in rows if r["role"] == "sae" and r["status"] == "ok"}
    assert {r["metric"] for r in own} == {"shift", "tpp"} and {r["level"] for r in own} == {"range of 20 draws"}
    for r in own:
        assert (r["value"] is None) == (r["ci_low"] is None)
        assert r["value"] is None or r["ci_low"] <= r["value"] <= r["ci_high"]


def test_leace_stands_beside_every_n_and_variant(result):
    rows = [r for r in result["rows"] if r["control"] == "leace"]
    assert {(r["variant"], r["n"]) for r in rows} == {
        (r["variant"], r["n"])
        for r in result["rows"]
        if r["metric"] == "shift" and r["scope"] == "all" and r["variant"] != "selective erasure"
    }
    assert len({r["value"] for r in rows}) == 1 and rows[0]["value"] is not None


def test_scores_equal_those_of_run(result, config, own_cache):
    single = to_json(run(config.run_config("toys", "robust", config.saes[:1])))
    expected = single["results"][0]["shift"]["aggregate"][0]["test"]
    (row,) = [
        r
        for r in result["rows"]
        if r["sae"] == display_name(config.saes[0])
        and r["metric"] == "shift"
        and r["variant"] == "top-N"
        and r["scope"] == "all"
        and r["n"] == 1
    ]
    assert row["value"] == expected["score"] and row["pairs"] == expected["pairs"]
    cell = single["results"][0]["tpp"]["by_n"][0]["test"]
    (row,) = [
        r
        for r in result["rows"]
        if r["sae"] == display_name(config.saes[0]) and r["metric"] == "tpp" and r["variant"] == "top-N" and r["n"] == 1
    ]
    assert row["value"] == cell["score"]


def test_differences_carry_their_words(result):
    assert result["differences"]
    for d in result["differences"]:
        assert d["ci_low"] <= d["value"] <= d["ci_high"]
        assert d["separable"] == ("not separable" not in d["words"])
        assert d["half_width"] == pytest.approx((d["ci_high"] - d["ci_low"]) / 2)


def test_a_second_sweep_reuses_finished_units(result, config, own_cache, monkeypatch):
    monkeypatch.setattr(Scorer, "unit", lambda *_a, **_k: pytest.fail("scored again"))
    assert sweep.sweep(config)["rows"] == result["rows"]


def test_precision_and_kernel_reach_the_pass_and_are_named(config, result, own_cache, monkeypatch):
    assert {(r["dtype"], r["kernel"] != "") for r in result["rows"] if r["status"] == "ok"} == {("float32", True)}
    half = replace(config, saes=config.saes[:1], metrics=("tpp",), controls=False, dtype="bfloat16", kernel="default")
    found = sweep.sweep(half)
    assert {(r["dtype"], r["kernel"]) for r in found["rows"]} == {("bfloat16", "default")}
    assert found["config"]["dtype"] == "bfloat16" and found["config"]["kernel"] == "default"
    same = [r["fingerprint"] for r in result["rows"] if r["status"] == "ok"]
    assert not {r["fingerprint"] for r in found["rows"]} & set(same), "another unit"


class _OneOrNone:
    """The strongest latent in place of the first direction seen; nothing in the other ones."""

    def __init__(self):
        self.first = None

    def shift(self, view, ns):
        self.first = self.first or view.board.task.direction
        ids = (int(view.attribute_ranking[0]),) if view.board.task.direction == self.first else ()
        return [Selected(n, ids, "ok" if ids else NOTHING_PASSED, 1, 0, 0) for n in ns]

    def tpp(self, view, ns):
        return [[Selected(n, tuple(int(i) for i in r[:1]), "ok", 1, 0, 0) for n in ns] for r in view.rankings]


def test_judged_selections_are_rows_with_the_judge(config, own_cache):
    one = JudgedSelection("judge", "Tester (local)", lambda _t, _l: _OneOrNone(), lambda _l: "v1")
    found = sweep.sweep(replace(config, saes=config.saes[:1], controls=False, selections=(one,)))
    judged = [r for r in found["rows"] if r["selection"] == "judge"]
    assert {r["judge"] for r in judged} == {"Tester (local)"} and {r["metric"] for r in judged} == {"shift", "tpp"}
    # A direction in which nothing is selected is left out; it does not count as 0.
    shift = next(r for r in judged if r["metric"] == "shift" and r["variant"] == "top-N" and r["n"] == 1)
    (own,) = [
        r
        for r in found["rows"]
        if r["metric"] == "shift" and r["n"] == 1 and r["scope"] != "all" and r["value"] == shift["value"]
    ][:1]
    assert own["selection"] == "attribution" and shift["left_out"] >= 1


def test_word_deletion_and_loss_recovered_on_request(config, own_cache, monkeypatch):
    from saeeval_core.controls import deletion
    from saeeval_core.sweep import loss_recovered

    passes = []
    original = deletion._record
    monkeypatch.setattr(deletion, "_record", lambda *a: passes.append(len(a[2])) or original(*a))
    wanted = replace(config, saes=config.saes[:1], deletion=True, loss_recovered=True, by_direction=False)
    found = sweep.sweep(wanted)
    deleted = [r for r in found["rows"] if r["control"] == "word deletion"]
    assert deleted and len(passes) == 1 and {r["metric"] for r in deleted} == {"shift"}
    assert {r["scope"] for r in found["rows"]} == {"all"}
    sae = [r for r in found["rows"] if r["role"] == "sae"]
    assert all(r["loss_recovered"] is not None for r in sae)
    monkeypatch.setattr(deletion, "_record", lambda *_a: pytest.fail("read again"))
    monkeypatch.setattr(loss_recovered, "loss_recovered", lambda *_a: pytest.fail("measured again"))
    assert sweep.sweep(wanted)["rows"] == found["rows"]


def test_a_bundled_task_is_cut_to_the_texts_asked_for(tmp_path, monkeypatch):
    monkeypatch.setenv("SAEEVAL_CACHE", str(tmp_path))
    whole = sweep.task_set_for(SweepConfig(("x",), tasks=("bios",)), "bios")
    cut = sweep.task_set_for(SweepConfig(("x",), tasks=("bios",), texts_per_cell=60), "bios")
    assert 8 * 60 <= len(cut.texts.texts) < len(whole.texts.texts) / 2
    assert cache_dir() == tmp_path


def test_csv_has_the_columns_and_leaves_undefined_empty():
    text = to_csv([ScoreRow(sae="a")])
    (row,) = csv.DictReader(io.StringIO(text))
    assert list(row) == list(BLANK) and row["value"] == "" and row["sae"] == "a"


def _unit(sae: str, tokens: int, **more) -> Unit:
    made = {"variant": RECOMMENDED, "value": 0.1} | more
    row = ScoreRow(sae=sae, metric="tpp", architecture="topk", training_tokens=tokens, task="t", **made)
    return Unit([row], {sweep_summary.sample_key(row): [0.1, 0.2, 0.15]})


def test_many_saes_are_compared_where_it_matters(monkeypatch):
    monkeypatch.setattr(sweep_summary, "MANY_SAES", 2)
    others = [_unit(sae, 100, variant="top-N", n=3) for sae in "cd"]
    units = [_unit("a", 100), _unit("b", 100), _unit("young", 10), *others]
    (only,) = sweep_summary.differences(units)
    assert {only["sae_a"], only["sae_b"]} == {"a", "b"}


def test_ranks_are_of_the_recommended_score_and_the_papers():
    rows = []
    for i, sae in enumerate("abc"):
        rows += [_unit(sae, 10, value=i, l0=float(i)).rows[0], _unit(sae, 10, value=-i, variant="top-N", n=10).rows[0]]
    found = {(r["x"], r["y"]): r["spearman"] for r in rank_agreement(rows)}
    assert found[f"t tpp {RECOMMENDED}", "t tpp top-10"] == pytest.approx(-1)
    assert found[f"t tpp {RECOMMENDED}", "l0"] == pytest.approx(1)
