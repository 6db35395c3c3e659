"""What both labels lose: the plane, the curves against N or edit size, and the comparison at equal edit in words."""

from collections.abc import Sequence
from functools import partial

import streamlit as st

from app.figures.loss_plane import AGAINST, CURVES, loss_curves, loss_plane, plane_words
from app.services import loss_paths
from app.services.loading import Loaded
from app.widgets import chart, export, provenance, rivals_box
from saeeval_core.evaluation.equal_edit import LETTERS, equal_edit_words
from saeeval_core.evaluation.result import LossPath
from saeeval_core.texts.parts import PART_NAMES
from saeeval_core.wording import plural

NOT_MEASURED = "Rivals: not measured (saeeval run --rivals, or the button here)."
_SWITCH = {"n": "against N", "edit_size": "against edit size"}


def pictures(paths: Sequence[LossPath], key: str, where: str) -> None:
    """All pictures of some dictionaries in one direction, or the mean over pairs; ``where`` names it and the texts."""
    if not any(p.points for p in paths):
        st.info("No dictionary here has these numbers: they are not measured.")
        return
    near = st.toggle("Axes fit the SAEs", key=f"w_{key}_near", help="Whatever goes beyond is cut off, not left out.")
    plane = loss_plane(paths, title=f"What both labels lose, {where}", near=near)
    chart.draw(plane, f"{key}_plane")
    provenance.how(plane_words(paths))
    with st.container(horizontal=True):
        of = st.segmented_control(
            "Curve", list(CURVES), default="score", format_func=CURVES.__getitem__, key=f"w_{key}_of"
        )
        against = st.segmented_control(
            "Drawn", list(_SWITCH), default="n", format_func=_SWITCH.__getitem__, key=f"w_{key}_against"
        )
    of, against = of or "score", against or "n"
    figure = loss_curves(paths, of=of, against=against, title=f"{CURVES[of]}, {where}")
    chart.draw(figure, f"{key}_curves")
    provenance.how(f"Over {AGAINST[against]}; bars of SAEs and of single sets: 95 % intervals over resampled texts.")
    if lines := equal_lines(paths):
        st.caption("  \n".join(map(provenance.plain, lines)))
    for drawn, name in ((plane, "plane"), (figure, f"{of}-{against}")):
        st.caption(provenance.plain(drawn.layout.title.text))
        export.figure_buttons(
            lambda f=drawn: f, partial(_numbers, paths, where), export.file_name(key, where, name), plane_words(paths)
        )


def _numbers(paths: Sequence[LossPath], where: str) -> list[dict[str, object]]:
    """The numbers of both pictures, each in a column of its own."""
    estimates = ("score", "target_lost", "spurious_lost", "selective_erasure")
    return [
        {"dictionary": p.name, "where": where, "n": q.n, "edit_size": q.edit_size}
        | {k: v for name in estimates for k, v in export.columns(name, getattr(q, name)).items()}
        for p in paths
        for q in p.points
    ]


def equal_lines(paths: Sequence[LossPath]) -> list[str]:
    """Every SAE against the others at equal edit, in S and in E; nothing where there are no rivals."""
    others = [p for p in paths if p.kind != "sae"]
    return [line for p in paths if p.kind == "sae" for of in LETTERS for line in equal_edit_words(p, others, of)]


def one_direction(loaded: Loaded, pair: str, target: str, part: int, chosen: tuple[int, ...]) -> None:
    """The loaded SAE in one direction beside its rivals and the set ``chosen`` (empty: none)."""
    with st.spinner("Reading with fresh probes"):
        name = PART_NAMES[part]
        paths = loss_paths.of_direction(loss_paths.sae_paths(loaded, part), pair, target, name)
        if chosen:
            paths.append(
                loss_paths.set_path(loaded, pair, target, part, chosen, f"your set, {plural(len(chosen), 'latent')}")
            )
    rivals = rivals_box.rivals(loaded, "plane")
    if rivals is None:
        st.caption(NOT_MEASURED)
    else:
        paths += loss_paths.of_direction(rivals.paths, pair, target, name)
    pictures(paths, "lab_plane", f"{pair}, target {target}, {name} texts")
