"""The page around the views. Each view is a module of ``app.views`` with TITLE, ICON and ``render(loaded)``.

One with ``NEEDS_RECORDING = False`` has ``render()``.
"""

from importlib import import_module
from types import ModuleType

import streamlit as st

from app import state
from app.components import address
from app.services import access
from app.widgets import keys, pickers, pressing, provenance, run_box, stored_files, who
from saeeval_core.errors import SaeEvalError

VIEWS = {
    "overview": "",
    "shift_lab": "shift",
    "tpp_matrix": "tpp",
    "latents": "latents",
    "texts": "texts",
    "compare": "compare",
    "judge": "judge",
    "your_data": "data",
    "story": "story",
}
"""Module of app.views -> path in the URL."""


def main() -> None:
    """One run of the page: what is picked on the left, the chosen view on the right."""
    st.set_page_config(page_title="SAE eval", page_icon=provenance.favicon(), layout="wide", initial_sidebar_state=260)
    if access.rules().accounts and not _logged_in():
        return
    state.restore()
    provenance.look()
    found = views()
    pages = [_page(name, view) for name, view in found.items()]
    st.session_state["pages"] = dict(zip(found, pages, strict=True))
    chosen = st.navigation(pages, position="hidden" if state.presenting() else "top")
    with st.sidebar:
        pickers.sidebar()
        stored_files.notes()
        address.one_entry_per_view()
        who.remember()  # in the sidebar, so that they take no room on the page
        keys.leave_present()
        pressing.collect()  # after the name is known, before the view shows what is stored
    if (here := next(name for name, path in VIEWS.items() if path == chosen.url_path)) != "story":
        keys.way_out(here, {name: view.TITLE for name, view in found.items()})  # the story has a way out of its own
    chosen.run()
    state.names_no_target()  # a view opened later in this session is not what the link meant
    state.write_url()


def _logged_in() -> bool:
    """Take the name from the login; the page that asks for one is drawn, and False returned, where there is none."""
    if not st.user.is_logged_in:
        st.subheader("SAE eval")
        st.button("Log in", on_click=st.login, type="primary", key="w_login")
        return False
    st.session_state["who"] = str(st.user.get("email") or st.user.get("name") or st.user.get("sub"))
    return True


def views() -> dict[str, ModuleType]:
    """Every view, imported."""
    return {name: import_module(f"app.views.{name}") for name in VIEWS}


def _page(name: str, view: ModuleType) -> st.Page:
    def run() -> None:
        show(view)

    run.__name__ = name
    path = VIEWS[name]
    return st.Page(run, title=view.TITLE, icon=view.ICON, url_path=path or None, default=not path)


def show(view: ModuleType) -> None:
    """The view, or the one box that says what is missing; below, what of the link could not be used."""
    try:
        if not getattr(view, "NEEDS_RECORDING", True):
            view.render()
        else:
            run_box.draw(state.config(), view.render)
    except SaeEvalError as error:
        provenance.problem(error)
    for line in state.unusable():
        st.warning(f"{provenance.plain(line)}; the default is shown.", icon=":material/link_off:")
