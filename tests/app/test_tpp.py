"""TPP view: its values, its sets, its error and empty states."""

from dataclasses import replace

import numpy as np
import pytest
import viewing
from viewing import opened, store_decisions, texts, verdict, view

from app.deciding.class_refs import ATTRIBUTION
from app.deciding.class_sets import class_sets
from app.deciding.presses import Press, PressLog, apply
from app.deciding.tpp_page import TppPage
from app.payloads.as_json import as_json
from app.payloads.matrix import matrix, telling_cell
from app.payloads.tpp_cards import number_cards, read_anew
from app.services import fresh_matrix, ledger, scoring
from app.services.fresh_matrix import StillMatrix
from app.views import tpp_matrix
from app.widgets import export, tpp_export
from saeeval_core.config import RunConfig
from saeeval_core.errors import DataError
from saeeval_core.scores.selections import Rule
from saeeval_core.scores.tpp_cells import chosen_sets
from saeeval_core.scores.uncertainty import say, undefined, value_and_interval
from saeeval_core.texts.parts import DEV, TEST


@pytest.fixture
def loaded(planted_app):
    """The planted bundle, as views get it."""
    return opened(RunConfig())


def page(loaded, n=5, who="Ada", name="mine", ablation="zero", rule=None):
    return TppPage(loaded, DEV, who, class_sets(loaded, name, who, n, rule), n, ablation)


def values(loaded, n=5, cell=None, who="Ada", name="mine", relative=False, ablation="zero"):
    """As the component gets them."""
    return as_json(matrix(page(loaded, n, who, name, ablation), cell, relative=relative))


def test_view_draws_and_says_how_it_is_computed(loaded):
    at = view("tpp_matrix")
    assert not at.exception and "How computed" in texts(at) and "resampled texts" in texts(at)


def test_view_without_classes_says_what_to_do(loaded, monkeypatch):
    bare = replace(loaded, task_set=replace(loaded.task_set, tpp=None))
    monkeypatch.setattr(viewing, "opened", lambda config: bare)
    at = view("tpp_matrix")
    assert not at.exception and "no classes for TPP" in texts(at)


@pytest.mark.parametrize(
    "url",
    [
        {"n": "abc"},
        {"n": "99999"},
        {"cell": "9,9"},
        {"cell": "x"},
        {"tpp_set": "nobody's"},
        {"set": "nobody's"},
        {"set": "7"},
        {"scale": "?"},
        {"fresh": "?"},
        {"fresh": "1"},
    ],
)
def test_links_typed_by_people_never_break_the_view(loaded, url):
    assert not view("tpp_matrix", url).exception


def test_payload_has_every_cell_with_its_interval(loaded):
    got = values(loaded, cell=(0, 1))
    assert len(got["matrix"]) == len(got["classes"]) == 4
    for row in got["matrix"]:
        for e in row:
            assert e["ci"][0] <= e["value"] <= e["ci"][1] and abs(e["value"]) <= got["limit"]
    assert got["detail"]["title"].startswith("nurse latents on the professor")
    assert sum(r["on"] for r in got["detail"]["latents"]) == 5


def test_relative_scale_divides_by_room_above_chance(loaded):
    plain, share = values(loaded)["matrix"][0][0], values(loaded, relative=True)["matrix"][0][0]
    assert share["value"] > plain["value"] > 0


def test_fresh_probes_take_the_matrix_over_as_soon_as_they_are_read(loaded):
    shown, old = page(loaded), values(loaded, relative=True)
    waiting = as_json(matrix(shown, (0, 0), None, relative=True, fresh=True))
    assert waiting["reading"] and "being read" in waiting["note"] and waiting["matrix"] == old["matrix"]
    assert number_cards(shown, None, None)[1].ci == "reading"
    view = scoring.tpp_erasure(loaded, DEV)
    still = StillMatrix(view.score(shown.ids), tuple(view.board.clean.of(j) for j in range(4)), "ridge")
    got = as_json(matrix(shown, (0, 0), still, relative=True, fresh=True))
    assert not got["reading"] and not got["note"] and got["matrix"][0][0] == still.score.matrix[0][0].to_dict()
    assert got["clean"][1] == still.clean[1].to_dict() and "ridge" in got["unit"]
    assert say(still.score.matrix[0][0]) in got["detail"]["anew"]
    kept = as_json(matrix(shown, (0, 0), still, relative=False))
    assert kept == values(loaded, cell=(0, 0)) | {"reading": False}, "old probes stay until fresh ones are wanted"
    fresh = number_cards(shown, None, still, fresh=True)
    assert [c.value for c in fresh[1:]] == [
        value_and_interval(e)[0].replace("-", "\u2212")
        for e in (still.score.score, still.score.intended, still.score.unintended)
    ]


def test_why_fresh_probes_read_nothing_is_said(loaded):
    nothing = page(loaded, n=0)
    still = read_anew(nothing)
    got = as_json(matrix(nothing, None, still, relative=True, fresh=True))
    assert not got["reading"] and "no latent of any class is ablated" in got["note"]
    assert number_cards(nothing, None, still)[1].value == "n/a"


def test_what_no_fresh_probe_reads_on_clean_texts_is_a_column_without_values(loaded):
    shown, view = page(loaded), scoring.tpp_erasure(loaded, DEV)
    score = view.score(shown.ids)
    at_chance = replace(score, matrix=[[undefined("at chance"), *row[1:]] for row in score.matrix])
    still = StillMatrix(at_chance, tuple(view.board.clean.of(j) for j in range(4)), "ridge")
    got = as_json(matrix(shown, None, still, relative=True, fresh=True))
    assert [row[0] for row in got["matrix"]] == [{"value": None, "ci": None, "reason": "at chance"}] * 4


def test_right_after_a_move_nothing_is_read_anew(loaded, monkeypatch):
    def never(*_):
        raise AssertionError("it would share the processor with the next move")

    monkeypatch.setattr(fresh_matrix, "still_matrix", never)
    assert not view("tpp_matrix", session={"tpp_moved": True}).exception


def test_sparing_a_latent_moves_its_row_only_and_undoing_leaves_no_mark(loaded):
    before = values(loaded, cell=(2, 2))
    first = next(r["id"] for r in before["detail"]["latents"] if r["on"])
    store_decisions(loaded, class_sets(loaded, "mine", "Ada"), 2, {first: "keep"}, "Ada")
    after = values(loaded, cell=(2, 2))
    assert after["matrix"][2] != before["matrix"][2] and after["matrix"][:2] == before["matrix"][:2]
    assert after["counts"][2] == "4 (−1)"
    assert next(r for r in after["detail"]["latents"] if r["id"] == first)["mark"] == "kept"
    store_decisions(loaded, class_sets(loaded, "mine", "Ada"), 2, {first: "none"}, "Ada")
    assert values(loaded, cell=(2, 2)) == before


def test_attribution_is_never_changed_and_other_peoples_sets_are_read_only(loaded):
    store_decisions(loaded, class_sets(loaded, "mine", "Ada"), 0, {3: "ablate"}, "Ada")
    assert class_sets(loaded, ATTRIBUTION, "Ada").empty
    theirs = class_sets(loaded, "mine@Ada", "Bob")
    assert theirs.decisions[0] == {3: "ablate"} and not theirs.mine
    with pytest.raises(DataError, match="belongs to Ada"):
        store_decisions(loaded, theirs, 0, {4: "ablate"}, "Bob")
    assert class_sets(loaded, "mine", "Bob").empty


def test_commit_stores_the_test_score_and_the_looks(loaded):
    store_decisions(loaded, class_sets(loaded, "mine", "Ada"), 0, {3: "ablate"}, "Ada")
    shown, log = page(loaded, ablation="mean"), PressLog()
    shown.sets.note_look("Ada", shown.ids)
    (done,) = apply(ledger.store(), log, [Press("page", 1, log.sit(shown.desk, loaded, "mean", 5), "commit")])
    (line,) = class_sets(loaded, "mine", "Ada").commits()
    assert f"{done.committed.score.value:.3f}" in line and "after 1 dev look;" in line
    assert say(done.committed.erasure.selective_erasure) in line
    view = scoring.tpp_view(loaded, TEST).mean_ablated
    assert done.committed.score == view.score(shown.ids).score and done.committed.settings.seed == 0


def test_committing_the_ranking_keeps_what_one_has_decided_on_screen(loaded):
    store_decisions(loaded, class_sets(loaded, "mine", "Ada"), 0, {3: "ablate"}, "Ada")
    shown, log = page(loaded, name=ATTRIBUTION), PressLog()
    apply(ledger.store(), log, [Press("page", 1, log.sit(shown.desk, loaded, "zero", 5), "commit")])
    mine = class_sets(loaded, "mine", "Ada")
    assert mine.decisions[0] == {3: "ablate"} and len(mine.commits()) == 1


def test_exported_sets_come_back(loaded):
    store_decisions(loaded, class_sets(loaded, "mine", "Ada"), 1, {7: "ablate", 8: "unsure"}, "Ada")
    sets = class_sets(loaded, "mine", "Ada")
    made = export.exported(loaded, "mine", "tpp", sets.task, sets.stored)
    found, warnings = export.read_set(loaded, "tpp", sets.task, export.set_to_csv(made).encode())
    assert {(d.of, d.latent, d.decision) for d in found.decisions} == {
        ("professor", 7, "ablate"),
        ("professor", 8, "unsure"),
    }
    assert not warnings
    with pytest.raises(Exception, match="SHIFT"):
        export.read_set(loaded, "shift", sets.task, export.set_to_json(made).encode())


def test_flipped_texts_show_text_verbatim(loaded):
    got = values(loaded, n=20, cell=(2, 2))["detail"]
    assert got["flips"]
    for flip in got["flips"]:
        joined = "".join(t for t, _ in flip["tokens"])
        assert any(joined == text for text in loaded.task_set.texts.texts)


def test_slider_steps_fit_the_sae(loaded):
    assert max(values(loaded)["ns"]) <= loaded.latents.n_latents and tpp_export.DEFAULT_NS[0] == 1


def test_reading_the_texts_again_colours_every_token_where_the_latents_fire(loaded, monkeypatch):
    from scipy.sparse import csr_array

    from app.jobs import live_model

    def fires_on_the_second_token(loaded, row):
        activations = np.zeros((len(loaded.residuals.token_spans(row)), loaded.latents.n_latents), np.float32)
        activations[1] = 1.0
        return csr_array(activations)

    monkeypatch.setattr(live_model, "row_activations", fires_on_the_second_token)
    got = as_json(matrix(page(loaded, n=20, ablation="mean"), (2, 2), relative=False, read=True))
    for flip in got["detail"]["flips"]:
        assert [i for i, (_, v) in enumerate(flip["tokens"]) if v] == [1] and not flip["note"]
    assert not got["detail"]["offer"]


def test_a_judges_set_keeps_only_what_it_relates_to_the_class(loaded):
    rankings = scoring.tpp_view(loaded, DEV).rankings
    first = [int(r[0]) for r in rankings]
    nurse = scoring.tpp_view(loaded, DEV).board.task.classes.index("nurse")
    deep = int(rankings[nurse][15])
    ledger.store().add_verdicts(
        [
            verdict(
                loaded, first[nurse], "LocalJudge", "local", {"nurse": 3, "surgeon": 1, "teacher": 0, "professor": 0}
            ),
            verdict(loaded, deep, "LocalJudge", "local", {"nurse": 1, "surgeon": 4, "teacher": 0, "professor": 0}),
        ]
    )

    def ids(rule, n=10):
        sets = class_sets(loaded, "judge:LocalJudge", "Ada", n, rule)
        return chosen_sets(rankings, n, sets.decisions), sets

    kept, sets = ids(Rule(2))
    assert kept[nurse] == (first[nurse],) and not sets.mine and sets.states[nurse] == "ok" and not sets.nothing
    assert ("judge:LocalJudge", "kept by LocalJudge") in sets.options
    # the first n that pass, however far down: the rule's other order reaches the 16th latent
    assert set(ids(Rule(1, order="filter-then-top"))[0][nurse]) == {first[nurse], deep}
    assert deep not in ids(Rule(1, True, "filter-then-top"))[0][nurse]
    assert not view("tpp_matrix", {"tpp_set": "judge:LocalJudge"}).exception
    assert not view("tpp_matrix", {"tpp_set": "judge:nobody"}).exception


def test_a_judge_who_relates_nothing_leaves_a_state(loaded):
    top = [int(i) for r in scoring.tpp_view(loaded, DEV).rankings for i in r[:3]]
    zero = dict.fromkeys(scoring.tpp_view(loaded, DEV).board.task.classes, 0)
    ledger.store().add_verdicts([verdict(loaded, i, "strict", "llm", zero) for i in dict.fromkeys(top)])
    sets = class_sets(loaded, "judge:strict", "Ada", 3)
    assert sets.nothing.count("nothing passed") == 4
    ledger.store().add_verdicts([verdict(loaded, top[0], "terse", "imported", {}, explanation="only words")])
    assert "judge:terse" not in dict(class_sets(loaded, "mine", "Ada").options)


def test_controls_and_refits_of_the_matrix_are_shown_when_pressed(loaded):
    at = view("tpp_matrix", {"n": "2"})
    at = at.button(key="w_tpp_controls").click().run()
    assert not at.exception and "This set:" in texts(at)
    assert any("permuted decoder" in str(h.value) for h in at.get("html"))
    at = at.button(key="w_tpp_refits").click().run()
    assert not at.exception and "train and dev texts" in texts(at)


def test_an_empty_matrix_has_nothing_to_be_checked(loaded):
    at = view("tpp_matrix", {"n": "0"})
    at = at.button(key="w_tpp_controls").click().run()
    assert not at.exception and "no latent of any class" in " ".join(e.value for e in at.error)


def test_the_page_opens_on_the_cell_with_the_most_to_say_and_the_link_names_it(loaded, planted_app):
    shown = page(loaded, 20, "Ada", "mine", "mean")
    i, j = telling_cell(shown)
    cell = shown.score.matrix[i][j]
    hurt = [e.value for a, row in enumerate(shown.score.matrix) for b, e in enumerate(row) if a != b and e.ci[0] > 0]
    assert cell.value == max(hurt) if hurt else i == j
    assert planted_app("tpp_matrix").session_state["view"]["cell"] == f"{i},{j}"


def test_while_the_slider_moves_the_cell_is_not_explained_and_colours_do_not_depend_on_n(loaded):
    few, many = (page(loaded, n, "Ada", "mine", "zero") for n in (2, 20))
    moving = matrix(few, (0, 0), relative=False, explain=False)
    assert moving.detail is None and moving.unexplained
    at_rest = matrix(many, (0, 0), relative=False)
    assert at_rest.detail is not None and not at_rest.unexplained
    assert moving.fixed_limit == at_rest.fixed_limit >= at_rest.limit


def test_two_classes_are_refused_with_the_reason(planted_app, monkeypatch):
    monkeypatch.setattr(tpp_matrix, "MIN_CLASSES", 99)
    test = planted_app("tpp_matrix")
    assert not test.exception and "TPP needs 3 classes or more" in test.info[0].value
