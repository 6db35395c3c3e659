"""The name of the person deciding, kept in a cookie of this browser so that it is asked once."""

from urllib.parse import quote, unquote

import streamlit as st

COOKIE = "saeeval_who"

_cookie = st.components.v2.component(
    "saeeval_name",
    html="<i hidden></i>",
    js=f"""export default function({{data}}) {{
      const wanted = "{COOKIE}=" + data.who;
      if (data.who && !document.cookie.includes(wanted)) document.cookie = wanted + "; path=/; max-age=31536000; SameSite=Strict";
    }}""",
)


def known_name() -> str:
    """The name this browser gave before, or ""."""
    return unquote(st.context.cookies.get(COOKIE, ""))[:60]


def remember_name() -> None:
    """Write the name of this session into the browser."""
    if who := st.session_state.get("who"):
        _cookie(data={"who": quote(who)}, key="name_cookie", height=1)
