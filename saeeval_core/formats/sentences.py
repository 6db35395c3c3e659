"""Sentences of result, written from numbers alone; none says more than its 95 % intervals allow.

An effect is stated only where its interval leaves 0 out. Two scores are ordered only where the interval of their paired
difference leaves 0 out or, where they were not compared in pairs, where their intervals do not meet. What is undefined
is said with its reason. Texts are plain: whoever shows them escapes them.
"""

from collections.abc import Sequence
from typing import Literal

from saeeval_core.controls.about import ICA, ICA_GENERAL, LEACE, PCA_GENERAL, REFERENCES
from saeeval_core.evaluation.result import Control, Erasure
from saeeval_core.scores.uncertainty import Estimate, separable
from saeeval_core.wording import plural

Standing = Literal["above", "below", "not separable", "unknown"]
"""Where a score stands beside another one."""
_SHOWN = {
    "pca": "PCA",
    PCA_GENERAL: "PCA (general text)",
    ICA: "ICA",
    ICA_GENERAL: "ICA (general text)",
    LEACE: "LEACE",
}


def known_as(control: str) -> str:
    """A control's name as people write it: "PCA" for "pca"."""
    return _SHOWN.get(control, control)


def listed(names: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def percent(share: float) -> str:
    """A share as "32 %"."""
    return f"{100 * share:.0f} %".replace("-", "\u2212").replace("\u22120 %", "0 %")


def percent_interval(e: Estimate) -> str:
    """ "95 % interval 24 to 40 %" of a share, or "no interval"."""
    return "no interval" if e.ci is None else f"95 % interval {percent(e.ci[0])[:-2]} to {percent(e.ci[1])}"


def number_interval(e: Estimate) -> str:
    """ "0.35, 95 % interval 0.25 to 0.44"; the value must be defined."""
    assert e.value is not None
    ends = "no interval" if e.ci is None else f"95 % interval {_number(e.ci[0])} to {_number(e.ci[1])}"
    return f"{_number(e.value)}, {ends}"


def standing_of(difference: Estimate) -> Standing:
    """Where the first of two scores stands, from their paired difference."""
    if difference.value is None or difference.ci is None:
        return "unknown"
    if not separable(difference):
        return "not separable"
    return "above" if difference.value > 0 else "below"


def standing(score: Estimate, control: Control) -> Standing:
    """Where a score stands beside a control; the range of random draws counts as an interval."""
    if control.difference is not None:
        return standing_of(control.difference)
    if score.value is None or control.score.value is None or score.ci is None or control.score.ci is None:
        return "unknown"
    if score.ci[0] > control.score.ci[1]:
        return "above"
    return "below" if score.ci[1] < control.score.ci[0] else "not separable"


def gap_closed(ablated: str, score: Estimate) -> str:
    """What a SHIFT score says. ``ablated``: the set, such as "the 20 strongest of 4,096 latents"."""
    if score.value is None:
        return f"SHIFT is not defined here: {score.reason or 'no reason given'}."
    if score.ci is None:
        return f"Ablating {ablated}: S = {number_interval(score)}, so chance is not excluded."
    if not separable(score):
        return f"Ablating {ablated} has no effect that these texts can tell from none (S {number_interval(score)})."
    if score.value < 0:
        return f"Ablating {ablated} makes the biased probe worse (S {number_interval(score)})."
    return f"Ablating {ablated} closes {percent(score.value)} of the gap ({percent_interval(score)})."


def erased(found: Erasure) -> str:
    """What fresh probes say: whether the spurious label lost more than the target, and how much can still be read."""
    e, kept = found.selective_erasure, found.recoverability
    if e.value is None:
        said = f"Selective erasure is not defined here: {e.reason or 'no reason given'}."
    elif e.ci is None:
        said = f"Selective erasure E = {number_interval(e)}, so chance is not excluded."
    elif not separable(e):
        said = f"Fresh probes show no selective erasure that these texts can tell from none (E {number_interval(e)})."
    elif e.value < 0:
        said = f"Fresh probes lose more of the target than of the spurious label (E {number_interval(e)})."
    else:
        said = f"Fresh probes lose {_points(e.value)} more of the spurious label than of the target."
    if kept.value is None:
        return said
    return f"{said} They still read {percent(kept.value)} of the spurious label ({percent_interval(kept)})."


def classes_apart(score: Estimate, intended: Estimate, unintended: Estimate) -> str:
    """What a TPP matrix says; the numbers are losses of balanced accuracy."""
    if score.value is None or intended.value is None or unintended.value is None:
        return f"TPP is not defined here: {score.reason or 'no reason given'}."
    losses = f"{_points(intended.value)} on its own class, {_points(unintended.value)} on others"
    if score.ci is None:
        return f"Ablating a class's latents costs {losses}; without an interval, chance is not excluded."
    if not separable(score):
        return f"Concepts do not come apart as far as these texts can tell ({losses})."
    if score.value < 0:
        return f"Ablating a class's latents hurts the other classes more ({losses})."
    return f"Ablating a class's latents costs {losses}."


def beside(score: Estimate, controls: Sequence[Control]) -> str:
    """Which controls a score is above, not separable from or below; then the references, which know the label.

    "" without controls or where the score is undefined.
    """
    if score.value is None:
        return ""
    known = [c for c in controls if c.name not in REFERENCES and c.score.value is not None]
    found: dict[Standing, list[str]] = {"above": [], "not separable": [], "below": [], "unknown": []}
    for c in known:
        found[standing(score, c)].append(known_as(c.name))
    words = {"above": "above", "not separable": "not separable from", "below": "below", "unknown": "not compared with"}
    said = "; ".join(f"{words[at]} {listed(names)}" for at, names in found.items() if names)
    bounds = [
        f"{known_as(c.name)} {_number(c.score.value)}" for c in _references(controls) if c.score.value is not None
    ]
    known_label = f"With the label known: {listed(bounds)}." if bounds else ""
    return " ".join(filter(None, (f"{said[:1].upper()}{said[1:]}." if said else "", known_label)))


def compared(first: str, second: str, difference: Estimate) -> str:
    """What a paired difference of two scores (first minus second) says."""
    at = standing_of(difference)
    if at == "unknown":
        return f"{first} and {second} were not compared: {difference.reason or 'no interval'}."
    if at == "not separable":
        return f"{first} and {second} are not separable (difference {number_interval(difference)})."
    return f"{first} scores {'higher' if at == 'above' else 'lower'} than {second} (by {number_interval(difference)})."


def told_apart(told: int, pairs: int) -> str:
    """How many pairs of SAEs a test separates."""
    if not pairs:
        return "No two SAEs were compared."
    return f"{told} of {plural(pairs, 'pair')} of SAEs can be told apart by these texts."


def _references(controls: Sequence[Control]) -> list[Control]:
    return [c for c in controls if c.name in REFERENCES]


def _number(value: float) -> str:
    return f"{value:.2f}".replace("-0.00", "0.00").replace("-", "\u2212")


def _points(share: float) -> str:
    whole = f"{100 * share:.0f}".replace("-0", "0").replace("-", "\u2212")
    return f"{whole} {'point' if whole == '1' else 'points'}"
