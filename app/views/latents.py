"""Latents: search and filter all of them, read one with its evidence, and try a text of one's own."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import streamlit as st

from app import services, state
from app.components import latent as latent_card
from app.deciding.class_sets import class_sets
from app.deciding.desk import find_set, shift_place
from app.jobs import live_model
from app.payloads.evidence_card import card
from app.services import Loaded
from app.widgets import bulk, export, latent_table, shift_sets
from app.widgets.rule_picker import rule_from_state
from app.widgets.token_text import tokens_html
from saeeval_core.config import fingerprint
from saeeval_core.errors import SaeEvalError
from saeeval_core.evaluation.prepare import DirectionBoards
from saeeval_core.evidence.live_text import TextReading, TextVerdict, probe_verdict
from saeeval_core.scores.tpp_cells import chosen_sets

TITLE = "Latents"
ICON = ":material/search:"
CANDIDATES = 100
"""Latents of each ranking that are looked for in a typed text."""
LINES = 12


def render(loaded: Loaded) -> None:
    """Table and filters beside the card; below, a text of one's own."""
    direction = _direction(loaded)
    if state.presenting():
        place = state.one_of("of", list(bulk.places(loaded, direction)) or [""])
        _card(loaded, direction, [], bulk.decided(loaded, direction, place))
        return
    _browse(loaded, direction)
    st.subheader("Test my text", divider="gray")
    _own_text(loaded, direction)


def _direction(loaded: Loaded) -> DirectionBoards | None:
    """The SHIFT direction of the link, or the first pair's with the larger gap; None for texts without pairs."""
    every = services.shift_directions(loaded)
    if not every:
        return None
    pair = state.get("pair") if state.get("pair") in {d.pair for d in every} else every[0].pair
    wanted = [d for d in every if d.pair == pair and d.task.target.column == state.get("target")]
    return wanted[0] if wanted else services.default_direction(loaded, pair)


@st.fragment
def _browse(loaded: Loaded, direction: DirectionBoards | None) -> None:
    effects = latent_table.effect_columns(loaded, direction)
    probe, place, filters = _filters(effects, bulk.places(loaded, direction))
    decided = bulk.decided(loaded, direction, place)
    table = latent_table.frame(loaded, effects.get(probe) if probe else None, decided)
    found = latent_table.filtered(table, search=state.get("search"), **filters)
    left, right = st.columns([0.46, 0.54])
    with left:
        st.caption(
            f"{len(found):,} of {len(table):,} latents, strongest effect first. Select rows to read or decide on them."
        )
        if found.empty:
            st.info(
                "No latent passes these filters. Widen the density range or clear the search.",
                icon=":material/filter_alt_off:",
            )
            bulk.bar(loaded, direction, place, [], "no rows")
        else:
            chosen = _table(found, probe)
            what = f"{len(chosen)} selected rows" if chosen else f"all {len(found):,} rows"
            bulk.bar(loaded, direction, place, chosen or found["latent"].tolist(), what)
        st.download_button(
            "These rows (CSV)",
            lambda: export.csv_text(found.to_dict("records")),
            "latents.csv",
            "text/csv",
            on_click="ignore",
            key="w_latents_csv",
            icon=":material/table_view:",
        )
    with right:
        _card(loaded, direction, found["latent"].tolist(), decided)


def _filters(effects: Mapping[str, Any], places: Mapping[str, str]) -> tuple[str | None, str, dict[str, Any]]:
    """Draw the filters, all of them in the link; (probe whose effect is shown, set of the decisions, filters)."""
    names, sets = list(effects), list(places)
    probe, place = (state.one_of(k, options) if options else "" for k, options in (("effect", names), ("of", sets)))
    low, high = _range(state.get("density"))
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.text_input(
            "Search",
            state.get("search"),
            key="w_search",
            on_change=state.choose,
            args=("search", "w_search"),
            max_chars=80,
            placeholder="id, word of an explanation, promoted token",
            width=260,
        )
        if names:
            st.selectbox(
                "Effect on",
                names,
                names.index(probe),
                key="w_effect",
                width=260,
                on_change=state.choose,
                args=("effect", "w_effect"),
            )
            strength = state.one_of("strength", latent_table.STRENGTHS)
            st.selectbox(
                "Effect",
                latent_table.STRENGTHS,
                latent_table.STRENGTHS.index(strength),
                key="w_strength",
                width=110,
                format_func=lambda s: s or "any",
                on_change=state.choose,
                args=("strength", "w_strength"),
                help="By the effect on the probe beside, among all latents.",
            )
        if sets:
            st.selectbox(
                "Decisions of",
                sets,
                sets.index(place),
                format_func=places.get,
                key="w_of",
                width=260,
                on_change=state.choose,
                args=("of", "w_of"),
                help="Which set the decisions below belong to.",
            )
        chosen = {
            name: st.multiselect(
                label, options, _listed(name, options), key=f"w_{name}", width=180, on_change=_choose_list, args=(name,)
            )
            for name, label, options in (
                ("decision", "Decision", [*_DECISIONS, latent_table.NONE]),
                ("verdict", "Verdict", _VERDICTS),
            )
        }
        st.slider(
            "Density, % of tokens", 0.0, 100.0, (low, high), 0.1, key="w_density", width=200, on_change=_choose_density
        )
        firing = st.toggle(
            "fires here",
            state.get("silent") != "1",
            key="w_firing",
            on_change=_choose_silent,
            help="Leave out latents that never fire on these texts.",
        )
    filters = {
        "density": (low / 100, high / 100),
        "decisions": chosen["decision"],
        "verdicts": chosen["verdict"],
        "firing": firing,
    }
    return probe or None, place, filters | {"strength": state.one_of("strength", latent_table.STRENGTHS)}


def _range(text: str) -> tuple[float, float]:
    """ "0.5,20" as (0.5, 20.0); everything for what a link says wrongly."""
    try:
        low, high = (min(100.0, max(0.0, float(x))) for x in text.split(","))
    except ValueError:
        return 0.0, 100.0
    return (low, high) if low <= high else (0.0, 100.0)


def _listed(name: str, options: Sequence[str]) -> list[str]:
    wanted = state.get(name).split(",")
    return [o for o in options if o in wanted]


def _choose_list(name: str) -> None:
    state.put(**{name: ",".join(st.session_state[f"w_{name}"])})


def _choose_density() -> None:
    low, high = st.session_state["w_density"]
    state.put(density="" if (low, high) == (0.0, 100.0) else f"{low:g},{high:g}")


def _choose_silent() -> None:
    state.put(silent="" if st.session_state["w_firing"] else "1")


def _table(found: pd.DataFrame, probe: str | None) -> list[int]:
    """Draw the rows; the latents of those selected. The row selected last is opened in the card."""
    # Rows are selected by their place, so other rows need another table: a selection must never slip to other latents.
    shown = fingerprint(found["latent"].tolist())
    event = st.dataframe(
        found,
        hide_index=True,
        height=560,
        on_select="rerun",
        selection_mode="multi-row",
        key=f"w_latents_{shown}",
        column_order=["latent", "decision", "verdict", "effect", "density", "explanation", "promotes"],
        column_config={
            "latent": st.column_config.NumberColumn("id", format="%d", width=60),
            "density": st.column_config.NumberColumn("density", format="percent", width=70, help="share of tokens"),
            "effect": st.column_config.NumberColumn("effect", format="%.3g", width=75, help=f"attribution, {probe}"),
            "promotes": st.column_config.TextColumn("promotes", width=150),
            "verdict": st.column_config.TextColumn("verdict", width=70),
            "decision": st.column_config.TextColumn("decision", width=75),
        },
    )
    rows = [r for r in event["selection"]["rows"] if r < len(found)]
    before = st.session_state.get("latents_rows", ("", []))
    new = [r for r in rows if before[0] != shown or r not in before[1]]
    st.session_state["latents_rows"] = (shown, rows)
    if new:
        state.put(latent=int(found["latent"].iloc[new[-1]]))
    return [int(found["latent"].iloc[r]) for r in rows]


def _card(loaded: Loaded, direction: DirectionBoards | None, order: list[int], decided: Mapping[int, str]) -> None:
    n = loaded.latents.n_latents
    current = state.number("latent", order[0] if order else 0)
    if not 0 <= current < n:
        st.warning(f"This SAE has latents 0 to {n - 1}, not {current}. Choose a row of the table.")
        return
    view = None
    if direction is not None:
        view = services.shift_view(loaded, direction.pair, direction.task.target.column, services.live_part(loaded))
    at = order.index(current) if current in order else None
    before = order[at - 1] if at else None
    after = order[at + 1] if at is not None and at + 1 < len(order) else (order[0] if at is None and order else None)
    latent_card.show(
        latent_card.CardPage(
            card=card(loaded, current, view),
            current=current,
            previous=before,
            next=after,
            place=f"{at + 1} of {len(order)}" if at is not None else "not in the table as filtered" if order else "",
            decision=decided.get(current),
            present=state.presenting(),
            effects=tuple((k, float(v[current])) for k, v in latent_table.effect_columns(loaded, direction).items()),
        ),
        _go,
    )


def _go() -> None:
    if went := st.session_state.get("latent_card", {}).get("go"):
        state.put(latent=int(went["latent"]))


_DECISIONS = ("ablate", "keep", "unsure")
_VERDICTS = ("4/4", "3/4", "2/4", "1/4", "0/4", "no verdict", "none")


@st.fragment
def _own_text(loaded: Loaded, direction: DirectionBoards | None) -> None:
    text = st.text_area(
        "Text",
        key="w_own_text",
        height=110,
        max_chars=4000,
        placeholder="Type or paste a text; the first 127 tokens are read.",
    )
    if not live_model.is_ready(loaded):
        st.caption(
            f"The first text loads {loaded.config.model} and the SAE into memory: 10 to 40 seconds on a laptop. "
            "Everything else on this page works without them."
        )
    if st.button("Read it", type="primary", disabled=not text.strip(), key="w_own_read"):
        try:
            with st.spinner("Reading the text with the model and the SAE"):
                st.session_state["reading"] = (
                    loaded.latents.fingerprint,
                    live_model.read(loaded, text.replace("\0", "")),
                )
        except SaeEvalError as error:
            st.session_state.pop("reading", None)
            st.error(str(error), icon=":material/error:")
    kept, reading = st.session_state.get("reading", ("", None))
    if reading is not None and kept == loaded.latents.fingerprint:
        _show_reading(loaded, direction, reading)


def _show_reading(loaded: Loaded, direction: DirectionBoards | None, reading: TextReading) -> None:
    verdicts, candidates = _verdicts(loaded, direction, reading)
    if reading.truncated:
        st.warning("The text is longer than 127 tokens; the rest was not read.")
    st.dataframe(
        [
            {
                "probe": v.probe,
                "before": f"{v.says(v.before)} ({v.before:+.2f})",
                "after ablation": f"{v.says(v.after)} ({v.after:+.2f})",
                "changed": "yes" if v.changed else "no",
            }
            for v in verdicts
        ],
        hide_index=True,
        key="own_verdicts",
    )
    st.caption(
        "Predicted label and logit, one text, so no interval. After: the latents of the current sets are set to zero."
    )
    active = reading.active(candidates)
    if not active:
        st.info("None of the candidate latents fires on this text.", icon=":material/info:")
        return
    top = float(abs(reading.activations[:, active]).max())
    total = abs(reading.activations[:, active]).max(1)
    st.markdown(
        f"**{len(active)} of {len(candidates)} candidate latents fire.** All at once, coloured by the strongest:"
    )
    st.html(tokens_html(reading.text, reading.spans, total.tolist(), top))
    names = services.latents_named(loaded)
    for latent in active[:LINES]:
        what = names.get(latent, ("", ""))[0] or services.tokens_of(loaded, latent)
        st.text(f"latent {latent}  {what}")
        st.html(tokens_html(reading.text, reading.spans, reading.activations[:, latent].tolist(), top))
    if len(active) > LINES:
        st.caption(f"{len(active) - LINES} weaker ones are not listed.")


def _verdicts(
    loaded: Loaded, direction: DirectionBoards | None, reading: TextReading
) -> tuple[list[TextVerdict], list[int]]:
    """Every probe's verdict on the text with its current set ablated, and the candidate latents of all rankings."""
    found, candidates, n = [], [], state.number("n", 20)
    part, decoder = services.live_part(loaded), loaded.latents.decoder
    if direction is not None:
        view = services.shift_view(loaded, direction.pair, direction.task.target.column, part)
        place, who = shift_place(loaded, direction), state.who()
        stored = find_set(services.store(), place, who, shift_sets.choice(loaded, direction, who))
        own = services.store().ablated(stored.id) if stored else []
        ids: Any = own or view.attribute_ranking[:n]
        candidates += [int(i) for i in view.attribute_ranking[:CANDIDATES]]
        t, a, probes = direction.task.target, direction.task.spurious, view.board.probes
        label = f"your {len(ids)} latents" if own else f"top {len(ids)}"
        for name, probe, c in (
            ("C_b, biased", probes.base, t),
            ("oracle", probes.oracle, t),
            ("attribute", probes.attribute, a),
        ):
            title = f"SHIFT {name} ({label} ablated)"
            found.append(
                probe_verdict(reading, probe, decoder, ids, name=title, positive=c.positive, negative=c.negative)
            )
    if loaded.task_set.tpp is not None:
        view = services.tpp_view(loaded, part)
        own_sets = class_sets(loaded, state.get("tpp_set"), state.who(), n, rule_from_state())
        sets = chosen_sets(view.rankings, n, own_sets.decisions)
        for c, probe, ids, ranking in zip(view.board.task.classes, view.board.probes, sets, view.rankings, strict=True):
            candidates += [int(i) for i in ranking[:CANDIDATES]]
            title = f"TPP {c} ({len(ids)} own latents ablated)"
            found.append(probe_verdict(reading, probe, decoder, ids, name=title, positive=c, negative=f"not {c}"))
    return found, list(dict.fromkeys(candidates))
