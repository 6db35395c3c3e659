"""Results whose every name tries to become markup."""

from collections.abc import Mapping
from dataclasses import replace

from saeeval_core.config import RunConfig
from saeeval_core.evaluation.result import (
    Control,
    ModelAbout,
    PairMean,
    Placed,
    RunResult,
    SaeResult,
    ShiftResult,
    TaskAbout,
    TppAtN,
    TppCell,
    TppResult,
)
from saeeval_core.scores.area import DEFINITION, RECOMMENDED, TOP_N
from saeeval_core.scores.uncertainty import Estimate, undefined

HOSTILE = '<img src=x onerror="window.hit=1"><script>window.hit=1</script>\'"</svg></td>$x$ **b**'


def at(value: float) -> Estimate:
    return Estimate(value, (value - 0.1, value + 0.1))


def hostile_result(**instead: object) -> RunResult:
    """One dictionary with SHIFT, TPP and controls."""
    ns = (1, 2, 5, 10, 20)
    curve: Mapping[int, Estimate] = {n: at(0.1 * i) for i, n in enumerate(ns)}
    shift = ShiftResult(
        (), {n: {"test": PairMean(e, 1, 0)} for n, e in curve.items()}, {"test": PairMean(at(0.3), 1, 0)}, DEFINITION
    )
    names = (HOSTILE, "plain", "other")
    matrix = [[at(0.2), at(-0.1), undefined(HOSTILE)]] * 3
    cell = TppCell(matrix, at(0.2), at(0.2), at(0.0))
    tpp = TppResult(
        names, {}, (), tuple(TppAtN(n, (n,) * 3, {"test": cell}) for n in ns), {"test": at(0.1)}, DEFINITION
    )
    controls = [Placed("shift", TOP_N, n, Control(HOSTILE, at(0.05))) for n in ns]
    controls.append(Placed("shift", RECOMMENDED, None, Control(HOSTILE, undefined(HOSTILE))))
    sae = SaeResult(
        HOSTILE,
        shift=shift,
        tpp=tpp,
        controls=tuple(controls),
        warnings=(HOSTILE,),
        notes=(HOSTILE,),
        selection="attribution",
    )
    task = TaskAbout(
        HOSTILE, HOSTILE, texts=12, notes=[HOSTILE], small=HOSTILE, interval_level="test texts", title=HOSTILE
    )
    config = RunConfig(HOSTILE, (HOSTILE,), "")
    made = RunResult(
        config, ModelAbout(HOSTILE, hook=HOSTILE), task, (), (sae, replace(sae, error=HOSTILE)), {HOSTILE: HOSTILE}
    )
    return replace(made, **instead) if instead else made
