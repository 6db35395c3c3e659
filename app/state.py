"""What one browser session looks at, and its mirror in the URL: opening a copied link restores every view.

Values are short strings, kept in ``st.session_state["view"]``; widgets show them and write back through ``choose``.
Names of people never enter the URL: a link that is passed on must not decide in somebody else's name.
"""

from collections.abc import Mapping, Sequence

import streamlit as st

from saeeval_core.config import DEFAULT_MODEL, DEFAULT_SAE, DEFAULT_TASK, RunConfig
from saeeval_core.errors import DataError
from saeeval_core.scores.selections import Rule

DEFAULTS: Mapping[str, str] = {
    "model": DEFAULT_MODEL,
    "sae": DEFAULT_SAE,
    "task": DEFAULT_TASK,
    "protocol": "robust",
    "seed": "0",
    "pair": "",  # "" is the first pair; "all" the aggregate over pairs
    "target": "",  # column of the target label; "" is the direction with the larger gap
    "rank": "attribute",  # attribute | base
    "ablation": "mean",  # mean | zero
    "n": "20",
    "latent": "",
    "shift_set": "mine",  # SHIFT lab: "mine", or the number of a set
    "tpp_set": "mine",  # TPP: "attribution", the name of a set of one's own, NAME@WHO or judge:RATER
    "cell": "",  # TPP matrix: "ablated class,probe"
    "scale": "",
    "compare": "",  # Compare: further SAEs, separated by spaces
    "compare_tab": "",  # Compare: the open tab
    "search": "",
    "effect": "",  # Latents: the probe whose effect is shown; "" is the first
    "strength": "",  # Latents: "top 50", "> 0" and the like
    "of": "",  # Latents: whose decisions are shown, "shift" or "tpp:CLASS"; "" is the first
    "decision": "",  # Latents: decisions and verdicts shown, separated by commas; "" is all
    "verdict": "",
    "density": "",  # Latents: "low,high" in % of tokens
    "silent": "",  # Latents: "1" shows latents that never fire here, too
    "tab": "",  # Judge & agreement: the open tab
    "judge_threshold": str(Rule().threshold),
    "judge_zero": "",
    "judge_order": Rule().order,
    "present": "",
}
"""Every value a link carries, with what it is when the link does not say."""


def restore() -> None:
    """First run of a session: take the values from the URL. Later runs: nothing. Call once at the top of main."""
    if "view" not in st.session_state:
        given = {k: st.query_params[k] for k in DEFAULTS if k in st.query_params}
        st.session_state["view"] = dict(DEFAULTS) | _of_old_links() | given


def _of_old_links() -> dict[str, str]:
    """Links of earlier versions say ``set=`` for both views: a number was a set of SHIFT, everything else one of TPP."""
    chosen = st.query_params.get("set", "")
    return {"shift_set" if chosen.isdigit() else "tpp_set": chosen} if chosen else {}


def get(name: str) -> str:
    """Current value of one of DEFAULTS."""
    return st.session_state.get("view", DEFAULTS)[name]


def number(name: str, default: int) -> int:
    """The value as a whole number, or ``default`` when it is empty or not one (links are typed by people)."""
    text = get(name)
    return int(text) if text.lstrip("-").isdigit() else default


def one_of(name: str, options: Sequence[str]) -> str:
    """The value if it is one of ``options``, else the first: links are typed by people."""
    return get(name) if get(name) in options else options[0]


def put(**values: object) -> None:
    """Set values (any of DEFAULTS) for this and later runs, and in the URL."""
    view = st.session_state.setdefault("view", dict(DEFAULTS))
    for name, value in values.items():
        assert name in DEFAULTS, name
        view[name] = str(value)
    write_url()


def choose(name: str, key: str) -> None:
    """``on_change`` of a widget: copy its value. ``st.selectbox(..., key=k, on_change=choose, args=("pair", k))``."""
    value = st.session_state.get(key)
    put(**{name: "" if value is None else value})


def write_url() -> None:
    """Mirror what differs from the defaults into the URL; main calls it at the end of every run."""
    wanted = {k: v for k, v in st.session_state.get("view", {}).items() if v != DEFAULTS[k]}
    if dict(st.query_params) != wanted:
        st.query_params.from_dict(wanted)


def config() -> RunConfig:
    """Settings of the engine for what is picked in the sidebar; SaeEvalError for a link that cannot be followed."""
    chosen = {"model": get("model"), "saes": (get("sae"),), "protocol": get("protocol"), "seed": number("seed", 0)}
    if get("task") != "own":
        return RunConfig(**chosen, task=get("task"))
    if "own_texts" not in st.session_state:
        raise DataError(
            "the link names a file that was loaded in another session; choose a task, then load the file in Overview"
        )
    return RunConfig(**chosen, task="", **st.session_state["own_texts"])


def who() -> str:
    """Name of the person deciding in this session; "anonymous" until one is given."""
    return st.session_state.get("who") or "anonymous"


def presenting() -> bool:
    """True while the "Present" switch is on: large type, no controls."""
    return get("present") == "1"
