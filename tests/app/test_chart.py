"""Figures on a page and the files they leave as."""

from functools import partial

import pytest

from app.figures.sweep import rank_agreement
from app.widgets import chart


@pytest.mark.parametrize("dark", [True, False])
def test_a_figure_follows_the_page_and_its_files_are_those_of_white_paper(monkeypatch, dark):
    shown, files = [], []
    monkeypatch.setattr(chart.provenance, "dark", lambda: dark)
    monkeypatch.setattr(chart.st, "plotly_chart", lambda figure, **_: shown.append(figure))
    monkeypatch.setattr(chart.export, "figure_buttons", lambda made, rows, *_: files.extend((made(), rows())))
    drawn = partial(rank_agreement, ["a", "b"], [[1.0, 0.5], [0.5, 1.0]], title="Ranks")
    chart.themed(drawn, "ranks", part="test")
    assert shown == [drawn(dark=dark)] and files[0] == drawn(dark=False)
    assert drawn(dark=True) != drawn(dark=False)
    assert [row["value"] for row in files[1]] == [1.0, 0.5, 0.5, 1.0]
