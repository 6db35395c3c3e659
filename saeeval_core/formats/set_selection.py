"""``--select set:FILE``: the latents of an exported decision set, on whatever machine."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from saeeval_core.errors import ConfigError
from saeeval_core.formats.decision_sets import ExportedSet, check_set, read_set_text
from saeeval_core.ledger.places import shift_place, tpp_place
from saeeval_core.recordings.recording import LatentRecording
from saeeval_core.scores.selections import NOTHING_MARKED, SELECTED, Selected, by_person
from saeeval_core.scores.shift import ShiftLatents
from saeeval_core.scores.tpp import TppLatents
from saeeval_core.scores.tpp_cells import chosen_sets

PREFIX = "set:"
MOST_BYTES = 5_000_000
"""Of a file; the dashboard takes no more either."""


@dataclass(frozen=True)
class SetOfFile:
    """A selector: what the dashboard scores for the set. SHIFT ablates what is marked "ablate", whatever N; TPP the top N
    of every class without those marked "keep" and with those marked "ablate".

    A direction or class that the set is not about has nothing marked. ArtifactError for another SAE than the set's.
    """

    found: ExportedSet
    texts: str
    """Name of the texts that are scored."""

    def __str__(self) -> str:
        return f"set '{self.found.name}'"

    def shift(self, view: ShiftLatents, ns: Sequence[int]) -> list[Selected]:
        """The marked latents in the set's own direction, for every N."""
        task = view.board.task
        places = [
            shift_place(self.texts, pair, task.direction, view.recording) for pair in (task.name, task.swapped().name)
        ]
        here = self.found.metric == "shift" and any(
            self.found.task == exported_task(p.task, p.direction) for p in places
        )
        return by_person([i for i, d in self._decisions("", view.recording).items() if here and d == "ablate"], ns)

    def tpp(self, view: TppLatents, ns: Sequence[int]) -> list[list[Selected]]:
        """[class][N]: the ranking's first N with the set's changes."""
        return [
            self._class(name, [int(i) for i in ranking], view.recording, ns)
            for name, ranking in zip(view.board.task.classes, view.rankings, strict=True)
        ]

    def _class(self, name: str, ranking: list[int], recording: LatentRecording, ns: Sequence[int]) -> list[Selected]:
        here = self.found.metric == "tpp" and self.found.task == tpp_place(self.texts, name, recording).task
        if not here:
            return by_person((), ns)
        changes = self._decisions(name, recording)
        every = [chosen_sets([ranking], n, [changes])[0] for n in ns]
        return [
            Selected(n, tuple(sorted(ids)), SELECTED if ids else NOTHING_MARKED, len(ids), 0, 0)
            for n, ids in zip(ns, every, strict=True)
        ]

    def _decisions(self, of: str, recording: LatentRecording) -> dict[int, str]:
        check_set(self.found, n_latents=recording.n_latents, sae_fingerprint=recording.sae_fingerprint)
        return {d.latent: d.decision for d in self.found.decisions if d.of == of}


def exported_task(task: str, direction: str) -> str:
    """What a SHIFT set says that it is about."""
    return f"{task}; {direction}"


def set_of_file(selection: str, texts: str) -> SetOfFile:
    """The selector of ``set:FILE``; ``texts``: name of the texts. ConfigError or ArtifactError for an unusable file."""
    path = Path(selection.removeprefix(PREFIX))
    try:
        if not path.is_file():
            raise ConfigError(f"'{path}' is no file; give --select set:FILE with a set exported by the dashboard")
        if (size := path.stat().st_size) > MOST_BYTES:
            raise ConfigError(f"'{path}' holds {size:,} bytes; a decision set has at most {MOST_BYTES:,}")
        content = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigError(f"'{path}' is not UTF-8 text; give a set exported by the dashboard") from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"'{path}' cannot be read: {error}") from None
    return SetOfFile(read_set_text(content), texts)
