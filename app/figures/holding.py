"""A set followed through later layers: what probes there read of it against the layer."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import plotly.graph_objects as go

from app.figures.common import band, finish
from app.theme import BLUE, ORANGE, PALETTE
from saeeval_core.holding.held import AtHook, ClassesAtHook, HeldClasses
from saeeval_core.models.layouts import layer_of
from saeeval_core.scores.uncertainty import Estimate

H = TypeVar("H", AtHook, ClassesAtHook)
Curves = tuple[tuple[str, str, Callable[[H], Estimate]], ...]
"""(name, colour, what is drawn of a hook)"""
_SHIFT: Curves[AtHook] = (
    ("S", BLUE, lambda at: at.score),
    ("R, still readable", ORANGE, lambda at: at.recoverability),
    ("E", PALETTE[2], lambda at: at.selective_erasure),
)
_TPP: Curves[ClassesAtHook] = (
    ("TPP", BLUE, lambda at: at.score),
    ("TPP of fresh probes", ORANGE, lambda at: at.fresh_score),
)
_ONE_CLASS: Curves[ClassesAtHook] = (
    ("its probe loses", BLUE, lambda at: at.classes[0].own),
    ("R, still readable", ORANGE, lambda at: at.classes[0].recoverability),
    ("R of the others", PALETTE[2], lambda at: at.classes[0].recoverability_others),
)


def through_layers(hooks: Sequence[AtHook]) -> go.Figure:
    """S, R and E at every hook; those outside the blocks are left out."""
    return _drawn(hooks, _SHIFT)


def classes_through_layers(held: HeldClasses) -> go.Figure:
    """TPP of both kinds of probes likewise; of one class alone what its probe loses and what is still readable."""
    return _drawn(held.hooks, _ONE_CLASS if len(held.n_ablated) == 1 else _TPP)


def _drawn(hooks: Sequence[H], curves: Curves[H]) -> go.Figure:
    figure = go.Figure()
    at = sorted(((layer, h) for h in hooks if (layer := layer_of(h.hook)) is not None), key=lambda pair: pair[0])
    for name, colour, of in curves:
        band(figure, [(layer, of(h)) for layer, h in at], name, colour, said="block")
    figure.update_xaxes(title="block", tickvals=[layer for layer, _ in at])
    return finish(figure, "At later layers", height=320)
