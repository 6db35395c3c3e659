"""What one browser session looks at, and its mirror in the URL: opening a copied link restores every view.

Values are short strings, kept in ``st.session_state["view"]``; widgets show them and write back through ``choose``.
Every value from outside, a link's or a component's, passes its kind's parser (``KINDS``): what cannot be used becomes
the default and is named on the page (``unusable``).
Names of people never enter the URL: a link that is passed on must not decide in somebody else's name.
"""

import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import streamlit as st

from saeeval_core.config import DEFAULT_MODEL, DEFAULT_SAE, DEFAULT_TASK, DTYPES, PROTOCOLS, RunConfig
from saeeval_core.errors import DataError
from saeeval_core.scores.ablation import ABLATIONS
from saeeval_core.scores.selections import ORDERS, Rule

DEFAULTS: Mapping[str, str] = {
    "model": DEFAULT_MODEL,
    "sae": DEFAULT_SAE,
    "task": DEFAULT_TASK,
    "protocol": "robust",
    "seed": "0",
    "probe": "",  # hook that the probes read; "" is the hook that the SAE reads
    "dtype": DTYPES[0],  # of the language model
    "pair": "",  # "" is the first pair; "all" the aggregate over pairs
    "target": "",  # column of the target label; "" is the direction as the task names it
    "rank": "attribute",  # attribute | base
    "ablation": "mean",  # mean | zero
    "alpha": "1",  # SHIFT lab: share of every ablated latent that is taken away
    "n": "20",
    "latent": "",
    "shift_set": "mine",  # SHIFT lab: "mine", or the number of a set
    "tpp_set": "mine",  # TPP: see deciding/class_refs.py
    "cell": "",  # TPP matrix: "ablated class,probe"
    "scale": "",
    "fresh": "",  # TPP matrix: "1" shows fresh probes
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
    "tab": "",  # Judge: the open tab
    "judge_threshold": str(Rule().threshold),
    "judge_zero": "",
    "judge_order": Rule().order,
    "story": "",  # Story: number of the set that is told; "" is the one committed last
    "step": "",  # Story: from 1
    "present": "",
}
"""Every value a link carries, with what it is when the link does not say."""
GUEST = "guest "
"""Start of the name of everybody who has given none; the id of their browser follows."""
_DIGITS = re.compile(r"[+-]?[0-9]{1,15}")
_DECIMAL = re.compile(r"[+-]?[0-9]{1,15}(\.[0-9]{0,15})?(e[+-]?[0-9]{1,2})?", re.IGNORECASE)


class Kind(Protocol):
    """What a value may be."""

    @property
    def words(self) -> str:
        """What is expected, as in "it must be ..."."""

    def read(self, text: str) -> str | None:
        """The value as it is kept; None for one that cannot be used."""


@dataclass(frozen=True)
class Whole:
    """A whole number from ``low`` to ``high``; with ``clamp`` one outside becomes the nearer end."""

    low: int
    high: int
    clamp: bool = False

    @property
    def words(self) -> str:
        """Such as "a whole number from 0 to 10,000"."""
        return f"a whole number from {self.low:,} to {self.high:,}"

    def read(self, text: str) -> str | None:
        """In plain digits, without leading zeros."""
        if not _DIGITS.fullmatch(text.strip()):
            return None
        value, nearest = int(text), min(max(self.low, int(text)), self.high)
        return str(nearest) if self.clamp or value == nearest else None


@dataclass(frozen=True)
class OneOf:
    """One of some words."""

    options: Sequence[str]

    @property
    def words(self) -> str:
        """Such as "one of mean, zero"."""
        return f"one of {', '.join(o or 'nothing' for o in self.options)}"

    def read(self, text: str) -> str | None:
        """As it is."""
        return text if text in self.options else None


@dataclass(frozen=True)
class TwoNumbers:
    """ "A,B" with both from 0 to ``high``; ``whole``: without decimals; ``ascending``: A <= B."""

    high: float
    whole: bool
    ascending: bool = False

    @property
    def words(self) -> str:
        """Such as "two numbers from 0 to 100, as 1,2"."""
        return f"two {'whole ' if self.whole else ''}numbers from 0 to {self.high:,g}, as 1,2"

    def read(self, text: str) -> str | None:
        """As it is, without spaces."""
        parts = [p.strip() for p in text.split(",")]
        if len(parts) != 2 or not all((_DIGITS if self.whole else _DECIMAL).fullmatch(p) for p in parts):
            return None
        low, high = map(float, parts)
        fits = 0 <= low <= self.high and 0 <= high <= self.high and (low <= high or not self.ascending)
        return ",".join(parts) if fits else None


@dataclass(frozen=True)
class Text:
    """Text of ``shortest`` to ``longest`` characters: a name, a path, an id, words to search for."""

    longest: int = 2000
    shortest: int = 0

    @property
    def words(self) -> str:
        """Such as "1 to 2,000 characters without NUL"."""
        return f"{self.shortest} to {self.longest:,} characters without NUL"

    def read(self, text: str) -> str | None:
        """As it is; NUL and lone surrogates are in no file's name and cannot be sent to a page."""
        odd = any(c == "\0" or "\ud800" <= c <= "\udfff" for c in text)
        return text if self.shortest <= len(text) <= self.longest and not odd else None


KINDS: Mapping[str, Kind] = {name: Text() for name in DEFAULTS} | {
    "model": Text(shortest=1),
    "task": Text(shortest=1),
    "protocol": OneOf(tuple(PROTOCOLS)),
    "seed": Whole(0, 10_000),
    "dtype": OneOf(DTYPES),
    "tpp_set": Text(300, shortest=1),
    "rank": OneOf(("attribute", "base")),
    "ablation": OneOf(ABLATIONS),
    "alpha": OneOf(tuple(f"{k / 20:g}" for k in range(21))),
    "n": Whole(0, 10**9, clamp=True),
    "latent": Whole(0, 10**9),
    "cell": TwoNumbers(10**6, whole=True),
    "scale": OneOf(("", "relative")),
    "fresh": OneOf(("", "1")),
    "compare": Text(8000),
    "density": TwoNumbers(100, whole=False, ascending=True),
    "silent": OneOf(("", "1")),
    "judge_threshold": Whole(1, 2),
    "judge_zero": OneOf(("", "1")),
    "judge_order": OneOf(tuple(ORDERS)),
    "story": Whole(1, 10**9),
    "step": Whole(1, 1000),
    "present": OneOf(("", "1")),
}
"""The kind of every value of DEFAULTS; a default passes whatever its kind."""


def restore() -> None:
    """First run of a session: take the values from the URL. Later runs: nothing. Call once at the top of main."""
    if "view" not in st.session_state:
        given = {k: st.query_params[k] for k in DEFAULTS if k in st.query_params}
        st.session_state["view"] = dict(DEFAULTS)
        st.session_state["names_no_target"] = bool(given) and "target" not in given
        _take(_of_old_links() | given)


def _of_old_links() -> dict[str, str]:
    """Links of earlier versions say ``set=`` for both views: a number was a set of SHIFT, everything else one of TPP."""
    chosen = st.query_params.get("set", "")
    return {"shift_set" if _DIGITS.fullmatch(chosen) else "tpp_set": chosen} if chosen else {}


def _take(values: Mapping[str, str]) -> None:
    """Keep what can be used; the rest becomes the default and is noted for ``unusable``."""
    view, notes = st.session_state["view"], st.session_state.setdefault("unusable", {})
    for name, text in values.items():
        read = text if text == DEFAULTS[name] else KINDS[name].read(text)
        view[name] = DEFAULTS[name] if read is None else read
        notes.pop(name, None)
        if read is None:
            _note(name, text, KINDS[name].words)


def _note(name: str, text: str, expected: str) -> None:
    shown = ascii(text) if len(text) <= 40 else f"{ascii(text[:40])}..."
    line = f"{name}={shown} in the link cannot be used (it must be {expected})"
    st.session_state.setdefault("unusable", {})[name] = line


def unusable() -> list[str]:
    """One line for every value that was given and cannot be used; a value chosen since then is no longer among them."""
    return list(st.session_state.get("unusable", {}).values())


def get(name: str) -> str:
    """Current value of one of DEFAULTS."""
    return st.session_state.get("view", DEFAULTS)[name]


def names_no_target() -> bool:
    """Whether this page was opened by a link that says something, but not which label is the target.

    True once, for the view that the link opens: links of earlier versions left the target out.
    """
    return st.session_state.pop("names_no_target", False)


def number(name: str, default: int) -> int:
    """The value of a ``Whole`` kind, or ``default`` when it is empty."""
    return int(get(name) or default)


def numbers(name: str) -> tuple[float, float] | None:
    """The value of a ``TwoNumbers`` kind; None when it is empty."""
    low, _, high = get(name).partition(",")
    return (float(low), float(high)) if low else None


def one_of(name: str, options: Sequence[str], default: str | None = None) -> str:
    """The value if it is one of ``options``, else ``default`` (the first): links are typed by people."""
    fallback = options[0] if default is None else default
    now = get(name)
    if now == DEFAULTS[name]:
        pass  # perhaps in place of what could not be used, which stays noted
    elif now in options:
        st.session_state.get("unusable", {}).pop(name, None)
    else:
        few = ", ".join(o or "nothing" for o in options[:5])
        _note(name, now, f"one of {few}{', ...' if len(options) > 5 else ''}")
    return now if now in options else fallback


def put(**values: object) -> None:
    """Set values (any of DEFAULTS) for this and later runs, and in the URL."""
    assert values.keys() <= DEFAULTS.keys(), values
    st.session_state.setdefault("view", dict(DEFAULTS))
    _take({name: str(value) for name, value in values.items()})
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


def config(**instead: str) -> RunConfig:
    """Settings of the engine for what is picked in the sidebar; SaeEvalError for a link that cannot be followed.

    ``instead``: values of a link (any of DEFAULTS) in place of those of this page; DataError where one cannot be used.
    """
    if bad := [name for name, text in instead.items() if KINDS[name].read(text) is None]:
        raise DataError(f"{bad[0]} is {ascii(instead[bad[0]])[:60]}; it must be {KINDS[bad[0]].words}")
    here = {name: get(name) for name in DEFAULTS} | instead
    chosen = {
        "model": here["model"],
        "saes": (here["sae"],),
        "protocol": here["protocol"],
        "seed": int(here["seed"] or 0),
        "probe_hook": here["probe"],
        "dtype": here["dtype"],
    }
    if here["task"] == "own":  # links of earlier versions
        raise DataError("the link names a file of one session of an earlier version; keep it as a task under Your data")
    return RunConfig(**chosen, task=here["task"])


def who() -> str:
    """Name of the person deciding in this session; until one is given, that of this browser's guest."""
    return st.session_state.get("who") or guest()


def guest() -> str:
    """What somebody without a name is called: never the same in two browsers."""
    return st.session_state.setdefault("guest", f"{GUEST}{secrets.token_hex(5)}")


def is_guest() -> bool:
    """True until a name is given."""
    return not st.session_state.get("who")


def presenting() -> bool:
    """True while the "Present" switch is on: large type, no controls."""
    return get("present") == "1"
