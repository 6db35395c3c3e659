"""Commits: a set of latents with its test score and the settings of that score, for SHIFT and for TPP.

A person may look at dev scores as often as they like; a commit scores the set on test once and stores the score with
the number of dev scores seen before. Commits of earlier versions lack some settings: those read as "" or None.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from saeeval_core.config import get_protocol
from saeeval_core.errors import ArtifactError, DataError
from saeeval_core.ledger.commit_rows import Commit
from saeeval_core.ledger.decisions import DecisionSet
from saeeval_core.ledger.store import Store
from saeeval_core.scores.shift import ShiftLatents, ShiftScore
from saeeval_core.scores.tpp import TppLatents, TppScore
from saeeval_core.scores.uncertainty import Estimate
from saeeval_core.texts.parts import DEV, PART_NAMES, scored_parts

Json = Mapping[str, object]


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

    def to_json(self) -> Json:
        """JSON values as the store keeps them."""
        estimates = {name: getattr(self, name).to_dict() for name in _SHIFT_ESTIMATES}
        return {
            **self.settings.to_json(),
            "n_ablated": self.n_ablated,
            "worst_group_name": self.worst_group_name,
            **estimates,
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
        }


_SHIFT_ESTIMATES = ("score", "accuracy", "worst_group", "leakage", "base", "oracle")
_TPP_ESTIMATES = ("score", "intended", "unintended")


def commit_shift(
    store: Store,
    chosen: DecisionSet,
    who: str,
    view: ShiftLatents,
    ids: Sequence[int],
    ablation: str,
    protocol: str,
    seed: int,
) -> ShiftCommit:
    """Score these latents under ``ablation`` and store the result with the set; ``view``: its direction on test.

    DataError for an empty set, for a set of TPP, and under a protocol without a dev part: there, what was seen while
    deciding was test already.
    """
    _check(chosen, "shift", ids)
    if DEV not in scored_parts(get_protocol(protocol)):
        raise DataError(f"protocol '{protocol}' has no dev part: what you see is test already; commit under robust")
    settings = Settings(PART_NAMES[view.board.part], ablation, protocol, seed, view.recording.probed)
    made = _shift(settings, view.under(ablation).score(ids), view)
    store.commit(chosen.id, who, ids, made.to_json())
    return made


def commit_tpp(
    store: Store,
    chosen: Sequence[DecisionSet],
    who: str,
    view: TppLatents,
    ids: Sequence[Sequence[int]],
    n: int,
    ablation: str,
    protocol: str,
    seed: int,
) -> TppCommit:
    """Score ``ids``, one set per class, under ``ablation`` and store the result with each class's set.

    ``view``: all probes on test. ``chosen`` and ``ids`` follow the order of the task's classes; ``n``: latents taken
    from each ranking. DataError when nothing is ablated for any class, and for a set of SHIFT.
    """
    for stored in chosen:
        _check(stored, "tpp", [i for own in ids for i in own])
    settings = Settings(PART_NAMES[view.board.part], ablation, protocol, seed, view.recording.probed)
    score = view.under(ablation).score(ids)
    looks = max((store.dev_looks(s.id) for s in chosen), default=0)
    made = _tpp(settings, score, uuid.uuid4().hex, n, looks)
    for stored, own in zip(chosen, ids, strict=True):
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
        )
    except (KeyError, TypeError, ValueError) as error:
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
        )
    except (KeyError, TypeError, ValueError) as error:
        raise _unreadable(commit, error) from None


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
