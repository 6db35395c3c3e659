"""A self-contained HTML report: the result in words first, then what was ablated, figures, and how to do it again.

Figures come in as SVG or tables; nothing is fetched, nothing runs. Everything else is escaped: token text and reasons
are never markup.
"""

import base64
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any


@dataclass(frozen=True)
class ReportFigure:
    """One figure of a report."""

    title: str
    html: str
    """An ``<svg>`` in the page's own colours, or a table."""
    how: str = ""
    """One line on how the numbers were computed."""
    rows: Sequence[Mapping[str, Any]] = ()
    """The same numbers as a table."""


@dataclass(frozen=True)
class ReportLatent:
    """Evidence for one latent with a decision."""

    latent: int
    decision: str
    of: str = ""
    """Class whose set it belongs to (TPP)."""
    explanation: str = ""
    promoted: Sequence[str] = ()
    suppressed: Sequence[str] = ()
    contexts: Sequence[tuple[str, Sequence[tuple[str, float]]]] = ()
    """(source, [(token text, activation)])"""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Name -> value, such as density or a rater's ratings."""
    effect: float = 0.0
    """What it carries of the probe's logit difference; the latents of a report are sorted by its size."""
    page: str = ""
    """https address of the latent's page at Neuronpedia; "" for none."""


@dataclass(frozen=True)
class Attachment:
    """A file inside the report: what the command needs."""

    name: str
    content: str


@dataclass(frozen=True)
class Told:
    """What a report says before its figures, and brings along."""

    sentences: Sequence[str] = ()
    """The result in words, plain text (formats/sentences.py)."""
    files: Sequence[Attachment] = ()


def report_html(
    result: Mapping[str, Any],
    figures: Sequence[ReportFigure],
    *,
    title: str,
    command: str,
    when: str,
    headline: Sequence[tuple[str, str]] = (),
    latents: Sequence[ReportLatent] = (),
    log: Sequence[Mapping[str, Any]] = (),
    told: Told = Told(),
) -> str:
    """One HTML page that opens offline, light or dark as its reader's, and prints without cut figures.

    ``result``: JSON of ``saeeval run`` or at least its config, model, task and versions. ``headline``: (name, number
    with interval). ``command``: the line that reproduces it. ``log``: rows of the decision history, oldest first.
    """
    ablated = [k for k in latents if k.decision == "ablate"]
    others = [k for k in latents if k.decision != "ablate"]
    needed = "".join(map(_attachment, told.files))
    versions = [{"package": k, "version": v} for k, v in (result.get("versions") or {}).items()]
    parts = [
        f"<header><h1>{escape(title)}</h1><p class='when'>{escape(when)}</p></header>",
        f"<p class='told'>{' '.join(map(escape, told.sentences))}</p>" if told.sentences else "",
        _headline(headline),
        _latents("Ablated latents", ablated, "By the size of what they carry of the probe's logit difference."),
        *[_figure(f) for f in figures],
        _folded("Latents decided otherwise", _latents("", others)),
        _folded("Decision log", rows_table(log), "Every decision in order; nothing is ever overwritten."),
        _section("Reproduce", (f"<pre class='command'>{escape(command)}</pre>" if command else "") + needed),
        _folded("Settings", _settings(result)),
        _folded("Versions", rows_table(versions)),
    ]
    body = "\n".join(p for p in parts if p)
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body><main>{body}</main></body></html>"
    )


def rows_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """An escaped HTML table of rows with (mostly) the same keys; "" when there are none."""
    if not rows:
        return ""
    columns = list(dict.fromkeys(k for row in rows for k in row))
    head = "".join(f"<th>{escape(str(c))}</th>" for c in columns)
    body = "".join("<tr>" + "".join(f"<td>{escape(_show(row.get(c)))}</td>" for c in columns) + "</tr>" for row in rows)
    return f"<div class='scroll'><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"


def _show(value: Any) -> str:
    if value is None:
        return "n/a"
    if isinstance(value, float):
        return "n/a" if math.isnan(value) else f"{value:.4g}"
    if isinstance(value, list | tuple | dict):
        return json.dumps(value, ensure_ascii=False)
    return str(value)


def _section(title: str, html: str, note: str = "") -> str:
    if not html:
        return ""
    line = f"<p class='how'>{escape(note)}</p>" if note else ""
    return f"<section><h2>{escape(title)}</h2>{line}{html}</section>"


def _folded(title: str, html: str, note: str = "") -> str:
    """A section that is open on demand: what stands behind the result."""
    if not html:
        return ""
    line = f"<p class='how'>{escape(note)}</p>" if note else ""
    return f"<details class='part'><summary><h2>{escape(title)}</h2></summary>{line}{html}</details>"


def _attachment(file: Attachment) -> str:
    """A link that saves the file from the page itself."""
    inside = base64.b64encode(file.content.encode()).decode()
    name = escape(file.name)
    return f"<p><a download='{name}' href='data:application/json;base64,{inside}'>Save {name}</a>, which it reads.</p>"


def _headline(pairs: Sequence[tuple[str, str]]) -> str:
    cards = "".join(f"<div class='card'><span>{escape(k)}</span><strong>{escape(v)}</strong></div>" for k, v in pairs)
    return f"<div class='cards'>{cards}</div>" if cards else ""


def _figure(figure: ReportFigure) -> str:
    table = rows_table(figure.rows)
    details = f"<details><summary>The numbers</summary>{table}</details>" if table and figure.html else table
    return _section(figure.title, figure.html + details, figure.how)


def _latents(title: str, latents: Sequence[ReportLatent], note: str = "") -> str:
    cards = "".join(latent_card(item) for item in sorted(latents, key=lambda k: -abs(k.effect)))
    return _section(title, cards, note) if title else cards


def latent_card(item: ReportLatent) -> str:
    """The evidence for one latent as HTML, everything in it escaped."""
    facts = " · ".join(f"{escape(str(k))} {escape(_show(v))}" for k, v in item.facts.items())
    tokens = "".join(
        f"<p class='tokens'><b>{name}</b> {' '.join(f'<code>{escape(_seen(t))}</code>' for t in words)}</p>"
        for name, words in (("promotes", item.promoted), ("suppresses", item.suppressed))
        if words
    )
    contexts = "".join(f"<p class='context'><i>{escape(w)}</i> {_marked(words)}</p>" for w, words in item.contexts)
    of = f" for {escape(item.of)}" if item.of else ""
    return (
        f"<article><h3>latent {item.latent} <em>{escape(item.decision)}{of}</em>{_outside(item.page)}</h3>"
        f"<p>{escape(item.explanation) or 'no explanation'}</p><p class='how'>{facts}</p>{tokens}{contexts}</article>"
    )


def _seen(token: str) -> str:
    """A token with its line breaks, and with its spaces where it is nothing else."""
    shown = token.replace("\n", "⏎").replace("\t", "⇥")
    return shown if shown.strip() else "␣" * len(shown)


def _outside(page: str) -> str:
    if not page.startswith("https://"):
        return ""
    return f" <a href='{escape(page, quote=True)}' rel='noopener noreferrer'>Neuronpedia</a>"


def _marked(words: Sequence[tuple[str, float]]) -> str:
    peak = max((abs(a) for _, a in words), default=0.0)
    return "".join(
        f"<span style='background:rgba(230,140,20,{abs(a) / peak * 0.8:.2f})' title='{a:.3f}'>{escape(t)}</span>"
        if a and peak
        else escape(t)
        for t, a in words
    )


def _settings(result: Mapping[str, Any]) -> str:
    rows = []
    for group in ("model", "task", "config"):
        own = (result.get(group) or {}).items()
        rows += [{"part": group, "setting": k, "value": v} for k, v in own if v not in ("", None, {}, (), [])]
    return rows_table(rows)


_STYLE = """
:root{color-scheme:light dark;--line:#8886;--soft:#8882;--quiet:color-mix(in srgb,CanvasText 74%,Canvas)}
body{font:16px/1.5 system-ui,sans-serif;margin:0;background:Canvas;color:CanvasText}
main{max-width:960px;margin:0 auto;padding:1.5rem 1rem 4rem}
h1{font-size:1.7rem;margin:0;overflow-wrap:anywhere}h2{font-size:1.25rem;margin:2.2rem 0 .4rem}h3{font-size:1rem;margin:0}
h3 em{font-style:normal;background:var(--soft);border-radius:.6em;padding:.05em .6em;margin-left:.4em}
.when,.how{color:var(--quiet);margin:.1rem 0 .6rem;font-size:.9rem}
.told{font-size:1.15rem;max-width:46em}
.cards{display:flex;flex-wrap:wrap;gap:.8rem;margin:1.2rem 0}
.card{border:1px solid var(--line);border-radius:.6rem;padding:.5rem .8rem;max-width:100%;box-sizing:border-box}
.card span{display:block;font-size:.85rem;color:var(--quiet)}
.card strong{font-size:1.05rem;overflow-wrap:anywhere}
.scroll{overflow-x:auto}table{border-collapse:collapse;font-size:.88rem}
td,th{border-bottom:1px solid var(--line);padding:.25rem .7rem;text-align:left;overflow-wrap:anywhere;max-width:32rem}
section{overflow-x:auto}section>svg{display:block;min-width:600px;max-width:100%;height:auto}
article{border:1px solid var(--line);border-radius:.6rem;padding:.8rem 1rem;margin:.8rem 0}
.context{white-space:pre-wrap;overflow-wrap:anywhere;font-size:.92rem;margin:.3rem 0}
.tokens{overflow-wrap:anywhere;margin:.2rem 0}
code{background:var(--soft);border-radius:.3em;padding:0 .3em;white-space:pre-wrap}
.command{background:var(--soft);padding:.8rem;border-radius:.6rem;white-space:pre-wrap;overflow-wrap:anywhere}
summary{cursor:pointer}summary h2{display:inline-block}
@media print{:root{color-scheme:light}details:not([open]){display:none}
section>svg{min-width:0}svg,article,.card,tr{break-inside:avoid}h2,h3{break-after:avoid}main{max-width:none;padding:0}}
"""
