"""The typed result of ``saeeval run``. Its JSON is written and read by ``result_json`` alone."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from saeeval_core.config import RunConfig
from saeeval_core.scores.uncertainty import Estimate

ByPart = Mapping[str, Estimate]
""" "dev" and "test" (or "test" alone) -> a number of that part."""


@dataclass(frozen=True)
class ModelAbout:
    """The language model and the hook that was recorded."""

    name: str
    dtype: str = ""
    hook: str = ""
    note: str = ""
    """What a reader must know about the weights."""
    bos_id: int | None = None


@dataclass(frozen=True)
class TaskAbout:
    """The texts."""

    name: str
    source: str = ""
    composed: bool = False
    texts: int = 0
    fingerprint: str = ""
    dropped: Mapping[str, int] = field(default_factory=dict)
    """Reason -> texts left out while loading."""
    small: str = ""
    """Note shown with every number when the texts are too few to separate SAEs well; else ""."""
    interval_level: str = ""
    """What the intervals vary."""
    notes: Sequence[str] = field(default_factory=list)
    """What was found out or changed while loading the texts."""
    title: str = ""
    """How people know the texts, where that is not ``name``."""


@dataclass(frozen=True)
class DirectionProbes:
    """The probes of one direction, before anything is ablated."""

    name: str
    n_per_quadrant: int
    training_texts: int
    c: Mapping[str, float | None]
    """ "base", "oracle", "attribute" -> inverse L2 strength; None under AdamW."""
    base: ByPart
    """Accuracy of C_b on the target label."""
    oracle: ByPart
    attribute: ByPart
    """Accuracy of the attribute probe on the spurious label."""
    reason: Mapping[str, str | None]
    """Why S is undefined on a part; None where it is defined."""


@dataclass(frozen=True)
class Erasure:
    """Whether a concept is gone: what fresh probes read after ablating one set, or the mean over sets, on one part."""

    recoverability: Estimate
    """R of the spurious label; of TPP the mean over classes of R of the class whose latents are ablated."""
    selective_erasure: Estimate
    """E; of TPP the score of the matrix of fresh probes."""
    edit_size: float | None = None
    """Share of whitened variance that is removed."""
    target_lost: Estimate | None = None
    """1 - R of the target label; given, as the next, for means over pairs: of the directions where E is defined."""
    spurious_lost: Estimate | None = None


@dataclass(frozen=True)
class LossPoint:
    """One N on the way of a dictionary."""

    n: int
    score: Estimate
    """S under zero ablation."""
    target_lost: Estimate
    """1 - R of the target label."""
    spurious_lost: Estimate
    selective_erasure: Estimate
    edit_size: float | None


@dataclass(frozen=True)
class LossPath:
    """What one dictionary takes from both labels as N grows: of one direction, or the mean over pairs."""

    name: str
    kind: str
    """sae | null (an SAE with a random decoder) | rival | bound (it knows the label) | set (somebody's choice)"""
    points: tuple[LossPoint, ...] = ()
    """By N; one point where N means nothing."""
    pair: str = ""
    """ "" for the mean over pairs."""
    target: str = ""
    """Column of the target label, where there is a pair."""
    part: str = "test"
    about: str = ""
    """How it was made, in words."""


@dataclass(frozen=True)
class FreshProbes:
    """The accuracies behind R and E of one set in one direction."""

    reader: str
    clean: Estimate
    """Of the spurious label."""
    fresh: Estimate
    clean_target: Estimate
    fresh_target: Estimate
    recoverability_target: Estimate


@dataclass(frozen=True)
class ShiftCell:
    """The effect of ablating one set in one direction, on one part."""

    score: Estimate
    accuracy: Estimate
    worst_group: Estimate
    worst_group_name: str
    leakage: Estimate
    mean_ablation: Estimate
    """S of the same set under mean ablation."""
    auc: Estimate
    """S with the area under the ROC curve in place of accuracy."""
    saebench_value: float | None = None
    """What SAEBench would report, 0 where S is undefined; only under protocols that imitate it."""
    erasure: Erasure | None = None
    """None in results of earlier versions."""
    fresh: FreshProbes | None = None


@dataclass(frozen=True)
class ShiftAtN:
    """One set of latents in one direction."""

    n: int
    ids: tuple[int, ...]
    n_ablated: int
    state: str
    """One of the states of ``selections``."""
    not_judged: int
    parts: Mapping[str, ShiftCell]


@dataclass(frozen=True)
class DirectionResult:
    """One direction of one pair."""

    pair: str
    target: str
    """Column"""
    spurious: str
    target_values: str
    """Such as "nurse/surgeon"."""
    spurious_values: str
    by_n: tuple[ShiftAtN, ...]
    area: ByPart
    probes: DirectionProbes


@dataclass(frozen=True)
class PairMean:
    """Mean of the defined directions of each pair, then over pairs."""

    score: Estimate
    pairs: int | None
    directions_left_out: int | None


@dataclass(frozen=True)
class RefitResult:
    """Test scores whose intervals also vary the probes' training texts."""

    level: str
    refits: int
    area: Estimate
    by_n: Mapping[int, Estimate]
    undefined_share: float


@dataclass(frozen=True)
class ShiftResult:
    """SHIFT of one SAE."""

    directions: tuple[DirectionResult, ...]
    aggregate: Mapping[int, Mapping[str, PairMean]]
    """N -> part -> mean over pairs."""
    area: Mapping[str, PairMean]
    definition: str = ""
    """Of the area, in words."""
    refits: RefitResult | None = None
    erasure: Mapping[int, Mapping[str, Erasure]] = field(default_factory=dict)
    """N -> part -> mean over pairs, as ``aggregate``; empty in results of earlier versions."""


@dataclass(frozen=True)
class TppCell:
    """The matrix of one choice of latents, on one part."""

    matrix: Sequence[Sequence[Estimate]]
    """[ablated class][probe]"""
    score: Estimate
    intended: Estimate
    unintended: Estimate
    mean_ablation: "TppCell | None" = None
    """The same latents under mean ablation."""
    fresh: "TppCell | None" = None
    """The matrix of fresh probes, as shares of what they read of clean texts; at the headline N alone."""
    erasure: Erasure | None = None
    """Where there is ``fresh``."""


@dataclass(frozen=True)
class TppAtN:
    """One set of latents per class."""

    n: int
    n_ablated: tuple[int, ...]
    parts: Mapping[str, TppCell]
    ids: tuple[tuple[int, ...], ...] | None = None
    """None under redrawn negatives."""
    states: tuple[str, ...] | None = None


@dataclass(frozen=True)
class TppProbe:
    """How one probe was trained."""

    n_texts: int
    c: float | None
    epoch: int | None


@dataclass(frozen=True)
class TppResult:
    """TPP of one SAE."""

    classes: tuple[str, ...]
    clean: Mapping[str, Sequence[Estimate]]
    """Part -> A_j of every class."""
    probes: tuple[TppProbe, ...]
    by_n: tuple[TppAtN, ...]
    area: ByPart = field(default_factory=dict)
    """Empty under redrawn negatives."""
    definition: str = ""
    refits: RefitResult | None = None


@dataclass(frozen=True)
class Control:
    """What a control scores."""

    name: str
    score: Estimate
    """Its ``ci`` is the range over draws for random latents, else the 95 % interval over test texts."""
    about: str = ""
    """How it was made, in words."""
    difference: Estimate | None = None
    """The SAE's score minus this one, paired over the same resamples; None where that was not computed."""


@dataclass(frozen=True)
class Placed:
    """A control and the score that it is compared with."""

    metric: str
    """shift | tpp"""
    variant: str
    """As in ``variants.Place``."""
    n: int | None
    """None for an area."""
    control: Control


@dataclass(frozen=True)
class SaeResult:
    """Everything about one SAE."""

    sae: str
    about: Mapping[str, object] = field(default_factory=dict)
    """Architecture, width, hook and training facts, as the SAE's files give them."""
    selection: str = ""
    unsupervised: Mapping[str, float | None] = field(default_factory=dict)
    """l0, explained_variance, dead and tokens on these texts."""
    shift: ShiftResult | None = None
    tpp: TppResult | None = None
    controls: tuple[Placed, ...] = ()
    warnings: tuple[str, ...] | None = None
    """A sentence for each control that a headline score does not beat; None where no controls were scored."""
    error: str = ""
    """Why there are no scores."""
    notes: tuple[str, ...] = ()
    """What a reader must know about the SAE on this model before its scores."""


@dataclass(frozen=True)
class DeletedWords:
    """The control that deletes the words that predict the spurious label, in one direction."""

    words: tuple[str, ...]
    score: Estimate


@dataclass(frozen=True)
class AreaDifference:
    """The recommended score of one SAE minus that of another, over the same refits."""

    metric: str
    a: str
    b: str
    variant: str
    score: Estimate


@dataclass(frozen=True)
class RunResult:
    """Everything a run reports."""

    config: RunConfig
    model: ModelAbout
    task: TaskAbout
    probes: tuple[DirectionProbes, ...]
    saes: tuple[SaeResult, ...]
    versions: Mapping[str, str]
    deleted_words: Mapping[str, DeletedWords] = field(default_factory=dict)
    """Direction -> what was deleted; empty without that control."""
    refit_differences: tuple[AreaDifference, ...] | None = None
    """None without refits."""
    rivals: tuple[LossPath, ...] = ()
    """Paths of other dictionaries on test; empty where they were not asked for."""

    def with_saes(self, saes: Sequence[SaeResult]) -> "RunResult":
        """The same run with these results of its SAEs."""
        return replace(self, saes=tuple(saes))

    @property
    def small(self) -> bool:
        """The texts are too few to separate SAEs well."""
        return bool(self.task.small)


def require_shapes(result: RunResult) -> RunResult:
    """The same result. ValueError unless its lists are as long as each other and every set has a score on test."""
    for sae in result.saes:
        for direction in sae.shift.directions if sae.shift else ():
            _require_test(direction.pair, *(a.parts for a in direction.by_n))
        if sae.shift:
            _require_test("the mean over pairs", *sae.shift.aggregate.values(), *filter(None, [sae.shift.area]))
        if sae.tpp:
            _require_square(sae.tpp)
        if below := [n for n in _numbers(sae) if n < 1]:
            raise ValueError(f"a set of N = {below[0]} latents")
    return result


def _numbers(sae: SaeResult) -> Iterator[int]:
    """Every N that a result names."""
    for direction in sae.shift.directions if sae.shift else ():
        yield from (a.n for a in direction.by_n)
    yield from sae.shift.aggregate if sae.shift else ()
    yield from (a.n for a in sae.tpp.by_n) if sae.tpp else ()


def _require_test(what: str, *parts: Mapping[str, object]) -> None:
    if not parts or any("test" not in p for p in parts):
        raise ValueError(f"{what} has no score on test texts")


def _require_square(tpp: TppResult) -> None:
    m = len(tpp.classes)
    _require_test("TPP", *(a.parts for a in tpp.by_n), *filter(None, [tpp.area]))
    parts = [cell for a in tpp.by_n for cell in a.parts.values()]
    cells = [c for cell in parts for c in (cell, cell.mean_ablation, cell.fresh) if c is not None]
    lengths = {m, *(len(c.matrix) for c in cells), *(len(row) for c in cells for row in c.matrix)}
    lengths |= {len(a.n_ablated) for a in tpp.by_n} | {len(clean) for clean in tpp.clean.values()}
    lengths |= {len(own) for a in tpp.by_n for own in (a.ids, a.states) if own is not None}
    if lengths != {m} or m < 2 or len(set(tpp.classes)) < m:
        raise ValueError(f"TPP has {m} classes, but lists of {', '.join(map(str, sorted(lengths)))} values")
