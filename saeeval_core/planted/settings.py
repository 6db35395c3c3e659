"""Settings of planted worlds, and the worlds on which scores are developed and reported."""

from dataclasses import dataclass

_TEXT_SETTINGS = (
    "name",
    "concept_size",
    "two_sided",
    "target_rate",
    "spurious_rate",
    "pairs",
    "classes",
    "per_quadrant",
    "per_class",
)
"""Settings of a world that its generator, and so SAEs trained on its tokens, do not depend on."""


@dataclass(frozen=True)
class WorldConfig:
    """Settings of one generator and of the texts drawn from it."""

    name: str
    seed: int
    n_features: int = 256
    d_model: int = 64
    zipf: float = 0.6
    max_prob: float = 0.15
    correlation: float = 0.2
    """Scale of the low-rank correlations between features; 0 for none."""
    hierarchy: bool = False
    """Concepts are children of one parent that fire only with it."""
    magnitude_std: float = 0.3
    gain: float = 4.0
    """Length of a feature at magnitude 1, as a language model's residuals are much longer than 1."""
    concept_size: int = 3
    """Features per concept."""
    two_sided: bool = False
    """A SHIFT label that is off has a concept too (as "male" for "not female") instead of none."""
    target_rate: float = 0.18
    """Mean extra share of a text's tokens that have the target concept when its label is on."""
    spurious_rate: float = 0.30
    pairs: int = 3
    classes: int = 5
    per_quadrant: int = 500
    per_class: int = 400

    def generator_settings(self) -> dict[str, object]:
        """What trained SAEs depend on (the branching of a hierarchy follows the concept size)."""
        return {
            k: v for k, v in vars(self).items() if k not in _TEXT_SETTINGS or (self.hierarchy and k == "concept_size")
        }


DEVELOPMENT = (
    WorldConfig("dev one-sided", 1),
    WorldConfig("dev two-sided families", 2, two_sided=True, hierarchy=True, correlation=0.1),
)
"""Worlds on which variants of the scores may be chosen."""
SEEN = (
    WorldConfig("one-sided", 11, zipf=0.5, concept_size=2),
    WorldConfig("two-sided", 12, two_sided=True, correlation=0.3),
    WorldConfig("one-sided families", 13, hierarchy=True, magnitude_std=0.5, max_prob=0.2),
    WorldConfig("two-sided crowded", 14, two_sided=True, d_model=48, gain=8.0, spurious_rate=0.25),
    WorldConfig("two-sided families", 15, two_sided=True, hierarchy=True, correlation=0.0, zipf=0.4, concept_size=2),
)
"""Worlds held out when the small-N area was chosen. The fresh-probe scores were looked at here first, so what is said of
them here is not held out: these figures stand apart."""
HELD_OUT = (
    WorldConfig("one-sided steep", 21, zipf=0.75, correlation=0.1),
    WorldConfig("two-sided single", 22, two_sided=True, concept_size=1, correlation=0.3, spurious_rate=0.25),
    WorldConfig("one-sided large families", 23, hierarchy=True, concept_size=4, correlation=0.1, magnitude_std=0.4),
    WorldConfig("two-sided crowded families", 24, two_sided=True, hierarchy=True, concept_size=2, d_model=48, gain=6.0),
    WorldConfig("one-sided wide", 25, n_features=384, concept_size=4, correlation=0.25, magnitude_std=0.5),
)
"""Worlds on which the chosen variants are reported: other seeds and other generator settings than all before."""
