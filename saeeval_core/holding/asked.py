"""The set to follow: of SHIFT in one direction, of TPP one per class."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from saeeval_core.errors import ConfigError
from saeeval_core.evaluation.boards import Direction, Evaluation
from saeeval_core.recordings.recording import LatentRecording
from saeeval_core.scores.shift import ShiftLatents
from saeeval_core.scores.tpp import TppLatents
from saeeval_core.texts.labelled import LabelledTexts
from saeeval_core.texts.parts import TEST


@dataclass(frozen=True)
class AskedSet:
    """A set of SHIFT, in one direction on one part."""

    direction: Direction
    ids: tuple[int, ...]
    ablation: str
    """One of ``ablation.ABLATIONS``."""
    part: int = TEST

    def view(self, evaluation: Evaluation, latents: LatentRecording) -> ShiftLatents:
        """The SAE in this direction on this part, under this ablation."""
        return evaluation.shift_view(latents, self.direction, self.part).under(self.ablation)

    def identity(self, _evaluation: Evaluation) -> list[Any]:
        """Everything a result depends on besides SAE, probes and hooks; JSON values."""
        task = self.direction.task
        return [task.identity, task.direction, self.ablation, self.part, sorted(self.ids)]


@dataclass(frozen=True)
class AskedClasses:
    """One set per class of TPP, on one part."""

    sets: tuple[tuple[int, ...], ...]
    """In the order of the classes."""
    followed: tuple[int, ...]
    """The classes whose sets are followed, ascending: a pass through the model for each."""
    ablation: str
    part: int = TEST

    def view(self, evaluation: Evaluation, latents: LatentRecording) -> TppLatents:
        """The SAE with all probes on this part, under this ablation."""
        return evaluation.tpp_view(latents, self.part).under(self.ablation)

    def identity(self, evaluation: Evaluation) -> list[Any]:
        """As ``AskedSet.identity``."""
        own = [[i, sorted(self.sets[i])] for i in self.followed]
        return [evaluation.tpp_task.identity, "tpp", self.ablation, self.part, own]


Asked = AskedSet | AskedClasses


def asked_key(
    evaluation: Evaluation, latents: LatentRecording, asked: Asked, hooks: Sequence[str], general: LabelledTexts | None
) -> list[Any]:
    """Everything that a stored result depends on; ``general``: the text on which damage is measured, if it is."""
    scored = [asdict(evaluation.protocol), evaluation.seed, evaluation.resamples]
    return [
        latents.scored_fingerprint,
        *asked.identity(evaluation),
        *scored,
        list(hooks),
        general.fingerprint if general else "",
    ]


def check_protocol(evaluation: Evaluation) -> None:
    """ConfigError for a protocol that no forward pass can follow."""
    if evaluation.protocol.imitate_padding_leak:
        raise ConfigError("a forward pass has no padding leak; use --protocol robust")
