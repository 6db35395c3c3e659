"""One stored, exported or ranked set on one SAE, as typed: what ``saeeval hold``, ``steer`` and ``commit`` are about."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from saeeval_core.cli import options as o
from saeeval_core.cli.console import recording_bar
from saeeval_core.config import AUTO_PROBE, DEFAULT_MODEL, DEFAULT_SAE, DEFAULT_TASK, RunConfig
from saeeval_core.errors import ConfigError, DataError, unknown_name

if TYPE_CHECKING:
    import numpy as np

    from saeeval_core.evaluation.boards import Direction
    from saeeval_core.evaluation.prepare import Prepared
    from saeeval_core.holding.asked import AskedClasses, AskedSet

Set = Annotated[
    str,
    typer.Option("--set", help="Number or name of a stored set, set:FILE (an exported one), or top:N by attribution."),
]
Who = Annotated[str, typer.Option("--who", help="Your name, where several people's sets have one name.")]
Metric = Annotated[str, typer.Option("--metric", help="shift or tpp, for top:N; a stored set says its own.")]
DirectionName = Annotated[
    str, typer.Option("--direction", help="SHIFT: part of a direction's name, for top:N; default: the first.")
]
ClassName = Annotated[str, typer.Option("--class", help="TPP: only the set of this class; default: of every class.")]
N = Annotated[
    int, typer.Option("--n", help="TPP: latents of each class's ranking, which the set's decisions change.", min=0)
]
AttributeAt = Annotated[
    str,
    typer.Option(
        "--attribute-at",
        help="SHIFT, top:N: rank by attribution to a probe at this later hook, by one backward pass; default: at the probe.",
    ),
]
Ablation = Annotated[str, typer.Option("--ablation", help="zero or mean.")]
METRICS = ("shift", "tpp")


@dataclass(frozen=True)
class OneSae:
    """The options that say on which SAE and texts a set is scored, as ``with_texts`` adds them to a command."""

    model: o.Model = DEFAULT_MODEL
    sae: o.Sae = DEFAULT_SAE
    task: o.Task = DEFAULT_TASK
    protocol: o.Protocol = "robust"
    seed: o.Seed = 0
    probe_hook: o.ProbeHook = AUTO_PROBE

    def config(self, own: o.TextOptions, metric: str, **more: Any) -> RunConfig:
        """The settings that score one metric; ``more``: other values of ``RunConfig``. Errors of ``own.settings``."""
        return RunConfig(
            model=self.model,
            saes=(self.sae,),
            **own.settings(self.task),
            metrics=(metric,),
            protocol=self.protocol,
            seed=self.seed,
            probe_hook=self.probe_hook,
            **more,
        )


@dataclass(frozen=True)
class WantedSet:
    """The options that name a set, as ``with_texts`` adds them to a command."""

    chosen: Set
    who: Who = ""
    metric: Metric = "shift"
    direction: DirectionName = ""
    class_name: ClassName = ""
    n: N = 20
    attribute_at: AttributeAt = ""

    @property
    def kind(self) -> str:
        """ "top", "set", or "" for a stored one."""
        kind = self.chosen.partition(":")[0]
        return kind if kind in ("top", "set") and ":" in self.chosen else ""

    def metric_of_set(self) -> str:
        """Whether the set is one of SHIFT or of TPP. DataError, ConfigError or ArtifactError for one that is not there."""
        if self.attribute_at and (self.kind, self.metric) != ("top", "shift"):
            raise ConfigError(f"--attribute-at ranks for top:N of SHIFT, not for --set {self.chosen}; leave it out")
        if self.kind == "top":
            if self.metric not in METRICS:
                raise ConfigError(unknown_name("metric", self.metric, METRICS))
            return self.metric
        if self.kind == "set":
            from saeeval_core.formats.set_selection import set_of_file

            return set_of_file(self.chosen, "").found.metric
        from saeeval_core.ledger.commit_set import named_set
        from saeeval_core.ledger.store import Store

        return named_set(Store(), self.chosen, self.who).metric

    def top(self, n_latents: int) -> int:
        """N of top:N. ConfigError for a number that the SAE does not have."""
        rest = self.chosen.removeprefix("top:")
        if not rest.isdecimal() or not 0 < int(rest) <= n_latents:
            raise ConfigError(f"--set is '{self.chosen}'; give top:N with N from 1 to {n_latents}")
        return int(rest)


def asked_set(prepared: "Prepared", wanted: WantedSet, ablation: str, part: str) -> "AskedSet":
    """The set of SHIFT and its direction.

    ConfigError, DataError or ArtifactError for one that is not of these texts and SAE.
    """
    from saeeval_core.holding.asked import AskedSet

    number = _part(prepared, ablation, part)
    found, ids = _set(prepared, wanted)
    return AskedSet(found, tuple(int(i) for i in ids), ablation, number)


def asked_classes(prepared: "Prepared", wanted: WantedSet, ablation: str, part: str) -> "AskedClasses":
    """The sets of TPP's classes; errors as ``asked_set``."""
    from saeeval_core.holding.asked import AskedClasses

    number, classes = _part(prepared, ablation, part), prepared.evaluation.tpp_task.classes
    if wanted.class_name and wanted.class_name not in classes:
        raise ConfigError(unknown_name("class", wanted.class_name, classes))
    followed = [i for i, name in enumerate(classes) if wanted.class_name in ("", name)]
    return AskedClasses(tuple(_class_sets(prepared, wanted)), tuple(followed), ablation, number)


def _part(prepared: "Prepared", ablation: str, part: str) -> int:
    from saeeval_core.scores.ablation import ABLATIONS
    from saeeval_core.texts.parts import PART_NAMES

    if ablation not in ABLATIONS:
        raise ConfigError(unknown_name("ablation", ablation, ABLATIONS))
    parts = {PART_NAMES[p]: p for p in prepared.evaluation.parts}
    if part not in parts:
        raise ConfigError(unknown_name("part", part, parts))
    return parts[part]


def _set(prepared: "Prepared", wanted: WantedSet) -> "tuple[Direction, list[int]]":
    evaluation, latents = prepared.evaluation, prepared.saes[0]
    texts = prepared.task_set.texts.name
    if wanted.kind == "top":
        n, found = wanted.top(latents.n_latents), _direction(prepared, wanted)
        return found, list(_ranking(prepared, found, wanted.attribute_at)[:n])
    if wanted.kind == "set":
        from saeeval_core.formats.set_selection import set_of_file

        selector = set_of_file(wanted.chosen, texts)
        for d in evaluation.directions:
            view = evaluation.shift_view(latents, d, evaluation.parts[-1])
            if ids := selector.shift(view, [1])[0].ids:
                return d, list(ids)
        raise DataError(f"{selector} marks nothing in a direction of '{texts}' to ablate; choose its texts with --task")
    return _stored_set(prepared, wanted)


def _ranking(prepared: "Prepared", direction: "Direction", at: str) -> "np.ndarray":
    """int64[ranked]: latents by attribution at the probe, or at the later hook ``at``."""
    evaluation, latents = prepared.evaluation, prepared.saes[0]
    if not at:
        return evaluation.shift_view(latents, direction, evaluation.parts[-1]).attribute_ranking
    from saeeval_core.holding.attribute import effects_at
    from saeeval_core.scores.attribution import rank_by_magnitude

    with recording_bar() as on_progress:
        return rank_by_magnitude(effects_at(prepared.config, evaluation, latents, direction, at, on_progress))


def _direction(prepared: "Prepared", wanted: WantedSet) -> "Direction":
    directions = prepared.evaluation.directions
    near = [d for d in directions if wanted.direction.lower() in d.name.lower()]
    if not near:
        raise ConfigError(unknown_name("direction", wanted.direction, [d.name for d in directions]))
    return near[0]


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


def _class_sets(prepared: "Prepared", wanted: WantedSet) -> list[tuple[int, ...]]:
    evaluation, latents = prepared.evaluation, prepared.saes[0]
    view = evaluation.tpp_view(latents, evaluation.parts[-1])
    if wanted.kind == "top":
        n = wanted.top(latents.n_latents)
        return [tuple(int(i) for i in ranking[:n]) for ranking in view.rankings]
    if wanted.kind == "set":
        from saeeval_core.formats.set_selection import set_of_file

        found = set_of_file(wanted.chosen, prepared.task_set.texts.name).tpp(view, [wanted.n])
        return [own[0].ids for own in found]
    from saeeval_core.ledger.commit_set import class_sets, named_set
    from saeeval_core.ledger.store import Store

    store = Store()
    chosen = named_set(store, wanted.chosen, wanted.who)
    return class_sets(store, evaluation, latents, chosen, view.rankings, wanted.n).ids
