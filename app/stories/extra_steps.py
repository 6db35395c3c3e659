"""Steps beside SHIFT's: the TPP matrix over N, the link and the command, and views that a person pins."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from html import escape
from urllib.parse import parse_qsl, urlsplit

from app import report_page
from app.figures.shift import shift_curve
from app.figures.svg import to_svg
from app.figures.tpp import tpp_heatmap
from app.services import scoring
from app.stories.plan import PIN, Plan, Slide, Step
from app.stories.shift_steps import ShiftStory, picture, shift_steps
from saeeval_core.config import DEFAULT_NS
from saeeval_core.errors import DataError, SaeEvalError
from saeeval_core.formats import sentences
from saeeval_core.formats.report import latent_card
from saeeval_core.scores.uncertainty import Estimate

SPOKEN_N = 20
"""N that the sentence of the matrix speaks of."""
Frames = tuple[str, ...]


@dataclass(frozen=True)
class Address:
    """A link of the dashboard."""

    path: str
    """Of the view: "shift", "tpp", "latents"..."""
    values: Mapping[str, str]

    @classmethod
    def of(cls, link: str) -> "Address":
        """DataError for what is no link of a web page."""
        try:
            found = urlsplit(link.strip())
        except ValueError:
            found = urlsplit("")
        if found.scheme not in ("http", "https"):
            raise DataError(f"{ascii(link)[:60]} is no link; copy one from Share or the address bar of a view")
        return cls(found.path.rstrip("/").rpartition("/")[2], dict(parse_qsl(found.query)))

    def number(self, name: str, default: int) -> int:
        """A whole number among the values."""
        text = self.values.get(name, "")
        return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else default


def matrix_step(story: ShiftStory) -> Step | None:
    """The matrix for every N on one scale, one state after the other; None for a task without classes."""
    loaded, lab = story.lab.loaded, story.lab
    if loaded.task_set.tpp is None or not scoring.evaluation(loaded).tpp_is_live:
        return None
    view = scoring.tpp_ablating(loaded, lab.part, lab.ablation)
    classes, ns = loaded.task_set.tpp[1], [n for n in DEFAULT_NS if n <= lab.width]
    scores = [(n, view.at(n)) for n in ns]
    limit = _largest([e for _, s in scores for row in s.matrix for e in row])
    how = f"{lab.ablation} ablation, {lab.part_name} texts"
    frames = [
        to_svg(tpp_heatmap(classes, s.matrix, title=f"Top {n} latents per class, {how}", limit=limit))
        for n, s in scores
    ]
    n, spoken = min(scores, key=lambda pair: abs(pair[0] - SPOKEN_N))
    said = f"N = {n}: {sentences.classes_apart(spoken.score, spoken.intended, spoken.unintended)}"
    return Step("matrix", "Every class against every probe", said, tuple(frames))


def link_step(story: ShiftStory, link: str, command: str) -> Step:
    """Where it can be opened, and what computes it anywhere."""
    lab = story.lab
    about = f"{lab.place.task}, {lab.place.direction}; {lab.loaded.latents.sae}; {lab.loaded.config.model}"
    opened = f"<p><a href='{escape(link, quote=True)}'>{escape(link)}</a></p>" if link else ""
    html = (
        f"<div class='end'>{opened}<p class='how'>{escape(about)}</p><pre class='command'>{escape(command)}</pre></div>"
    )
    return Step("link", "Look for yourself", "The link opens this set; the command gives its score anywhere.", (html,))


def own_steps(plan: Plan, story: ShiftStory) -> dict[str, Step]:
    """Key -> the step of every view that was pinned."""
    return {s.key: _pinned(s, story) for s in plan.slides if s.key.startswith(PIN)}


def _pinned(slide: Slide, story: ShiftStory) -> Step:
    frames: Frames = ()
    if slide.link:
        address = Address.of(slide.link)
        drawn = _DRAWN.get(address.path, _no_picture)(address, story)
        go_on = f"<p class='how'><a href='{escape(slide.link, quote=True)}'>Open this view</a></p>"
        frames = tuple(frame + go_on for frame in drawn or ("",))
    return Step(slide.key, slide.title, slide.sentence, frames)


def _latent(address: Address, story: ShiftStory) -> Frames:
    k = address.number("latent", -1)
    if not 0 <= k < story.lab.width:
        return ()
    effect = float(story.lab.view.base_effect[k])
    decided = "ablate" if k in story.commit.ids else "not in the set"
    return (latent_card(report_page.evidence(story.lab.loaded, k, decided, effect=effect)),)


def _matrix(address: Address, story: ShiftStory) -> Frames:
    loaded, lab = story.lab.loaded, story.lab
    if loaded.task_set.tpp is None or not scoring.evaluation(loaded).tpp_is_live:
        return ()
    n = min(address.number("n", SPOKEN_N), lab.width)
    found = scoring.tpp_ablating(loaded, lab.part, lab.ablation).at(n)
    title = f"Top {n} latents per class, {lab.ablation} ablation, {lab.part_name} texts"
    return (to_svg(tpp_heatmap(loaded.task_set.tpp[1], found.matrix, title=title)),)


def _curve(address: Address, story: ShiftStory) -> Frames:
    lab = story.lab
    latent = _latent(address, story)
    if latent:
        return latent
    points = scoring.ranking_curve(lab.view, lab.rank, story.ablation, DEFAULT_NS)
    mine = (len(story.commit.ids), story.scored(story.commit.ids))
    return (picture(shift_curve(points, mine, lab.view.board)),)


def _no_picture(_address: Address, _story: ShiftStory) -> Frames:
    return ()


_DRAWN: Mapping[str, Callable[[Address, ShiftStory], Frames]] = {"shift": _curve, "tpp": _matrix, "latents": _latent}
"""Path of a view -> its picture in a story; a view that is not here is a sentence and a link."""


def made_steps(story: ShiftStory, last: Step) -> list[Step]:
    """Every step that the numbers give, before a person's plan: SHIFT's, the matrix, and the last one."""
    try:
        matrix = matrix_step(story)
    except SaeEvalError:
        matrix = None  # TPP cannot be scored on these texts: the story is SHIFT's
    return [*shift_steps(story), *([] if matrix is None else [matrix]), last]


def _largest(estimates: list[Estimate]) -> float:
    return max([0.05, *(abs(e.value) for e in estimates if e.value is not None)])
