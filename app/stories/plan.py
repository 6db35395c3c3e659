"""What a person made of a story: the order of its steps, their own sentences, and steps of their own."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from saeeval_core.errors import ArtifactError
from saeeval_core.storage.parse_json import NotJson, parse_json

PIN = "pin:"
"""Start of the key of a step of one's own."""
MADE = "made"
"""Key that stands for every step that the numbers give, in their order."""


@dataclass(frozen=True)
class Step:
    """One step of a story."""

    key: str
    """The same whenever the story is made, such as "latent:1009"."""
    title: str
    sentence: str
    """Plain text."""
    frames: tuple[str, ...]
    """HTML of one figure, perhaps in several states that are shown one after the other; everything in it is escaped."""
    notes: tuple[str, ...] = ()
    """For the presenter, plain text: reasons that were typed with the decisions."""


@dataclass(frozen=True)
class Slide:
    """A person's choice for one step."""

    key: str
    sentence: str = ""
    """In place of the one made from the numbers; "" keeps that."""
    title: str = ""
    """Of a step of one's own."""
    link: str = ""
    """Address of the view that a step of one's own shows."""


@dataclass(frozen=True)
class Plan:
    """Steps in order; those of the story that are not named here are left out. Without slides: the story as made."""

    slides: tuple[Slide, ...] = ()

    def to_json(self) -> str:
        """As the store keeps it."""
        return json.dumps([asdict(s) for s in self.slides], ensure_ascii=False)

    @classmethod
    def of_json(cls, text: str) -> "Plan":
        """Inverse of ``to_json``; ArtifactError in one line for anything else."""
        try:
            found = parse_json(text.encode())
            slides = tuple(Slide(**{k: str(v) for k, v in row.items()}) for row in found)
        except (NotJson, TypeError, AttributeError) as error:
            raise ArtifactError(f"the story's plan cannot be read ({error}); make the story again") from None
        return cls(slides)

    def applied(self, made: Sequence[Step], own: Mapping[str, Step]) -> list[Step]:
        """The steps in this order and with these sentences. ``own``: key -> step of one's own."""
        known = {s.key: s for s in made} | dict(own)
        chosen = [(s, known[s.key]) for s in self.started(made).slides if s.key in known]
        return [replace(step, sentence=slide.sentence or step.sentence) for slide, step in chosen]

    def started(self, made: Sequence[Step]) -> "Plan":
        """With a slide for every step, so that one can be moved or changed."""
        every = tuple(Slide(s.key) for s in made if not s.key.startswith(PIN))
        return Plan(tuple(own for s in self.slides or (Slide(MADE),) for own in (every if s.key == MADE else (s,))))

    def moved(self, key: str, by: int) -> "Plan":
        """One slide ``by`` places further on; not beyond the ends."""
        slides = list(self.slides)
        at = next(k for k, s in enumerate(slides) if s.key == key)
        slides.insert(min(max(at + by, 0), len(slides) - 1), slides.pop(at))
        return Plan(tuple(slides))

    def without(self, key: str) -> "Plan":
        """One slide left out."""
        return Plan(tuple(s for s in self.slides if s.key != key))

    def said(self, key: str, sentence: str) -> "Plan":
        """One slide with another sentence."""
        return Plan(tuple(replace(s, sentence=sentence) if s.key == key else s for s in self.slides))

    def pinned(self, title: str, sentence: str, link: str) -> "Plan":
        """A step of one's own at the end; of a story that nobody changed, after all that are made."""
        slides = self.slides or (Slide(MADE),)
        taken = {s.key for s in slides}
        key = next(k for n in range(1, len(taken) + 2) if (k := f"{PIN}{n}") not in taken)
        return Plan((*slides, Slide(key, sentence, title, link)))
