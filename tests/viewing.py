"""AppTest on single views over the planted bundle of ``conftest.py``, and small things to put in its store."""

import re
from collections.abc import Mapping

from streamlit.testing.v1 import AppTest

from app.deciding.class_sets import ClassSets
from app.deciding.desk import tpp_place
from app.services import ledger, loading
from app.services.loading import Loaded
from saeeval_core.config import RunConfig
from saeeval_core.ledger.places import own_set
from saeeval_core.ledger.verdicts import Verdict


def opened(config: RunConfig) -> Loaded:
    """Recordings that are known to be there."""
    found = loading.load(config)
    assert found is not None, f"{config.saes[0]} has not been recorded on these texts"
    return found


def view(
    name: str, url: Mapping[str, str] | None = None, session: Mapping[str, object] | None = None, before: str = ""
) -> AppTest:
    """One run of a view alone; ``before`` is done first, such as a callback that a component would have called."""
    script = f"""
from viewing import opened
from app import state
from app.views import {name}
state.restore()
{before}
{name}.render(opened(state.config()))
"""
    at = AppTest.from_string(script, default_timeout=60)
    for k, v in (url or {}).items():
        at.query_params[k] = v
    for k, v in (session or {}).items():
        at.session_state[k] = v
    return at.run()


def store_decisions(loaded: Loaded, sets: ClassSets, row: int, decisions: dict[int, str], who: str) -> None:
    """Decisions of the set's owner for one class."""
    label, store = sets.classes[row], ledger.store()
    stored = sets.by_class.get(label) or own_set(store, tpp_place(loaded, label), who, sets.name)
    store.decide(stored.id, who, decisions)


def verdict(loaded: Loaded, latent: int, rater: str, kind: str, ratings: dict[str, int], **more: str) -> Verdict:
    """A usable verdict, or a named failure with ``status=``."""
    return Verdict(
        latent,
        loaded.latents.sae_fingerprint,
        loaded.latents.sae,
        loaded.task_set.texts.name,
        rater,
        kind,
        ratings,
        **more,
    )


def texts(at: AppTest) -> str:
    """Everything a view says in plain elements, for ``in``."""
    kinds = (at.info, at.caption, at.markdown, at.error, at.warning, at.success, at.text, at.code)
    said = "\n".join(str(e.value) for kind in kinds for e in kind)
    said = re.sub(r"`(--[a-z-]+)`", r"\1", said)
    return re.sub(r"\\(?=[^a-zA-Z0-9\s])|\N{WORD JOINER}", "", said)  # as it is shown: escaped marks are marks
