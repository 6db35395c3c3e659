"""Reports of a run and of a view: complete, offline, reproducible."""

import base64
import json
import re

import pytest
from viewing import opened, store_decisions

from app import report_page
from app.deciding.class_sets import class_sets
from app.deciding.tpp_page import TppPage
from app.widgets import tpp_export
from saeeval_core.config import RunConfig
from saeeval_core.controls.attach import with_controls
from saeeval_core.errors import ArtifactError
from saeeval_core.evaluation.prepare import prepare
from saeeval_core.evaluation.result_json import from_json
from saeeval_core.evaluation.score import run, score
from saeeval_core.texts.parts import DEV


@pytest.fixture
def loaded(planted_app):
    return opened(RunConfig())


def test_report_of_a_run_has_figures_scores_and_the_command(loaded):
    result = run(RunConfig(ns=(1, 20), resamples=100))
    page = report_page.result_page(result, when="now")
    assert page.count("role='img'") == 6 and "saeeval run --n 1,20" in page and len(page) < 500_000
    assert "test texts:" in page and "latents with the largest effect" in page  # in words first
    assert "What both labels lose" in page and "Rivals not measured: run with --rivals." in page
    assert "<script" not in page and not re.search(r"(src|href)=['\"]?(https?:)?//", page)
    assert "TPP, smollm2-135m-l15-topk-4k, N = 20" in page and "n/a:" in page


def test_report_of_a_run_has_the_controls_of_e_without_rivals(loaded):
    config = RunConfig(ns=(1, 20), resamples=100, metrics=("shift",))
    prepared = prepare(config)
    page = report_page.result_page(with_controls(prepared, score(prepared)), when="now")
    assert page.count("SHIFT, selective erasure, N = 20</td>") == 3
    assert "SHIFT, selective erasure, N = 20: beats" in page


def test_report_of_the_view_holds_evidence_and_log_of_decided_latents(loaded):
    store_decisions(loaded, class_sets(loaded, "mine", "Ada"), 0, {5: "ablate"}, "Ada")
    page = tpp_export.report(TppPage(loaded, DEV, "Ada", class_sets(loaded, "mine", "Ada"), 5, "mean"))
    for part in (
        "latent 5",
        "for nurse",
        "Ada",
        "Decision log",
        "saeeval run --select set:tpp_bios_mine_Ada.json --metrics tpp --n 5",
        "sae-lens",
    ):
        assert part in page
    assert "<script>window.hacked" not in page


def test_what_was_ablated_stands_first_by_size_and_brings_the_set_along(loaded):
    stored = store_decisions(loaded, class_sets(loaded, "mine", "Ada"), 0, {5: "ablate", 9: "ablate", 7: "keep"}, "Ada")
    page_of = TppPage(loaded, DEV, "Ada", class_sets(loaded, "mine", "Ada"), 5, "mean")
    page, effects = tpp_export.report(page_of), page_of.view.effects[:, 0]
    first, second = sorted((5, 9), key=lambda k: -abs(effects[k]))
    places = [page.index(f"latent {k} <em>") for k in (first, second, 7)]
    assert places == sorted(places) and places[1] < page.index("<svg ") < places[2]
    inside = re.search(r"download='tpp_bios_mine_Ada.json' href='data:application/json;base64,([^']+)'", page)
    assert [d["latent"] for d in json.loads(base64.b64decode(inside[1]))["decisions"]] == [5, 7, 9], stored
    assert len(page) < 500_000


def test_command_line_quotes_what_a_shell_would_split():
    line = report_page.command_line(RunConfig(task="bios:surgeon/nurse", saes=("a b", "c"), seed=3))
    assert line == "saeeval run --task bios:surgeon/nurse --seed 3 --sae 'a b' --sae c"


def test_another_json_is_refused_in_one_line():
    with pytest.raises(ArtifactError, match="saeeval run --json"):
        from_json({"kind": "sweep", "rows": []})
