"""The set of SHIFT that ``saeeval hold`` and ``saeeval steer`` are about, as typed."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from saeeval_core.errors import ConfigError, DataError, unknown_name

if TYPE_CHECKING:
    from saeeval_core.evaluation.boards import Direction
    from saeeval_core.evaluation.prepare import Prepared
    from saeeval_core.holding.follow import AskedSet

Set = Annotated[
    str,
    typer.Option(
        "--set", help="Number or name of a stored SHIFT set, set:FILE (an exported one), or top:N by attribution."
    ),
]
Who = Annotated[str, typer.Option("--who", help="Your name, where several people's sets have one name.")]
DirectionName = Annotated[
    str, typer.Option("--direction", help="Part of a direction's name, for top:N; default: the first.")
]
Ablation = Annotated[str, typer.Option("--ablation", help="zero or mean.")]


@dataclass(frozen=True)
class WantedSet:
    """The set as typed."""

    chosen: str
    who: str
    direction: str


def asked_set(prepared: "Prepared", wanted: WantedSet, ablation: str, part: str) -> "AskedSet":
    """The set and its direction. ConfigError, DataError or ArtifactError for one that is not of these texts and SAE."""
    from saeeval_core.holding.follow import AskedSet
    from saeeval_core.scores.ablation import ABLATIONS
    from saeeval_core.texts.parts import PART_NAMES

    if ablation not in ABLATIONS:
        raise ConfigError(unknown_name("ablation", ablation, ABLATIONS))
    parts = {PART_NAMES[p]: p for p in prepared.evaluation.parts}
    if part not in parts:
        raise ConfigError(unknown_name("part", part, parts))
    found, ids = _set(prepared, wanted)
    return AskedSet(found, tuple(int(i) for i in ids), ablation, parts[part])


def _set(prepared: "Prepared", wanted: WantedSet) -> "tuple[Direction, list[int]]":
    evaluation, latents = prepared.evaluation, prepared.saes[0]
    texts = prepared.task_set.texts.name
    kind, _, rest = wanted.chosen.partition(":")
    if kind == "top":
        if not rest.isdecimal() or not 0 < int(rest) <= latents.n_latents:
            raise ConfigError(f"--set is '{wanted.chosen}'; give top:N with N from 1 to {latents.n_latents}")
        near = [d for d in evaluation.directions if wanted.direction.lower() in d.name.lower()]
        if not near:
            raise ConfigError(unknown_name("direction", wanted.direction, [d.name for d in evaluation.directions]))
        view = evaluation.shift_view(latents, near[0], evaluation.parts[-1])
        return near[0], list(view.attribute_ranking[: int(rest)])
    if kind == "set":
        from saeeval_core.formats.set_selection import set_of_file

        selector = set_of_file(wanted.chosen, texts)
        for d in evaluation.directions:
            view = evaluation.shift_view(latents, d, evaluation.parts[-1])
            if ids := selector.shift(view, [1])[0].ids:
                return d, list(ids)
        raise DataError(f"{selector} marks nothing in a direction of '{texts}' to ablate; choose its texts with --task")
    return _stored_set(prepared, wanted)


def _stored_set(prepared: "Prepared", wanted: WantedSet) -> "tuple[Direction, list[int]]":
    from saeeval_core.ledger.commit_set import elsewhere, named_set
    from saeeval_core.ledger.places import say_left_out, shift_place
    from saeeval_core.ledger.store import Store

    store, latents, texts = Store(), prepared.saes[0], prepared.task_set.texts.name
    found = named_set(store, wanted.chosen, wanted.who)
    for d in prepared.evaluation.directions:
        if shift_place(texts, d.pair, d.task.direction, latents).holds(found):
            say_left_out(found.name, store.beyond(found.id, latents.n_latents), latents.n_latents)
            return d, list(store.ablated(found.id, latents.n_latents))
    raise elsewhere(found, latents, texts)
