"""From settings to boards: texts, recordings and probes, loaded where they are stored and made where not."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from saeeval_core.config import RunConfig
from saeeval_core.errors import DataError
from saeeval_core.evaluation.boards import Evaluation
from saeeval_core.recordings.obtain import (
    Recordings,
    draw_of,
    named_probe,
    needed_texts,
    obtain_recordings,
    task_set_of,
)
from saeeval_core.recordings.recording import LatentRecording, ResidualRecording
from saeeval_core.storage.kept import Shelves
from saeeval_core.texts.tasks import Draw, TaskSet

if TYPE_CHECKING:
    from saeeval_core.recordings.recorder import Progress


@dataclass(frozen=True, eq=False)
class Prepared:
    """Everything a run scores, before any latent is chosen."""

    config: RunConfig
    """With the probe hook that is used."""
    evaluation: Evaluation
    saes: list[LatentRecording]

    @property
    def residuals(self) -> ResidualRecording:
        """The residual recording of the pass."""
        return self.evaluation.residuals

    @property
    def task_set(self) -> TaskSet:
        """The texts and their tasks."""
        return self.evaluation.draw.task_set


def prepare(
    config: RunConfig, *, shipped: bool = True, on_progress: "Callable[[Progress], None] | None" = None
) -> Prepared:
    """Texts, recordings and boards of these settings; probes are trained when first used.

    DataError where the texts define no task or too few texts; ModelError, UnsupportedSAE, DataError or ConfigError
    where texts, model or SAEs cannot be used.
    """

    def obtain(task_set: TaskSet) -> Recordings:
        return obtain_recordings(config, task_set, config.saes, shipped=shipped, on_progress=on_progress)

    return prepared_with(config, drawn_texts(config, shipped=shipped), obtain, shipped=shipped)


def prepared_with(
    config: RunConfig, draw: Draw, obtain: Callable[[TaskSet], Recordings], *, shipped: bool = True
) -> Prepared:
    """The same of texts that are drawn already; ``obtain`` gives their recordings."""
    task_set = draw.task_set
    recordings = obtain(task_set)
    evaluation = evaluation_of(config, draw, recordings.residuals, shipped=shipped)
    if not evaluation.scores_shift and not evaluation.scores_tpp:
        raise DataError(
            f"'{task_set.texts.name}' defines no task for {', '.join(config.metrics)}; give --target and --spurious, "
            "or --classes"
        )
    return Prepared(named_probe(config, recordings), evaluation, recordings.latents)


def drawn_texts(config: RunConfig, *, shipped: bool = True) -> Draw:
    """The parts of the texts that are recorded for these settings. DataError for texts that cannot be used or are too few."""
    draw = draw_of(config, task_set_of(config))
    check_texts(config, draw)
    return draw_of(config, needed_texts(config, draw, shipped=shipped))


def evaluation_of(config: RunConfig, draw: Draw, residuals: ResidualRecording, *, shipped: bool = True) -> Evaluation:
    """The boards of these settings on a recording; probes are stored in the same folder."""
    kept = Shelves("recordings", shipped)
    return Evaluation(residuals, draw, config.metrics, config.seed, config.resamples, kept)


def check_texts(config: RunConfig, draw: Draw) -> None:
    """DataError when a quadrant has too few texts to train on; to be called before minutes are spent on a pass."""
    if "shift" in config.metrics:
        _ = draw.shift  # drawing them raises
