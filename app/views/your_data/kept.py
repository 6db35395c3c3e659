"""The tasks that are kept on this server: open, rename, delete, export, import."""

import streamlit as st

from app import state
from app.services import access, own_tasks
from app.widgets import provenance
from saeeval_core.errors import SaeEvalError
from saeeval_core.texts.own import SUFFIX, OwnTask, export_task
from saeeval_core.wording import plural


def section() -> None:
    """One row per task."""
    st.subheader("Kept tasks")
    tasks = own_tasks.listed()
    if not tasks:
        st.write(
            "None yet. A task is a file of texts with its labels under a name; it stays until somebody deletes it."
        )
    for task in tasks:
        _row(task)
    with st.expander("Import a task that was exported elsewhere"):
        _import()


def _row(task: OwnTask) -> None:
    with st.container(border=True):
        labels = ", ".join(str(c) for c in (task.labels.target, task.labels.spurious, task.labels.classes) if c)
        st.markdown(
            f"**{provenance.plain(task.name)}** · {plural(task.texts, 'text')} of {provenance.plain(task.source)}"
        )
        unused = "".join(f" · {plural(n, 'row')} not used: {why}" for why, n in task.dropped.items())
        provenance.how(f"{task.ref} · {labels} · kept {task.created[:10]} · {task.size / 1e6:.1f} MB{unused}")
        with st.container(horizontal=True):
            chosen = state.get("task") == task.ref
            if st.button("Chosen" if chosen else "Open", key=f"w_open_{task.hash}", disabled=chosen):
                open_task(task)
            with st.popover("Rename"):
                _rename(task)
            with st.popover("Delete"):
                _delete(task)
            name = f"{task.name}-{task.hash}{SUFFIX}"
            st.download_button(
                "Export", lambda: export_task(task.ref)[1], name, key=f"w_export_{task.hash}", on_click="ignore"
            )


def open_task(task: OwnTask) -> None:
    """Make it the task of this session and of its link."""
    state.put(task=task.ref, pair="", target="", latent="", shift_set="mine", tpp_set="mine", cell="")
    st.rerun()


def _rename(task: OwnTask) -> None:
    name = st.text_input("New name", task.name, key=f"w_name_{task.hash}", help="a-z, 0-9 and _")
    if st.button("Rename", key=f"w_rename_{task.hash}"):
        try:
            renamed = own_tasks.rename(task, name.strip())
        except SaeEvalError as error:
            provenance.problem(error)
            return
        if state.get("task") == task.ref:
            state.put(task=renamed.ref)
        st.rerun()


def _delete(task: OwnTask) -> None:
    st.write("Its texts are removed for everybody. What was decided on it stays in the store.")
    if st.button(f"Delete {provenance.plain(task.name)} for everybody", key=f"w_delete_{task.hash}"):
        try:
            own_tasks.delete(task)
        except SaeEvalError as error:
            provenance.problem(error)
            return
        if state.get("task") == task.ref:
            state.put(task=state.DEFAULTS["task"], pair="", target="")
        st.rerun()


def _import() -> None:
    off = bool(access.why_not("sending files"))
    file = st.file_uploader("Exported task (.saeeval.zip)", type=["zip"], key="w_import_file", disabled=off)
    name = st.text_input("Another name for it here", key="w_import_name", help="Empty: its own name.")
    if file is not None and st.button("Import", key="w_import"):
        try:
            open_task(own_tasks.take_in(file.getvalue(), name.strip()))
        except SaeEvalError as error:
            provenance.problem(error)
