"""Judge, last tab: who decided how many, how far two sets agree, the next conflict, and a set that settles them."""

from functools import partial

import streamlit as st

from app import state
from app.deciding import team
from app.deciding.class_refs import NUMBERED
from app.deciding.desk import shift_place, tpp_place
from app.deciding.team import Decided
from app.services import ledger, scoring
from app.services.loading import Loaded
from app.views.judge.reading import evidence
from app.widgets import pressing, provenance
from saeeval_core.evaluation.erased import NOT_MEASURED
from saeeval_core.ledger.commits import ShiftCommit, TppCommit, read_commit
from saeeval_core.ledger.places import Place
from saeeval_core.ledger.store import PressId
from saeeval_core.scores.uncertainty import say
from saeeval_core.wording import plural

Link = dict[str, str]
"""Values of a link that lead to a place."""
_ANSWERS = "team"


@st.fragment
def draw(loaded: Loaded) -> None:
    """One direction of SHIFT or class of TPP at a time: its sets, two of them side by side."""
    places = _places(loaded)
    if not places:
        st.info("These texts define neither a SHIFT pair nor classes, so nobody decides on their latents.")
        return
    place, link = places[st.selectbox("Decisions about", list(places), key="w_team_place")]
    every = team.decided(ledger.store(), place, loaded.latents.n_latents)
    if not every:
        st.info("Nobody has decided on a latent here yet.")
        return
    st.dataframe([_row(d) for d in every], hide_index=True, key="team_sets")
    if len(every) < 2:
        st.info("Agreement needs two sets: a colleague opens the link that Share gives, or decides on their own.")
        return
    _two(loaded, place, link, every)
    pressing.answers(_ANSWERS)


def _places(loaded: Loaded) -> dict[str, tuple[Place, Link]]:
    """Label -> every direction and class, with what a link says for it.

    What the page's link shows comes first, then where most sets are.
    """
    found: dict[str, tuple[Place, Link]] = {
        f"SHIFT {d.pair}, {d.task.direction}": (
            shift_place(loaded, d),
            {"pair": d.pair, "target": d.task.target.column},
        )
        for d in scoring.shift_directions(loaded)
    }
    classes = loaded.task_set.tpp[1] if loaded.task_set.tpp is not None else ()
    found |= {f"TPP latents of {c}": (tpp_place(loaded, c), {}) for c in classes}
    here = {"pair": state.get("pair"), "target": state.get("target")}
    every = ledger.store().list_sets(sae_fingerprint=loaded.latents.sae_fingerprint)
    sets = {label: sum(map(place.holds, every)) for label, (place, _) in found.items()}
    return dict(sorted(found.items(), key=lambda item: (item[1][1] != here, -sets[item[0]])))


def _row(d: Decided) -> dict[str, object]:
    counts, store = d.counts, ledger.store()
    commits = store.commits(d.stored.id)
    newest = read_commit(commits[-1], d.stored.metric) if commits else None
    return {
        "who": d.stored.who,
        "set": d.stored.name,
        "decided": sum(counts.values()),
        **{k: counts[k] for k in ("ablate", "keep", "unsure")},
        "last decision": max(h.at for h in store.history(d.stored.id))[:16].replace("T", " "),
        "committed": len(commits),
        "test score": "" if newest is None else say(newest.score),
        **_read(newest),
        "number": d.stored.id,
    }


def _read(newest: ShiftCommit | TppCommit | None) -> dict[str, str]:
    """What fresh probes read of test, and how much the set edits; what a commit lacks is not measured."""
    found = newest and newest.erasure
    none = "" if newest is None else NOT_MEASURED
    return {
        "fresh probes (E)": say(found.selective_erasure) if found else none,
        "still readable (R)": say(found.recoverability) if found else none,
        "edit size": none if not found or found.edit_size is None else f"{found.edit_size:.4f}",
    }


def _two(loaded: Loaded, place: Place, link: Link, every: list[Decided]) -> None:
    by_id = {d.stored.id: d for d in every}
    left, right = st.columns(2)
    ids = list(by_id)
    with left:
        a = by_id[_picked("A", ids, 0, by_id)]
    with right:
        b = by_id[_picked("B", ids, 1, by_id)]
    if a is b:
        st.info("Choose two different sets.")
        return
    pair = team.agreed(a, b)
    if not pair.n:
        st.info("These two have decided on no latent in common.")
        return
    st.markdown(f"**n = {pair.n:,}** latents that both ablate or keep; 95 % intervals resample latents.")
    st.text(f"same decision: {say(pair.exact)}\nkappa: {say(pair.kappa_ge1)}")
    if copy := team.copied(a, b):
        line = f"{copy.label} started as a copy of the other set: what was copied agrees by itself."
        st.warning(provenance.plain(line), icon=":material/content_copy:")
    _rule(loaded, place, link, every, a, b)


def _picked(side: str, ids: list[int], first: int, by_id: dict[int, Decided]) -> int:
    return st.selectbox(
        f"Set {provenance.plain(side)}", ids, first, format_func=lambda i: by_id[i].label, key=f"w_team_{side}"
    )


def _rule(loaded: Loaded, place: Place, link: Link, every: list[Decided], a: Decided, b: Decided) -> None:
    """The next conflict, and the set that keeps the rulings."""
    open_ = team.conflicts(a, b)
    ruling = team.ruling_on(every, a, b, state.who())
    store, about = ledger.store(), (a.stored.id, b.stored.id, state.who())
    if ruling is None:
        line = f"{plural(len(open_), 'conflict')}. A set of both starts with the {plural(len(team.same(a, b)), 'latent')} they agree on."
        st.caption(provenance.plain(line))
        _button("Start an adjudicated set", "w_team_start", partial(_start, place, a, b), about)
        return
    left = [i for i in open_ if i not in ruling.decisions]
    st.caption(
        provenance.plain(
            f"{plural(len(open_), 'conflict')}, {len(open_) - len(left)} settled in '{ruling.stored.name}'."
        )
    )
    if not left:
        st.success(
            f"Every conflict is settled. Set {ruling.stored.id:d} is yours: open it in its view, commit or share it."
        )
        _button("Open it", "w_team_open", partial(_open, place, link, ruling), about)
        return
    latent = left[0]
    st.markdown(f"**Next conflict: latent {latent:d}**")
    for d in (a, b):
        last = store.history(d.stored.id, latent)[-1]
        why = f": {last.reason}" if last.reason else ""
        st.text(f"{d.label} says {d.decisions[latent]}{why}")
    with st.container(horizontal=True):
        for decision in team.SIDES:
            work = partial(_settle, ruling, a, b, latent, decision)
            _button(decision.title(), f"w_team_{decision}", work, (*about, latent))
    evidence(loaded, latent, blind=False)


def _button(label: str, key: str, work: partial[str | None], about: object) -> None:
    pressing.button(label, key, "settle", work, group=_ANSWERS, about=about)


def _start(place: Place, a: Decided, b: Decided, press: PressId) -> str:
    made = team.start(ledger.store(), press, place, a, b)
    return "" if made is None else f"Started set {made.id}."


def _settle(ruling: Decided, a: Decided, b: Decided, latent: int, decision: str, press: PressId) -> None:
    team.settle(ledger.store(), press, ruling, a, b, latent, decision)


def _open(place: Place, link: Link, ruling: Decided, _: PressId) -> str:
    if place.metric == "tpp":
        state.put(tpp_set=f"{NUMBERED}{ruling.stored.id}")
        return "The TPP page shows it now."
    state.put(shift_set=ruling.stored.id, **link)
    return "The SHIFT lab shows it now."
