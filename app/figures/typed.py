"""Texts that a person typed: a probe's logit before and after ablation, and the latents that make the difference."""

from collections.abc import Sequence
from itertools import accumulate

import plotly.graph_objects as go

from app.figures.common import finish, plain
from app.theme import BLUE, GREY, ORANGE


def before_after(names: Sequence[str], before: Sequence[float], after: Sequence[float], *, title: str) -> go.Figure:
    """Two bars for each text, float[texts] each: above 0 the probe says yes."""
    shown = [plain(n) for n in names]
    figure = go.Figure(
        [
            go.Bar(y=shown, x=list(values), name=name, orientation="h", marker_color=colour)
            for name, values, colour in (("before", before, GREY), ("after ablation", after, BLUE))
        ]
    )
    figure.update_layout(barmode="group")
    figure.update_yaxes(autorange="reversed", automargin=True)
    figure.update_xaxes(title="logit of the probe", zeroline=True, zerolinewidth=2)
    return finish(figure, title, height=130 + 52 * len(names))


def waterfall(before: float, steps: Sequence[tuple[str, float]], *, title: str) -> go.Figure:
    """From the logit before to the one after ablation, a step for each latent: (its name, what ablating it takes from the logit)."""
    names = ["before", *(plain(n) for n, _ in steps), "after ablation"]
    moves = [-taken for _, taken in steps]
    starts = list(accumulate(moves, initial=before))
    colours = [GREY, *(BLUE if move > 0 else ORANGE for move in moves), GREY]
    bars = {"x": [before, *moves, starts[-1]], "base": [0.0, *starts[:-1], 0.0], "marker_color": colours}
    figure = go.Figure(go.Bar(orientation="h", y=names, hovertemplate="%{y}: %{x:+.3f}<extra></extra>", **bars))
    figure.update_yaxes(autorange="reversed", automargin=True)
    figure.update_xaxes(title="logit of the probe", zeroline=True, zerolinewidth=2)
    return finish(figure, title, height=130 + 30 * len(names))
