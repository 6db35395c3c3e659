"""Token text as HTML: escaped, coloured by activation, value on hover. Tokens are untrusted and never markdown."""

import html
from collections.abc import Sequence


def tokens_html(
    text: str, spans: Sequence[tuple[int, int]], values: Sequence[float], max_value: float | None = None
) -> str:
    """One block for st.html: each span of ``text`` coloured by its value; ``max_value`` is full colour (default: the largest)."""
    top = max_value or max((abs(v) for v in values), default=1.0) or 1.0
    parts = [_token(text[a:b], value, top) for (a, b), value in zip(spans, values, strict=True)]
    return f"<div class='verbatim' dir='auto'>{''.join(parts)}</div>"


def marked(tokens: Sequence[str], values: Sequence[float], top: float, *, cut: tuple[bool, bool]) -> str:
    """Tokens in running text, coloured by their values; ``cut``: text before, and after them, is left out."""
    body = "".join(_token(t, v, top) for t, v in zip(tokens, values, strict=True))
    start, end = ("\u2026" if c else "" for c in cut)
    return f"<span dir='auto'>{start}{body}{end}</span>"


def plain_html(text: str) -> str:
    """Text shown verbatim."""
    return f"<div class='verbatim' dir='auto'>{_escape(text)}</div>"


def _token(text: str, value: float, top: float) -> str:
    if not value:
        return f"<span title='not active'>{_escape(text)}</span>"
    alpha = 0.1 + 0.75 * min(1.0, abs(value) / top)
    style = f"background:rgba(var(--hot),{alpha:.2f});border-radius:3px"
    return f"<span title='activation {value:.3f}' style='{style}'>{_escape(text)}</span>"


def _escape(text: str) -> str:
    return html.escape(text.replace("\0", "\u2400"), quote=True)
