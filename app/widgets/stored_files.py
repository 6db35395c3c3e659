"""What went wrong with stored files, in the sidebar: it stopped nothing, but a person should know."""

import streamlit as st

from saeeval_core.config import assets_dir, cache_dir
from saeeval_core.storage.notices import notices

_SHOWN = 20


def notes() -> None:
    """One closed line with the number of files that were made again, skipped or not stored; nothing while all is well."""
    own = [line for line in notices() if str(cache_dir()) in line or str(assets_dir()) in line]
    if own:
        with st.expander(f"{len(own)} stored file(s) skipped or not written", icon=":material/warning:"):
            st.text("\n".join(own[-_SHOWN:]))  # as text: lines hold names of files
