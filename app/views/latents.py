"""Latents: search and filter all of them, and read one with its evidence."""

from collections.abc import Mapping

import pandas as pd
import streamlit as st

from app import state
from app.components import latent as latent_card
from app.figures.card_svg import card_rows, card_svg
from app.payloads.evidence_card import card
from app.services import scoring
from app.services.loading import Loaded
from app.widgets import bulk, export, latent_filters, latent_table, shift_pickers
from saeeval_core.config import fingerprint
from saeeval_core.evaluation.boards import Direction
from saeeval_core.wording import plural

TITLE = "Latents"
ICON = ":material/search:"


def render(loaded: Loaded) -> None:
    """Table and filters beside the card."""
    direction = shift_pickers.linked(loaded)
    if state.presenting():
        place = state.one_of("of", list(bulk.places(loaded, direction)) or [""])
        _card(loaded, direction, [], bulk.decided(loaded, direction, place))
        return
    _browse(loaded, direction)


@st.fragment
def _browse(loaded: Loaded, direction: Direction | None) -> None:
    effects = latent_table.effect_columns(loaded, direction)
    probe, place, filters = latent_filters.draw(list(effects), bulk.places(loaded, direction))
    decided = bulk.decided(loaded, direction, place)
    table = latent_table.frame(loaded, effects.get(probe), decided)
    found = latent_table.filtered(table, filters)
    left, right = st.columns([0.46, 0.54])
    with left:
        st.caption(
            f"{len(found):,} of {plural(len(table), 'latent')}, strongest effect first. Select rows to read or decide on them."
        )
        if found.empty:
            st.info(
                "No latent passes these filters. Widen the density range or clear the search.",
                icon=":material/filter_alt_off:",
            )
            bulk.bar(loaded, direction, place, [], "no rows")
        else:
            chosen = _table(found, probe)
            what = plural(len(chosen), "selected row") if chosen else f"all {plural(len(found), 'row')}"
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


def _table(found: pd.DataFrame, probe: str) -> list[int]:
    """Draw the rows; the latents of those selected. The row selected last is opened in the card."""
    # Rows are selected by their place, so other rows need another table: a selection must never slip to other latents.
    shown, digits = fingerprint(found["latent"].tolist()), latent_table.decimals(found)
    event = st.dataframe(
        found,
        hide_index=True,
        height=560,
        on_select="rerun",
        selection_mode="multi-row",
        key=f"w_latents_{shown}",
        column_order=["latent", "decision", "verdict", "effect", "density", "explanation", "promotes", "page"],
        column_config={
            "latent": st.column_config.NumberColumn("id", format="%d", width=60),
            "density": st.column_config.NumberColumn("density", format="percent", width=70, help="share of tokens"),
            "effect": st.column_config.NumberColumn(
                "effect", format=f"%.{digits}f", width=75, help=f"attribution, {probe}"
            ),
            "promotes": st.column_config.TextColumn("promotes", width=150),
            "verdict": st.column_config.TextColumn(
                "verdict", width=70, help="the highest rating of any concept by any rater"
            ),
            "page": st.column_config.LinkColumn("Neuronpedia", display_text="open", width=80),
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


def _card(loaded: Loaded, direction: Direction | None, order: list[int], decided: Mapping[int, str]) -> None:
    n = loaded.latents.n_latents
    current = state.number("latent", order[0] if order else 0)
    if not 0 <= current < n:
        st.warning(f"This SAE has latents 0 to {n - 1}, not {current}. Choose a row of the table.")
        return
    view = None
    if direction is not None:
        view = scoring.shift_view(loaded, direction.pair, direction.task.target.column, scoring.live_part(loaded))
    at = order.index(current) if current in order else None
    before = order[at - 1] if at else None
    after = order[at + 1] if at is not None and at + 1 < len(order) else (order[0] if at is None and order else None)
    shown = card(loaded, current, view)
    latent_card.show(
        latent_card.CardPage(
            card=shown,
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
    if not state.presenting():
        about = f"{loaded.task_set.texts.shown}; shade: activation, in full colour at {shown.max:.2f}"
        sae = loaded.latents.sae
        name = export.file_name("latent", str(current), loaded.task_set.texts.name, sae)
        export.picture_buttons(lambda: card_svg(shown, sae, about), lambda: card_rows(shown), name)


def _go() -> None:
    went = (st.session_state.get("latent_card") or {}).get("go")
    latent = went.get("latent") if isinstance(went, Mapping) else None
    if type(latent) is int and latent >= 0:
        state.put(latent=latent)
