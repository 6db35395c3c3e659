"""R, E and edit size in results: computed beside S and TPP, written, read back, and absent from older files."""

import copy
import io

import numpy as np
import pytest
from rich.console import Console
from synthetic import make_loaded

from saeeval_core.config import RunConfig, erasure_n, get_protocol
from saeeval_core.evaluation.boards import Evaluation
from saeeval_core.evaluation.erased import erased_at, over_directions, shift_readable
from saeeval_core.evaluation.prepare import Prepared
from saeeval_core.evaluation.result_json import from_json, to_json
from saeeval_core.evaluation.score import score
from saeeval_core.evaluation.variants import direction_variants
from saeeval_core.formats.tables import print_run
from saeeval_core.scores.selections import by_attribution, by_person
from saeeval_core.texts.parts import DEV, TEST
from saeeval_core.texts.tasks import Draw


@pytest.fixture(scope="module")
def prepared() -> Prepared:
    loaded = make_loaded(900)
    config = RunConfig(model="toy-model", saes=("toy-sae",), task="toy", resamples=100, ns=(1, 4, 10, 20))
    evaluation = Evaluation(loaded.residuals, Draw(loaded.task_set, get_protocol("robust"), 0), resamples=100)
    return Prepared(config, evaluation, [loaded.latents])


@pytest.fixture(scope="module")
def result(prepared):
    return score(prepared)


def test_every_n_of_shift_and_the_headline_n_of_tpp_have_it(result):
    sae = result.saes[0]
    for d in sae.shift.directions:
        assert [a.n for a in d.by_n if a.parts["test"].erasure and a.parts["dev"].erasure] == [1, 4, 10, 20]
    assert list(sae.shift.erasure) == [1, 4, 10, 20]
    sizes = [sae.shift.erasure[n]["test"].edit_size for n in (1, 4, 10, 20)]
    assert sizes == sorted(sizes) and sizes[0] > 0
    assert [a.n for a in sae.tpp.by_n if a.parts["test"].erasure] == [10]
    tpp = sae.tpp.by_n[2].parts["test"]
    assert tpp.erasure.selective_erasure == tpp.fresh.score
    assert tpp.erasure.recoverability.value == pytest.approx(1 - tpp.fresh.intended.value)


def test_the_same_draws_as_s(prepared):
    evaluation, latents = prepared.evaluation, prepared.saes[0]
    d = evaluation.directions[0]
    assert d.fresh[TEST].resamples is d.boards[TEST].resamples
    ids = evaluation.shift_view(latents, d, TEST).attribute_ranking[:4]
    found = evaluation.shift_erasure(latents, d, TEST).score(ids)
    s = direction_variants(evaluation.shift_view(latents, d, TEST), by_attribution(ids, [4])).zero.at(4)
    assert len(found.samples) == 100 and len(s.samples) in (0, 100)


def test_both_directions_share_their_texts_and_mirror_the_labels(prepared):
    a, b = (d.fresh[DEV] for d in prepared.evaluation.directions)
    assert a.ground.axes is b.ground.axes and a.names == b.names[::-1]
    assert a.clean.value == pytest.approx(b.clean.value[::-1])


def test_the_mean_over_pairs_is_that_of_the_defined_directions(prepared, result):
    evaluation, latents = prepared.evaluation, prepared.saes[0]
    found = []
    for d in evaluation.directions:
        ranking = evaluation.shift_view(latents, d, TEST).attribute_ranking
        found.append(shift_readable(evaluation, latents, d, TEST, by_attribution(ranking, [4])))
    mean = over_directions(evaluation.directions, found)[4]
    assert mean.selective_erasure.value == pytest.approx(np.mean([f[4][0].score.value for f in found]))
    assert result.saes[0].shift.erasure[4]["test"] == mean
    assert erased_at(evaluation, latents, "shift", 4) == mean


def test_an_empty_selection_has_no_erasure(prepared):
    evaluation, latents = prepared.evaluation, prepared.saes[0]
    found, size = shift_readable(evaluation, latents, evaluation.directions[0], TEST, by_person([], [4]))[4]
    assert found.score.value is None and found.score.reason == "nothing marked" and size == 0


def test_the_json_holds_it_and_older_files_open_without(result):
    written = to_json(result)
    again = from_json(written)
    assert again.saes[0].shift.erasure == result.saes[0].shift.erasure
    test = written["results"][0]["shift"]["directions"][0]["by_n"][0]["test"]
    assert {"recoverability", "selective_erasure", "edit_size"} <= set(test)
    assert to_json(again) == written
    older = copy.deepcopy(written)
    for row in older["results"][0]["shift"]["directions"] + [older["results"][0]["tpp"]]:
        for cell in (a[p] for a in row["by_n"] for p in ("dev", "test")):
            for key in ("recoverability", "selective_erasure", "edit_size", "fresh_probes"):
                cell.pop(key, None)
    for row in older["results"][0]["shift"]["aggregate"]:
        for p in ("dev", "test"):
            del row[p]["recoverability"], row[p]["selective_erasure"], row[p]["edit_size"]
    old = from_json(older).saes[0]
    assert not old.shift.erasure and all(a.parts["test"].erasure is None for a in old.tpp.by_n)


def test_the_tables_show_r_and_e_at_the_n_of_the_recommended_score(result):
    console = Console(width=100, record=True, file=io.StringIO())
    print_run(console, result)
    text, n = console.export_text(), erasure_n(list(result.saes[0].shift.erasure))
    assert f"R N={n}" in text and f"E N={n}" in text and "fresh probe still reads" in text
    assert max(map(len, text.splitlines())) <= 100
