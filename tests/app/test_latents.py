"""Latents view: search, filters, links, and a typed text read without a language model."""

import numpy as np
import pytest
from viewing import texts, verdict, view

from app import live_model, services
from app.views import latents
from app.widgets import latent_table
from saeeval_core.config import RunConfig
from saeeval_core.live_text import TextReading, probe_verdict
from saeeval_core.probes import Probe


@pytest.fixture
def loaded(planted_app):
    """The planted bundle, as views get it."""
    return services.load_or_raise(RunConfig())


def rows(table, **filters):
    plain = {"search": "", "density": (0.0, 1.0), "decisions": [], "verdicts": [], "firing": False}
    return latent_table.filtered(table, **plain | filters)


def test_view_draws_a_table_and_a_card(loaded):
    at = view("latents", {"latent": "5"})
    assert not at.exception and at.dataframe and "strongest effect first" in texts(at)


@pytest.mark.parametrize("url", [{"latent": "99999"}, {"latent": "-3"}, {"latent": "x"}, {"search": "<script>"}, {"pair": "no"}])
def test_links_typed_by_people_never_break_the_view(loaded, url):
    assert not view("latents", url).exception


def test_empty_result_says_what_to_do(loaded):
    at = view("latents", {"search": "no latent says this"})
    assert not at.exception and "No latent passes" in texts(at)


def test_search_by_id_explanation_and_token_and_filters(loaded):
    services.store().add_verdicts([verdict(loaded, 9, "judge", "llm", {"gender": 3}, explanation="Feminine Pronouns")])
    services.store().add_verdicts([verdict(loaded, 10, "judge", "llm", {}, status="refused")])
    effect = np.arange(loaded.latents.n_latents, dtype=float)
    table = latent_table.frame(loaded, effect, {4: "ablate"})
    assert rows(table, search="17")["latent"].tolist() == [17]
    assert rows(table, search="pronoun")["latent"].tolist() == [9]
    assert rows(table, decisions=["ablate"])["latent"].tolist() == [4]
    assert rows(table, verdicts=["3/4"])["latent"].tolist() == [9]
    assert rows(table, verdicts=["no verdict"])["latent"].tolist() == [10]
    assert rows(table)["latent"].iloc[0] == loaded.latents.n_latents - 1
    dense = rows(table, density=(0.2, 1.0))
    assert 0 < len(dense) < len(table) and (dense["density"] >= 0.2).all()


def test_effects_are_offered_for_every_probe(loaded):
    direction = latents._direction(loaded)
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


def test_own_text_shows_every_firing_candidate_and_all_probes(loaded, monkeypatch):
    monkeypatch.setattr(live_model, "read", lambda loaded, text: reading(loaded))
    at = view("latents")
    at.text_area(key="w_own_text").set_value("she works").run()
    at.button(key="w_own_read").click().run()
    assert not at.exception and "1 of" in texts(at) and "latent 5" in texts(at)
    shown = at.dataframe[-1].value
    assert len(shown) == 3 + 4 and set(shown["changed"]) <= {"yes", "no"}
    assert any("&lt;b&gt;" in h.body for h in at.get("html") if hasattr(h, "body")) or "<b>works" not in texts(at)


def test_a_model_that_cannot_load_is_one_clear_box(loaded, monkeypatch):
    from saeeval_core.errors import ModelError

    def fail(loaded, text):
        raise ModelError("the bundled model is not installed; run: pip install it")

    monkeypatch.setattr(live_model, "read", fail)
    at = view("latents")
    at.text_area(key="w_own_text").set_value("x").run()
    at.button(key="w_own_read").click().run()
    assert not at.exception and "not installed" in at.error[0].value
