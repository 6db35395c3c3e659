"""Judge, fourth tab: rate candidates oneself with no verdict, class, effect or rank in sight until the rating is saved.

Rated by keys (components/rating). A concept that nobody rated has no rating: nothing is saved as 0 unless a person says
so.
"""

from collections.abc import Mapping
from functools import partial

import streamlit as st

from app import state
from app.components import rating
from app.services import access, verdicts
from app.services.loading import Loaded
from app.views.judge.reading import SCALE, evidence, reasons
from app.widgets import pressing, provenance
from saeeval_core.errors import DataError, SaeEvalError
from saeeval_core.judging.verdict import task_concepts
from saeeval_core.ledger.store import PressId

KEY = "blind_form"
_LAST, _SKIPPED, _ACKS = "blind_last", "blind_skipped", "blind_acks"
_ANSWER = "blind"


@st.fragment
def draw(loaded: Loaded) -> None:
    """The next candidate in a random order of one's own, and what the others said of the one before."""
    who = state.who()
    if state.is_guest():
        st.info("Give your name in the sidebar first: ratings are kept under it.", icon=":material/person:")
        return
    done = {v.latent for v in verdicts.current(loaded) if v.rater == who and v.ok}
    queue = [i for i in verdicts.blind_queue(loaded, who) if i not in done]
    skipped = [i for i in st.session_state.get(_SKIPPED, []) if i in queue]
    later = f", {len(skipped)} of them skipped for now" if skipped else ""
    st.progress(
        len(done) / max(1, len(done) + len(queue)), provenance.plain(f"{len(done)} rated, {len(queue)} to go{later}")
    )
    just = st.session_state.get(_LAST)
    if just is not None:
        with st.expander(f"Latent {just}, rated: what the others said"):
            reasons([v for v in verdicts.current(loaded) if v.latent == just])
    if not queue:
        st.success("You have rated every candidate.")
        return
    latent = next((i for i in queue if i not in skipped), (skipped or queue)[0])
    st.markdown("**What is this latent about?** Its label, rank and all verdicts are hidden until you save.")
    left, right = st.columns([0.58, 0.42])
    with left:
        evidence(loaded, latent, blind=True)
    with right:
        pressing.answers(_ANSWER)
        concepts = tuple((c.name, c.gloss or "") for c in task_concepts(loaded.task_set))
        acks = st.session_state.setdefault(_ACKS, {})
        form = rating.RatingForm(latent, concepts, tuple(SCALE.values()), acks, access.why_not("deciding"))
        rating.show(form, partial(_did, loaded, who), KEY)


def _did(loaded: Loaded, who: str) -> None:
    """What the form sent: stored before anything is drawn; what was refused is said over the next form."""
    sent = (st.session_state.get(KEY) or {}).get("did")
    if not isinstance(sent, Mapping):
        return
    try:
        take(loaded, who, sent)
    except SaeEvalError as error:
        st.session_state[f"answer_{_ANSWER}"] = (False, str(error))
    client, seq = sent.get("client"), sent.get("seq")
    if isinstance(client, str) and type(seq) is int:
        st.session_state.setdefault(_ACKS, {})[client[:80]] = seq


def take(loaded: Loaded, who: str, sent: Mapping[str, object]) -> None:
    """Store the ratings of one message, or note that its latent was skipped.

    DataError for a message that rates not exactly the task's concepts with whole numbers from 0 to 4.
    """
    latent, client, seq = sent.get("latent"), sent.get("client"), sent.get("seq")
    if type(latent) is not int or latent not in verdicts.blind_queue(loaded, who):
        raise DataError(f"latent {str(latent)[:20]} is none of the candidates for rating; reload the page")
    if sent.get("skip") is True:
        skipped = st.session_state.setdefault(_SKIPPED, [])
        st.session_state[_SKIPPED] = [*(i for i in skipped if i != latent), latent]
        return
    if not isinstance(client, str) or type(seq) is not int or seq < 0:
        raise DataError("the rating has no number; reload the page and rate again")
    ratings = _ratings(loaded, sent.get("ratings"))
    access.demand("deciding")
    words = (str(sent.get(name) or "")[:most] for name, most in (("explanation", 300), ("reason", 500)))
    verdicts.rate(loaded, latent, who, ratings, *words, PressId(client[:80], seq, who, "rate"))
    st.session_state[_LAST] = latent


def _ratings(loaded: Loaded, sent: object) -> dict[str, int]:
    names = [c.name for c in task_concepts(loaded.task_set)]
    given = sent if isinstance(sent, Mapping) else {}
    found = {name: given.get(name) for name in names}
    good = {name: r for name, r in found.items() if type(r) is int and 0 <= r < len(SCALE)}
    if missing := [name for name in names if name not in good]:
        raise DataError(
            f"'{missing[0]}' has no rating from 0 to {len(SCALE) - 1}; rate every concept, or press A for 0"
        )
    return good
