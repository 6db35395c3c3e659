"""Names are never markup: whatever a page renders as markdown is written here, or goes through ``provenance.plain``.

Streamlit renders markdown in texts and boxes, in every label and tooltip, and in the options of radio buttons, segments,
sliders and tabs; options of select boxes, ``st.text``, ``st.code`` and cells of tables are shown as they are.
"""

import ast
from pathlib import Path

import pytest

from app.widgets.provenance import plain

ROOT = Path(__file__).resolve().parents[2]
FIRST = (
    "title", "header", "subheader", "markdown", "write", "caption", "info", "warning", "error", "success", "exception",
    "badge", "latex", "toast", "spinner", "status", "button", "download_button", "form_submit_button", "link_button",
    "expander", "popover", "checkbox", "toggle", "slider", "number_input", "text_input", "text_area", "file_uploader",
    "selectbox", "multiselect", "radio", "segmented_control", "pills", "select_slider", "tabs", "dialog", "metric",
)  # fmt: skip  # names, not a column of forty
PLACE = dict.fromkeys(FIRST, 0) | {"progress": 1, "page_link": 1}
"""Call -> place of the text that it renders."""
NAMED = ("label", "body", "help", "text", "delta", "caption", "captions")
OPTIONS = ("radio", "segmented_control", "pills", "select_slider")
"""Calls whose options are rendered too."""
HARMLESS = ("plain", "say", "len", "_duration", "sum", "plural")
"""Functions whose result is no markup."""
REVIEWED = {
    "app/views/compare/differences.py": ("told",),  # a number
    "app/views/compare/paired.py": ("words", "where", "side"),  # separable or not; dev or test; A or B
    "app/views/compare/planted.py": ("label",),  # On, Metric
    "app/views/compare/sweep.py": ("missing",),  # a number
    "app/views/compare/words.py": ("label",),  # written in the views that call it
    "app/views/judge/agreement.py": ("pair.n",),  # a number
    "app/views/judge/blind.py": ("just",),  # a number
    "app/views/latents.py": ("n", "current"),  # numbers
    "app/views/overview/explained.py": ("label",),  # written in the same file, as is every other label here
    "app/views/your_data/__init__.py": ("views[view]",),  # written in the same file
    "app/views/your_data/mapping.py": ("label",),
    "app/widgets/ask_judge.py": ("label", "help_", "job.done", "job.total"),
    "app/widgets/bulk.py": ("label",),
    "app/widgets/export.py": ("label",),
    "app/widgets/latent_filters.py": ("label",),
    "app/widgets/provenance.py": ("n_latents",),  # a number
    "app/widgets/shift_pickers.py": ("label", "help"),
    "app/widgets/shift_sets.py": ("top",),  # "top" and a number
    "app/widgets/tabs.py": ("labels.values()",),  # TABS of the views
    "app/widgets/trust_box.py": ("words", "level", "part"),  # written in the same file; dev or test
}
"""File -> what a person has looked at there: numbers, and words written in this repository."""
FILES = sorted((ROOT / "app").rglob("*.py"))


def rendered(call: ast.Call) -> list[ast.expr]:
    """The expressions that a call of Streamlit renders as markdown."""
    name = call.func.attr
    found = [k.value for k in call.keywords if k.arg in NAMED and not (k.arg == "text" and name != "progress")]
    if len(call.args) > PLACE[name]:
        found.append(call.args[PLACE[name]])
    if name in OPTIONS:
        shown = [k.value for k in call.keywords if k.arg == "format_func"]
        found += shown or list(call.args[1:2])
    return found


def unsafe(e: ast.expr, where: str) -> list[str]:
    """Parts of an expression that may hold a name."""
    several = lambda parts: [u for p in parts for u in unsafe(p, where)]  # noqa: E731
    match e:
        case ast.Constant():
            return []
        case ast.JoinedStr():
            return several(e.values)
        case ast.FormattedValue(format_spec=ast.JoinedStr(values=[ast.Constant(value=spec)])) if spec[-1] in ",dfg%":
            return []
        case ast.FormattedValue():
            return unsafe(e.value, where)
        case ast.IfExp():
            return several([e.body, e.orelse])
        case ast.BoolOp() | ast.List():
            return several(e.values if isinstance(e, ast.BoolOp) else e.elts)
        case ast.BinOp():
            return several([e.left, e.right])
        case ast.Lambda():
            return unsafe(e.body, where)
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)) if name in HARMLESS:
            return []
        case ast.Call(func=ast.Attribute(attr="join"), args=[ast.Call(func=ast.Name(id="map"), args=[how, *_])]):
            return [] if ast.unparse(how) in ("provenance.plain", "plain", "str") else [ast.unparse(e)]
        case ast.Call(func=ast.Name(id="list"), args=[inner]):
            return unsafe(inner, where)
    text = ast.unparse(e)
    constant = text.removesuffix(".__getitem__").split("[")[0].strip("_")
    known = constant.isupper() or text in REVIEWED.get(where, ())
    return [] if known else [text]


@pytest.mark.hostile
@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_text_from_elsewhere_is_rendered_as_markdown(path):
    where, found = str(path.relative_to(ROOT)), []
    for node in ast.walk(ast.parse(path.read_text())):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in PLACE):
            continue
        if ast.unparse(node.func.value) not in ("st", "box", "column", "left", "right", "st.sidebar"):
            continue
        found += [f"line {node.lineno}: {u}" for e in rendered(node) for u in unsafe(e, where)]
    assert not found, f"{where} renders as markdown what may be a name; use provenance.plain: {found}"


def test_reviewed_files_are_there():
    assert set(REVIEWED) <= {str(p.relative_to(ROOT)) for p in FILES}


@pytest.mark.hostile
@pytest.mark.parametrize(
    "source",
    ["st.caption(name)", "st.button(f'Use {name}')", "st.info('a', help=name)", "st.radio('a', names)",
     "st.tabs(names)", "st.progress(0.5, name)", "st.warning(str(error))", "box.selectbox(name, [])",
     "st.radio('a', names, format_func=lambda n: n)", "st.error(name or 'none')", "st.write('a' + name)"],
)  # fmt: skip
def test_the_check_finds_a_name(source):
    call = ast.parse(source, mode="eval").body
    assert [u for e in rendered(call) for u in unsafe(e, "app/x.py")]


def test_plain_text_is_one_line_with_every_mark_escaped():
    assert plain("a_b\n![x](y)") == r"a\_b \!\[x\]\(y\)"
    assert plain("give --origin 'x'") == r"give `--origin` \'x\'"
    assert plain("a --b`c`") == "a \\-\N{WORD JOINER}\\-b\\`c\\`"
    assert plain("professor/teacher, 1.5") == r"professor\/teacher\, 1\.5"
