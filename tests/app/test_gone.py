"""The plane of what both labels lose: in Compare, on the lab's Checks panel, of opened results; rivals in the background."""

import json
import time
from types import SimpleNamespace

import pytest
from synthetic import make_loaded
from viewing import texts, view

from app.jobs import rivals as rivals_job
from app.services import loss_paths, scoring, trust
from app.widgets import loss_plane_box, rivals_box
from saeeval_core.config import RunConfig, get_protocol
from saeeval_core.controls.rival_results import Rivals
from saeeval_core.evaluation.boards import Evaluation
from saeeval_core.evaluation.prepare import Prepared
from saeeval_core.evaluation.result import LossPath
from saeeval_core.evaluation.result_json import to_json
from saeeval_core.evaluation.score import score
from saeeval_core.texts.parts import DEV
from saeeval_core.texts.tasks import Draw


@pytest.fixture(scope="module")
def loaded():
    return make_loaded(600)


def test_a_set_lies_in_the_plane_where_its_fresh_probes_put_it(loaded):
    d = scoring.shift_directions(loaded)[0]
    own = loss_paths.of_direction(loss_paths.sae_paths(loaded, DEV), d.pair, d.task.target.column, "dev")[0]
    view_ = scoring.shift_view(loaded, d.pair, d.task.target.column, DEV)
    top = tuple(map(int, view_.attribute_ranking[:5]))
    mine = loss_paths.set_path(loaded, d.pair, d.task.target.column, DEV, top, "mine")
    (point,), at_5 = mine.points, next(q for q in own.points if q.n == 5)
    assert (mine.kind, mine.part, point) == ("set", "dev", at_5)


def test_a_run_that_was_opened_gives_its_paths_and_other_files_none(loaded):
    config = RunConfig(model="toy-model", saes=("toy-sae",), task="toy", resamples=50, ns=(1, 4), metrics=("shift",))
    evaluation = Evaluation(loaded.residuals, Draw(loaded.task_set, get_protocol("robust"), 0), ("shift",), 0, 50)
    run = to_json(score(Prepared(config, evaluation, [loaded.latents])))
    found = loss_paths.paths_of_content(json.loads(json.dumps(run)), "a file")
    assert [(p.name, bool(p.pair), [q.n for q in p.points]) for p in found[:2]] == [
        ("toy-sae", False, [1, 4]),
        ("toy-sae", True, [1, 4]),
    ]
    assert loss_paths.paths_of_content({"kind": "sweep", "rows": []}, "a file") == []


def test_compare_draws_the_plane_only_while_its_tab_is_open(planted_app, monkeypatch):
    drawn = []
    monkeypatch.setattr(loss_plane_box, "pictures", lambda *a: drawn.append(a))
    monkeypatch.setattr(rivals_box, "rivals", lambda *_: None)
    assert not view("compare").exception and not drawn
    at = view("compare", {"compare_tab": "gone"})
    assert not at.exception and "not measured" in texts(at)
    ((paths, _, where),) = drawn
    assert {p.kind for p in paths} == {"sae"} and where == "mean over pairs, test texts"


def test_the_trust_panel_shows_this_direction_when_asked(planted_app, monkeypatch):
    drawn = []
    monkeypatch.setattr(loss_plane_box, "pictures", lambda *a: drawn.append(a))
    monkeypatch.setattr(rivals_box, "rivals", lambda *_: Rivals((), (LossPath("pca", "rival"),), {}))
    assert not view("shift_lab").exception and not drawn
    at = view("shift_lab", session={"w_lab_plane": True})
    assert not at.exception
    ((paths, _, where),) = drawn
    assert [p.kind for p in paths] == ["sae"] and paths[0].target in where


def test_rivals_are_scored_once_in_the_background_and_can_be_stopped(loaded, monkeypatch):
    monkeypatch.setattr(trust, "rival_steps", lambda _: 2)
    go = SimpleNamespace(on=False)

    def slow(_loaded, on_step):
        on_step("pca")
        while not go.on:
            time.sleep(0.01)
        on_step("ica")

    monkeypatch.setattr(trust, "make_rivals", slow)
    job = rivals_job.start(loaded)
    assert rivals_job.start(loaded) is job and job.active
    job.cancel()
    go.on = True
    for _ in range(500):
        if not job.active:
            break
        time.sleep(0.01)
    assert job.status == "cancelled" and (job.done, job.now) == (2, "ica")
