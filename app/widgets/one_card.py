"""The lab's evidence card of one latent, by itself on a page that is about something else."""

from app.components import latent as latent_card
from app.payloads.evidence_card import card
from app.services import scoring
from app.services.loading import Loaded
from app.widgets import shift_pickers


def draw(loaded: Loaded, latent: int, key: str) -> None:
    """With contexts by quadrant of the link's pair; not for rating blind. ``key`` tells two cards of a page apart."""
    view, direction = None, shift_pickers.linked(loaded)
    if direction is not None:
        view = scoring.shift_view(loaded, direction.pair, direction.task.target.column, scoring.live_part(loaded))
    alone = latent_card.CardPage(card(loaded, latent, view), latent, None, None, "", None, present=False, effects=())
    latent_card.show(alone, lambda: None, key)
