"""The attribute-token deletion control: a second pass over the scored texts without the words that tell the spurious label."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from saeeval_core.config import RunConfig, cache_dir, fingerprint
from saeeval_core.controls.controls import attribute_words, edited_score, without_words
from saeeval_core.evaluation.prepare import DirectionBoards, recording_key
from saeeval_core.recordings.recording import ResidualRecording, find_residuals, save_residuals
from saeeval_core.scores.shift import ShiftScore
from saeeval_core.texts.sources import TaskSet
from saeeval_core.texts.tasks import TEST


def word_deletions(
    config: RunConfig, task_set: TaskSet, hook: str, directions: Sequence[DirectionBoards]
) -> list[tuple[list[str], ShiftScore]]:
    """Per direction: the deleted words and the test score without them. The pass is kept in the cache folder.

    Only scored texts are read again, through the language model alone.
    """
    texts = task_set.texts.texts
    boards = [d.boards[TEST] for d in directions]
    words = [attribute_words(texts, board) for board in boards]
    edited = [without_words([texts[r] for r in board.rows], own) for board, own in zip(boards, words, strict=True)]
    recording = _record(config, hook, [t for own in edited for t in own])
    parts = np.split(recording.residuals, np.cumsum([len(own) for own in edited])[:-1])
    return [(own, edited_score(board, rows)) for own, board, rows in zip(words, boards, parts, strict=True)]


def _record(config: RunConfig, hook: str, texts: Sequence[str]) -> ResidualRecording:
    print_ = fingerprint(["edited texts", list(texts)])
    key = replace(recording_key(config, hook, print_), storage="float32")
    found = find_residuals(key)
    if found is not None:
        return found
    from saeeval_core.models.language_model import load_model
    from saeeval_core.recordings.recorder import record

    folder = cache_dir() / "recordings"
    model = load_model(config.model, device=config.device, dtype=config.dtype)
    partial = folder / "partial" / key.fingerprint
    residuals, _ = record(model, hook, texts, print_, [], storage="float32", partial=partial)
    save_residuals(residuals, folder)
    return residuals
