"""Token text as HTML: escaped, coloured by activation, value on hover. Tokens are untrusted and never markdown."""

import html
from collections.abc import Sequence

from app.theme import HOT


def tokens_html(
    text: str, spans: Sequence[tuple[int, int]], values: Sequence[float], max_value: float | None = None
) -> str:
    """One block for st.html: each span of ``text`` coloured by its value; ``max_value`` is full colour (default: the largest)."""
    top = max_value or max((abs(v) for v in values), default=1.0) or 1.0
    parts = [_token(text[a:b], value, top) for (a, b), value in zip(spans, values, strict=True)]
    return f"<div class='verbatim' dir='auto'>{''.join(parts)}</div>"


def plain_html(text: str) -> str:
    """Text shown verbatim."""
    return f"<div class='verbatim' dir='auto'>{_escape(text)}</div>"


def _token(text: str, value: float, top: float) -> str:
    if not value:
        return f"<span title='not active'>{_escape(text)}</span>"
    alpha = 0.1 + 0.75 * min(1.0, abs(value) / top)
    return f"<span title='activation {value:.3f}' style='background:rgba({HOT.light},{alpha:.2f});border-radius:3px'>{_escape(text)}</span>"


def _escape(text: str) -> str:
    return html.escape(text.replace("\0", "\u2400"), quote=True)
