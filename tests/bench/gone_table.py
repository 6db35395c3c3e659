"""Prints dictionary x (S, R, E, TPP, fresh TPP) of saved runs as Markdown, with intervals on test.

    saeeval run --task bios --rivals --json bios.json
    python tests/bench/gone_table.py bios.json

S and TPP are the small-N areas under mean ablation, R and E those of the top N by attribution, at the N where a run has
them. Controls made from an SAE are those of the first; "not measured" is said where a run lacks a number.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from saeeval_core.config import erasure_n, headline_n
from saeeval_core.controls.about import OWN
from saeeval_core.controls.attach import rival_lines
from saeeval_core.evaluation.erased import NOT_MEASURED, one_minus
from saeeval_core.evaluation.result import Control, RunResult, SaeResult
from saeeval_core.evaluation.result_json import read_result
from saeeval_core.scores.area import RECOMMENDED
from saeeval_core.scores.erasure import ERASURE
from saeeval_core.scores.uncertainty import Estimate, say

Row = tuple[str, list[Estimate | None]]
"""(dictionary, [S, R, E, TPP, fresh TPP])"""


def main() -> None:
    """Print one table per file."""
    for path in sys.argv[1:]:
        print("\n".join(table(read_result(Path(path)))), end="\n\n")


def table(result: RunResult) -> Iterator[str]:
    """The lines of one run: its SAEs, the first one's own controls, the rivals; then which of them E beats."""
    first = result.saes[0]
    n, m = _places(first)
    yield f"**{result.task.name}** ({result.task.texts:,} texts{', composed' if result.task.composed else ''})"
    yield ""
    yield f"| dictionary | S, area | R, N = {n} | E, N = {n} | TPP, area | fresh TPP, N = {m} |"
    yield "|---|---|---|---|---|---|"
    others = [name for name in dict.fromkeys(p.control.name for p in first.controls)]
    named = {name: f"{name} of {first.sae}" if name in OWN else name for name in others}
    rows = [*map(_own, result.saes), *((named[name], _other(result, first, name)) for name in others)]
    for name, values in rows:
        yield f"| {name} | {' | '.join(NOT_MEASURED if e is None else say(e, 2) for e in values)} |"
    yield ""
    for sae in result.saes:
        yield from (f"- {sae.sae}: {line}" for line in rival_lines(sae) if ERASURE in line)


def _places(sae: SaeResult) -> tuple[int, int]:
    """(N of E, N of the fresh matrix)"""
    shift = erasure_n(list(sae.shift.erasure)) if sae.shift is not None and sae.shift.erasure else 0
    return shift, headline_n([a.n for a in sae.tpp.by_n]) if sae.tpp is not None else 0


def _own(sae: SaeResult) -> Row:
    n, m = _places(sae)
    e = sae.shift.erasure[n]["test"] if sae.shift is not None and n else None
    fresh = next((a.parts["test"].erasure for a in sae.tpp.by_n if a.n == m), None) if sae.tpp is not None else None
    return sae.sae, [
        sae.shift.area["test"].score if sae.shift is not None and sae.shift.area else None,
        None if e is None else e.recoverability,
        None if e is None else e.selective_erasure,
        sae.tpp.area.get("test") if sae.tpp is not None else None,
        None if fresh is None else fresh.selective_erasure,
    ]


def _other(result: RunResult, sae: SaeResult, name: str) -> list[Estimate | None]:
    n, m = _places(sae)
    found = {(p.metric, p.variant, p.n): p.control for p in sae.controls if p.control.name == name}
    path = next((p for p in result.rivals if p.name == name and not p.pair), None)
    point = next((p for p in path.points if p.n == n or len(path.points) == 1), None) if path is not None else None

    def at(metric: str, variant: str, k: int | None) -> Estimate | None:
        control: Control | None = found.get((metric, variant, k))
        return None if control is None else control.score

    return [
        at("shift", RECOMMENDED, None),
        None if point is None else one_minus(point.spurious_lost),
        at("shift", ERASURE, n),
        at("tpp", RECOMMENDED, None),
        at("tpp", ERASURE, m),
    ]


if __name__ == "__main__":
    main()
