"""Colours are spelled once; Streamlit's settings, the figures and the style sheets agree with them."""

import re
import tomllib
from pathlib import Path

import pytest

from app import theme
from app.figures.sweep import rank_agreement

APP = Path(__file__).resolve().parents[2] / "app"
SOURCES = sorted(p for p in APP.rglob("*") if p.suffix in (".py", ".js", ".css") and p != APP / "theme.py")


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.relative_to(APP).as_posix())
def test_no_colour_is_spelled_elsewhere(path):
    text = path.read_text(encoding="utf-8")
    assert re.findall(r"#[0-9a-fA-F]{6}\b|#[0-9a-fA-F]{3}\b", text) == []
    assert [c for c in re.findall(r"rgba?\(([\d, .]+)\)", text) if c != "0,0,0,0"] == []


def test_streamlits_settings_have_the_themes_colours():
    stored = tomllib.loads((APP / ".streamlit" / "config.toml").read_text(encoding="utf-8"))["theme"]
    assert stored == {"light": {"primaryColor": theme.PRIMARY.light}, "dark": {"primaryColor": theme.PRIMARY.dark}}


def test_custom_properties_are_given_for_light_and_dark():
    light, dark = theme.css(".lab", ".tpp").splitlines()
    assert light.startswith(":is(.lab,.tpp) {") and dark.startswith(":is(.lab,.tpp)[data-mode=dark] {")
    assert f"--gain:{theme.BLUE};" in light and f"--gain:{theme.PRIMARY.dark};" in dark
    assert re.findall(r"--([\w-]+):", light) == re.findall(r"--([\w-]+):", dark)


def test_a_diverging_scale_goes_from_gain_over_the_page_to_loss():
    assert theme.diverging() == [(0, theme.BLUE), (0.5, theme.MIDDLE.light), (1, theme.ORANGE)]
    assert [c for _, c in theme.diverging(dark=True)] == [theme.GAIN.dark, theme.MIDDLE.dark, theme.LOSS.dark]
    figure = rank_agreement(["a", "b"], [[1.0, 0.5], [0.5, 1.0]], title="t", dark=True)
    assert figure.data[0].colorscale[0] == (0, theme.GAIN.dark)


def test_colours_as_numbers():
    assert theme.rgb("#0b6e99") == (11, 110, 153) and theme.faded("#0b6e99", 0.15) == "rgba(11,110,153,0.15)"
