"""Texts that a person typed: a probe's logit before and after ablation, and the latents that make the difference."""

from collections.abc import Sequence

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
    figure = go.Figure(
        go.Waterfall(
            orientation="h",
            y=names,
            x=[before, *(-v for _, v in steps), 0.0],
            measure=["absolute", *("relative" for _ in steps), "total"],
            increasing={"marker": {"color": BLUE}},
            decreasing={"marker": {"color": ORANGE}},
            totals={"marker": {"color": GREY}},
        )
    )
    figure.update_yaxes(autorange="reversed", automargin=True)
    figure.update_xaxes(title="logit of the probe", zeroline=True, zerolinewidth=2)
    return finish(figure, title, height=130 + 30 * len(names))
