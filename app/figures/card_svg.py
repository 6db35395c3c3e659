"""The evidence card of a latent as SVG and as rows: what the page shows of it, for a slide or a paper."""

import re
import textwrap
from collections.abc import Iterator, Sequence
from html import escape

from app.figures.numbers import Row
from app.payloads.evidence_card import Card, Context, Group
from app.theme import HOT, INK, PAPER

WIDTH = 880
LINE = 19
_LETTER = 7.2
"""Width of a letter of the contexts; every token is stretched to it, whatever font the reader has."""
_PER_LINE = int((WIDTH - 28) / _LETTER)
_NO_XML = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
_SANS = "font-family='system-ui,-apple-system,Segoe UI,Roboto,Helvetica,Arial,sans-serif'"
_MONO = "font-family='ui-monospace,Menlo,Consolas,monospace' font-size='12'"
_ACTIVE, _RUNNING = re.compile(r".{1,80}"), re.compile(r"\s{0,20}\S{1,80}|\s{1,20}")
"""Parts of a token, and of running text, that stay on one line."""
Piece = tuple[str, float]
"""(text, activation)"""


def card_svg(card: Card, sae: str, about: str) -> str:
    """One ``<svg>`` on its own light paper: explanation, promoted tokens, contexts shaded by activation, ``about`` below."""
    drawn, y = [], 0
    for line in _lines(card, sae, about):
        y += LINE
        drawn.append(line.replace("%y%", str(y)).replace("%top%", str(y - 13)))
    high = y + 12
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {high}' width='{WIDTH}' height='{high}' role='img' "
        f"aria-label='latent {card.id}' {_SANS}><rect width='{WIDTH}' height='{high}' fill='{PAPER.light}'/>{''.join(drawn)}</svg>"
    )


def card_rows(card: Card) -> list[Row]:
    """One row per token of every context, with its activation; running text around a window has none."""
    return [
        {"latent": card.id, "group": group.title, "context": k + 1, "place": at, "token": token, "activation": value}
        for group in _groups(card)
        for k, context in enumerate(group.rows)
        for at, (token, value) in enumerate(zip(context.t[1:-1], context.a[1:-1], strict=True))
    ]


def _groups(card: Card) -> list[Group]:
    return [*card.quadrants, *(card.general.groups if card.general else ())]


def _lines(card: Card, sae: str, about: str) -> Iterator[str]:
    """Every line as SVG; its height is put in where it stands."""
    yield _said(f"latent {card.id} of {sae}", "font-size='15' font-weight='600'")
    yield from _wrapped(card.what, "font-size='13.5'")
    facts = [f"active on {card.density:.2%} of tokens", card.by]
    if card.attribute is not None and card.base is not None:
        carries = (
            f"carries {card.attribute:.3f} of the spurious-label probe's logit difference, {card.base:.3f} of C_b's"
        )
        facts.insert(0, carries)
    yield from _wrapped("; ".join(filter(None, facts)), "font-size='12' opacity='0.75'")
    for word, tokens in (("promotes", card.promoted), ("suppresses", card.suppressed)):
        if tokens:
            yield from _wrapped(f"{word}: {' · '.join(t.strip() or '␣' for t, _ in tokens[:10])}", "font-size='12'")
    for groups, top in ((card.quadrants, card.max), (card.general.groups if card.general else (), _most(card))):
        if card.general and groups is card.general.groups:
            yield _said(card.general.title, "font-size='12.5' font-weight='600'")
        for group in groups:
            yield _said(f"{group.title}{'; ' if group.note else ''}{group.note}", "font-size='12' font-weight='600'")
            for context in group.rows:
                yield from _context(context, top)
    yield from _wrapped(about, "font-size='11.5' opacity='0.75'")


def _most(card: Card) -> float:
    return card.general.max if card.general else 1.0


def _context(context: Context, top: float) -> Iterator[str]:
    for line in _broken(list(zip(context.t, context.a, strict=True))):
        at, drawn = 0, []
        for text, value in line:
            x, wide = 14 + at * _LETTER, len(text) * _LETTER
            if value:
                shade = f"rgba({HOT.light},{0.1 + 0.75 * min(1.0, abs(value) / top):.2f})"
                drawn.append(
                    f"<rect x='{x:.1f}' y='%top%' width='{wide:.1f}' height='17' rx='3' style='fill:{shade}'/>"
                )
            drawn.append(
                f"<text x='{x:.1f}' y='%y%' textLength='{wide:.1f}' lengthAdjust='spacingAndGlyphs' {_MONO} "
                f"fill='{INK.light}' style='white-space:pre'>{_plain(text)}</text>"
            )
            at += len(text)
        yield "".join(drawn)


def _broken(pieces: Sequence[Piece]) -> Iterator[list[Piece]]:
    """Lines of at most _PER_LINE letters; running text is broken at its spaces."""
    line: list[Piece] = []
    for text, value in pieces:
        for part in _ACTIVE.findall(text.replace("\n", "⏎")) if value else _RUNNING.findall(text.replace("\n", " ")):
            if line and sum(len(t) for t, _ in line) + len(part) > _PER_LINE:
                yield line
                line = []
            line.append((part, value))
    if line:
        yield line


def _wrapped(text: str, font: str) -> Iterator[str]:
    for line in textwrap.wrap(text, int(WIDTH / 6.6)):
        yield _said(line, font)


def _said(text: str, font: str) -> str:
    return f"<text x='8' y='%y%' {font} fill='{INK.light}'>{_plain(text)}</text>"


def _plain(text: str) -> str:
    return escape(_NO_XML.sub("\N{SYMBOL FOR NULL}", text), quote=False).replace("%", "&#37;")
