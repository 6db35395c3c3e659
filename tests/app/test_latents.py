"""Latents view: search, filters, links, and a typed text read without a language model."""

from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
from viewing import opened, texts, verdict, view

from app.deciding.class_sets import class_sets
from app.deciding.desk import shift_place
from app.figures.card_svg import card_rows, card_svg
from app.jobs import live_model
from app.payloads.evidence_card import Context, Group, card
from app.services import ledger, searched
from app.views import texts as typed
from app.widgets import latent_table, shift_pickers
from saeeval_core.config import RunConfig
from saeeval_core.evidence.live_text import TextReading, probe_verdict
from saeeval_core.ledger.places import find_set
from saeeval_core.scores.probes import Probe

HOSTILE = Context(("running text " * 20, "<a>\n", " b&b", "after"), (0, 1.0, 2.0, 0), 2, "")
WIDTH = 100_000
"""More latents than are decided on here."""


@pytest.fixture
def loaded(planted_app):
    """The planted bundle, as views get it."""
    return opened(RunConfig())


def rows(table, **filters):
    return latent_table.filtered(table, latent_table.Filters(**filters))


def test_view_draws_a_table_and_a_card(loaded):
    at = view("latents", {"latent": "5"})
    assert not at.exception and at.dataframe and "strongest effect first" in texts(at)


@pytest.mark.parametrize(
    "url", [{"latent": "99999"}, {"latent": "-3"}, {"latent": "x"}, {"search": "<script>"}, {"pair": "no"}]
)
def test_links_typed_by_people_never_break_the_view(loaded, url):
    assert not view("latents", url).exception


def test_empty_result_says_what_to_do(loaded):
    at = view("latents", {"search": "no latent says this"})
    assert not at.exception and "No latent passes" in texts(at)


def test_the_evidence_card_leaves_as_a_picture_and_as_numbers(loaded):
    shown = card(loaded, 5)
    hostile = replace(
        shown, what="<script>x</script> 100 % \0", quadrants=(*shown.quadrants, Group("g", "", (HOSTILE,)))
    )
    svg = card_svg(hostile, "sae", "about")
    root = ElementTree.fromstring(svg)
    assert "<script" not in svg and "latent 5 of sae" in svg and "100 &#37;" in svg
    ends = [float(t.get("x")) + float(t.get("textLength")) for t in root.iter() if t.get("textLength")]
    assert ends and max(ends) <= float(root.get("width")), "no line runs out of the picture"
    assert card_rows(hostile)[-1] == {
        "latent": 5,
        "group": "g",
        "context": 1,
        "place": 1,
        "token": " b&b",
        "activation": 2.0,
    }
    assert {"SVG", "Numbers (CSV)"} <= {b.label for b in view("latents", {"latent": "5"}).get("download_button")}


def test_search_by_id_explanation_and_token_and_filters(loaded):
    ledger.store().add_verdicts(
        [verdict(loaded, 9, "judge", "llm", {"gender": 3, "teacher": 0}, explanation="Feminine Pronouns")]
    )
    ledger.store().add_verdicts([verdict(loaded, 10, "judge", "llm", {}, status="refused")])
    effect = np.arange(loaded.latents.n_latents, dtype=float)
    table = latent_table.frame(loaded, effect, {4: "ablate"})
    assert rows(table, search="17")["latent"].tolist() == [17]
    assert rows(table, search="pronoun")["latent"].tolist() == [9]
    assert rows(table, search="pronouns gender")["latent"].tolist() == [9], "words in any order, ratings too"
    assert rows(table, search="pronouns 17").empty and rows(table, search="#9 3/4")["latent"].tolist() == [9]
    assert 9 not in rows(table, search="teacher")["latent"].tolist(), "rated 0 is not about it"
    assert "no verdict" in searched.words_of(loaded, [10])[0] and "words" not in rows(table)
    assert rows(table, decisions=["ablate"])["latent"].tolist() == [4]
    assert rows(table, verdicts=["3/4"])["latent"].tolist() == [9]
    assert rows(table, verdicts=["no verdict"])["latent"].tolist() == [10]
    assert rows(table)["latent"].iloc[0] == loaded.latents.n_latents - 1
    dense = rows(table, density=(0.2, 1.0))
    assert 0 < len(dense) < len(table) and (dense["density"] >= 0.2).all()


def test_filter_by_effect_counts_ranks_among_all_latents(loaded):
    effect = np.linspace(-1, 1, loaded.latents.n_latents)
    table = latent_table.frame(loaded, effect, {})
    n = loaded.latents.n_latents
    assert set(rows(table, strength="top 20")["latent"]) == {*range(10), *range(n - 10, n)}
    assert (rows(table, strength="> 0")["effect"] > 0).all() and len(rows(table, strength="< 0")) == n // 2
    assert rows(table, strength="top 20", search="128").empty  # it is not among the 20 strongest


def test_bulk_decides_on_every_row_shown_and_undo_is_one_step(loaded):
    at = view("latents", {"strength": "top 20", "of": "shift"}, {"who": "Ada"})
    place = shift_place(loaded, shift_pickers.linked(loaded))
    shown = at.dataframe[0].value["latent"].tolist()
    assert len(shown) == 20 and "all 20 rows" in texts(at)
    at.button(key="w_bulk_ablate").click().run()
    assert not at.exception and "20 latents set to ablate" in texts(at)
    stored = find_set(ledger.store(), place, "Ada")
    assert ledger.store().ablated(stored.id, WIDTH) == sorted(shown)
    assert set(at.dataframe[0].value["decision"]) == {"ablate"}
    at.button(key="w_bulk_undo").click().run()
    assert ledger.store().ablated(stored.id, WIDTH) == [] and "20 decisions taken back" in texts(at)


def test_bulk_goes_to_the_class_that_is_chosen_and_clears(loaded):
    at = view("latents", {"search": "17", "of": "tpp:nurse"}, {"who": "Ada"})
    at.button(key="w_bulk_keep").click().run()
    sets = class_sets(loaded, "mine", "Ada")
    assert [d for d in sets.decisions if d] == [sets.decisions[sets.classes.index("nurse")]] and 17 in sets.decisions[0]
    at.button(key="w_bulk_none").click().run()
    assert not at.exception and class_sets(loaded, "mine", "Ada").empty


def test_bulk_on_the_ranking_goes_to_a_set_of_ones_own_and_shows_it(loaded):
    at = view("latents", {"search": "17", "of": "tpp:nurse", "tpp_set": "attribution"}, {"who": "Ada"})
    at.button(key="w_bulk_keep").click().run()
    at.button(key="w_bulk_unsure").click().run()
    assert not at.exception and at.session_state["view"]["tpp_set"] == "mine"
    assert 17 in class_sets(loaded, "mine", "Ada").decisions[0]
    assert len({s.direction for s in ledger.store().list_sets(metric="tpp")}) == len(ledger.store().list_sets())


def test_bulk_refuses_a_judges_set_and_too_many_rows(loaded):
    ledger.store().add_verdicts([verdict(loaded, 9, "judge", "llm", {"nurse": 3, "gender": 3})])
    at = view("latents", {"search": "17", "of": "tpp:nurse", "tpp_set": "judge:judge"}, {"who": "Ada"})
    at.button(key="w_bulk_keep").click().run()
    assert "belongs to judge" in at.error[0].value
    assert class_sets(loaded, "mine", "Ada").empty


def test_filters_are_in_the_link_and_come_back_from_it(loaded):
    url = {
        "decision": "none",
        "verdict": "none,4/4",
        "density": "1,90",
        "silent": "1",
        "strength": "> 0",
        "effect": "TPP probe of nurse",
    }
    at = view("latents", url)
    assert at.selectbox(key="w_effect").value == "TPP probe of nurse" and at.selectbox(key="w_strength").value == "> 0"
    assert at.multiselect(key="w_verdict").value == ["4/4", "none"] and at.select_slider(key="w_density").value == (
        1.0,
        90.0,
    )
    assert not at.toggle(key="w_firing").value and (at.dataframe[0].value["effect"] > 0).all()
    at.multiselect(key="w_verdict").set_value(["1/4"]).run()
    at.select_slider(key="w_density").set_value((0.0, 50.0)).run()
    assert at.session_state["view"]["verdict"] == "1/4" and at.session_state["view"]["density"] == "0,50"


@pytest.mark.parametrize(
    "url",
    [{"density": "x"}, {"density": "9,1"}, {"effect": "?"}, {"of": "tpp:x"}, {"verdict": ",,"}, {"strength": "top"}],
)
def test_filters_typed_wrongly_are_no_filters(loaded, url):
    at = view("latents", url)
    assert not at.exception and not at.error and len(at.dataframe[0].value) > 100


def test_effects_are_offered_for_every_probe(loaded):
    direction = shift_pickers.linked(loaded)
    names = list(latent_table.effect_columns(loaded, direction))
    assert sum(n.startswith("SHIFT") for n in names) == 2 and sum(n.startswith("TPP") for n in names) == 4


def reading(loaded, ids=(5,)) -> TextReading:
    text = "she <b>works</b>"
    spans = [(0, 3), (3, 6), (6, len(text))]
    activations = np.zeros((3, loaded.latents.n_latents), np.float32)
    activations[0, list(ids)] = 2.0
    return TextReading(text, spans, activations, loaded.residuals.residuals[0].astype(float), False)


def test_verdict_on_a_text_subtracts_what_the_latents_add():
    decoder = np.array([[1.0, 0.0], [0.0, 2.0]])
    got = TextReading("ab", [(0, 1), (1, 2)], np.array([[1.0, 0.0], [3.0, 4.0]]), np.array([1.0, 1.0]), False)
    v = probe_verdict(got, Probe(np.array([1.0, 1.0]), -0.5, 1), decoder, [0, 1], name="p", positive="x", negative="y")
    # logit 1.5; latent 0 pools to 2 (adds 2), latent 1 to 2 (adds 4)
    assert (v.before, v.after) == (1.5, -4.5) and v.changed and v.says(v.after) == "y"
    assert got.active([1, 0]) == [1, 0] and got.active([]) == []


def test_own_texts_are_read_and_shown_by_what_moved_the_probe(loaded, monkeypatch):
    done = []
    two = [("Unpacking it", lambda: done.append(1)), ("Loading the SAE", lambda: done.append(2))]
    monkeypatch.setattr(live_model, "steps", lambda loaded: two)
    monkeypatch.setattr(live_model, "read", lambda loaded, text: reading(loaded))
    at = view("texts")
    at.text_area(key="w_own_text").set_value("she works\n\nhe works").run()
    at.button(key="w_own_read").click().run()
    assert not at.exception and "of 2 texts change prediction" in texts(at).replace("\\", "") and done == [1, 2]
    assert len(at.selectbox(key="w_typed_probe").options) == 3 + 4
    table = at.dataframe[-1].value
    assert 5 in list(table["latent"]) and list(abs(table["takes from the logit"])) == sorted(
        abs(table["takes from the logit"]), reverse=True
    )


def test_typed_probes_follow_the_ablation_of_the_page(loaded):
    at = {a: _typed(loaded, a) for a in ("mean", "zero")}
    assert not at["zero"].set_to.any() and at["mean"].set_to.any()
    v = at["mean"].verdict(reading(loaded))
    took = sum(x for _, x in at["mean"].by_contribution(reading(loaded), at["mean"].ids))
    assert v.after == pytest.approx(v.before - took)


def _typed(loaded, ablation):
    from streamlit.testing.v1 import AppTest

    def page() -> None:
        import streamlit as st
        from viewing import opened

        from app import state
        from app.widgets import shift_pickers
        from app.widgets.typed_probes import typed_probes
        from saeeval_core.config import RunConfig

        state.restore()
        loaded = opened(RunConfig())
        st.session_state["found"] = typed_probes(loaded, shift_pickers.linked(loaded))

    at = AppTest.from_function(page, default_timeout=60)
    at.query_params["ablation"] = ablation
    return at.run().session_state["found"]["SHIFT biased probe (C_b)"]


def test_texts_are_set_apart_by_empty_lines():
    assert typed.split_texts("a\nb\n \n\nc\n") == ["a\nb", "c"] and typed.split_texts(" \n") == []


def test_what_the_first_text_waits_for_is_named(loaded, cache, monkeypatch):
    monkeypatch.setattr(live_model, "_ready", set())
    first, second = (what for what, _ in live_model.steps(loaded))
    assert first.startswith("Unpacking smollm2-135m-instruct, only this first time") and loaded.latents.sae in second
    (cache / "models" / loaded.config.model).mkdir(parents=True)
    assert live_model.steps(loaded)[0][0] == "Loading smollm2-135m-instruct into memory"
    live_model._ready.add((loaded.config.model, loaded.latents.sae))
    assert live_model.steps(loaded) == []


def test_a_model_that_cannot_load_is_one_clear_box(loaded, monkeypatch):
    from saeeval_core.errors import ModelError

    def fail(loaded):
        raise ModelError("the bundled model is not installed; run: pip install it")

    monkeypatch.setattr(live_model, "steps", fail)
    at = view("texts")
    at.text_area(key="w_own_text").set_value("x").run()
    at.button(key="w_own_read").click().run()
    assert not at.exception and "not installed" in at.error[0].value


def test_effects_of_one_column_have_one_format(loaded):
    table = latent_table.frame(loaded, np.full(loaded.latents.n_latents, -1.43e-5), {})
    assert latent_table.decimals(table) == 8
    table.loc[0, "effect"] = 3.7218
    assert latent_table.decimals(table) == 3


def test_density_steps_are_where_latents_are_and_a_link_adds_its_own(loaded):
    at = view("latents", {"density": "0.3,7"})
    options = at.select_slider(key="w_density").options
    assert {"0.3", "7"} <= set(options) and sum(float(o) <= 5 for o in options) > len(options) / 2
