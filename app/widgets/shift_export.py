"""Taking a SHIFT result out (set, figures, report) and a set in."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import plotly.graph_objects as go
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from app import report_page, state
from app.deciding.lab import Lab
from app.figures.compared import set_comparison
from app.figures.shift import score_curve, shift_curve
from app.services import ledger, scoring
from app.widgets import export, provenance, steering_box
from saeeval_core.config import DEFAULT_NS
from saeeval_core.formats import sentences
from saeeval_core.formats.decision_sets import ExportedSet, set_to_json
from saeeval_core.formats.report import Attachment, Told
from saeeval_core.formats.set_selection import PREFIX, exported_task
from saeeval_core.ledger.commits import read_shift
from saeeval_core.ledger.decisions import DecisionSet
from saeeval_core.ledger.places import MINE
from saeeval_core.scores.shift import ShiftScore
from saeeval_core.scores.uncertainty import Estimate, difference, say
from saeeval_core.wording import short_time

ERASED = "S, E and R against N"
_FIELDS = {"mean": "mean_ablation", "zero": "score"}
"""Ablation -> the field in which ``saeeval run`` writes S under it."""
Point = tuple[int, ShiftScore]
"""(latents ablated, score)"""


@dataclass(frozen=True)
class Row:
    """One set of the export."""

    name: str
    n: int
    score: ShiftScore
    erasure: Estimate
    """E"""
    recoverability: Estimate
    """R of the spurious label."""
    edit_size: float


def popover(box: DeltaGenerator, lab: Lab) -> None:
    """Everything is made when pressed, from what the store holds then."""
    loaded, place, chosen = lab.loaded, lab.place, lab.chosen()
    name = _file_name(lab)
    with box.popover("Export", icon=":material/download:"):
        why_not = "" if chosen is not None else "Nothing is decided yet: the set is empty."
        export.set_buttons(lambda: _exported(lab), name, why_not)
        _figures(lab, export.file_name(name, lab.ablation, lab.part_name))
        st.download_button(
            "Report (HTML)",
            lambda: report(lab),
            f"report_{name}.html",
            "text/html",
            on_click="ignore",
            key="w_shift_report",
            icon=":material/description:",
            help="Settings, versions, figures, evidence of the latents you decided on, decision log; opens offline.",
        )
        steering_box.buttons(lab, name)
        st.caption("Everything here is of the whole ablation, \u03b1 = 1.")
        st.caption(f"The command that gives this number anywhere{'' if why_not else ', with Set (JSON) beside it'}:")
        st.code(command(lab), "bash", wrap_lines=True)
        st.caption(
            f"In its JSON, under this direction: by_n, {provenance.plain(lab.part_name)}, {_FIELDS[lab.ablation]}."
        )
        task = exported_task(place.task, place.direction)
        export.set_import(loaded, task, [place], lambda made: state.put(shift_set=made.id))


def _figures(lab: Lab, name: str) -> None:
    about = (
        f"{lab.place.task}, {lab.place.direction}; {lab.loaded.latents.sae}; {lab.ablation} ablation; protocol "
        f"{lab.loaded.protocol.name}, seed {lab.loaded.config.seed}; 95 % intervals over {lab.part_name} texts."
    )
    st.caption("Accuracy against N")
    export.figure_buttons(
        lambda: _curve(lab, _ranked(lab), _you(lab)),
        lambda: _numbers(lab.part_name, _rows(lab, _ranked(lab), _you(lab))),
        f"{name}_curve",
        about,
    )
    st.caption(ERASED)
    export.figure_buttons(
        lambda: _erased_curve(_rows(lab, _ranked(lab), _you(lab))),
        lambda: _numbers(lab.part_name, _rows(lab, _ranked(lab), _you(lab))),
        f"{name}_erased",
        about,
    )
    st.caption("Sets compared")
    export.figure_buttons(
        lambda: set_comparison(_compared(lab, _you(lab)[1])), lambda: _sets(lab), f"{name}_sets", about
    )


def _exported(lab: Lab) -> ExportedSet:
    """The set as it is when asked for; without a decision an empty one."""
    chosen, task = lab.chosen(), exported_task(lab.place.task, lab.place.direction)
    parts = [] if chosen is None else [("", chosen)]
    return export.exported(lab.loaded, MINE if chosen is None else chosen.name, "shift", task, parts)


def _file_name(lab: Lab) -> str:
    chosen, task = lab.chosen(), lab.direction.task
    name, who = (MINE, lab.who) if chosen is None else (chosen.name, chosen.who)
    about = lab.loaded.task_set.texts.name, lab.direction.pair, f"target {task.target.column}", name, who
    return export.file_name("shift", *about)


def report(lab: Lab) -> str:
    """The lab as it is now, as one page."""
    points, you, chosen = _ranked(lab), _you(lab), lab.chosen()
    compared, rows = _compared(lab, you[1]), _rows(lab, points, you)
    drawn = [
        ("Accuracy against N", _curve(lab, points, you), _said_rows(rows)),
        (ERASED, _erased_curve(rows), []),
        ("Sets compared", set_comparison(compared), [{"set": a, "S": say(b)} for a, b, _ in compared]),
    ]
    return report_page.view_page(
        lab.loaded,
        drawn,
        title=f"SHIFT on {lab.place.task}, {lab.place.direction}, {lab.loaded.latents.sae}",
        when=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        headline=_headline(lab, you[1], chosen),
        sets=[("", chosen, lab.view.base_effect)] if chosen else [],
        command=command(lab),
        part=lab.part_name,
        told=Told(_sentences(lab, you[1], chosen, compared), _files(lab)),
    )


def _files(lab: Lab) -> list[Attachment]:
    """The set that the command reads; none before the first decision."""
    return [] if lab.chosen() is None else [Attachment(f"{_file_name(lab)}.json", set_to_json(_exported(lab)))]


def _sentences(
    lab: Lab, mine: ShiftScore, chosen: DecisionSet | None, compared: Sequence[tuple[str, Estimate, Estimate | None]]
) -> list[str]:
    """The result in words: the set on the texts it was chosen on, against the ranking, and on test if it is committed."""
    part, committed = lab.part_name, ledger.store().commits(chosen.id) if chosen else []
    said = [f"On {part} texts:", sentences.gap_closed(f"{mine.n_ablated} of {lab.width:,} latents", mine.score)]
    if None not in (mine.accuracy.value, lab.view.board.base.value, lab.view.board.oracle.value):
        target, board = lab.direction.task.target.column, lab.view.board
        said.append(
            f"The biased probe's accuracy on {target} goes from {board.base.value:.2f} to {mine.accuracy.value:.2f}; "
            f"a probe trained on balanced texts reaches {board.oracle.value:.2f}."
        )
    name, _, against = compared[1]  # the ranking; the judges' sets are in the figure
    if against is not None:
        said.append(sentences.compared(f"{name[:1].upper()}{name[1:]}", "this set", against))
    if not committed:
        return [*said, "Nothing is committed, so there is no test score." if part == "dev" else ""]
    last, made = committed[-1], read_shift(committed[-1])
    said.append(f"Committed by {last.who} after {last.dev_looks} dev scores were seen; on {made.settings.part} texts:")
    said.append(sentences.gap_closed(f"the {made.n_ablated} committed latents", made.score))
    return [*said, *([] if made.erasure is None else [sentences.erased(made.erasure)])]


def _headline(lab: Lab, mine: ShiftScore, chosen: DecisionSet | None) -> list[tuple[str, str]]:
    board, commits = lab.view.board, ledger.store().commits(chosen.id) if chosen else []
    read = [
        (f"committed by {c.who}, {short_time(c.at)}, after {c.dev_looks} dev looks", read_shift(c)) for c in commits
    ]
    return [
        (f"S_SHIFT ({lab.part_name}, {lab.ablation} ablation)", say(mine.score)),
        *(
            line
            for name, made in read
            for line in ((f"{name}: S test", _said(made.score)), (f"{name}: fresh probes, test", made.gone))
        ),
        ("target accuracy", say(mine.accuracy)),
        ("base", say(board.base)),
        ("oracle", say(board.oracle)),
        ("leakage", say(mine.leakage)),
        (f"worst group ({mine.worst_group_name})", say(mine.worst_group)),
    ]


def _compared(lab: Lab, mine: ShiftScore) -> list[tuple[str, Estimate, Estimate | None]]:
    """(set, its S, paired difference to this set): this set, the ranking's top N and the judges'."""
    rivals = [(f"top {lab.n} by attribution", lab.top()), *((r.whole_name, r.ids) for r in lab.judged() if r.ids)]
    scores = [(name, scoring.set_score(lab.view, ids, lab.ablation)) for name, ids in rivals]
    return [("this set", mine.score, None), *((name, s.score, difference(s, mine)) for name, s in scores)]


def _ranked(lab: Lab) -> Sequence[Point]:
    return scoring.ranking_curve(lab.view, lab.rank, lab.ablation, DEFAULT_NS)


def _you(lab: Lab) -> Point:
    ids = lab.ablated()
    return len(ids), scoring.set_score(lab.view, ids, lab.ablation)


def _curve(lab: Lab, points: Sequence[Point], you: Point) -> go.Figure:
    return shift_curve(points, you, lab.view.board)


def _rows(lab: Lab, points: Sequence[Point], you: Point) -> list[Row]:
    """The first latents of the ranking, then the set on screen, with what fresh probes read of each."""
    order = scoring.ranking(lab.view, lab.rank)
    sets = [(f"top {n}", tuple(int(i) for i in order[:n]), s) for n, s in points]
    return [_row(lab, *own) for own in (*sets, ("this set", tuple(lab.ablated()), you[1]))]


def _row(lab: Lab, name: str, ids: tuple[int, ...], score: ShiftScore) -> Row:
    place = lab.direction.pair, lab.direction.task.target.column, lab.part
    read = scoring.fresh(scoring.shift_erasure(lab.loaded, *place), ids)
    if not ids:
        read = read.without_value("ablate at least one latent")
    (size,) = scoring.sizes_of_edits(lab.loaded, *place, ids, [len(ids)])
    return Row(name, len(ids), score, read.score, read.recoverability, size)


def _erased_curve(rows: Sequence[Row]) -> go.Figure:
    *ranked, mine = rows
    curves = {
        "S": [(r.n, r.score.score) for r in ranked],
        "E": [(r.n, r.erasure) for r in ranked],
        "R": [(r.n, r.recoverability) for r in ranked],
    }
    own = {f"{name}, this set": [(mine.n, e)] for name, e in zip(curves, _values(mine), strict=True) if mine.n}
    return score_curve(curves | own, title=ERASED, y="S, E, R (R of the spurious label)")


def _values(row: Row) -> tuple[Estimate, Estimate, Estimate]:
    return row.score.score, row.erasure, row.recoverability


def _said_rows(rows: Sequence[Row]) -> list[dict[str, str | int]]:
    """As the report shows them."""
    return [
        {"set": r.name, "n": r.n, "accuracy": say(r.score.accuracy)}
        | {name: say(e) for name, e in zip("SER", _values(r), strict=True)}
        | {"edit size": f"{r.edit_size:.3f}"}
        for r in rows
    ]


def _numbers(part: str, rows: Sequence[Row]) -> list[dict[str, object]]:
    """As a program reads them: every number in a column of its own, empty where undefined."""
    return [
        {"set": r.name, "n": r.n, "part": part}
        | export.columns("accuracy", r.score.accuracy)
        | export.columns("S", r.score.score)
        | export.columns("E", r.erasure)
        | export.columns("R", r.recoverability)
        | {"edit_size": r.edit_size}
        for r in rows
    ]


def _sets(lab: Lab) -> list[dict[str, object]]:
    """The comparison likewise, with the paired difference of every set to this one."""
    return [
        {"set": name, "part": lab.part_name}
        | export.columns("S", score)
        | export.columns("difference", difference or Estimate(None, None, "this set"))
        for name, score, difference in _compared(lab, _you(lab)[1])
    ]


def command(lab: Lab) -> str:
    """What scores the set on screen; before the first decision, the ranking's top N."""
    chosen = lab.chosen()
    selection = "attribution" if chosen is None else f"{PREFIX}{_file_name(lab)}.json"
    config = replace(lab.loaded.config, metrics=("shift",), ns=(lab.n,), selection=selection)
    return f"{report_page.command_line(config)} --no-controls --json result.json"


def _said(e: Estimate) -> str:
    return "n/a" if e.value is None else say(e)
