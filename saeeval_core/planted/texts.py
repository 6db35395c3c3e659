"""Planted texts: bags of 8-120 tokens of a generator in which the concepts of the text's labels are frequent."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from saeeval_core.config import MAX_TOKENS
from saeeval_core.planted.settings import WorldConfig
from saeeval_core.texts.parts import DEV, TEST, TRAIN
from saeeval_core.texts.tasks import Contrast, ShiftTask, TppTask

LENGTHS = (8, 120)
"""Valid tokens of a planted text, from and to."""
assert LENGTHS[1] < MAX_TOKENS


class TextDraw:
    """Draws texts, one after another, as bags of tokens of one part."""

    def __init__(
        self, config: WorldConfig, on: np.ndarray, tokens: Mapping[int, int], rng: np.random.Generator
    ) -> None:
        """``on``: bool[tokens, concepts], tokens that have a concept; ``tokens``: part -> how many tokens, in order."""
        self.config, self.on, self.rng = config, on, rng
        self.texts: list[np.ndarray] = []
        edges = np.cumsum([0, *tokens.values()])
        self.part_tokens = {part: (edges[i], edges[i + 1]) for i, part in enumerate(tokens)}
        self._pools: dict[Any, np.ndarray] = {}

    def shift(self, pair: int) -> ShiftTask:
        """Texts of one SHIFT pair, ``per_quadrant`` for each combination of its two labels."""
        width = 2 if self.config.two_sided else 1
        t, a = 2 * width * pair, 2 * width * pair + width
        each = self.config.per_quadrant
        quadrant = np.repeat(np.arange(4), each)
        part = np.tile(self._parts(each), 4)
        first = len(self.texts)
        for q, p in zip(quadrant, part, strict=True):
            labels = {}
            sides = (t, bool(q // 2), self.config.target_rate), (a, bool(q % 2), self.config.spurious_rate)
            for concept, yes, rate in sides:
                labels[concept] = (yes, rate)
                if self.config.two_sided:
                    labels[concept + 1] = (not yes, rate)
            self._text(int(p), labels)
        rows = np.arange(first, len(self.texts))
        target, spurious = Contrast(f"concept {t}", "on", "off"), Contrast(f"concept {a}", "on", "off")
        return ShiftTask(target, spurious, rows, quadrant // 2 == 1, quadrant % 2 == 1, part)

    def tpp(self, start: int) -> TppTask:
        """Texts of the TPP classes, ``per_class`` each; their concepts begin at number ``start``."""
        m, each = self.config.classes, self.config.per_class
        label, part = np.repeat(np.arange(m), each), np.tile(self._parts(each), m)
        first = len(self.texts)
        for c, p in zip(label, part, strict=True):
            self._text(int(p), {start + k: (k == c, self.config.target_rate) for k in range(m)})
        names = tuple(f"concept {start + k}" for k in range(m))
        return TppTask("concept", names, np.arange(first, len(self.texts)), label, part)

    def _parts(self, n: int) -> np.ndarray:
        part = np.full(n, TRAIN, dtype=np.uint8)
        part[: n // 5], part[n // 5 : 2 * (n // 5)] = DEV, TEST
        return part

    def _text(self, part: int, labels: Mapping[int, tuple[bool, float]]) -> None:
        """Tokens with each concept that is on, the rest as the generator makes them.

        A token drawn for one concept has no concept whose label is off. The share of a concept varies from text to
        text, and a tenth of its rate occurs even when it is off, so that no probe is perfect. Two random other groups
        get a tenth of the tokens each: a text's topic.
        """
        n = int(self.rng.integers(LENGTHS[0], LENGTHS[1] + 1))
        off = tuple(k for k, (yes, _) in labels.items() if not yes)
        kept, left = [], n
        for concept, (yes, rate) in labels.items():
            share = self.rng.beta(2, 2 / rate - 2) if yes else 0.0
            count = min(left, int(self.rng.binomial(n, min(1.0, share + rate / 10))))
            kept.append(self._tokens(part, concept, tuple(k for k in off if k != concept), count))
            left -= count
        for topic in self.rng.choice(self.on.shape[1], 2):
            if topic not in labels:
                count = min(left, n // 10)
                kept.append(self._tokens(part, int(topic), off, count))
                left -= count
        low, high = self.part_tokens[part]
        kept.append(self.rng.integers(low, high, left))
        self.texts.append(np.concatenate(kept))

    def _tokens(self, part: int, concept: int, without: tuple[int, ...], count: int) -> np.ndarray:
        key = (part, concept, without)
        if key not in self._pools:
            low, high = self.part_tokens[part]
            on = self.on[low:high]
            self._pools[key] = low + np.flatnonzero(on[:, concept] & ~on[:, list(without)].any(axis=1))
        pool = self._pools[key]
        return self.rng.choice(pool, count) if len(pool) else np.zeros(0, dtype=int)
