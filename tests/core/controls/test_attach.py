"""Controls and refits beside the scores of a run: what is added, and that it says what the scores say."""

import io
import json
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from saeeval_core.config import PROTOCOLS, RunConfig, cache_dir, headline_n
from saeeval_core.controls import attach
from saeeval_core.controls.controls import shift_controls, tpp_controls
from saeeval_core.errors import ConfigError
from saeeval_core.evaluation.boards import Evaluation
from saeeval_core.evaluation.prepare import Prepared, prepare
from saeeval_core.evaluation.result import RunResult
from saeeval_core.evaluation.result_json import from_json, to_json
from saeeval_core.evaluation.score import score
from saeeval_core.formats.tables import print_run
from saeeval_core.scores.area import MEAN, RECOMMENDED
from saeeval_core.scores.shift import shift_latents
from saeeval_core.scores.tpp import tpp_latents
from saeeval_core.texts.labelled import LabelledTexts
from saeeval_core.texts.parts import TEST
from saeeval_core.texts.tasks import Draw, FixedTasks

LABELS = {"target": "profession=nurse,surgeon", "spurious": "gender=female,male", "classes": "meal=tea,soup,bread"}


@pytest.fixture(scope="module")
def prepared(tiny_model_dir, tiny_sae_dirs, tiny_texts_file, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SAEEVAL_CACHE", str(tmp_path_factory.mktemp("cache")))
        config = RunConfig(
            model=str(tiny_model_dir),
            saes=(str(tiny_sae_dirs["topk"]), str(tiny_sae_dirs["standard"])),
            task="",
            texts=str(tiny_texts_file),
            ns=(1, 5),
            resamples=50,
            device="cpu",
            **LABELS,
        )
        # Only while these probes are fitted: those that other tests share need the whole grid.
        with pytest.MonkeyPatch.context() as grid:
            grid.setattr("saeeval_core.scores.probes.C_GRID", np.array([0.1, 1.0]))
            made = prepare(config)
        yield made


@pytest.fixture(scope="module")
def typed(prepared) -> RunResult:
    return attach.with_refits(prepared, attach.with_controls(prepared, score(prepared)))


@pytest.fixture(scope="module")
def result(typed) -> dict:
    """As JSON."""
    return to_json(typed)


def test_controls_and_refits_are_read_back_whole(typed, result):
    assert from_json(json.loads(json.dumps(result))) == from_json(result)
    assert json.dumps(to_json(from_json(result))) == json.dumps(result)


def test_every_score_shown_has_its_controls(result):
    row = result["results"][0]
    places = {(c["metric"], c["variant"], c["n"]) for c in row["controls"]}
    for metric in ("shift", "tpp"):
        assert (metric, RECOMMENDED, None) in places
        assert {(metric, "top-N", n) for n in (1, 5)} <= places
        assert not {p for p in places if p[0] == metric and p[2] in (2, 3, 10, 20)}  # N nobody asked for
    names = {c["name"] for c in row["controls"]}
    assert (
        names
        == set(result["controls"])
        == {"random latents", "random decoder", "permuted decoder", "pca", "residual basis", "leace"}
    )


def test_an_sae_that_only_looks_like_one_is_warned_about_and_a_good_one_is_not(planted):
    config = RunConfig(saes=("good", "bad"), ns=(1, 5), resamples=50, metrics=("shift",))
    order = np.random.default_rng(1).permutation(planted.latents.n_latents)
    bad = replace(planted.latents, sae="bad", sae_fingerprint="bad", decoder=planted.latents.decoder[order])
    draw = Draw(planted_tasks(planted), PROTOCOLS["robust"])
    evaluation = Evaluation(planted.residuals, draw, config.metrics, resamples=50)
    prepared = Prepared(config, evaluation, [replace(planted.latents, sae="good"), bad])
    good, shuffled = attach.with_controls(prepared, score(prepared)).saes
    names = {line.split("its control, ")[1].split(" (")[0] for line in good.warnings}
    assert not names & {"random latents", "random decoder", "permuted decoder"}
    assert shuffled.warnings and all("not above its control" in line for line in shuffled.warnings)
    assert not any("leace" in line for line in shuffled.warnings)  # a reference is no bar


def planted_tasks(planted) -> FixedTasks:
    """The planted task, on texts that are only there to be named in the result."""
    n, task = len(planted.residuals.residuals), planted.shift
    texts = LabelledTexts("toys", tuple(f"text {i}" for i in range(n)), {}, source="made here")
    return FixedTasks(texts, ((task.target, task.spurious),), fixed_shift=(task,))


def test_another_selection_has_controls_but_no_sentences(prepared):
    found = score(prepared)
    judged = found.with_saes([replace(s, selection="judge") for s in found.saes])
    assert all(s.controls and s.warnings == () for s in attach.with_controls(prepared, judged).saes)


def test_controls_of_a_run_are_those_of_the_set_where_they_mean_the_same(prepared):
    """Decoders and bases have one value however they are asked for; random latents and the range of N differ."""
    latents = prepared.saes[0]
    own = tpp_latents(latents, prepared.evaluation.tpp_boards[TEST])
    assert all(len(ranking) for ranking in own.rankings)
    for variant, ablation in (("top-N", "zero"), (MEAN, "mean")):
        sets = [ranking[:1] for ranking in own.rankings]
        alone = {c.name: c.score.value for c in tpp_controls(prepared.residuals, own, sets, ablation)}
        run = {
            p.control.name: p.control.score.value
            for p in attach.controls_of(prepared, latents)
            if (p.metric, p.variant, p.n) == ("tpp", variant, 1)
        }
        assert {k: v for k, v in alone.items() if k != "random latents"} == pytest.approx(
            {k: v for k, v in run.items() if k != "random latents"}
        )
    two = {}
    for d in prepared.evaluation.directions:
        view = shift_latents(prepared.residuals, latents, d.boards[TEST], prepared.evaluation.protocol)
        for c in shift_controls(
            prepared.residuals, view, prepared.evaluation.protocol, view.attribute_ranking[:5], "mean"
        ):
            two.setdefault(c.name, []).append(c.score.value)
    run = {
        p.control.name: p.control.score.value
        for p in attach.controls_of(prepared, latents)
        if (p.metric, p.variant, p.n) == ("shift", MEAN, 5)
    }
    for name in ("random decoder", "permuted decoder", "pca", "residual basis"):
        defined = [v for v in two[name] if v is not None]
        assert run[name] == (pytest.approx(np.mean(defined)) if defined else None), name


def test_refits_keep_the_values_and_name_their_level(result):
    row = result["results"][0]
    for metric, cells in (("shift", row["shift"]["aggregate"]), ("tpp", row["tpp"]["by_n"])):
        found = row[metric]["refits"]
        assert found["level"] == "train and test texts" and found["refits"] == 20
        for own, cell in zip(found["by_n"], cells, strict=True):
            assert own["n"] == cell["n"]
            assert (
                own["value"] == pytest.approx(cell["test"]["score"])
                if cell["test"]["score"] is not None
                else own["value"] is None
            )


def test_the_terminal_shows_controls_warnings_and_refits(typed, result):
    console = Console(width=100, record=True, file=io.StringIO())
    print_run(console, typed)
    text = " ".join(console.export_text().split())
    assert "permuted decoder" in text and "train and test texts, 20 refits" in text
    for line in result["results"][0]["warnings"]:
        assert " ".join(line.split())[:60] in text


def test_labels_are_shown_as_they_are_and_a_run_without_controls_prints(result):
    odd = json.loads(json.dumps(result))
    odd["results"][0]["controls"] = []
    odd["results"][0]["shift"]["directions"][0]["target_values"] = "[/a]/[red]x"
    odd["results"][0]["tpp"]["classes"][0] = "[/b]"
    console = Console(width=160, record=True, file=io.StringIO())
    print_run(console, from_json(odd))
    text = console.export_text()
    assert "[/a]/[red]x" in text and "[/b]" in text


def test_deleted_words_are_listed(prepared):
    found = to_json(attach.with_deletion(prepared, score(prepared)))
    words = found["probes"]["deleted_words"]
    assert len(words) == 2 and all(0 < len(w["words"]) <= 20 for w in words.values())
    assert "word deletion" in {c["name"] for c in found["results"][0]["controls"]}


def test_refits_of_another_selection_are_refused(prepared):
    found = score(prepared)
    judged = found.with_saes([replace(s, selection="judge") for s in found.saes])
    with pytest.raises(ConfigError, match="--select at attribution"):
        attach.with_refits(prepared, judged)


def test_refits_are_checked_before_anything_is_computed():
    with pytest.raises(ConfigError, match="only the robust protocol"):
        attach.check_refits(RunConfig(protocol="paper"), "attribution", 20)
    with pytest.raises(ConfigError, match="at least 20"):
        attach.check_refits(RunConfig(), "attribution", 5)
    attach.check_refits(RunConfig(), "attribution", 20)


def test_other_labels_on_the_same_texts_have_controls_of_their_own(prepared):
    evaluation = prepared.evaluation
    (task,) = evaluation.draw.shift_tasks
    tasks = evaluation.draw.task_set
    flipped = FixedTasks(tasks.texts, tasks.pairs, fixed_shift=(replace(task, target_label=~task.target_label),))
    same = FixedTasks(tasks.texts, tasks.pairs, fixed_shift=(task,))
    other, own = (
        replace(prepared, evaluation=replace(evaluation, draw=Draw(t, evaluation.protocol), metrics=("shift",)))
        for t in (flipped, same)
    )
    latents = prepared.saes[0]
    assert attach.controls_name(other, latents) != attach.controls_name(own, latents)


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
    latents = prepared.saes[0]
    first = attach.controls_of(prepared, latents)
    path = cache_dir() / "recordings" / f"{attach.controls_name(prepared, latents)}.json"
    assert attach.kept_controls(prepared, latents) == first
    path.write_text("[{")
    assert attach.controls_of(prepared, latents) == first
    assert "ignored and made again" in capsys.readouterr().err
    assert attach.kept_controls(prepared, latents) == first
