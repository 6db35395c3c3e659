"""Steps as the HTML of a deck; the page and the exported file show the same."""

from collections.abc import Sequence
from html import escape

from app.stories.plan import Step


def deck_html(steps: Sequence[Step], *, out: str) -> str:
    """All steps and the bar that moves between them; ``out``: what the way out is called."""
    own = "".join(_step(step, k) for k, step in enumerate(steps))
    bar = "".join(
        f"<button type='button' class='{name}' aria-label='{label}'>{shown}</button>"
        for name, label, shown in (("back", "Back", "‹"), ("on", "Next", "›"), ("say", "Notes (N)", "Notes"))
    )
    leave = f"<button type='button' class='out'>{escape(out)}</button>"
    return f"{own}<nav class='bar' aria-label='Steps'>{bar}<span class='where' aria-live='polite'></span>{leave}</nav>"


def _step(step: Step, place: int) -> str:
    frames = "".join(f"<div class='frame'{' hidden' if k else ''}>{frame}</div>" for k, frame in enumerate(step.frames))
    notes = "".join(f"<p>{escape(line)}</p>" for line in step.notes) or "<p>No reasons were typed.</p>"
    return (
        f"<section class='step' data-key='{escape(step.key, quote=True)}'{' hidden' if place else ''}>"
        f"<h2>{escape(step.title)}</h2><p class='said'>{escape(step.sentence)}</p>"
        f"<div class='stage'>{frames}</div><aside class='notes' aria-label='Presenter’s notes'>{notes}</aside></section>"
    )
