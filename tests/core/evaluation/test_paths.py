"""Paths through the plane of what both labels lose: the definition, the mean, and the JSON that carries them."""

import numpy as np
import pytest
from synthetic import make_loaded

from saeeval_core.config import RunConfig, get_protocol
from saeeval_core.evaluation.boards import Evaluation
from saeeval_core.evaluation.estimate_json import path_json, path_of
from saeeval_core.evaluation.paths import path_of_result, paths_of_result, walk
from saeeval_core.evaluation.prepare import Prepared
from saeeval_core.evaluation.result import LossPath
from saeeval_core.evaluation.result_json import from_json, to_json
from saeeval_core.evaluation.score import score
from saeeval_core.texts.parts import TEST
from saeeval_core.texts.tasks import Draw

NS = (1, 4, 10)


@pytest.fixture(scope="module")
def prepared() -> Prepared:
    loaded = make_loaded(900)
    config = RunConfig(model="toy-model", saes=("toy-sae",), task="toy", resamples=100, ns=NS, metrics=("shift",))
    evaluation = Evaluation(loaded.residuals, Draw(loaded.task_set, get_protocol("robust"), 0), ("shift",), 0, 100)
    return Prepared(config, evaluation, [loaded.latents])


@pytest.fixture(scope="module")
def walked(prepared):
    both = [prepared.saes[0]] * len(prepared.evaluation.directions)
    return walk(prepared.evaluation, both, NS, LossPath("toy-sae", "sae"))


def test_what_is_lost_is_the_share_of_what_a_clean_probe_reads_above_chance(prepared, walked):
    evaluation, latents = prepared.evaluation, prepared.saes[0]
    d, path = evaluation.directions[0], walked.paths[1]
    ids = evaluation.shift_view(latents, d, TEST).attribute_ranking[:4]
    found, point = evaluation.shift_erasure(latents, d, TEST).score(ids), path.points[1]
    for clean, fresh, lost in (
        (found.clean, found.fresh, point.spurious_lost),
        (found.clean_target, found.fresh_target, point.target_lost),
    ):
        assert lost.value == pytest.approx((clean.value - fresh.value) / (clean.value - 0.5))
        assert lost.ci[0] <= lost.value <= lost.ci[1]
    assert point.selective_erasure.value == pytest.approx(point.spurious_lost.value - point.target_lost.value)


def test_the_mean_is_over_the_directions_where_e_is_defined(walked):
    mean, *directions = walked.paths
    for k, point in enumerate(mean.points):
        own = [d.points[k] for d in directions if d.points[k].selective_erasure.value is not None]
        for name in ("target_lost", "spurious_lost", "selective_erasure"):
            assert getattr(point, name).value == pytest.approx(np.mean([getattr(q, name).value for q in own]))
        assert walked.erasure[point.n].score == point.selective_erasure
        assert len(walked.erasure[point.n].samples) == 100


def test_a_result_holds_the_same_path_and_older_results_hold_none(prepared, walked):
    result = score(prepared)
    assert paths_of_result(result.saes[0]) == list(walked.paths)
    written = to_json(result)
    assert path_of_result(from_json(written).saes[0]) == walked.paths[0]
    for row in written["results"][0]["shift"]["aggregate"]:
        for part in ("dev", "test"):
            del row[part]["target_lost"], row[part]["spurious_lost"]
    older = from_json(written).saes[0]
    assert path_of_result(older) is None and len(paths_of_result(older)) == 2


def test_a_path_is_read_back_whole(walked):
    for path in walked.paths:
        assert path_of(path_json(path)) == path


def test_rivals_stand_in_the_json_of_a_run(prepared, walked):
    result = score(prepared)
    with_rivals = type(result)(**{**vars(result), "rivals": walked.paths})
    assert "rivals" not in to_json(result)
    assert from_json(to_json(with_rivals)).rivals == walked.paths
