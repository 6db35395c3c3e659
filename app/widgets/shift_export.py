"""Taking a SHIFT result out (set, figures, report) and a set in."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import plotly.graph_objects as go
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from app import report_page, state
from app.deciding import desk as decisions
from app.deciding.desk import Place
from app.deciding.judged import judge_sets
from app.figures.compared import set_comparison
from app.figures.shift import shift_curve
from app.payloads.score_card import CURVE_NS
from app.services import ledger, scoring
from app.services.loading import Loaded
from app.widgets import export
from saeeval_core.ledger.store import DecisionSet
from saeeval_core.scores.selections import Rule
from saeeval_core.scores.shift import ShiftLatents, ShiftScore
from saeeval_core.scores.uncertainty import Estimate, difference, say
from saeeval_core.texts.parts import PART_NAMES


@dataclass(frozen=True)
class Shown:
    """What the lab shows: one set in one direction, and what it is ranked, ablated and compared by."""

    loaded: Loaded
    view: ShiftLatents
    place: Place
    choice: str
    """The set, as ``desk.find_set`` takes it."""
    who: str
    rank: str
    ablation: str
    n: int
    rule: Rule

    @property
    def stored(self) -> DecisionSet | None:
        """The set as the store holds it now; None while nothing has been decided."""
        return decisions.find_set(ledger.store(), self.place, self.who, self.choice)

    @property
    def scored(self) -> tuple[int, ShiftScore]:
        """(latents in the set, its score), now."""
        ids = tuple(ledger.store().ablated(self.stored.id)) if self.stored else ()
        return len(ids), scoring.set_score(self.view, ids, self.ablation)

    @property
    def curve(self) -> tuple[tuple[int, ShiftScore], ...]:
        """(N, score of the top N)."""
        return scoring.ranking_curve(self.view, self.rank, self.ablation, tuple(k for k in CURVE_NS if k))

    @property
    def figure(self) -> go.Figure:
        """The curve with the set marked."""
        return shift_curve(self.curve, self.scored, self.view.board)

    @property
    def rows(self) -> list[dict[str, str | int]]:
        """The numbers of the figure."""
        named = [*((f"top {n}", n, s) for n, s in self.curve), ("this set", *self.scored)]
        return [{"set": name, "n": n, "accuracy": say(s.accuracy), "S": say(s.score)} for name, n, s in named]

    @property
    def command(self) -> str:
        """The line that scores the attribution's sets from scratch."""
        return report_page.command_line(replace(self.loaded.config, metrics=("shift",), ns=(self.n,)))


def popover(
    box: DeltaGenerator,
    loaded: Loaded,
    view: ShiftLatents,
    place: Place,
    choice: str,
    rank: str,
    ablation: str,
    n: int,
    rule: Rule,
) -> None:
    """Everything is made when pressed, from what the store holds then."""
    shown = Shown(loaded, view, place, choice, state.who(), rank, ablation, n, rule)
    about = f"{place.task}; {place.direction}"
    name = f"shift_{loaded.task_set.texts.name}_{place.direction}".replace(" ", "_").replace("/", "-")
    with box.popover("Export", icon=":material/download:"):
        if (chosen := shown.stored) is not None:
            export.set_buttons(lambda: export.exported(loaded, chosen.name, "shift", about, [("", chosen)]), name)
        export.figure_buttons(lambda: shown.figure, lambda: shown.rows, name)
        st.download_button(
            "Report (HTML)",
            lambda: report(shown),
            f"report_{name}.html",
            "text/html",
            on_click="ignore",
            key="w_shift_report",
            icon=":material/description:",
            help="Settings, versions, figures, evidence of the latents you decided on, decision log; opens offline.",
        )
        st.caption("The command that scores the attribution's sets from scratch:")
        st.code(shown.command, "bash", wrap_lines=True)
        st.caption("The address of this page is a link to exactly this view.")
        export.set_import(loaded, "shift", about, lambda title, _of, wanted: _keep(shown, title, wanted), "shift")


def _keep(shown: Shown, title: str, wanted: dict[int, str]) -> None:
    """Store an imported set and show it."""
    made = decisions.new_set(ledger.store(), shown.place, shown.who, title, wanted, "imported")
    state.put(set=made.id)


def report(shown: Shown) -> str:
    """The lab as it is now, as one page."""
    chosen, compared = shown.stored, _compared(shown)
    drawn = [
        ("Accuracy against N", shown.figure, shown.rows),
        ("Sets compared", set_comparison(compared), [{"set": a, "S": say(b)} for a, b, _ in compared]),
    ]
    return report_page.view_page(
        shown.loaded,
        drawn,
        title=f"SHIFT on {shown.place.task}, {shown.place.direction}, {shown.loaded.latents.sae}",
        when=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        headline=_headline(shown),
        sets=[("", chosen)] if chosen else [],
        command=shown.command,
    )


def _compared(shown: Shown) -> list[tuple[str, Estimate, Estimate | None]]:
    """(name, S, S minus S of this set) of this set, the ranking's and the judges'."""
    view, n, mine = shown.view, shown.n, shown.scored[1]
    top = tuple(int(i) for i in scoring.ranking(view, shown.rank)[:n])
    rivals = [(f"top {n} by attribution", top)]
    rivals += [(r.name, r.ids) for r in judge_sets(shown.loaded, view, n, shown.rule) if r.ids]
    scored = [(name, scoring.set_score(view, ids, shown.ablation)) for name, ids in rivals]
    return [("this set", mine.score, None), *((name, s.score, difference(s, mine)) for name, s in scored)]


def _headline(shown: Shown) -> list[tuple[str, str]]:
    board, mine = shown.view.board, shown.scored[1]
    commits = ledger.store().commits(shown.stored.id) if shown.stored else []
    return [
        (f"S_SHIFT ({PART_NAMES[board.part]}, {shown.ablation} ablation)", say(mine.score)),
        *(
            (f"committed by {c.who}, {c.at[:16]}, after {c.dev_looks} dev looks: S test", _said(c.test["score"]))
            for c in commits
        ),
        ("target accuracy", say(mine.accuracy)),
        ("base", say(board.base)),
        ("oracle", say(board.oracle)),
        ("leakage", say(mine.leakage)),
        (f"worst group ({mine.worst_group_name})", say(mine.worst_group)),
    ]


def _said(e: Mapping[str, Any]) -> str:
    """A stored score in words."""
    if e["value"] is None:
        return "n/a"
    return f"{e['value']:.3f}" + (f" [{e['ci'][0]:.3f}, {e['ci'][1]:.3f}]" if e["ci"] else "")
