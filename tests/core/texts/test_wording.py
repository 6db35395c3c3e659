"""English of composed texts: what counts as a fault, and what does not."""

import pytest

from saeeval_core.texts.wording import faults, number_words


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("She is a engineer.", "a engineer"),
        ("An university of note.", "An university"),
        ("It took a hour.", "a hour"),
        ("He needed a MRI.", "a MRI"),
        ("She met {name} there.", "unfilled slot"),
        ("She is the the one.", "the the"),
        ("It ended. then it began.", "sentence starts with 't'"),
        ("It ended .", "spacing ' .'"),
    ],
)
def test_faults_are_named(text: str, wrong: str) -> None:
    assert any(wrong in found for found in faults(text))


@pytest.mark.parametrize(
    "text",
    [
        "A one-eyed cat, an hour, a university, an 18-year lease, an X-ray.",
        "An umbrella, a unit, a European, a T-shirt, an MRI scan, a UK firm.",
    ],
)
def test_right_texts_have_no_faults(text: str) -> None:
    assert faults(text) == []


@pytest.mark.parametrize(
    ("number", "words"), [(0, "zero"), (19, "nineteen"), (20, "twenty"), (42, "forty-two"), (100, "100"), (-3, "-3")]
)
def test_numbers_are_spelled_out_below_a_hundred(number: int, words: str) -> None:
    assert number_words(number) == words
