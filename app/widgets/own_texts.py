"""Load your own: a file of labelled texts in the browser, any SAE or model by its path or id, or the command line."""

from collections.abc import Mapping
from pathlib import Path

import streamlit as st

from app import state
from app.services import uploads
from app.widgets import provenance
from saeeval_core.errors import SaeEvalError
from saeeval_core.texts.choices import write_choice
from saeeval_core.texts.labelled import LabelledTexts, class_sizes

TYPES = ("csv", "tsv", "parquet", "jsonl", "json", "gz")


def form() -> None:
    """Upload, choose the columns, use it as the task of this session."""
    st.write(
        "An SAE or language model of your own: type its folder, registry entry or Hub id in the sidebar and press Run. "
        "Texts of your own: a file with one text per row and label columns."
    )
    file = st.file_uploader("Labelled texts (CSV, Parquet or JSONL)", type=list(TYPES), key="w_own_file")
    if file is None:
        st.code(
            "saeeval run --texts FILE --text-column text --target COLUMN=POS,NEG --spurious COLUMN=POS,NEG --classes COLUMN=A,B,C",
            "bash",
        )
        return
    try:
        path = uploads.keep_upload(file.name, file.getvalue())
        columns = uploads.columns_of(path)
        text = st.selectbox(
            "Column with the text", columns, columns.index("text") if "text" in columns else 0, key="w_own_text"
        )
        texts = uploads.read_upload(path, text)
        settings = _labels(texts)
    except SaeEvalError as error:
        provenance.problem(error)
        return
    if settings is None:
        st.info("Choose a target and a spurious label for SHIFT, or at least two classes for TPP.")
    elif st.button("Use these texts", type="primary", key="w_own_use"):
        use(path, text, settings)
        st.rerun()


def use(path: Path, text_column: str, settings: dict[str, str]) -> None:
    """Make the file the task of this session."""
    st.session_state["own_texts"] = {"texts": str(path), "text_column": text_column, **settings}
    state.put(task="own", pair="", target="", latent="", shift_set="mine", tpp_set="mine", cell="")


def _labels(texts: LabelledTexts) -> dict[str, str] | None:
    """target, spurious and classes as the engine takes them; None while nothing complete is chosen."""
    sizes = {c: class_sizes(texts, c) for c in texts.columns}
    usable = {c: s for c, s in sizes.items() if 2 <= len(s) <= 1000}  # of more, nobody finds one in a list
    left, right = st.columns(2)
    with left:
        pair = {"target": _contrast("target", "SHIFT: target label", usable)}
        pair |= {"spurious": _contrast("spurious", "SHIFT: spurious label", usable)}
    with right:
        classes = _classes(usable)
    found = pair if all(pair.values()) else {}
    found |= {"classes": classes} if classes else {}
    return found or None


def _contrast(name: str, label: str, usable: Mapping[str, Mapping[str, int]]) -> str:
    """COLUMN=POSITIVE,NEGATIVE; "" while it is not complete. ``usable``: column -> {value: texts}."""
    column = st.selectbox(label, list(usable), None, key=f"w_own_{name}")
    if not column:
        return ""
    sizes = usable[column]
    two = st.multiselect(
        f"{column}: positive, then negative",
        list(sizes),
        list(sizes)[:2],
        max_selections=2,
        key=f"w_own_{name}_{column}",
        format_func=lambda v: f"{v} ({sizes[v]})",
    )
    return write_choice(column, two) if len(two) == 2 else ""


def _classes(usable: Mapping[str, Mapping[str, int]]) -> str:
    """COLUMN=A,B,C; "" while fewer than two are chosen."""
    column = st.selectbox("TPP: label with the classes", list(usable), None, key="w_own_classes")
    if not column:
        return ""
    sizes = usable[column]
    some = st.multiselect(
        "Classes",
        list(sizes),
        list(sizes)[:8],
        key=f"w_own_classes_{column}",
        format_func=lambda v: f"{v} ({sizes[v]})",
    )
    return write_choice(column, some) if len(some) >= 2 else ""
