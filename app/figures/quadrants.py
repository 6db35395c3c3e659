"""Accuracy of the biased probe in each quadrant (target x spurious label), before an ablation and after it."""

from collections.abc import Sequence

import plotly.graph_objects as go

from app.figures.common import bars, finish, plain
from app.theme import BLUE, GREY
from saeeval_core.scores.uncertainty import Estimate, say


def quadrant_bars(
    names: Sequence[str], before: Sequence[Estimate], after: Sequence[Estimate] | None = None, *, title: str
) -> go.Figure:
    """One bar per quadrant and state, on an axis from 0 to 1; ``after`` None: nothing is ablated yet."""
    figure = go.Figure()
    for name, found, colour in (("before", before, GREY), ("after ablation", after, BLUE)):
        if found is not None:
            figure.add_trace(
                go.Bar(
                    x=[e.value for e in found],
                    y=[plain(n) for n in names],
                    orientation="h",
                    name=name,
                    marker={"color": colour},
                    error_x=bars(found),
                    customdata=[[plain(say(e))] for e in found],
                    hovertemplate="%{y}: %{customdata[0]}<extra></extra>",
                )
            )
    figure.update_xaxes(title="share of texts that the probe gets right", range=[0, 1])
    figure.update_yaxes(autorange="reversed", automargin=True)
    return finish(figure, title, height=380)
