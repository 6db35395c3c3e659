"""The rows of ``saeeval list saes``, and what share of SAELens's registry can be scored."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

from saeeval_core.errors import ConfigError
from saeeval_core.saes.asked import what_is
from saeeval_core.saes.facts import HUB, REGISTRY, SaeFacts, facts
from saeeval_core.saes.named import named_saes
from saeeval_core.saes.registry import SaeInfo, list_bundled
from saeeval_core.saes.release_names import latents_said
from saeeval_core.saes.releases import list_registry
from saeeval_core.training.about import About, read_about

Row = dict[str, str | int | float | None]
"""Column title -> cell; every row of a list has the same columns."""


@dataclass(frozen=True)
class Wanted:
    """The options that narrow the list; empty ones do not."""

    model: str = ""
    sae: tuple[str, ...] = ()
    hook: str = ""
    architecture: str = ""
    width: str = ""
    """Latents: one number, or two with a dash between."""

    @property
    def widths(self) -> tuple[int, int] | None:
        """Fewest and most latents; ConfigError for what is no number."""
        if not self.width:
            return None
        found = [re.fullmatch(r"(\d+)([km]?)", part.strip().lower()) for part in self.width.split("-")]
        said = [latents_said(int(m[1]), m[2]) if m[2] and int(m[1]) else int(m[1]) for m in found if m]
        if len(said) != len(found) or len(said) > 2:
            raise ConfigError(f"--width is '{self.width}'; give a number of latents such as 4096, 16k or 4k-65k")
        return min(said), max(said)

    def __str__(self) -> str:
        given = ((f.name, getattr(self, f.name)) for f in fields(self))
        return " ".join(f"--{name} {v if isinstance(v, str) else ' '.join(v)}" for name, v in given if v)


def sae_rows(wanted: Wanted) -> list[Row]:
    """Bundled SAEs with the figures of their training, then those of SAELens's registry; or the ones that are named."""
    widths = wanted.widths
    found = _named(wanted.sae) if wanted.sae else _known(wanted.model)
    return [
        _row(own, about)
        for own, about in found
        if (not wanted.model or own.is_for(wanted.model)) and own.matches(wanted.hook, wanted.architecture, widths)
    ]


def released_share() -> str:
    """How many SAEs of the registry can be scored by their hooks, why not the others, and how many fit this machine."""
    rows = list_registry()
    reasons = Counter(row.not_scorable for row in rows if row.not_scorable)
    exact, said = [row for row in rows if not row.not_scorable], ""
    for reason, n in reasons.most_common():
        said += f"; {n}: {reason}"
    here = sum(not facts(row.spec, row).reason for row in exact)
    memory = "" if here == len(exact) else f"; {len(exact) - here:,} of them need more memory than this machine has"
    return (
        f"{len(exact):,} of the {len(rows):,} SAEs in SAELens's registry ({len(exact) / len(rows):.2%}) can be scored"
        f"{memory}{said}"
    )


def _known(model: str) -> Iterator[tuple[SaeFacts, About]]:
    for info in list_bundled():
        yield _described(info.id, info)
    for row in list_registry(model or None):
        yield facts(row.spec, row), About()


def _named(names: tuple[str, ...]) -> Iterator[tuple[SaeFacts, About]]:
    for name in named_saes(names, inexact=True):
        asked = what_is(name)
        yield _described(name, asked) if isinstance(asked, SaeInfo) else (facts(name, asked), About())


def _described(name: str, info: SaeInfo) -> tuple[SaeFacts, About]:
    about = read_about(Path(info.location)) or About()
    return facts(name, info, about.l0), about


def _row(own: SaeFacts, about: About) -> Row:
    return {
        "sae": own.id,
        "where": "Hub" if own.where in (REGISTRY, HUB) else own.where,
        "architecture": own.kind,
        "hook": own.hook,
        "writes": own.writes,
        "latents": own.n_latents,
        "L0": own.l0,
        "GB": own.gigabytes,
        "expl. var.": about.explained_variance_typical,
        "dead": about.dead,
        "scorable": not own.reason,
        "reason": own.reason,
    }
