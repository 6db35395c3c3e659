"""SHIFT lab: decide which latents to ablate and watch the score answer. All live figures are dev; Commit computes test."""

import time
from functools import partial
from typing import Any

import streamlit as st

from app import state
from app.components.lab import lab
from app.deciding import desk as decisions
from app.deciding.desk import Desk, Place
from app.deciding.judged import judge_sets
from app.payloads.evidence_card import card
from app.payloads.queue import queue_rows
from app.payloads.score_card import Look, latent_history, log_json, score_json, shares_json, test_json
from app.services import ledger, scoring, timings, trust
from app.services.loading import Loaded
from app.widgets import beside, provenance, shift_export
from app.widgets.rule_picker import rule_from_state, rule_popover
from saeeval_core.errors import DataError, SaeEvalError
from saeeval_core.evaluation.boards import Direction
from saeeval_core.ledger.store import DecisionSet
from saeeval_core.scores.ablation import ABLATIONS
from saeeval_core.scores.shift import ShiftLatents
from saeeval_core.scores.uncertainty import over_pairs
from saeeval_core.texts.parts import PART_NAMES, TEST

TITLE = "SHIFT lab"
ICON = ":material/tune:"
NS = (1, 2, 3, 5, 10, 20, 50, 100)
AHEAD = 2
"""Cards sent beyond the current one, so that moving on shows them at once."""
KEY = "lab"
RANKS = ("attribute", "base")


def render(loaded: Loaded) -> None:
    """Pair, direction, ranking, ablation and set on top; the lab below runs on its own at every press."""
    directions = scoring.shift_directions(loaded)
    if not directions:
        st.info(
            f"'{provenance.plain(loaded.task_set.texts.name)}' defines no SHIFT pair; choose another task on the left."
        )
        return
    pairs = list(dict.fromkeys(d.pair for d in directions))
    pair = state.get("pair") if state.get("pair") in (*pairs, "all") else pairs[0]
    if not state.presenting():
        box = st.container(horizontal=True, vertical_alignment="bottom", gap="xsmall")
        options = [*pairs, "all"] if len(pairs) > 1 else pairs
        box.selectbox(
            "Pair",
            options,
            options.index(pair),
            key="w_pair",
            on_change=_pair_chosen,
            width=205,
            format_func=lambda p: "all pairs (aggregate)" if p == "all" else p,
        )
    else:
        box = st.container(horizontal=True)
    if pair == "all":
        _settings(box, loaded)
        _aggregate(loaded, directions)
        return
    chosen = _direction(box, loaded, [d for d in directions if d.pair == pair])
    part = scoring.live_part(loaded)
    view = scoring.shift_view(loaded, pair, chosen.task.target.column, part)
    place = decisions.shift_place(loaded, chosen)
    _settings(box, loaded)
    choice = _set_picker(box, loaded, view, place)
    if not state.presenting():
        rule_popover(box)
        rank, ablation = state.one_of("rank", RANKS), state.one_of("ablation", ABLATIONS)
        shift_export.popover(box, loaded, view, place, choice, rank, ablation, _n(), rule_from_state())
        _checks(box, loaded, view, place, choice, rank, ablation)
    _about(loaded, chosen, part)
    _live(loaded, view, place, state.who(), choice)


def _n() -> int:
    return max(1, state.number("n", 20))


def _pair_chosen() -> None:
    state.put(pair=st.session_state["w_pair"], target="", latent="", set=decisions.MINE)


def _direction(box: Any, loaded: Loaded, both: list[Direction]) -> Direction:
    """The direction a link names, else the one with the larger gap."""
    columns = [d.task.target.column for d in both]
    wanted = state.get("target")
    first = scoring.default_direction(loaded, both[0].pair).task.target.column
    now = wanted if wanted in columns else first
    if not state.presenting():
        part = scoring.live_part(loaded)
        notes = {
            d.task.target.column: "n/a" if d.boards[part].reason else f"gap {d.boards[part].gap:.2f}" for d in both
        }
        key = f"w_target_{both[0].pair}"
        box.selectbox(
            "Direction",
            columns,
            columns.index(now),
            key=key,
            on_change=_target_chosen,
            args=(key,),
            width=215,
            format_func=lambda c: f"{both[columns.index(c)].task.direction} ({notes[c]})",
        )
    return both[columns.index(now)]


def _target_chosen(key: str) -> None:
    state.put(target=st.session_state[key], latent="", set=decisions.MINE)


def _settings(box: Any, loaded: Loaded) -> None:
    if state.presenting():
        return
    _choice(box, "Ranked by", "rank", {"attribute": "attribute probe", "base": "biased probe"})
    _choice(
        box,
        "Ablation",
        "ablation",
        {"mean": "to the mean", "zero": "to zero (paper)"},
        help="What an ablated latent is set to: its mean over the training texts, or 0. Zero also moves the threshold.",
    )
    ns = [n for n in NS if n <= loaded.latents.n_latents]
    n = _n()
    box.selectbox(
        "N",
        ns,
        ns.index(n) if n in ns else 0,
        key="w_n",
        on_change=state.choose,
        args=("n", "w_n"),
        width=74,
        help="Size of the top-N set to compare with",
    )


def _choice(box: Any, label: str, name: str, labels: dict[str, str], help: str | None = None) -> None:
    """A select box over one value of the link."""
    key, options = f"w_{name}", list(labels)
    box.selectbox(
        label,
        options,
        options.index(state.one_of(name, options)),
        key=key,
        on_change=state.choose,
        args=(name, key),
        width=130,
        format_func=labels.get,
        help=help,
    )


def _set_picker(box: Any, loaded: Loaded, view: ShiftLatents, place: Place) -> str:
    """Named decision sets: choose, make, duplicate, rename, reset. Returns the chosen one."""
    store, who = ledger.store(), state.who()
    known = store.list_sets(**place.scope)
    mine = decisions.find_set(store, place, who)
    options = [decisions.MINE, *(str(s.id) for s in known if mine is None or s.id != mine.id)]
    names = {str(s.id): f"{s.name} ({s.who})" for s in known} | {decisions.MINE: f"mine ({who})"}
    now = state.one_of("set", options)
    if state.presenting():
        return now
    key = f"w_set_{place.direction}_{len(options)}_{who}"  # labels hold the name: another name is another widget
    box.selectbox(
        "Set",
        options,
        options.index(now),
        key=key,
        on_change=state.choose,
        args=("set", key),
        format_func=names.get,
        width=132,
    )
    with box.popover("Sets", icon=":material/edit:"):
        name = st.text_input("Name", key="w_set_name", placeholder="name of the set", max_chars=80)
        st.button("New, empty", on_click=_new_set, args=(place, who, name), width="stretch", key="w_new")
        st.button("Duplicate this set", on_click=_duplicate, args=(place, who, now, name), width="stretch", key="w_dup")
        st.button(
            "Rename this set",
            on_click=_rename,
            args=(place, who, now, name),
            width="stretch",
            key="w_rename",
            disabled=not name,
        )
        n = _n()
        top = scoring.ranking(view, state.one_of("rank", RANKS))[:n]
        st.button(
            f"Reset to the top {n} by attribution",
            on_click=_reset,
            args=(place, who, now, top, f"reset to top {n}"),
            width="stretch",
            key="w_top",
        )
        for rival in judge_sets(loaded, view, n, rule_from_state()):
            if rival.ids is not None:
                st.button(
                    f"Use {rival.name}",
                    on_click=_reset,
                    args=(place, who, now, rival.ids, f"reset to {rival.name}"),
                    width="stretch",
                    key=f"w_reset_{rival.name}",
                )
        st.caption("A reset is one step of the log: Z takes it back.")
    return now


def _checks(box: Any, loaded: Loaded, view: ShiftLatents, place: Place, choice: str, rank: str, ablation: str) -> None:
    """Controls and refits of the set as it is when pressed."""
    n, store = _n(), ledger.store()

    def ids() -> tuple[int, ...]:
        chosen = decisions.find_set(store, place, state.who(), choice)
        if chosen is None or not (found := tuple(store.ablated(chosen.id))):
            raise DataError("the set is empty; ablate at least one latent first")
        return found

    with box.popover("Trust", icon=":material/balance:"):
        beside.checks(
            "shift",
            lambda: scoring.set_score(view, ids(), ablation).score,
            lambda: trust.shift_set_controls(loaded, view, ids(), ablation),
            lambda: trust.shift_set_refits(loaded, view, ids(), n, rank, ablation),
            n,
            PART_NAMES[view.board.part],
        )


def _new_set(place: Place, who: str, name: str) -> None:
    _guard(lambda: state.put(set=decisions.new_set(ledger.store(), place, who, name or "new set").id))


def _duplicate(place: Place, who: str, choice: str, name: str) -> None:
    def work() -> None:
        source = decisions.open_set(ledger.store(), place, who, choice)
        state.put(set=ledger.store().duplicate_set(source.id, name or f"copy of {source.name}", who).id)

    _guard(work)


def _rename(place: Place, who: str, choice: str, name: str) -> None:
    def work() -> None:
        found = decisions.open_set(ledger.store(), place, who, choice)
        ledger.store().rename_set(found.id, name, who)
        state.put(set=found.id)

    _guard(work)


def _reset(place: Place, who: str, choice: str, ids: Any, reason: str) -> None:
    _guard(
        lambda: decisions.reset(
            ledger.store(), decisions.open_set(ledger.store(), place, who, choice).id, who, ids, reason
        )
    )


def _guard(work: Any) -> None:
    """Errors in a callback are shown by the next draw of the lab."""
    try:
        work()
        st.session_state.pop("lab_error", None)
    except SaeEvalError as error:
        st.session_state["lab_error"] = error


def _about(loaded: Loaded, chosen: Direction, part: int) -> None:
    """One line on what is looked at; the n/a direction says why."""
    texts, reason = loaded.task_set.texts, chosen.boards[part].reason
    line = f"{texts.name}{' (composed texts)' if texts.composed else ''}: {chosen.pair}, {chosen.task.direction}; {loaded.latents.sae}"
    if loaded.task_set.small:
        line += f". {loaded.task_set.small}"
    provenance.how(line)
    if reason:
        st.warning(f"S is not defined in this direction: {provenance.plain(reason)}", icon=":material/info:")


@st.fragment
def _live(loaded: Loaded, view: ShiftLatents, place: Place, who: str, choice: str) -> None:
    """Queue, card and score. A press runs this function alone."""
    rank, ablation = state.one_of("rank", RANKS), state.one_of("ablation", ABLATIONS)
    if "lab_error" in st.session_state:
        provenance.problem(st.session_state["lab_error"])
    try:
        data = _data(loaded, view, place, who, choice, rank, ablation)
    except SaeEvalError as error:
        provenance.problem(error)
        return
    lab(data, key=KEY, on_did_change=partial(_did, loaded, ablation))
    began = st.session_state["lab_memory"].pop("began", None)
    if began is not None:
        timings.note_time(time.perf_counter() - began)


def _data(
    loaded: Loaded, view: ShiftLatents, place: Place, who: str, choice: str, rank: str, ablation: str
) -> dict[str, Any]:
    store, memory = ledger.store(), _memory()
    chosen = decisions.find_set(store, place, who, choice)
    current_decisions = {} if chosen is None else store.decisions(chosen.id)
    ids = tuple(sorted(i for i, d in current_decisions.items() if d == "ablate"))
    desk = Desk(place, who, choice)
    memory["desks"][desk.name] = desk
    before = _before(memory, (place, choice, who, ablation), ids)
    rows, hash_ = queue_rows(loaded, view, rank, current_decisions)
    sent = memory["sent"]
    order = [r[0] for r in rows]
    current = _current(order, sent.get("current"), loaded)
    cards = _cards(loaded, view, order, current, set(sent.get("have", ())), moving=not sent.get("log"))
    look = Look(
        ids, before, _set_name(chosen), len(current_decisions), rank, ablation, _n(), carry=bool(sent.get("carry"))
    )
    data = {
        "scope": f"{desk.name}/{rank}",
        "desk": desk.name,
        "ack": memory["ack"],
        "solo": False,
        "present": state.presenting(),
        "readonly": "",
        "queue": None if sent.get("queue") == hash_ else rows,
        "queueHash": hash_,
        "decisions": current_decisions,
        "current": current,
        "goto": memory.get("goto", 0),
        "cards": cards,
        "shares": None if current is None else shares_json(view, ids, current, ablation),
        "score": score_json(view, look, _rivals(loaded, view, place, chosen, rank)),
    }
    if chosen is not None:
        store.note_look(chosen.id, who, ids)
    data["score"] |= log_json(store, chosen, ids) | _commit_state(loaded, ids)
    if chosen is not None and current is not None and str(current) in cards:
        cards[str(current)] = cards[str(current)] | {"history": latent_history(store.history(chosen.id, current))}
    memory["sent"] = {}
    return data


def _before(memory: dict[str, Any], key: Any, ids: tuple[int, ...]) -> tuple[int, ...] | None:
    """The set as it was before the last change of it in this session."""
    seen = memory.setdefault("seen", {})
    last, before = seen.get(key, (ids, None))
    if last != ids:
        last, before = ids, last
    seen[key] = (last, before)
    return before


def _current(order: list[int], sent: int | None, loaded: Loaded) -> int | None:
    """The latent the browser is at, else the link's, else the first."""
    wanted = sent if sent is not None else state.number("latent", -1)
    if 0 <= wanted < loaded.latents.n_latents:
        return wanted
    return order[0] if order else None


def _cards(
    loaded: Loaded, view: ShiftLatents, order: list[int], current: int | None, have: set[int], *, moving: bool
) -> dict[str, Any]:
    """Cards the browser lacks: the current one, and when nothing was decided the next ones too."""
    if current is None:
        return {}
    at = order.index(current) if current in order else -1
    ahead = [order[k] for k in range(at - 1, at + AHEAD + 1) if 0 <= k < len(order)] if moving and at >= 0 else []
    return {str(i): card(loaded, i, view) for i in dict.fromkeys([current, *ahead]) if i not in have}


def _set_name(chosen: DecisionSet | None) -> str:
    return decisions.MINE if chosen is None else chosen.name


def _rivals(
    loaded: Loaded, view: ShiftLatents, place: Place, chosen: DecisionSet | None, rank: str
) -> list[scoring.NamedSet]:
    n = _n()
    order = scoring.ranking(view, rank)
    out = [scoring.NamedSet(f"top {n} by attribution", tuple(int(i) for i in order[:n]))]
    out += judge_sets(loaded, view, n, rule_from_state())
    store = ledger.store()
    others = [s for s in store.list_sets(**place.scope) if chosen is None or s.id != chosen.id]
    return out + [scoring.NamedSet(f"{s.name} ({s.who})", tuple(store.ablated(s.id))) for s in others[-3:]]


def _commit_state(loaded: Loaded, ids: tuple[int, ...]) -> dict[str, Any]:
    if scoring.live_part(loaded) == TEST:
        return {"canCommit": False, "commitNote": "this protocol has no dev part: what you see is test"}
    return {"canCommit": bool(ids), "commitNote": "Commit: ablate at least one latent first"}


def _did(loaded: Loaded, ablation: str) -> None:
    """Presses of the browser: saved before anything is drawn."""
    sent = (st.session_state.get(KEY) or {}).get("did")
    if not sent:
        return
    memory = _memory()
    memory["began"] = time.perf_counter()
    client, store = str(sent["client"]), ledger.store()

    def commit(desk: Desk) -> None:
        _commit(loaded, desk, ablation)

    _guard(lambda: decisions.apply(store, memory["desks"], sent["log"], memory["ack"], client, commit))
    memory["sent"] = sent
    if sent.get("current") is not None:
        state.put(latent=sent["current"])


def _memory() -> dict[str, Any]:
    """What this session knows beyond the store: presses carried out, and where they may come from."""
    return st.session_state.setdefault("lab_memory", {"ack": {}, "sent": {}, "desks": {}})


def _commit(loaded: Loaded, desk: Desk, ablation: str) -> None:
    store = ledger.store()
    chosen = decisions.open_set(store, desk.place, desk.who, desk.choice)
    ids = tuple(store.ablated(chosen.id))
    here = (d for d in scoring.shift_directions(loaded) if decisions.shift_place(loaded, d) == desk.place)
    if (direction := next(here, None)) is None:
        raise DataError(
            "the set to commit belongs to another SAE or task than the page shows; open it there and commit"
        )
    test = scoring.shift_view(loaded, direction.pair, direction.task.target.column, TEST)
    store.commit(chosen.id, desk.who, ids, test_json(test, ids, ablation))


def _aggregate(loaded: Loaded, directions: tuple[Direction, ...]) -> None:
    """Mean of the defined directions of each pair, then over pairs."""
    store, who, part = ledger.store(), state.who(), scoring.live_part(loaded)
    n, rank, ablation = _n(), state.one_of("rank", RANKS), state.one_of("ablation", ABLATIONS)
    rows, mine, top = [], [], []
    for d in directions:
        view = scoring.shift_view(loaded, d.pair, d.task.target.column, part)
        own = decisions.find_set(store, decisions.shift_place(loaded, d), who)
        ids = tuple(store.ablated(own.id)) if own else ()
        ranked = scoring.set_score(view, tuple(int(i) for i in scoring.ranking(view, rank)[:n]), ablation)
        top.append((d.pair, ranked))
        if ids:
            mine.append((d.pair, scoring.set_score(view, ids, ablation)))
        rows.append(
            {
                "pair": d.pair,
                "direction": d.task.direction,
                "base": str(d.boards[part].base),
                "oracle": str(d.boards[part].oracle),
                f"S, top {n}": str(ranked.score),
                "my set": f"{len(ids)} latents" if ids else "none yet",
                "S, mine": str(scoring.set_score(view, ids, ablation).score) if ids else "",
            }
        )
    for name, scores in ((f"top {n} by attribution", top), ("my sets (pairs that have one)", mine)):
        if scores:
            total = over_pairs(scores)
            ci = total.score.ci
            interval = f"95 % interval [{ci[0]:.2f}, {ci[1]:.2f}]" if ci else str(total.score.reason or "")
            value = "n/a" if total.score.value is None else f"{total.score.value:.3f}"
            note = f"{total.pairs} pairs, {total.left_out} undefined directions left out"
            provenance.number(f"S_SHIFT, {name}", value, interval, note)
    st.dataframe(rows, width="stretch", hide_index=True)
    provenance.how(
        "Mean of the defined directions of each pair, then over pairs; intervals from resampled texts. Choose one pair to decide."
    )
