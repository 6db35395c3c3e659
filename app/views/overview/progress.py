"""Overview: how far one's own set is, and its test score once it is committed."""

import html

from app import state
from app.deciding.desk import shift_place
from app.payloads.queue import SHOWN
from app.services import ledger, scoring
from app.services.loading import Loaded
from app.views.overview.pair import shown_direction
from app.views.overview.words import title
from app.widgets.figure_link import linked
from saeeval_core.ledger.commits import read_shift
from saeeval_core.ledger.decisions import DecisionSet
from saeeval_core.ledger.places import find_set
from saeeval_core.scores.uncertainty import say
from saeeval_core.wording import plural

_WHY = (
    "While you decide, scores come from dev texts. Commit scores your set once on test texts that no choice was made on, "
    "and stores how many different dev scores (looks) came before."
)


def draw(loaded: Loaded) -> None:
    """Decided, ablated and committed; a press goes on in the lab. Nothing for a task without a pair."""
    if not scoring.shift_directions(loaded):
        return
    title("Your progress")
    direction = shown_direction(loaded)
    found = find_set(ledger.store(), shift_place(loaded, direction), state.who())
    done, words = _words(found, loaded.latents.n_latents)
    body = (
        f"<div class='said'>{html.escape(words)}</div>"
        f"<div class='pic'><div class='track gain'><i style='width:{min(100, 100 * done / SHOWN):.0f}%'></i></div></div>"
        f"<div class='how'>{html.escape(_WHY)}</div>"
    )
    values = {"pair": direction.pair, "target": direction.task.target.column}
    linked("progress", body, "Continue in the SHIFT lab", "shift_lab", **values)


def _words(found: DecisionSet | None, width: int) -> tuple[int, str]:
    """(latents decided, what was done so far)."""
    if found is None:
        return 0, f"No decision yet: the lab lists {SHOWN} latents to decide on."
    store = ledger.store()
    decided = sum(v != "none" for v in store.decisions(found.id, width).values())
    words = f"{decided} of {SHOWN} decided, {len(store.ablated(found.id, width))} ablated"
    commits = store.commits(found.id)
    if not commits:
        return decided, f"{words}; not committed."
    last = commits[-1]
    return (
        decided,
        f"{words}; committed: test S {say(read_shift(last).score)} after {plural(last.dev_looks, 'dev look')}.",
    )
