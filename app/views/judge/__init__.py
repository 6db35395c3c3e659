"""Judge: what every rater said, how far they agree, where they differ, rating blind, and deciding together."""

from app import state
from app.services import verdicts
from app.services.loading import Loaded
from app.views.judge import agreement, blind, conflicts, intruder, paper, raters, team
from app.widgets.ask_judge import ask_panel
from app.widgets.tabs import tabs

TITLE = "Judge"
ICON = ":material/balance:"
TABS = {
    "verdicts": "Verdicts",
    "agreement": "Agreement",
    "conflicts": "Conflicts",
    "blind": "Rate blind",
    "intruder": "Find the intruder",
    "paper": "The paper's labels",
    "team": "Team",
}


def render(loaded: Loaded) -> None:
    """Verdicts, agreement and conflicts of this SAE's raters; rating blind; the paper's own labels."""
    shown = tabs("tab", TABS)
    with shown[0]:
        ask_panel(loaded)
        raters.draw(loaded)
    with shown[1]:
        agreement.draw(verdicts.cells(loaded), "own")
    with shown[2]:
        conflicts.draw(loaded)
    with shown[3]:
        blind.draw(loaded)
    with shown[4]:
        if state.one_of("tab", list(TABS)) == "intruder":  # its keys must not answer while another tab is read
            intruder.draw(loaded)
    with shown[5]:
        paper.draw()
    with shown[6]:
        team.draw(loaded)
