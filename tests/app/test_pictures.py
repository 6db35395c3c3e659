"""Small pictures: what stands where, that nothing undefined is drawn as 0, and that labels are inert."""

import re

from app.figures import pictures
from app.figures.names import short_names
from app.figures.pictures import Bar, Line, Mark
from saeeval_core.scores.uncertainty import Estimate, undefined

SCORE = Estimate(0.5, (0.4, 0.6))
NASTY = "<img src=x onerror=alert(1)>'\""


def left(markup: str, look: str) -> list[float]:
    """Places of the dots of that look, in percent."""
    return [float(x) for x in re.findall(rf"class='dot {look}' style='left:([\d.]+)%", markup)]


def test_strip_orders_by_value_and_marks_what_is_not_beaten():
    marks = [
        Mark("low", Estimate(0.0, (-0.1, 0.1)), "above"),
        Mark("same", Estimate(0.45), "not separable"),
        Mark("high", Estimate(0.9, (0.8, 1.0)), "below"),
        Mark("LEACE", Estimate(1.0), "below", bound=True),
        Mark("gone", undefined("no probe"), "unknown"),
    ]
    drawn = pictures.strip(SCORE, marks)
    (low,), (same,), (high,), (bound,), (own,) = (left(drawn, c) for c in ("above", "same", "below", "bound", "own"))
    assert low < same < own < high < bound and "gone" not in drawn
    assert pictures.strip(undefined("no gap"), marks) == ""


def test_labels_of_one_line_never_touch():
    marks = [Mark(f"a longish name {k}", Estimate(k / 9), "above") for k in range(10)]
    drawn = pictures.strip(SCORE, marks)
    tops: dict[str, list[tuple[float, float]]] = {}
    for side, x, top, text in re.findall(r"tag above ?(\w*)' style='left:([\d.]+)%;top:(\d+)px'>([^<]+)<", drawn):
        width = 100 * len(text) * 6.4 / 320
        start = float(x) - {"": 0, "mid": width / 2, "right": width}[side]
        tops.setdefault(top, []).append((start, start + width))
    assert sum(map(len, tops.values())) == 10
    for own in tops.values():
        own.sort()
        assert all(a[1] <= b[0] for a, b in zip(own, own[1:], strict=False))


def test_before_and_after_and_matrix_and_forest():
    bars = pictures.before_and_after([Bar("a", Estimate(0.25), Estimate(0.75)), Bar("b", Estimate(0.9), Estimate(0.8))])
    assert "width:25.0%" in bars and "width:75.0%" in bars and bars.count("track gain") == bars.count("track loss") == 1
    cells = [[Estimate(0.2), Estimate(-0.1)], [undefined("x"), Estimate(0.1)]]
    drawn = pictures.matrix(["a", "b"], cells)
    assert re.findall(r"--share:(\d+)%", drawn) == ["100", "50", "0", "50"] and "n/a" in drawn
    forest = pictures.forest([Line("a", SCORE, own=True), Line("b", undefined("no gap"))])
    assert forest.count("class='dot own'") == 1 and "n/a" in forest


def test_labels_from_data_are_inert_everywhere():
    drawn = [
        pictures.before_and_after([Bar(NASTY, SCORE, SCORE)]),
        pictures.strip(SCORE, [Mark(NASTY, SCORE, "above")]),
        pictures.matrix([NASTY], [[SCORE]]),
        pictures.forest([Line(NASTY, SCORE)]),
    ]
    assert not any("<img" in d or "x onerror=alert(1)>'" in d for d in drawn)


def test_short_names_keep_what_tells_apart():
    assert short_names(["m-l15-topk-4k", "m-l15-relu-4k"]) == {"m-l15-topk-4k": "topk", "m-l15-relu-4k": "relu"}
    assert short_names(["a-1", "a-1-x"]) == {"a-1": "1", "a-1-x": "1-x"}
    assert short_names(["alone-4k"]) == {"alone-4k": "alone-4k"}
    names = ["a-b", "a-b-b", "a-c-b", "x"]
    assert len(set(short_names(names).values())) == 4
