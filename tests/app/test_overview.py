"""Overview: full, with little, and with a file of one's own."""

import html
import re
import time
from dataclasses import replace

from viewing import opened

from app.results import Stored
from app.services import scoring
from app.views.overview import others
from app.views.overview.latents import whole_words
from saeeval_core.config import RunConfig
from saeeval_core.evidence.evidence import EvidenceContext
from saeeval_core.scores.area import RECOMMENDED


def text_of(test) -> str:
    return " ".join(
        str(getattr(h, "value", "")) for h in [*test.get("html"), *test.markdown, *test.header, *test.subheader]
    )


def test_says_what_is_loaded_and_both_scores_with_intervals(planted_app):
    test = planted_app("overview")
    assert not test.exception and not test.error
    end = time.monotonic() + 60
    while (
        re.search("Fresh probes are being read|Controls of E are being scored", text_of(test))
        and time.monotonic() < end
    ):
        time.sleep(0.1)
        test = test.run()
    text = text_of(test)
    assert "smollm2-135m-instruct" in text and "composed texts" in text
    assert "S_SHIFT, average over N = 1 to 20" in text and "TPP, average over N = 1 to 20" in text
    assert "The paper's S_SHIFT, top 10" in html.unescape(text) and "The paper's TPP, top 10" in html.unescape(text)
    assert text.index("Selective erasure E") < text.index("TPP, average over N")  # the validated score comes first
    assert "Still readable, R of the spurious label" in text and "TPP of fresh probes" in text
    assert text.count("95 % interval [") >= 8
    assert len(test.latex) == 2
    assert all(f"<th>E, N = {n}</th>" in text for n in (10, 20))  # without a press, as the row below
    assert text.count("<tr><td>permuted decoder<div class='how'>the same codes, decoder rows shuffled") == 2
    said = " ".join(c.value.replace("\\", "") for c in test.caption)
    assert "Against its controls and other dictionaries, E, N = 20: " in said and "random latents" in said


def test_examples_are_escaped(planted_app):
    text = text_of(planted_app("overview"))
    assert "<script>window.hacked" not in text


def test_task_without_pairs_or_classes_still_opens(planted_app, monkeypatch):
    monkeypatch.setattr(scoring, "shift_variants", lambda *a: None)
    monkeypatch.setattr(scoring, "tpp_variants_of", lambda *a: None)
    test = planted_app("overview")
    assert not test.exception and "no SHIFT pair" in text_of(test) and "no TPP classes" in text_of(test)


def test_an_engine_error_is_one_box(planted_app, monkeypatch):
    from saeeval_core.errors import DataError

    def fail(*_):
        raise DataError("quadrant 'a' has 3 training texts; at least 20 are needed")

    monkeypatch.setattr(scoring, "shift_variants", fail)
    test = planted_app("overview")
    assert not test.exception and "at least 20" in test.error[0].value.replace("\\", "")


def test_controls_are_scored_once_and_then_shown(planted_app):
    test = planted_app("overview")
    assert not any("leace" in str(h.value) for h in test.get("html"))
    test = test.button(key="w_controls_shift").click().run()
    text = text_of(test)
    assert not test.exception and "random decoder" in text and "LEACE" in text and "this SAE" in text
    again = text_of(planted_app("overview"))
    assert again.count("<tr><td>permuted decoder<div class='how'>the same codes, decoder rows shuffled") == 2


def test_first_come_pictures_and_sentences_written_from_their_numbers(planted_app):
    text = html.unescape(text_of(planted_app("overview")))
    assert "accuracy before and after: " in text and "matrix of " in text and "The probe should read" in text
    assert any(
        w in text for w in ("of the gap (95 % interval", "no effect that these texts can tell", "not defined here")
    )
    assert "Latents that carry" in text and "latent " in text and "effect +" in text
    assert "No decision yet" in text and "Commit scores your set once on test texts" in text


def test_words_of_the_pictures_are_explained_in_place(planted_app):
    text = text_of(planted_app("overview"))
    for word in ("Quadrant", "Gap", "Leakage", "Dev and test", "Looks", "LEACE", "n/a in one direction"):
        assert f"<b>{word}</b>: " in text


def test_other_saes_are_those_of_the_same_texts_and_settings(planted_app):
    loaded = opened(RunConfig())
    own, here = loaded.config.saes[0], {"task": loaded.task_set.texts.name, "protocol": loaded.protocol.name}
    base = Stored(own, variant=RECOMMENDED, selection="attribution", metric="shift", scope="all", value=0.3, file="a")
    base = replace(base, model=loaded.config.model, **here)
    beside = [replace(base, sae=f"s{k}", value=k / 10) for k in range(9)]
    elsewhere = replace(base, sae="other", task="reviews")
    shown = [r.sae for r in others.rows_beside([base, *beside, elsewhere, replace(base, metric="tpp")], loaded)]
    assert shown == ["s8", "s7", "s6", "s5", "s4", own]  # best first, and this one whatever its place
    assert others.rows_beside([elsewhere], loaded) == []


def test_a_context_of_a_card_begins_and_ends_with_whole_words():
    found = EvidenceContext(
        ("er", " cello", " is", " play", "ed", " w"), (0, 1, 0, 2, 0, 0), "the teach", "ell", "t", "", "top", 1
    )
    assert [found.tokens[slice(*whole_words(found, at))] for at in (1, 3)] == [(" cello", " is", " play", "ed")] * 2
    whole = replace(found, before="", after="")
    assert whole_words(whole, 3) == (0, 6)
