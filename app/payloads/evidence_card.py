"""The evidence card of one latent; the browser draws it (components/lab/card.js)."""

from dataclasses import dataclass

from app.services import verdicts
from app.services.evidence import evidence_of, tokens_of
from app.services.loading import Loaded
from app.services.shared import shared
from saeeval_core.evidence.evidence import EvidenceContext, Neighbour
from saeeval_core.evidence.tokens import COSINE_EDGES, find_token_table
from saeeval_core.ledger.verdicts import Verdict
from saeeval_core.recordings.known_saes import neuronpedia_page
from saeeval_core.scores.contributions import activation_histogram, quadrant_means
from saeeval_core.scores.shift import ShiftLatents
from saeeval_core.wording import head, tail

PER_GROUP = 3
"""Contexts shown per group."""
AROUND = 48
"""Characters of running text shown on each side of a recorded window."""
QUADRANTS = (3, 2, 1, 0)
"""Order in which quadrants are shown: both labels positive first, both negative last."""


@dataclass(frozen=True)
class Context:
    """One window of a text."""

    t: tuple[str, ...]
    """Tokens, with a little running text before and after them."""
    a: tuple[float, ...]
    """Activation at each; 0 for the running text."""
    peak: int
    """Index of the strongest token."""
    where: str


@dataclass(frozen=True)
class Group:
    """Contexts under one heading."""

    title: str
    note: str
    rows: tuple[Context, ...]


@dataclass(frozen=True)
class GeneralText:
    """Contexts from general text beside the task's own."""

    title: str
    groups: tuple[Group, ...]
    max: float
    """Activation drawn in full colour."""


@dataclass(frozen=True)
class Histogram:
    """Stacked bars."""

    edges: tuple[float, ...]
    """Left edge of each bar."""
    counts: tuple[tuple[int, ...], ...]
    """[bar][part of it]"""


@dataclass(frozen=True)
class Card:
    """Everything shown for a latent. Tuples inside lists are rows of small tables: (token, cosine) and the like."""

    id: int
    what: str
    by: str
    """Who explained it, or what stands in for an explanation."""
    page: str
    """Address of its page at Neuronpedia; "" where the SAE has none there."""
    attribute: float | None
    """Effect on the attribute probe; None outside SHIFT, as ``base``, the effect on the biased probe."""
    base: float | None
    density: float
    promoted: tuple[tuple[str, float], ...]
    suppressed: tuple[tuple[str, float], ...]
    no_tokens: str
    quadrants: tuple[Group, ...]
    max: float
    """Activation drawn in full colour."""
    general: GeneralText | None
    no_general: str
    names: tuple[str, ...]
    """Quadrants, in the order of ``hist.counts``."""
    hist: Histogram | None
    logits: Histogram | None
    neighbours: tuple[tuple[int, float, str], ...]
    together: tuple[tuple[int, float, str], ...]
    verdicts: tuple[tuple[str, str, str], ...]
    """(rater, ratings, reason)"""
    history: tuple[tuple[str, str, str, str], ...] = ()
    """(when, who, change, reason) of the decisions on it in the set on screen, newest first."""


def card(loaded: Loaded, latent: int, view: ShiftLatents | None = None) -> Card:
    """Everything shown for a latent that no decision changes. Without a view: no effects, contexts grouped as recorded."""
    return _card(loaded, view, latent, verdicts.newest(loaded))


@shared(max_entries=4096)
def _card(loaded: Loaded, view: ShiftLatents | None, latent: int, _newest_verdict: int) -> Card:
    e = evidence_of(loaded, latent)
    own = [c for c in e.contexts if c.source == loaded.task_set.texts.name]
    general = [c for c in e.contexts if c.source != loaded.task_set.texts.name]
    what, by = verdicts.latents_named(loaded).get(latent, ("", ""))
    no_tokens = "Promoted tokens are not stored for this SAE; run: saeeval build-bundle --step tokens"
    return Card(
        id=latent,
        what=what or tokens_of(loaded, latent),
        page=neuronpedia_page(loaded.latents.sae, latent),
        by=by or "no explanation yet: the tokens it is strongest on",
        attribute=float(view.attribute_effect[latent]) if view else None,
        base=float(view.base_effect[latent]) if view else None,
        density=e.density or 0.0,
        promoted=tuple((t.token, t.cosine) for t in e.promoted),
        suppressed=tuple((t.token, t.cosine) for t in e.suppressed),
        no_tokens="" if e.promoted else no_tokens,
        quadrants=_quadrants(loaded, view, latent, own),
        max=_peak(own),
        general=_general(general),
        no_general="" if general else _why_no_general(loaded),
        names=tuple(view.board.task.quadrant_name(q) for q in QUADRANTS) if view else (),
        hist=_histogram(activation_histogram(view, latent) if view else []),
        logits=_vocabulary(loaded, latent),
        neighbours=_near(loaded, e.neighbours),
        together=_near(loaded, e.coactive),
        verdicts=tuple(_verdict(v) for v in verdicts.current(loaded) if v.latent == latent),
    )


def _verdict(v: Verdict) -> tuple[str, str, str]:
    ratings = ", ".join(f"{concept} {n}" for concept, n in v.ratings.items())
    return f"{v.rater} \u00b7 {verdicts.GIVEN_BY[v.rater_kind]}", ratings or f"no verdict: {v.status}", v.reason[:400]


def _near(loaded: Loaded, found: tuple[Neighbour, ...]) -> tuple[tuple[int, float, str], ...]:
    names = verdicts.latents_named(loaded)
    return tuple((n.latent, n.cosine, names.get(n.latent, ("",))[0]) for n in found[:6])


def _quadrants(loaded: Loaded, view: ShiftLatents | None, latent: int, own: list[EvidenceContext]) -> tuple[Group, ...]:
    """One group per quadrant of the pair (where both labels are positive first), then what belongs to none of them."""
    if view is None:
        groups: dict[str, list[EvidenceContext]] = {}
        for c in own:
            groups.setdefault(c.cell or loaded.task_set.texts.name, []).append(c)
        return tuple(_group(name, "", found) for name, found in groups.items())
    task = view.board.task
    quadrant = dict(zip(task.rows.tolist(), task.quadrant.tolist(), strict=True))
    means = quadrant_means(view, latent)
    out = []
    for q in QUADRANTS:
        mean, share = means[q]
        found = [c for c in own if quadrant.get(c.text_row) == q]
        out.append(
            _group(
                task.quadrant_name(q),
                f"active in {100 * share:.0f} % of these texts; mean activation {mean:.2f}",
                found,
            )
        )
    rest = [c for c in own if c.text_row not in quadrant]
    other = [_group("other texts of the task", "labels outside this pair", rest)] if rest else []
    return (*out, *other)


def _general(contexts: list[EvidenceContext]) -> GeneralText | None:
    if not contexts:
        return None
    top = [c for c in contexts if c.kind == "top"]
    lower = sorted((c for c in contexts if c.kind != "top"), key=lambda c: -c.share)
    groups = [_group("strongest", "", top)]
    if lower:
        span = f"{lower[-1].interval.split('-')[0]}-{lower[0].interval.split('-')[1]} of the strongest"
        groups.append(_group("lower activation intervals", span, lower[:: max(1, len(lower) // PER_GROUP)]))
    return GeneralText("In general text (news articles)", tuple(groups), _peak(contexts))


def _group(title: str, note: str, contexts: list[EvidenceContext]) -> Group:
    """The strongest contexts of one group; each text once."""
    seen: set[int] = set()
    rows = []
    for c in sorted(contexts, key=lambda c: -abs(c.peak)):
        if c.text_row not in seen and len(rows) < PER_GROUP:
            seen.add(c.text_row)
            rows.append(_row(c))
    return Group(title, note, tuple(rows))


def _row(c: EvidenceContext) -> Context:
    """Tokens and activations, with a little running text on both sides; index of the strongest token."""
    strongest = max(range(len(c.activations)), key=lambda i: abs(c.activations[i]), default=0)
    where = f"{c.cell or c.source}, text {c.text_row}, {c.kind}, strongest {c.peak:.3f}"
    return Context(
        (tail(c.before, AROUND), *c.tokens, head(c.after, AROUND)), (0, *c.activations, 0), strongest + 1, where
    )


def _peak(contexts: list[EvidenceContext]) -> float:
    return max((abs(c.peak) for c in contexts), default=1.0) or 1.0


def _histogram(bins: list[tuple[float, list[int]]]) -> Histogram | None:
    if not bins:
        return None
    return Histogram(tuple(e for e, _ in bins), tuple(tuple(c[q] for q in QUADRANTS) for _, c in bins))


def _vocabulary(loaded: Loaded, latent: int) -> Histogram | None:
    table = find_token_table(loaded.latents.sae, loaded.latents.sae_fingerprint)
    if table is None:
        return None
    counts = tuple((int(n),) for n in table.histogram[latent])
    return Histogram(tuple(COSINE_EDGES[:-1].round(3).tolist()), counts)


def _why_no_general(loaded: Loaded) -> str:
    return f"No general text has been recorded for {loaded.latents.sae}; run: saeeval build-bundle --step recordings"
