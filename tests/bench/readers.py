"""Readers of ablated residuals compared: how much each still reads, and what a set costs.

    python tests/bench/readers.py                                  # bundled tasks and the development worlds, on dev texts
    python tests/bench/readers.py --shape 4000x2304                # only the time of a set, on texts of that shape

Accuracies are balanced, means over both labels' roles and all directions. "kept" is the ratio of what lies above a half.
"""

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from statistics import median

import numpy as np

from saeeval_core.config import PROTOCOLS, RunConfig
from saeeval_core.evaluation.boards import Evaluation
from saeeval_core.evaluation.prepare import prepare
from saeeval_core.planted.damaged import damaged_saes
from saeeval_core.planted.settings import DEVELOPMENT
from saeeval_core.planted.validate import world_tasks
from saeeval_core.planted.world import build_world
from saeeval_core.recordings.recording import LatentRecording
from saeeval_core.scores.erasure import ShiftErasure
from saeeval_core.scores.readers import READERS, Edit, Ground
from saeeval_core.texts.parts import DEV
from saeeval_core.texts.tasks import Draw

NS = (0, 5, 20, 50)


def bundled(tasks: Sequence[str]) -> Iterator[tuple[str, Evaluation, LatentRecording]]:
    """The default SAE on bundled tasks."""
    for task in tasks:
        prepared = prepare(RunConfig(task=task, metrics=("shift",)))
        yield task, prepared.evaluation, prepared.saes[0]


def planted() -> Iterator[tuple[str, Evaluation, LatentRecording]]:
    """The perfect SAE and one whose latents are merged, in the development worlds."""
    for config in DEVELOPMENT:
        world = build_world(config)
        evaluation = Evaluation(world.residuals, Draw(world_tasks(world), PROTOCOLS["robust"], 0), resamples=2)
        for sae in damaged_saes(world)[:2]:
            yield f"{config.name}, {sae.name}", evaluation, sae.record(world)[0]


def compare(name: str, evaluation: Evaluation, latents: LatentRecording, readers: Sequence[str]) -> None:
    """Print a line per reader and N."""
    views = [(evaluation.shift_view(latents, d, DEV), d) for d in evaluation.directions]
    for reader in readers:
        for n in NS:
            spurious, target, seconds = [], [], []
            for view, direction in views:
                board = replace(direction.fresh[DEV], reader=reader)
                own = ShiftErasure(board, evaluation.shift_erasure(latents, direction, DEV).codes)
                _ = board.clean
                start = time.perf_counter()
                found = own.score(view.attribute_ranking[:n])
                seconds.append(time.perf_counter() - start)
                spurious.append(found.fresh.value)
                target.append(found.fresh_target.value)
            print(
                f"{name:40} {reader:9} N={n:<3} spurious {np.mean(spurious):.3f}  target {np.mean(target):.3f}  "
                f"{1000 * median(seconds):7.1f} ms a set",
                flush=True,
            )


def timed(texts: int, d: int, readers: Sequence[str], repeats: int) -> None:
    """Print what a set costs at a shape: two labels, made-up texts whose spectrum falls like a language model's."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, (texts, 2)).astype(bool)
    rows = rng.normal(size=(50, d)) / np.sqrt(d)
    codes = np.maximum(rng.normal(size=(texts, 50)), 0) * (rng.random((texts, 50)) < 0.3)
    codes[:, :20] += labels[:, :1] * rng.random((texts, 20))
    residuals = (rng.normal(size=(texts, d)) * np.arange(1, d + 1) ** -0.5 + codes @ rows).astype(np.float32)
    start = time.perf_counter()
    ground = Ground.of(residuals, labels, np.ones(texts), (0.1, 0.1))
    ground.fit(ground.nothing)
    print(f"{texts} texts x {d}: once {time.perf_counter() - start:.1f} s", flush=True)
    for reader in readers:
        for k in (5, 20, 50):
            seconds = []
            for _ in range(repeats if reader == READERS[0] else 1):
                start = time.perf_counter()
                ground.fit(Edit(codes[:, :k], rows[:k]), reader)
                seconds.append(time.perf_counter() - start)
            print(f"  {reader:9} {k:3} latents: {1000 * median(seconds):7.1f} ms", flush=True)


def main() -> None:
    """Parse the options and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", default="bios,reviews,news")
    parser.add_argument("--readers", default=",".join(READERS))
    parser.add_argument("--shape", default="", help="TEXTSxDIMENSIONS: print only the time of a set")
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    readers = given.readers.split(",")
    if given.shape:
        texts, d = map(int, given.shape.split("x"))
        timed(texts, d, readers, given.repeats)
        return
    for name, evaluation, latents in (*bundled([t for t in given.tasks.split(",") if t]), *planted()):
        compare(name, evaluation, latents, readers)


if __name__ == "__main__":
    main()
