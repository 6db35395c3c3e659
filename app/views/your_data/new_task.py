"""A new task: the file, its columns and labels, what is odd about its texts, and its name. Errors leave the form."""

import streamlit as st

from app.services import access, own_tasks
from app.services.own_tasks import Mapping, SentFile
from app.views.your_data.checking import show_findings
from app.views.your_data.kept import open_task
from app.views.your_data.mapping import mapping_form
from app.widgets import provenance
from saeeval_core.errors import SaeEvalError
from saeeval_core.texts.own import suggested_name
from saeeval_core.texts.survey import ColumnFacts, FileFacts
from saeeval_core.texts.tables import DELIMITERS, FileForm
from saeeval_core.wording import plural

TYPES = ("csv", "tsv", "json", "jsonl", "ndjson", "parquet", "gz")
ENCODINGS = ("utf-8", "cp1252", "latin-1", "utf-16", "mac-roman", "shift_jis", "gb18030")
FOUND_OUT = "found out"


def section() -> None:
    """The steps, each drawn once the one before it is complete."""
    st.subheader("1 File")
    file = _guarded_file()
    if file is None:
        _examples()
        return
    file = _formed(file)
    try:
        facts = file.facts()
    except SaeEvalError as error:
        provenance.problem(error)
        return
    _found(facts)
    st.subheader("2 Columns and labels")
    chosen = mapping_form(file, facts)
    if chosen is None:
        return
    st.subheader("3 Check")
    show_findings(file, chosen)
    st.subheader("4 Keep")
    _keep(file, chosen)


def _guarded_file() -> SentFile | None:
    uploaded = st.file_uploader(
        "Labelled texts: one text per row, and columns with labels",
        type=list(TYPES),
        key=f"w_own_file_{_round()}",
        help="CSV, TSV, JSON, JSONL (each may be gzipped) or Parquet.",
        disabled=bool(access.why_not("sending files")),
    )
    typed = st.text_input(
        "or the path of a file on the machine that runs this page",
        key=f"w_own_path_{_round()}",
        disabled=bool(access.why_not("reading files")),
    ).strip()
    provenance.how("Everybody on this server sees a task and its texts once it is kept.")
    if uploaded is not None:
        try:
            return own_tasks.sent(uploaded.name, uploaded.getvalue())
        except SaeEvalError as error:
            provenance.problem(error)
    elif typed:
        try:
            return own_tasks.pointed(typed)
        except SaeEvalError as error:
            provenance.problem(error)
    return None


def _round() -> int:
    return st.session_state.get("own_round", 0)


def _formed(file: SentFile) -> SentFile:
    """The file with encoding and delimiter as chosen."""
    if file.path.suffix.lower() == ".parquet":
        return file
    left, right = st.columns(2)
    key = file.path.name
    encoding = left.selectbox(
        "Encoding",
        [FOUND_OUT, *ENCODINGS],
        key=f"w_own_encoding_{key}",
        accept_new_options=True,
        help="Or type another.",
    )
    names = {FOUND_OUT: "", **{name: sign for sign, name in DELIMITERS.items()}}
    delimiter = right.selectbox("Delimiter", list(names), key=f"w_own_delimiter_{key}")
    form = FileForm("" if encoding in (None, FOUND_OUT) else encoding, names.get(delimiter or FOUND_OUT, ""))
    return SentFile(file.path, file.name, form)


def _found(facts: FileFacts) -> None:
    said = (
        [*facts.notes]
        if any("encoding" in n for n in facts.notes) or not facts.encoding
        else ["encoding utf-8", *facts.notes]
    )
    if facts.delimiter and not any("no header" in n for n in facts.notes):
        said.append("header found")
    how = f"; read with {', '.join(said)}" if said else ""
    st.write(provenance.plain(f"{plural(facts.rows, 'row')}, {plural(len(facts.columns), 'column')}{how}."))
    names = [c.name for c in facts.columns]
    st.dataframe([dict(zip(names, row, strict=True)) for row in facts.first], hide_index=True)
    with st.expander("Every column with its values"):
        st.dataframe([_row(c) for c in facts.columns], hide_index=True)


def _row(column: ColumnFacts) -> dict[str, str | int]:
    values = ", ".join(f"{v[:40]} ({n:,})" for v, n in column.values[:12]) if column.distinct < column.filled else ""
    more = ", ..." if values and column.distinct > 12 else ""
    what = column.why_not or f"{values}{more}" or "every row another"
    return {"column": column.name, "different values": column.distinct, "rows with one": column.filled, "values": what}


def _keep(file: SentFile, chosen: Mapping) -> None:
    name = st.text_input(
        "Name", suggested_name(file.name), key=f"w_own_name_{file.path.name}", help="a-z, 0-9 and _", max_chars=40
    )
    st.write("Everybody on this server will see it, under this name, until somebody deletes it.")
    if st.button("Keep this task", type="primary", key="w_own_keep"):
        try:
            task = own_tasks.keep(name.strip(), file, chosen)
        except SaeEvalError as error:
            provenance.problem(error)
            return
        st.session_state["own_round"] = _round() + 1  # an empty form for the next one
        open_task(task)


def _examples() -> None:
    try:
        found = own_tasks.examples()
    except SaeEvalError:
        return
    st.write("To try it: three small files of composed texts.")
    for example in found:
        st.download_button(
            provenance.plain(f"{example.name}: {example.about}"),
            example.content,
            example.name,
            key=f"w_example_{example.name}",
            on_click="ignore",
        )
