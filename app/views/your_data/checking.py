"""What is odd about the texts, before minutes are spent on them: what was looked for, found or not."""

import html

import streamlit as st

from app.services import own_tasks
from app.services.own_tasks import Mapping, SentFile
from app.widgets import provenance
from saeeval_core.errors import SaeEvalError
from saeeval_core.texts.checks import Finding


def show_findings(file: SentFile, chosen: Mapping) -> None:
    """One line for everything that was looked for; none of it stops anybody."""
    try:
        with st.spinner("looking at the texts"):
            found = own_tasks.findings(file, chosen)
    except SaeEvalError as error:
        provenance.problem(error)
        return
    st.html("<ul style='list-style:none;padding:0;margin:0'>" + "".join(map(_line, found)) + "</ul>")


def _line(finding: Finding) -> str:
    e = html.escape
    mark = "<span aria-label='look at this'>⚠</span>" if finding.count else "<span aria-label='fine'>✓</span>"
    examples = ""
    if finding.examples:
        rows = "".join(f"<li>{e(x)}</li>" for x in finding.examples)
        examples = f"<details class='how'><summary>examples</summary><ul>{rows}</ul></details>"
    return f"<li style='padding:2px 0'>{mark} <b>{e(finding.what)}</b>: {e(finding.line)}{examples}</li>"
