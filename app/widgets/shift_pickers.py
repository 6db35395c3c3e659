"""What stands above the SHIFT lab: pair, direction, ranking, ablation and N, each a value of the link."""

from collections.abc import Mapping, Sequence

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from app import state
from app.services import scoring
from app.services.loading import Loaded
from saeeval_core.config import DEFAULT_NS
from saeeval_core.evaluation.boards import Direction
from saeeval_core.ledger.places import MINE
from saeeval_core.scores.ablation import ABLATIONS

ALL = "all"
"""In place of a pair: the aggregate over all of them."""
RANKS = ("attribute", "base")
_BY_GAP = "direction_by_gap"
"""Session state: the pair and target that were opened for a link without a target."""
_RANKED = {"attribute": "spurious-label probe", "base": "biased probe (C_b)"}
_ABLATED = {"mean": "to the mean", "zero": "to zero (paper)"}


def pair(box: DeltaGenerator, pairs: Sequence[str]) -> str:
    """The pair that a link names, else the first; ALL for the aggregate."""
    options = [*pairs, ALL] if len(pairs) > 1 else list(pairs)
    now = state.one_of("pair", options)
    if not state.presenting():
        box.selectbox(
            "Pair",
            options,
            options.index(now),
            key="w_pair",
            on_change=_pair_chosen,
            width=275,
            format_func=lambda p: "all pairs (aggregate)" if p == ALL else p,
        )
    return now


def direction(box: DeltaGenerator, loaded: Loaded, both: Sequence[Direction]) -> Direction:
    """The direction that a link names, else the one that the task names; from here on the link names it."""
    columns = [d.task.target.column for d in both]
    now = state.one_of("target", columns, _first(loaded, both[0].pair))
    if not state.get("target"):
        state.put(target=now)
    if not state.presenting():
        boards = [d.boards[scoring.live_part(loaded)] for d in both]
        notes = ["n/a" if b.reason else f"gap {b.gap:.2f}" for b in boards]
        said = [
            f"{d.task.target.column}, not {d.task.spurious.column} ({note})"
            for d, note in zip(both, notes, strict=True)
        ]
        labels = dict(zip(columns, said, strict=True))
        key = f"w_target_{both[0].pair}"
        box.selectbox(
            "Direction",
            columns,
            columns.index(now),
            key=key,
            on_change=_target_chosen,
            args=(key,),
            width=275,
            format_func=labels.get,
            help="What the probe should read, not what it cheats on. Gap: how much more accurate a probe trained on "
            "balanced texts is than the biased one: what S can close. n/a: the biased probe already follows that label.",
        )
    return both[columns.index(now)]


def linked(loaded: Loaded) -> Direction | None:
    """The SHIFT direction of the link, or the first pair's as the task names it; None for texts without pairs."""
    every = scoring.shift_directions(loaded)
    if not every:
        return None
    pair = state.get("pair") if state.get("pair") in {d.pair for d in every} else every[0].pair
    wanted = [d for d in every if d.pair == pair and d.task.target.column == state.get("target")]
    return wanted[0] if wanted else scoring.default_direction(loaded, pair)


def why_direction(loaded: Loaded, shown: Direction) -> str:
    """Why the lab is at the direction that the task does not name; "" where it is at the one it names."""
    named = next(d for d in scoring.shift_directions(loaded) if d.pair == shown.pair)
    if named.task.target == shown.task.target:
        return ""
    reason = named.boards[scoring.live_part(loaded)].reason
    because = f"in that one S is not defined: {reason}" if reason else "choose it under Direction"
    line = f"The task itself names the other direction, {named.task.direction}; {because}."
    if st.session_state.get(_BY_GAP) != (shown.pair, shown.task.target.column):
        return line
    return f"The link names no target, so the direction with the larger gap was opened. {line}"


def _first(loaded: Loaded, pair: str) -> str:
    """The target column of the direction that is opened where nothing names one."""
    if not state.names_no_target():
        return scoring.default_direction(loaded, pair).task.target.column
    target = scoring.wider_direction(loaded, pair).task.target.column
    st.session_state[_BY_GAP] = pair, target
    return target


def settings(box: DeltaGenerator, loaded: Loaded) -> None:
    """Ranking, ablation and N."""
    if state.presenting():
        return
    _choice(box, "Ranked by", "rank", _RANKED)
    how = "What an ablated latent is set to: its mean over the training texts, or 0. Zero also moves the threshold."
    _choice(box, "Ablation", "ablation", _ABLATED, help=how)
    # The TPP page's slider has steps that are not among these: what is computed is always among the options.
    now = n(loaded)
    ns = sorted({now, *(k for k in DEFAULT_NS if k <= loaded.latents.n_latents)})
    box.selectbox(
        "N",
        ns,
        ns.index(now),
        key="w_n",
        on_change=state.choose,
        args=("n", "w_n"),
        width=74,
        help="Size of the top-N set to compare with",
    )


def n(loaded: Loaded) -> int:
    """Size of the top-N set: what the link says, at least 1 and at most all latents."""
    return min(max(1, state.number("n", 20)), loaded.latents.n_latents)


def rank() -> str:
    """One of RANKS."""
    return state.one_of("rank", RANKS)


def ablation() -> str:
    """One of ``ABLATIONS``."""
    return state.one_of("ablation", ABLATIONS)


def alpha() -> float:
    """Share of every ablated latent that is taken away; the lab's own slider sets it."""
    return float(state.get("alpha"))


def _choice(box: DeltaGenerator, label: str, name: str, labels: Mapping[str, str], help: str | None = None) -> None:
    """A select box over one value of the link."""
    key, options = f"w_{name}", list(labels)
    box.selectbox(
        label,
        options,
        options.index(state.one_of(name, options)),
        key=key,
        on_change=state.choose,
        args=(name, key),
        width=200,
        format_func=labels.get,
        help=help,
    )


def _pair_chosen() -> None:
    state.put(pair=st.session_state["w_pair"], target="", latent="", shift_set=MINE)


def _target_chosen(key: str) -> None:
    state.put(target=st.session_state[key], latent="", shift_set=MINE)
