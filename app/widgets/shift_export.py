"""Taking a SHIFT result out (set, figures, report) and a set in."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import streamlit as st

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
from saeeval_core.scores.selections import Rule
from saeeval_core.scores.shift import ShiftLatents, ShiftScore
from saeeval_core.scores.uncertainty import difference, say
from saeeval_core.texts.parts import PART_NAMES

Points = list[tuple[int, ShiftScore]]


def popover(
    box: Any,
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
    name = f"shift_{loaded.task_set.texts.name}_{place.direction}".replace(" ", "_").replace("/", "-")
    store, who = ledger.store(), state.who()
    with box.popover("Export", icon=":material/download:"):
        chosen = decisions.find_set(store, place, who, choice)
        if chosen is not None:
            export.set_buttons(
                lambda: export.exported(
                    loaded, chosen.name, "shift", f"{place.task}; {place.direction}", [("", chosen)]
                ),
                name,
            )
        export.figure_buttons(
            lambda: _curve(view, *_points(view, place, choice, who, rank, ablation)),
            lambda: _rows(*_points(view, place, choice, who, rank, ablation)),
            name,
        )
        st.download_button(
            "Report (HTML)",
            lambda: report(loaded, view, place, choice, who, rank, ablation, n, rule),
            f"report_{name}.html",
            "text/html",
            on_click="ignore",
            key="w_shift_report",
            icon=":material/description:",
            help="Settings, versions, figures, evidence of the latents you decided on, decision log; opens offline.",
        )
        st.caption("The command that scores the attribution's sets from scratch:")
        st.code(_command(loaded, n), "bash", wrap_lines=True)
        st.caption("The address of this page is a link to exactly this view.")

        def keep(set_name: str, _of: str, wanted: dict[int, str]) -> None:
            made = decisions.new_set(store, place, who, set_name, wanted, "imported")
            state.put(set=made.id)

        export.set_import(loaded, "shift", f"{place.task}; {place.direction}", keep, "shift")


def report(
    loaded: Loaded,
    view: ShiftLatents,
    place: Place,
    choice: str,
    who: str,
    rank: str,
    ablation: str,
    n: int,
    rule: Rule,
) -> str:
    """The lab as it is now, as one page."""
    points, you = _points(view, place, choice, who, rank, ablation)
    part, mine = PART_NAMES[view.board.part], you[1]
    chosen = decisions.find_set(ledger.store(), place, who, choice)
    order = scoring.ranking(view, rank)
    rivals = [
        (f"top {n} by attribution", scoring.set_score(view, tuple(int(i) for i in order[:n]), ablation)),
        *((r.name, scoring.set_score(view, r.ids, ablation)) for r in judge_sets(loaded, view, n, rule) if r.ids),
    ]
    compared = [("this set", mine.score, None), *((name, s.score, difference(s, mine)) for name, s in rivals)]
    headline = [(f"S_SHIFT ({part}, {ablation} ablation)", say(mine.score))]
    commits = ledger.store().commits(chosen.id) if chosen else []
    headline += [
        (f"committed by {c.who}, {c.at[:16]}, after {c.dev_looks} dev looks: S test", _said(c.test)) for c in commits
    ]
    headline += [
        ("target accuracy", say(mine.accuracy)),
        ("base", say(view.board.base)),
        ("oracle", say(view.board.oracle)),
        ("leakage", say(mine.leakage)),
        (f"worst group ({mine.worst_group_name})", say(mine.worst_group)),
    ]
    drawn = [
        ("Accuracy against N", _curve(view, points, you), _rows(points, you)),
        ("Sets compared", set_comparison(compared), [{"set": a, "S": say(b)} for a, b, _ in compared]),
    ]
    return report_page.view_page(
        loaded,
        drawn,
        title=f"SHIFT on {place.task}, {place.direction}, {loaded.latents.sae}",
        when=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        headline=headline,
        sets=[("", chosen)] if chosen else [],
        command=_command(loaded, n),
    )


def _points(
    view: ShiftLatents, place: Place, choice: str, who: str, rank: str, ablation: str
) -> tuple[Points, tuple[int, ShiftScore]]:
    chosen = decisions.find_set(ledger.store(), place, who, choice)
    ids = tuple(ledger.store().ablated(chosen.id)) if chosen else ()
    curve = scoring.ranking_curve(view, rank, ablation, tuple(k for k in CURVE_NS if k))
    return list(curve), (len(ids), scoring.set_score(view, ids, ablation))


def _curve(view: ShiftLatents, points: Points, you: tuple[int, ShiftScore]) -> Any:
    return shift_curve(points, you, view.board)


def _rows(points: Points, you: tuple[int, ShiftScore]) -> list[dict[str, Any]]:
    named = [*((f"top {n}", n, s) for n, s in points), ("this set", *you)]
    return [{"set": name, "n": n, "accuracy": say(s.accuracy), "S": say(s.score)} for name, n, s in named]


def _command(loaded: Loaded, n: int) -> str:
    return report_page.command_line(replace(loaded.config, metrics=("shift",), ns=(n,)))


def _said(test: dict[str, Any]) -> str:
    e = test["score"]
    return (
        "n/a"
        if e["value"] is None
        else f"{e['value']:.3f}" + (f" [{e['ci'][0]:.3f}, {e['ci'][1]:.3f}]" if e["ci"] else "")
    )
