"""TPP matrix: ablate one class's latents, read every probe; click a cell to see why, toggle a latent and see it move."""

from collections.abc import Mapping
from functools import partial

import streamlit as st

from app import state
from app.components import tpp
from app.deciding.class_refs import ATTRIBUTION
from app.deciding.tpp_page import TppPage
from app.jobs import live_model
from app.payloads.matrix import Around, Matrix, matrix, telling_cell
from app.payloads.tpp_cards import number_cards, read_anew
from app.payloads.wishes import read_wishes
from app.services import fresh_reader, scoring, trust
from app.services.fresh_matrix import StillMatrix
from app.services.loading import Loaded
from app.widgets import holding_box, live_steps, pressing, provenance, tpp_export, tpp_sets, trust_box
from saeeval_core.errors import SaeEvalError
from saeeval_core.ledger.places import MINE
from saeeval_core.scores.tpp import TppScore
from saeeval_core.texts.tasks import MIN_CLASSES, MIRRORED

TITLE = "TPP matrix"
ICON = ":material/grid_on:"
KEY = "tpp"


def render(loaded: Loaded) -> None:
    """The page."""
    if loaded.task_set.tpp is None:
        st.info(
            f"'{provenance.plain(loaded.task_set.texts.shown)}' has no classes for TPP. "
            "Choose another task, or give classes under Your data.",
            icon=":material/info:",
        )
        return
    if len(loaded.task_set.tpp[1]) < MIN_CLASSES:
        st.info(
            f"{MIRRORED}. Choose another task, or give more classes under Your data; the SHIFT lab works with two.",
            icon=":material/info:",
        )
        return
    if not scoring.evaluation(loaded).tpp_is_live:
        provenance.how(
            f"Protocol {loaded.protocol.name} draws new negatives for every number (saeeval run does); what is live here scores "
            "all texts, every other class with the same weight."
        )
    if not state.presenting():
        shown = tpp_sets.page(loaded)
        tpp_sets.banner(shown)
        st.session_state["tpp_empty"] = not shown.sets.stored
    _live(loaded)
    if not state.presenting():
        _below(loaded)


@st.fragment
def _live(loaded: Loaded) -> None:
    """Slider, cards, matrix and the chosen cell: the only part that runs again on a move."""
    if (latent := st.session_state.pop("tpp_open", None)) is not None:
        state.put(latent=latent)
        if "pages" in st.session_state:
            st.switch_page(st.session_state["pages"]["latents"])
    page, log = tpp_sets.page(loaded), pressing.press_log()
    desk = page.desk
    pressing.show_problem(desk.name)
    moved = st.session_state.pop("tpp_moved", "")
    still = _still(page, moved)
    page.sets.note_look(page.who, page.ids)
    around = Around(
        number_cards(page, _before(page), still, fresh=_fresh()),
        page.sets.note,
        log.sit(desk, loaded, page.ablation, page.n),
        log.acks,
        log.refused,
        st.session_state.get("tpp_heard", {}),
        state.presenting(),
        bool(desk.locked),
    )
    tpp.show(_matrix(page, still, explain=moved != "n"), around, _did, KEY)
    if st.session_state.get("tpp_empty") and page.sets.stored:
        st.rerun()  # the first decision: what stands below can be taken out and shared


def _fresh() -> bool:
    return state.get("fresh") == "1"


def _still(page: TppPage, moved: str) -> StillMatrix | None:
    """Right after a move nothing is read anew: the next one may be on its way, and must not share the processor."""
    if moved and any(page.ids):
        fresh_reader.drop(page.desk.name)
        return None
    return read_anew(page)


def _matrix(page: TppPage, still: StillMatrix | None, *, explain: bool) -> Matrix:
    """Where the texts of the cell are to be read again by the language model: with every token known, if that works."""
    cell, relative = _cell(page), _fresh() or state.get("scale") == "relative"
    make = partial(matrix, page, cell, still, relative=relative, fresh=_fresh(), explain=explain)
    if not st.session_state.get("tpp_read"):
        return make()
    try:
        if live_model.is_ready(page.loaded):
            return make(read=True)
        live_steps.get_ready(page.loaded)
        with st.spinner("Reading the texts of this cell with the model and the SAE", show_time=True):
            return make(read=True)
    except SaeEvalError as error:
        st.session_state.pop("tpp_read")
        provenance.problem(error)
        return make()


def _did() -> None:
    """What the component sent: presses not stored yet, in their order, and the latest N, cell, scale and kind of probe."""
    sent = (st.session_state.get(KEY) or {}).get("did")
    if not isinstance(sent, Mapping):
        return
    done, wishes = pressing.receive(sent), read_wishes(sent)
    st.session_state["tpp_moved"] = "press" if done else "n" if "n" in wishes.link else ""
    state.put(**wishes.link)
    if state.get("tpp_set") == ATTRIBUTION and any(d.desk.choice == ATTRIBUTION for d in done):
        state.put(tpp_set=MINE)  # a change needs a set of one's own to live in
    if wishes.read:
        st.session_state["tpp_read"] = True
    if wishes.open is not None:
        st.session_state["tpp_open"] = wishes.open
    st.session_state.setdefault("tpp_heard", {})[wishes.client] = wishes.seq


def _below(loaded: Loaded) -> None:
    """Sets, all N, the table and downloads: they run with the page, or on their own when opened."""
    tab_sets, tab_n, tab_trust, tab_later, tab_table = st.tabs(
        ["Sets and commit", "All N", "Checks", "Later layers", "Table and downloads"]
    )
    with tab_sets:
        tpp_sets.panel(loaded)
    with tab_n:
        tpp_export.every_n(loaded)
    with tab_trust:
        _checks(loaded)
    with tab_later:
        holding_box.classes(loaded)
    with tab_table:
        tpp_export.table(loaded)
    st.caption(
        "How computed: Δᵢⱼ = Aⱼ − Aᵢⱼ, clean minus ablated balanced accuracy of probe j when the top-N latents of class i "
        "are set to their mean over the training texts, or to zero as in the paper, exact from pooled latents. "
        "Score: mean of the diagonal − mean of the rest. "
        "Intervals: 95 %, over resampled texts of the part shown; probes and training texts stay fixed."
    )


@st.fragment
def _checks(loaded: Loaded) -> None:
    """Controls and refits of the matrix as it is when pressed."""
    page = tpp_sets.page(loaded)
    part, n, ablation = page.part, page.n, page.ablation
    trust_box.checks(
        "tpp",
        lambda: scoring.tpp_set_score(loaded, part, page.ids_or_raise(), ablation).score,
        lambda: trust.tpp_set_controls(loaded, part, page.ids_or_raise(), ablation),
        lambda: trust.tpp_set_refits(loaded, part, page.ids_or_raise(), n, ablation),
        n,
        page.part_name,
    )


def _cell(page: TppPage) -> tuple[int, int] | None:
    """The cell of the link; without one the cell with the most to say, which the link names from then on."""
    if (chosen := state.numbers("cell")) is not None:
        return (int(chosen[0]), int(chosen[1])) if max(chosen) < len(page.classes) else None
    if (telling := telling_cell(page)) is not None:
        state.put(cell=f"{telling[0]},{telling[1]}")
    return telling


def _before(page: TppPage) -> TppScore | None:
    """The score shown before this one for the same SAE, texts and part; redrawing the same one keeps it."""
    kept = st.session_state.setdefault("tpp_shown", {})
    config, score = page.loaded.config, page.score
    key = (page.loaded.latents.scored_fingerprint, config.protocol, config.seed, page.part, page.ablation)
    last, before = kept.get(key, (None, None))
    if last is not score:
        last, before = score, last
        kept.clear()
        kept[key] = (last, before)
    return before
