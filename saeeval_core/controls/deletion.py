"""The word-deletion control: a second pass over the scored texts without the words that predict the spurious label."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from saeeval_core.config import RunConfig, fingerprint
from saeeval_core.controls.about import TOP_WORDS
from saeeval_core.controls.leace import edited_score
from saeeval_core.evaluation.boards import Evaluation
from saeeval_core.recordings.keep import keep_recordings, partial_state
from saeeval_core.recordings.obtain import recording_key
from saeeval_core.recordings.recording import ResidualRecording, find_residuals
from saeeval_core.scores.shift import ShiftBoard, ShiftScore
from saeeval_core.texts.parts import TEST

_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?", re.UNICODE)


def attribute_words(texts: Sequence[str], view: ShiftBoard, *, top: int = TOP_WORDS, prior: float = 1.0) -> list[str]:
    """Words that predict the spurious label: the ``top`` largest standardised |log odds ratio| of document frequency.

    ``texts``: all texts of the recording. Counted on the balanced training texts, once per text, in lower case, with
    ``prior`` added to every count; words in fewer than 5 texts are left out. The ratio is divided by its standard
    error, so that rare words do not win.
    """
    task, training = view.task, view.probes.training
    counts = {True: Counter[str](), False: Counter[str]()}
    sizes = Counter[bool]()
    for i in training.balanced:
        label = bool(task.spurious_label[i])
        counts[label].update({w.lower() for w in _WORD.findall(texts[task.rows[i]])})
        sizes[label] += 1
    scores = {}
    for word in counts[True] | counts[False]:
        a, b = counts[True][word], counts[False][word]
        if a + b < 5:
            continue
        up, down = a + prior, b + prior
        rest_up, rest_down = sizes[True] - a + prior, sizes[False] - b + prior
        odds = np.log(up / rest_up) - np.log(down / rest_down)
        scores[word] = abs(odds) / np.sqrt(1 / up + 1 / down + 1 / rest_up + 1 / rest_down)
    return sorted(scores, key=lambda w: (-scores[w], w))[:top]


def without_words(texts: Sequence[str], words: Sequence[str]) -> list[str]:
    """The texts with these words deleted, in any case. A text that would be left without a word keeps a full stop."""
    gone = {w.lower() for w in words}

    def cut(match: re.Match[str]) -> str:
        return "" if match.group().lower() in gone else match.group()

    return [re.sub(r"[ \t]{2,}", " ", _WORD.sub(cut, t)).strip() or "." for t in texts]


def word_deletions(config: RunConfig, evaluation: Evaluation) -> list[tuple[list[str], ShiftScore]]:
    """Per direction: the deleted words and the test score without them; the extra recording is kept on disk.

    Only the scored texts are read again, by the language model alone. Raises what loading the model raises.
    """
    texts = evaluation.draw.task_set.texts.texts
    boards = [d.boards[TEST] for d in evaluation.directions]
    words = [attribute_words(texts, board) for board in boards]
    edited = [without_words([texts[r] for r in board.rows], own) for board, own in zip(boards, words, strict=True)]
    recording = _record(config, evaluation.residuals.key.hook, [t for own in edited for t in own])
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

    model = load_model(config.model, device=config.device, dtype=config.dtype, kernel=config.kernel)
    with partial_state(key.fingerprint) as partial:
        residuals, _ = record(model, hook, texts, print_, [], storage="float32", partial=partial)
        keep_recordings([residuals], [], partial)
    return residuals
