"""A set followed through later layers: S, R and E against the layer."""

from collections.abc import Callable, Sequence

import plotly.graph_objects as go

from app.figures.common import band, finish
from app.theme import BLUE, ORANGE, PALETTE
from saeeval_core.holding.held import AtHook
from saeeval_core.models.layouts import layer_of
from saeeval_core.scores.uncertainty import Estimate

_CURVES: tuple[tuple[str, str, Callable[[AtHook], Estimate]], ...] = (
    ("S", BLUE, lambda at: at.score),
    ("R, still readable", ORANGE, lambda at: at.recoverability),
    ("E", PALETTE[2], lambda at: at.selective_erasure),
)


def through_layers(hooks: Sequence[AtHook]) -> go.Figure:
    """S, R and E at every hook; those outside the blocks are left out."""
    figure = go.Figure()
    at = sorted(((layer, h) for h in hooks if (layer := layer_of(h.hook)) is not None), key=lambda pair: pair[0])
    for name, colour, of in _CURVES:
        band(figure, [(layer, of(h)) for layer, h in at], name, colour, said="block")
    figure.update_xaxes(title="block", tickvals=[layer for layer, _ in at])
    return finish(figure, "At later layers", height=320)
