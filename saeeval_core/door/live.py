"""Ablate sets of latents by hand: exact answers in milliseconds, from the recording."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from html import escape

import numpy as np

from saeeval_core.errors import ConfigError, DataError, unknown_name
from saeeval_core.evaluation.boards import Direction, Evaluation
from saeeval_core.recordings.recording import LatentRecording
from saeeval_core.scores.ablation import ABLATIONS, MEAN
from saeeval_core.scores.erasure import Readable, ShiftErasure
from saeeval_core.scores.shift import ShiftLatents, ShiftScore
from saeeval_core.scores.tpp import TppLatents, TppScore
from saeeval_core.scores.uncertainty import Estimate, say
from saeeval_core.texts.parts import PART_NAMES, PARTS
from saeeval_core.wording import plural

Ids = Sequence[int] | np.ndarray
"""int[set]: latents to ablate."""


@dataclass(frozen=True, eq=False, repr=False)
class Ablated:
    """What one set of latents does when it is ablated in one direction."""

    ids: tuple[int, ...]
    part: str
    """ "dev" or "test"."""
    ablation: str
    """ "mean" or "zero": what the latents are set to."""
    shift: ShiftScore
    _erasure: ShiftErasure

    @property
    def score(self) -> Estimate:
        """S with its interval: 0 where nothing changes, 1 where the biased probe becomes the oracle."""
        return self.shift.score

    @property
    def accuracy(self) -> Estimate:
        """Of the biased probe on the target label, after ablation."""
        return self.shift.accuracy

    @property
    def worst_group(self) -> Estimate:
        """The same in the quadrant where it is lowest."""
        return self.shift.worst_group

    @cached_property
    def readable(self) -> Readable:
        """What fresh probes still read of both labels; the first call in a direction fits the clean ones."""
        return self._erasure.score(self.ids)

    @property
    def recoverability(self) -> Estimate:
        """R: the share of the spurious label that a fresh probe still reads."""
        return self.readable.recoverability

    @property
    def selective_erasure(self) -> Estimate:
        """E: the share lost of the spurious label minus the share lost of the target label."""
        return self.readable.score

    def __repr__(self) -> str:
        return f"<{plural(len(self.ids), 'latent')} to {self.ablation} on {self.part}: S {say(self.score)}; {self._erased()}>"

    def _erased(self) -> str:
        return f"E {say(self.selective_erasure)}, R {say(self.recoverability)}"

    def _repr_html_(self) -> str:
        of = escape(f"({self.part}, to {self.ablation})")
        return f"<div><b>S {escape(say(self.score))}</b> &middot; {escape(self._erased())} <small>{of}</small></div>"


@dataclass(frozen=True, eq=False, repr=False)
class ShiftDirection:
    """One direction of SHIFT: a target label to keep, a spurious one to remove."""

    direction: Direction
    _evaluation: Evaluation
    _latents: LatentRecording
    _views: dict[int, tuple[ShiftLatents, ShiftErasure]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Such as "nurse/surgeon not female/male"."""
        return f"{self.direction.task.target} not {self.direction.task.spurious}"

    @property
    def ranking(self) -> np.ndarray:
        """int64[ranked]: latent ids by falling attribution to the spurious label, from training texts."""
        return self._view(self._evaluation.parts[0])[0].attribute_ranking

    def ablate(self, ids: Ids, *, ablation: str = MEAN, part: str = "") -> Ablated:
        """The effect of ablating exactly these latents, int[set], on one part.

        ``part``: "dev" (where the protocol has it), on which latents may be chosen, or "test", which is for what was
        chosen. ``ablation``: "mean", over the probe's training texts, or "zero". DataError for latents that there are not.

        >>> direction = result.shift["profession"]
        >>> answer = direction.ablate(direction.ranking[:3])
        >>> answer
        <3 latents to mean on dev: S ...; E ..., R ...>
        >>> answer.score.ci[0] <= answer.score.value <= answer.score.ci[1]
        True
        >>> direction.ablate([99])
        Traceback (most recent call last):
        ...
        saeeval_core.errors.DataError: latent 99 does not exist: the SAE has the latents 0 to 31
        """
        own, code = checked(ids, self._latents), part_of(part, self._evaluation)
        view, erasure = self._view(code)
        return Ablated(own, PART_NAMES[code], ablation, view.under(_known(ablation)).score(own), erasure)

    def _view(self, part: int) -> tuple[ShiftLatents, ShiftErasure]:
        if part not in self._views:
            d, latents = self.direction, self._latents
            self._views[part] = (
                self._evaluation.shift_view(latents, d, part),
                self._evaluation.shift_erasure(latents, d, part),
            )
        return self._views[part]

    def __repr__(self) -> str:
        return f"<SHIFT direction '{self.name}': target {self.direction.task.target.column}>"


@dataclass(frozen=True, eq=False, repr=False)
class ShiftDirections(Sequence[ShiftDirection]):
    """Both directions of every pair: by number, or by the target's column or values, or by name.

    >>> result.shift
    <2 SHIFT directions: 'nurse/surgeon not female/male', 'female/male not nurse/surgeon'>
    >>> result.shift["gender"].name == result.shift[1].name == result.shift["female/male"].name
    True
    """

    _every: tuple[ShiftDirection, ...]

    def __len__(self) -> int:
        return len(self._every)

    def __iter__(self) -> Iterator[ShiftDirection]:
        return iter(self._every)

    def __getitem__(self, key: int | str) -> ShiftDirection:  # type: ignore[override]
        if not isinstance(key, str):
            return self._every[key]
        found = [d for d in self if key in (d.name, d.direction.task.target.column, str(d.direction.task.target))]
        if len(found) != 1:
            what = "several directions fit; name one" if found else ""
            raise DataError(unknown_name("direction", key, [d.name for d in found or self], what))
        return found[0]

    def __repr__(self) -> str:
        return f"<{len(self)} SHIFT directions: {', '.join(repr(d.name) for d in self)}>"


@dataclass(frozen=True, eq=False, repr=False)
class Classes:
    """TPP: one set of latents per class."""

    _evaluation: Evaluation
    _latents: LatentRecording
    _views: dict[int, TppLatents] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """The classes."""
        return self._evaluation.tpp_task.classes

    def ranking(self, name: str) -> np.ndarray:
        """int64[eligible]: latents that speak for a class, by falling attribution, from training texts."""
        return self._view(self._evaluation.parts[0]).rankings[self._number(name)]

    def ablate(self, sets: Mapping[str, Ids], *, ablation: str = MEAN, part: str = "") -> TppScore:
        """The matrix when ``sets[class]``, int[set], is ablated for each class; classes left out ablate nothing.

        ``part`` and ``ablation`` as in ``ShiftDirection.ablate``.

        >>> found = meals.tpp.ablate({name: meals.tpp.ranking(name)[:2] for name in meals.tpp.names})
        >>> len(found.matrix), found.n_ablated
        (3, (2, 2, 2))
        """
        own: list[tuple[int, ...]] = [()] * len(self.names)
        for name, ids in sets.items():
            own[self._number(name)] = checked(ids, self._latents)
        return self._view(part_of(part, self._evaluation)).under(_known(ablation)).score(own)

    def _number(self, name: str) -> int:
        if name not in self.names:
            raise DataError(unknown_name("class", name, self.names))
        return self.names.index(name)

    def _view(self, part: int) -> TppLatents:
        if part not in self._views:
            self._views[part] = self._evaluation.tpp_view(self._latents, part)
        return self._views[part]

    def __repr__(self) -> str:
        return f"<TPP of {', '.join(self.names)}>"


def checked(ids: Ids, latents: LatentRecording) -> tuple[int, ...]:
    """Latents int[set], each once. DataError for one that the SAE does not have or that is no whole number."""
    found = tuple(dict.fromkeys(np.asarray(ids).tolist())) if len(ids) else ()
    for i in found:
        if not isinstance(i, int) or isinstance(i, bool) or not 0 <= i < latents.n_latents:
            raise DataError(f"latent {i} does not exist: the SAE has the latents 0 to {latents.n_latents - 1}")
    return found


def part_of(name: str, evaluation: Evaluation) -> int:
    """The part of that name, by default the one to choose on. ConfigError for one that is not scored."""
    names = {PART_NAMES[p]: PARTS[PART_NAMES[p]] for p in evaluation.parts}
    if name and name not in names:
        raise ConfigError(unknown_name("part", name, names, f"protocol '{evaluation.protocol.name}'"))
    return names[name] if name else evaluation.parts[0]


def _known(ablation: str) -> str:
    if ablation not in ABLATIONS:
        raise ConfigError(unknown_name("ablation", ablation, ABLATIONS))
    return ablation
