"""What went wrong with stored files and the store, in the sidebar: it stopped nothing, but a person should know."""

import streamlit as st

from saeeval_core.config import assets_dir, cache_dir
from saeeval_core.ledger.files import SAYS
from saeeval_core.storage.notices import notices
from saeeval_core.wording import plural

_SHOWN = 20


def notes() -> None:
    """What happened to the store, and one closed line with the number of files that were made again, skipped or not
    stored; nothing while all is well.
    """
    store = [line.removeprefix(SAYS) for line in notices() if line.startswith(SAYS)]
    if store:
        with st.expander("The store of decisions", icon=":material/warning:", expanded=True):
            st.text("\n\n".join(store[-_SHOWN:]))
    files = [line for line in notices() if not line.startswith(SAYS)]
    own = [line for line in files if str(cache_dir()) in line or str(assets_dir()) in line]
    if own:
        with st.expander(f"{plural(len(own), 'stored file')} skipped or not written", icon=":material/warning:"):
            st.text("\n".join(own[-_SHOWN:]))  # as text: lines hold names of files
