"""Results of one's own beside the stored ones: a sweep or run of ours, or a published SAEBench file."""

from collections.abc import Mapping
from pathlib import Path

import streamlit as st

from app import results
from app.results import Stored
from app.services import access, loss_paths
from app.widgets import provenance
from saeeval_core.errors import SaeEvalError
from saeeval_core.evaluation.result import LossPath

_KEPT, _PATHS = "compare_own", "compare_own_paths"


def own_rows() -> list[Stored]:
    """Scores of the files loaded in this session."""
    return st.session_state.get(_KEPT, [])


def own_paths() -> dict[str, tuple[LossPath, ...]]:
    """File -> paths of the runs among them."""
    return st.session_state.get(_PATHS, {})


def upload_box() -> None:
    """The box for files; the page runs again when their scores change."""
    with st.expander("Load another result: a sweep or run of ours, or a published SAEBench file"):
        files = st.file_uploader(
            "JSON files",
            type="json",
            accept_multiple_files=True,
            key="w_cmp_files",
            max_upload_size=20,
            disabled=bool(access.why_not("sending files")),
        )
        own: list[Stored] = []
        paths: dict[str, tuple[LossPath, ...]] = {}
        for k, file in enumerate(files or ()):
            try:
                rows, saebench = results.uploaded(file.getvalue(), file.name)
                own += rows
                _saebench(saebench, file.name, k)
                if saebench and (found := loss_paths.uploaded(file.getvalue(), file.name)):
                    paths[file.name] = found
            except SaeEvalError as error:
                provenance.problem(error)
        if own != own_rows():
            st.session_state[_KEPT], st.session_state[_PATHS] = own, paths
            st.rerun()


def _saebench(files: Mapping[str, results.Json], name: str, k: int) -> None:
    """A run of ours can be had as the files SAEBench writes, one per SAE and metric."""
    if not files:
        return
    st.download_button(
        "SAEBench files (zip)",
        lambda: results.zipped(files),
        f"{Path(name).stem}_saebench.zip",
        "application/zip",
        on_click="ignore",
        key=f"w_cmp_saebench_{k}",
        icon=":material/folder_zip:",
        help=f"{provenance.plain(name)} in SAEBench's format: one scr and one tpp file for each SAE.",
    )
