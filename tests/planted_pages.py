"""The app on a planted bundle: a store, cache and assets of this session's own, nothing downloaded, no model loaded."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def assets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The planted bundle on disk (see planted_assets.py)."""
    from planted_assets import make_assets

    folder = tmp_path_factory.mktemp("planted") / "assets"
    before = os.environ.get("SAEEVAL_ASSETS")
    os.environ["SAEEVAL_ASSETS"] = str(folder)
    try:
        return make_assets(folder, per_cell=110)
    finally:
        os.environ.pop("SAEEVAL_ASSETS") if before is None else os.environ.update(SAEEVAL_ASSETS=before)


@pytest.fixture
def planted_app(assets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """``run(view="shift_lab", **url)`` gives a finished AppTest of that view; decisions go to a store of this test's own."""
    from streamlit.testing.v1 import AppTest

    monkeypatch.setenv("SAEEVAL_ASSETS", str(assets))
    monkeypatch.setenv("SAEEVAL_STORE", str(tmp_path / "store.sqlite"))

    def run(view: str = "shift_lab", **url: str) -> AppTest:
        test = AppTest.from_function(_page, default_timeout=120, args=(view,))
        for name, value in url.items():
            test.query_params[name] = value
        return test.run()

    return run


def _page(view: str) -> None:
    from importlib import import_module

    import streamlit as st

    from app import shell, state

    state.restore()
    shell.show(import_module(f"app.views.{view}"))
    state.write_url()
    st.session_state["ran"] = True
