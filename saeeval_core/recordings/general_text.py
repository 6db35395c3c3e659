"""Pooled residuals of general text, where such a recording exists: nothing is recorded here."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from saeeval_core.config import RunConfig
from saeeval_core.errors import DataError
from saeeval_core.recordings.obtain import GENERAL, recording_key
from saeeval_core.recordings.recording import ResidualRecording, find_residuals
from saeeval_core.texts.labelled import LabelledTexts
from saeeval_core.texts.news import general_texts, news


@dataclass(frozen=True, eq=False)
class GeneralText:
    """A recording of texts that are not about a task."""

    residuals: ResidualRecording
    about: str
    """The texts, in words."""


def general_text(config: RunConfig, hook: str, *, shipped: bool = True) -> GeneralText | None:
    """The stored recording of general text at a hook of the model: windows of news articles, or else the ``news`` texts.

    None where neither is stored or the articles are not installed, and where they are the task's own texts.
    """
    if not config.texts and config.task.split(":")[0] in (GENERAL, "news"):
        return None
    for name, texts in _SOURCES.items():
        try:
            found = texts()
        except DataError:
            return None
        key = recording_key(replace(config, task=name, texts=""), hook, found.fingerprint)
        residuals = find_residuals(key, shipped=shipped)
        if residuals is not None:
            return GeneralText(residuals, f"{found.source or found.name}, {len(found.texts):,} texts")
    return None


_SOURCES: dict[str, Callable[[], LabelledTexts]] = {GENERAL: general_texts, "news": lambda: news().texts}
