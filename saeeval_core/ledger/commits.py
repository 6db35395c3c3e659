"""Commits: a set of latents with its test score and the settings of that score, for SHIFT and for TPP.

A person may look at dev scores as often as they like; a commit scores the set on test once and stores the score with
the number of dev scores seen before. Commits of earlier versions lack some settings: those read as "" or None.
"""

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from saeeval_core.config import get_protocol
from saeeval_core.errors import ArtifactError, DataError
from saeeval_core.evaluation.erased import NOT_MEASURED, erasure_of_classes, erasure_of_set, fresh_probes
from saeeval_core.evaluation.estimate_json import erasure_json, erasure_of, fresh_json, fresh_of
from saeeval_core.evaluation.result import Erasure, FreshProbes
from saeeval_core.ledger.commit_rows import Commit
from saeeval_core.ledger.decisions import DecisionSet
from saeeval_core.ledger.store import Store
from saeeval_core.scores.edit_size import Whitening
from saeeval_core.scores.erasure import ShiftErasure, TppErasure
from saeeval_core.scores.shift import ShiftLatents, ShiftScore
from saeeval_core.scores.tpp import TppLatents, TppScore
from saeeval_core.scores.uncertainty import Estimate, say
from saeeval_core.texts.parts import DEV, PART_NAMES, scored_parts
from saeeval_core.wording import short_time

Json = Mapping[str, object]


@dataclass(frozen=True)
class Under:
    """What a person chooses for a commit, besides the set."""

    ablation: str
    """"zero" or "mean"."""
    protocol: str
    """Its name."""
    seed: int

    def settings(self, view: ShiftLatents | TppLatents) -> "Settings":
        """With what the scored texts and the recording say."""
        part = PART_NAMES[view.board.part]
        return Settings(part, self.ablation, self.protocol, self.seed, view.recording.probed)


@dataclass(frozen=True)
class Settings:
    """What a score depends on, besides the set."""

    part: str
    """"test", or "dev"."""
    ablation: str
    """"zero" or "mean"."""
    protocol: str
    """Its name; "" in SHIFT commits of earlier versions."""
    seed: int | None
    """None in commits of earlier versions."""
    probe_hook: str = ""
    """Hook that the probes read; "" is the hook that the SAE reads."""

    def to_json(self) -> Json:
        """JSON values as the store keeps them; a probe hook stands there if it is another than the SAE's."""
        return {name: value for name, value in vars(self).items() if name != "probe_hook" or value}


@dataclass(frozen=True)
class ShiftCommit:
    """Score of one set in one direction."""

    settings: Settings
    n_ablated: int
    score: Estimate
    """S_SHIFT."""
    accuracy: Estimate
    """C_b's accuracy on the target label after ablation."""
    worst_group: Estimate
    worst_group_name: str
    leakage: Estimate
    base: Estimate
    oracle: Estimate
    erasure: Erasure | None = None
    """R of the spurious label, E and edit size; None in commits of earlier versions, as ``fresh`` and the edit size."""
    fresh: FreshProbes | None = None
    """Behind it, with R of the target label."""

    @property
    def gone(self) -> str:
        """R of both labels, E and edit size in words."""
        if self.erasure is None:
            return f"R, E and edit size {NOT_MEASURED}"
        target = NOT_MEASURED if self.fresh is None else say(self.fresh.recoverability_target)
        kept, erased = say(self.erasure.recoverability), say(self.erasure.selective_erasure)
        return f"E {erased}; still readable: R spurious {kept}, R target {target}; {_edited(self.erasure)}"

    def to_json(self) -> Json:
        """JSON values as the store keeps them."""
        estimates = {name: getattr(self, name).to_dict() for name in _SHIFT_ESTIMATES}
        return {
            **self.settings.to_json(),
            "n_ablated": self.n_ablated,
            "worst_group_name": self.worst_group_name,
            **estimates,
            **erasure_json(self.erasure),
            **({} if self.fresh is None else {"fresh_probes": fresh_json(self.fresh)}),
        }


@dataclass(frozen=True)
class TppCommit:
    """Scores of one set per class, committed at once."""

    settings: Settings
    batch: str
    """Id that the commits of all classes share."""
    n: int
    """Latents taken from the ranking per class, before a person's changes."""
    dev_looks: int
    """Number of dev scores seen before, of the class with the most."""
    n_ablated: tuple[int, ...]
    score: Estimate
    intended: Estimate
    unintended: Estimate
    matrix: tuple[tuple[Estimate, ...], ...]
    """[ablated class][probe]: loss of balanced accuracy."""
    erasure: Erasure | None = None
    """R of the classes whose latents are ablated, the score of fresh probes and the mean edit size over classes; None in
    commits of earlier versions, as the edit size."""
    reader: str = ""
    """What read it."""

    @property
    def gone(self) -> str:
        """R, the score of fresh probes and edit size in words."""
        if self.erasure is None:
            return f"fresh probes and edit size {NOT_MEASURED}"
        kept, erased = say(self.erasure.recoverability), say(self.erasure.selective_erasure)
        return f"TPP of fresh probes {erased}; still readable: R of the own class {kept}; {_edited(self.erasure)}"

    def to_json(self) -> Json:
        """JSON values as the store keeps them, in the row of every class."""
        return {
            **self.settings.to_json(),
            "batch": self.batch,
            "n": self.n,
            "dev_looks": self.dev_looks,
            "n_ablated": list(self.n_ablated),
            **{name: getattr(self, name).to_dict() for name in _TPP_ESTIMATES},
            "matrix": [[e.to_dict() for e in row] for row in self.matrix],
            **erasure_json(self.erasure),
            **({"reader": self.reader} if self.reader else {}),
        }


_SHIFT_ESTIMATES = ("score", "accuracy", "worst_group", "leakage", "base", "oracle")
_TPP_ESTIMATES = ("score", "intended", "unintended")


def commit_shift(
    store: Store,
    chosen: DecisionSet,
    who: str,
    view: ShiftLatents,
    fresh: ShiftErasure,
    whitening: Whitening,
    ids: Sequence[int],
    under: Under,
) -> ShiftCommit:
    """Score these latents and store the result with the set; ``view``, ``fresh``: its direction on test.

    ``whitening``: of the direction's training texts, against which the size of the edit is measured.

    DataError for an empty set, for one that is committed as it is, for a set of TPP, and under a protocol without a dev
    part: there, what was seen while deciding was test already.
    """
    _check(chosen, "shift", ids)
    if DEV not in scored_parts(get_protocol(under.protocol)):
        raise DataError(
            f"protocol '{under.protocol}' has no dev part: what you see is test already; commit under robust"
        )
    made = _shift(under.settings(view), view.under(under.ablation).score(ids), view)
    read, size = fresh.score(ids), whitening.edit_size(fresh.codes.edits(ids)[1])
    made = replace(made, erasure=erasure_of_set(read, size), fresh=fresh_probes(read))
    _refuse_again([_same_before(store, chosen, ids, made.to_json())])
    store.commit(chosen.id, who, ids, made.to_json())
    return made


def commit_tpp(
    store: Store,
    chosen: Sequence[DecisionSet],
    who: str,
    view: TppLatents,
    fresh: TppErasure,
    whitening: Whitening,
    ids: Sequence[Sequence[int]],
    n: int,
    under: Under,
) -> TppCommit:
    """Score ``ids``, one set per class, and store the result with each class's set.

    ``view``, ``fresh``: all probes on test; ``whitening``: of all training texts. ``chosen`` and ``ids`` follow the order of
    the task's classes; ``n``: latents taken from each ranking. DataError when nothing is ablated for any class, when all is
    committed as it is, and for a set of SHIFT.
    """
    for stored in chosen:
        _check(stored, "tpp", [i for own in ids for i in own])
    looks = max((store.dev_looks(s.id) for s in chosen), default=0)
    made = _tpp(under.settings(view), view.under(under.ablation).score(ids), uuid.uuid4().hex, n, looks)
    erasure = erasure_of_classes(fresh.score(ids), fresh, ids, whitening)
    made = replace(made, erasure=erasure, reader=fresh.board.reader)
    every = list(zip(chosen, ids, strict=True))
    _refuse_again([_same_before(store, stored, own, made.to_json()) for stored, own in every])
    for stored, own in every:
        store.commit(stored.id, who, own, made.to_json())
    return made


def read_shift(commit: Commit) -> ShiftCommit:
    """The content of a SHIFT commit. ArtifactError when the row holds something else."""
    try:
        test = commit.test
        return ShiftCommit(
            _settings(test),
            int(test["n_ablated"]),
            worst_group_name=str(test["worst_group_name"]),
            **{name: Estimate.of_dict(test[name]) for name in _SHIFT_ESTIMATES},
            erasure=erasure_of(test),
            fresh=fresh_of(test.get("fresh_probes")),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _unreadable(commit, error) from None


def read_tpp(commit: Commit) -> TppCommit:
    """The content of a TPP commit, for all classes. ArtifactError when the row holds something else."""
    try:
        test = commit.test
        return TppCommit(
            _settings(test),
            str(test["batch"]),
            int(test["n"]),
            int(test["dev_looks"]),
            tuple(int(k) for k in test["n_ablated"]),
            matrix=tuple(tuple(Estimate.of_dict(e) for e in row) for row in test["matrix"]),
            **{name: Estimate.of_dict(test[name]) for name in _TPP_ESTIMATES},
            erasure=erasure_of(test),
            reader=str(test.get("reader", "")),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _unreadable(commit, error) from None


def read_commit(commit: Commit, metric: str) -> ShiftCommit | TppCommit:
    """``read_shift`` or ``read_tpp``: the content of a commit of a set of this metric."""
    return (read_shift if metric == "shift" else read_tpp)(commit)


def _edited(erasure: Erasure) -> str:
    size = erasure.edit_size
    return f"edit size {NOT_MEASURED if size is None else format(size, '.4f')}"


def _shift(settings: Settings, score: ShiftScore, view: ShiftLatents) -> ShiftCommit:
    return ShiftCommit(
        settings,
        score.n_ablated,
        score.score,
        score.accuracy,
        score.worst_group,
        score.worst_group_name,
        score.leakage,
        view.board.base,
        view.board.oracle,
    )


def _tpp(settings: Settings, score: TppScore, batch: str, n: int, looks: int) -> TppCommit:
    return TppCommit(
        settings,
        batch,
        n,
        looks,
        score.n_ablated,
        score.score,
        score.intended,
        score.unintended,
        tuple(map(tuple, score.matrix)),
    )


def _check(chosen: DecisionSet, metric: str, ids: Sequence[int]) -> None:
    if chosen.metric != metric:
        raise DataError(f"set '{chosen.name}' is for {chosen.metric.upper()}; commit it with that score")
    if not len(ids):
        raise nothing_ablated()


def _same_before(store: Store, chosen: DecisionSet, ids: Sequence[int], test: Json) -> Commit | None:
    """The commit of this set that holds these latents with this score under these settings already."""
    now, latents = _told(test), tuple(sorted(int(i) for i in ids))
    return next((c for c in store.commits(chosen.id) if c.ids == latents and _told(c.test) == now), None)


def _told(test: Json) -> Json:
    """What a commit says of its set, as the store gives it back: without the number of its batch and the looks before."""
    return json.loads(json.dumps({k: v for k, v in test.items() if k not in ("batch", "dev_looks")}))


def _refuse_again(before: Sequence[Commit | None]) -> None:
    """DataError where every set is committed already as it is: its test score is known, and stands."""
    found = [c for c in before if c is not None]
    if len(found) == len(before):
        last = max(found, key=lambda c: c.id)
        raise DataError(
            f"this set was committed as it is by {last.who} on {short_time(last.at)} and its test score "
            "stands; change the set or the settings to commit again"
        )


def nothing_ablated() -> DataError:
    """An empty set has no score."""
    return DataError("nothing is ablated in this set; ablate at least one latent first")


def _settings(test: Mapping[str, object]) -> Settings:
    seed = test.get("seed")
    ablation = str(test.get("ablation", "zero"))  # the first TPP commits knew no other
    seed = seed if isinstance(seed, int) else None
    return Settings(str(test["part"]), ablation, str(test.get("protocol", "")), seed, str(test.get("probe_hook", "")))


def _unreadable(commit: Commit, error: Exception) -> ArtifactError:
    return ArtifactError(f"commit {commit.id} in the store cannot be read ({error!r}); commit the set again")
