"""What a notebook shows: names are text, undefined is n/a, and the picture has what the numbers say."""

import re
from dataclasses import replace

from hostile_results import HOSTILE, at, hostile_result

from saeeval_core.door.html import figures, headline, result_html
from saeeval_core.door.lab import Lab
from saeeval_core.door.result import Result
from saeeval_core.scores.uncertainty import undefined


def test_no_name_becomes_markup(tmp_path):
    run = hostile_result()
    page = Result(run, None, "bios").report(tmp_path / "report.html").read_text()
    shown = (result_html(run), page, Lab(f"http://localhost:1/{HOSTILE}")._repr_html_())
    for html in shown:
        assert "<script" not in html and "<img" not in html and "onerror=&quot;" in html
    assert set(re.findall(r"(?:href|src)=['\"]([^'\"]*)", result_html(run))) == set()


def test_the_picture_has_the_interval_and_the_controls():
    sae = hostile_result().saes[0]
    curve = figures(sae)[0]
    assert curve.html.count("<polyline") == 3 and curve.html.count("<polygon") == 1  # own, control, zero
    band = re.search(r"<polygon points='([^']*)'", curve.html)
    assert band and len(band[1].split()) == 10
    xs = [float(p.split(",")[0]) for p in band[1].split()[:5]]
    assert xs == sorted(xs) and 0 <= xs[0] < xs[-1] <= 420
    assert [r["score"] for r in curve.rows][:2] == ["0.000 [-0.100, 0.100]", "0.100 [0.000, 0.200]"]


def test_undefined_is_said_and_never_drawn():
    sae = hostile_result().saes[0]
    gone = {n: {"test": replace(p["test"], score=undefined("why"))} for n, p in sae.shift.aggregate.items()}
    none = replace(sae, shift=replace(sae.shift, aggregate=gone), controls=())
    assert "<svg" not in figures(none)[0].html and "no defined score" in figures(none)[0].html
    assert dict(headline(none))["SHIFT, N = 10"].reason == "why"
    one = {n: {"test": replace(p["test"], score=at(0.2))} if n > 2 else gone[n] for n, p in sae.shift.aggregate.items()}
    some = figures(replace(none, shift=replace(sae.shift, aggregate=one)))[0].html
    assert "nan" not in some and "None" not in some and some.count("<polyline") == 2


def test_an_sae_that_failed_says_why():
    assert "&lt;img" in result_html(hostile_result(saes=(hostile_result().saes[1],)))
