"""Which column is what: text, groups, the two labels of SHIFT with their counts, the classes of TPP."""

import html
from collections.abc import Mapping as Named

import streamlit as st

from app import theme
from app.services import own_tasks
from app.services.own_tasks import Checked, Mapping, SentFile
from app.widgets import provenance
from saeeval_core.errors import SaeEvalError
from saeeval_core.texts.checks import Quadrant
from saeeval_core.texts.choices import LabelChoice, TaskLabels
from saeeval_core.texts.survey import ColumnFacts, FileFacts
from saeeval_core.texts.tasks import MIN_CLASSES, MIN_PER_QUADRANT, MIRRORED
from saeeval_core.wording import plural

NONE = "none"
_GUESSED_CLASSES = 8


def mapping_form(file: SentFile, facts: FileFacts) -> Mapping | None:
    """What was chosen; None while it is not complete or has too few texts, which is said."""
    key = file.path.name
    columns = {c.name: c for c in facts.columns if not c.why_not and c.filled}
    if not columns:
        st.warning("No column holds a value per row.")
        return None
    left, right = st.columns(2)
    names = list(columns)
    text = left.selectbox("Text", names, names.index(facts.text_column), key=f"w_own_text_{key}")
    others = [NONE, *(n for n in names if n != text)]
    group = right.selectbox(
        "Group (optional)",
        others,
        key=f"w_own_group_{key}",
        help="Texts of one group, such as an author, stay in one part.",
    )
    usable = {n: c for n, c in columns.items() if n not in (text, group, "split") and c.distinct >= 2}
    labels = _labels(key, usable, [n for n in facts.label_columns if n in usable])
    if not labels:
        st.info(f"Choose a target and a spurious label for SHIFT, or at least {MIN_CLASSES} classes for TPP, or both.")
        return None
    chosen = Mapping(text, "" if group == NONE else group, labels)
    try:
        counted = own_tasks.counted(file, chosen)
    except SaeEvalError as error:
        provenance.problem(error)
        return None
    return chosen if _shown(counted, labels) else None


def _labels(key: str, usable: Named[str, ColumnFacts], guessed: list[str]) -> TaskLabels:
    """The guess: the label of fewest values is the cue, that of most the target and the classes."""
    many = guessed[-1] if guessed else NONE
    few = guessed[0] if len(guessed) > 1 else NONE
    left, right = st.columns(2)
    with left:
        st.markdown("**SHIFT**: a label to keep, and a cue that a probe should not use")
        target = _contrast(f"target_{key}", "Target label", usable, many if few != NONE else NONE)
        spurious = _contrast(f"spurious_{key}", "Spurious label", usable, few)
    with right:
        st.markdown(f"**TPP**: one label with {MIN_CLASSES} classes or more")
        classes = _classes(f"classes_{key}", usable, many)
    if target is None or spurious is None:
        target = spurious = None
    return TaskLabels(target, spurious, classes)


def _contrast(key: str, label: str, usable: Named[str, ColumnFacts], guess: str) -> LabelChoice | None:
    names = [NONE, *usable]
    column = st.selectbox(label, names, names.index(guess), key=f"w_own_{key}")
    if column in (None, NONE):
        return None
    counts = dict(usable[column].values)
    values = list(counts)
    left, right = st.columns(2)
    pair = [
        place.selectbox(
            what,
            values,
            i,
            key=f"w_own_{key}_{column}_{i}",
            format_func=lambda v: f"{v} ({counts[v]:,})" if v in counts else v,
            accept_new_options=usable[column].distinct > len(values),
        )
        for i, (place, what) in enumerate(((left, "yes (1)"), (right, "no (0)")))
    ]
    if pair[0] == pair[1] or None in pair:
        st.warning("Choose two different values.")
        return None
    return LabelChoice(column, tuple(pair))


def _classes(key: str, usable: Named[str, ColumnFacts], guess: str) -> LabelChoice | None:
    names = [NONE, *(n for n, c in usable.items() if c.distinct >= MIN_CLASSES)]
    column = st.selectbox("Classes", names, names.index(guess) if guess in names else 0, key=f"w_own_{key}")
    if column in (None, NONE):
        return None
    counts = dict(usable[column].values)
    enough = [v for v, n in counts.items() if n >= 2 * MIN_PER_QUADRANT][:_GUESSED_CLASSES]
    some = st.multiselect(
        "Values",
        list(counts),
        enough,
        key=f"w_own_{key}_{column}",
        format_func=lambda v: f"{v} ({counts[v]:,})" if v in counts else v,
        accept_new_options=usable[column].distinct > len(counts),
    )
    if len(some) < MIN_CLASSES:
        st.warning(f"{MIRRORED}.")
        return None
    return LabelChoice(column, tuple(some))


def _shown(counted: Checked, labels: TaskLabels) -> bool:
    """Draw the counts; True when there are enough texts everywhere."""
    if counted.quadrants and labels.target and labels.spurious:
        st.html(_table(counted.quadrants, labels.target.column, labels.spurious.column))
    short = [c for c, (_, training) in counted.classes.items() if training < MIN_PER_QUADRANT]
    if counted.classes:
        provenance.how(
            "Classes, different texts (for training): "
            + ", ".join(f"{c} {n:,} ({t:,})" for c, (n, t) in counted.classes.items())
        )
    for name in short:
        st.error(
            provenance.plain(
                f"Class '{name}' has {counted.classes[name][1]} training texts; at least {MIN_PER_QUADRANT} are needed: "
                "leave it out, or add texts."
            )
        )
    lacking = [q for q in counted.quadrants if not q.enough]
    for q in lacking:
        st.error(
            provenance.plain(
                f"'{q.target}, {q.spurious}' has {q.training} training texts of {q.texts}; {q.needed} are needed, which about "
                f"{plural(q.needed_texts, 'text')} give: choose other values, or add texts."
            )
        )
    return not short and not lacking


def _table(four: tuple[Quadrant, ...], target: str, spurious: str) -> str:
    """Counts of the quadrants, short ones marked in colour and words."""
    e = html.escape
    columns = list(dict.fromkeys(q.spurious for q in four))
    head = "".join(f"<th scope='col' style='padding:4px 14px'>{e(spurious)}: {e(c)}</th>" for c in columns)
    rows = ""
    for name in dict.fromkeys(q.target for q in four):
        cells = "".join(_cell(q) for q in four if q.target == name)
        rows += f"<tr><th scope='row' style='text-align:left;padding:4px 14px 4px 0'>{e(target)}: {e(name)}</th>{cells}</tr>"
    return (
        "<div style='overflow-x:auto'><table class='quadrants' style='border-collapse:collapse'>"
        "<caption class='how' style='text-align:left'>Different texts per quadrant; where the labels agree twice as many are "
        f"needed</caption><tr><td></td>{head}</tr>{rows}</table></div>"
    )


def _cell(q: Quadrant) -> str:
    colour = "" if q.enough else f"background:{theme.faded(theme.ORANGE, 0.25)};"
    note = f"{q.training:,} for training" + ("" if q.enough else f", {q.needed} needed")
    return (
        f"<td style='padding:6px 14px;border:1px solid color-mix(in srgb, currentColor 25%, transparent);{colour}'>"
        f"<b>{q.texts:,}</b><div class='how'>{note}</div></td>"
    )
