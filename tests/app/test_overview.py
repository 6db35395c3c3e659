"""Overview: full, with little, and with a file of one's own."""

import html
import re
import time

from app.services import scoring


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
    assert "S_SHIFT, small-N area" in text and "TPP, small-N area" in text and text.count("95 % interval [") >= 4
    assert "The paper's S_SHIFT, top 10" in html.unescape(text) and "The paper's TPP, top 10" in html.unescape(text)
    assert "Selective erasure E" in text and "Still readable, R of the spurious label" in text
    assert "TPP of fresh probes" in text and text.count("95 % interval [") >= 8
    assert len(test.latex) == 2
    assert (
        all(f"<th>E, N = {n}</th>" in text for n in (10, 20)) and text.count("permuted decoder") == 2
    )  # without a press
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
    assert not test.exception and "random decoder" in text and "leace" in text
    again = text_of(planted_app("overview"))
    assert again.count("permuted decoder") == 2  # beside SHIFT and beside TPP, without a press
