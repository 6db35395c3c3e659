"""What the views ask for: loaded recordings, live boards, jobs. Shared by all sessions, computed once per process.

Nothing here computes a score: it finds, keeps and hands out objects of saeeval_core. No streamlit, so reports use it too.
"""

import hashlib
import json
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, replace
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from saeeval_core.config import Protocol, RunConfig, cache_dir, derive_rng, get_protocol
from saeeval_core.controls import attach as beside
from saeeval_core.controls.attach import Placed
from saeeval_core.controls.controls import Control, shift_controls, tpp_controls
from saeeval_core.controls.refits import RefitScore, shift_refits, tpp_refits
from saeeval_core.errors import DataError, SaeEvalError
from saeeval_core.evaluation.prepare import (
    DirectionBoards,
    Prepared,
    Recordings,
    recording_key,
    scored_parts,
    shift_boards,
    task_set_of,
    tpp_boards,
)
from saeeval_core.evidence.evidence import EvidenceSource, LatentEvidence, find_token_table, latent_evidence
from saeeval_core.judging.verdict_files import load_shipped_verdicts
from saeeval_core.ledger.store import Store, Verdict, default_path
from saeeval_core.recordings.known_saes import KnownSae, known_sae
from saeeval_core.recordings.recording import (
    LatentRecording,
    ResidualRecording,
    list_recordings,
    load_latents,
    load_residuals,
    recording_folders,
)
from saeeval_core.saes.registry import local_folder
from saeeval_core.scores.area import shift_area, tpp_area
from saeeval_core.scores.contributions import peak_tokens, random_sets, score_set
from saeeval_core.scores.shift import ShiftLatents, ShiftScore, shift_latents
from saeeval_core.scores.tpp import TppBoard, TppLatents, TppScore, tpp_latents
from saeeval_core.scores.uncertainty import Estimate, Scored, over_pairs
from saeeval_core.storage.artifacts import exists, write_atomic
from saeeval_core.texts.sources import TaskSet, general_texts, read_texts
from saeeval_core.texts.sources import _read_frame as read_frame
from saeeval_core.texts.tasks import DEV, LabelledTexts

GENERAL = "general"
"""Texts on which latents are looked at beside the task's own."""
ABLATIONS = ("mean", "zero")
"""What an ablated latent is set to; the first is the default, the second the paper's (``saeeval validate`` compares them)."""
F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, eq=False)
class Loaded:
    """One model, SAE and task set with its recordings: what every view is given. Compared and hashed by identity."""

    config: RunConfig
    protocol: Protocol
    task_set: TaskSet
    residuals: ResidualRecording
    latents: LatentRecording


@dataclass(frozen=True, eq=False)
class _Same:
    """Stands for a value that cannot be hashed; holds it, so that its identity is not given to another one."""

    value: Any

    @classmethod
    def of(cls, value: Any) -> Any:
        try:
            hash(value)
        except TypeError:
            return cls(value)
        return value

    def __hash__(self) -> int:
        return id(self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.value is self.value


def shared(max_entries: int, key: Callable[..., Hashable] | None = None) -> Callable[[F], F]:
    """Keep the last results of a function for all sessions; two sessions asking at once wait for one computation.

    Arguments are told apart by value where they are hashable, else by identity; ``key`` says otherwise. Errors are not
    kept. Results are read-only.
    """
    make_key = key or (lambda *args: tuple(_Same.of(a) for a in args))

    def decorate(function: F) -> F:
        kept: OrderedDict[Hashable, Any] = OrderedDict()
        locks: dict[Hashable, threading.Lock] = {}
        guard = threading.Lock()

        @wraps(function)
        def call(*args: Any) -> Any:
            key = (
                make_key(*args),
                os.environ.get("SAEEVAL_ASSETS"),
                os.environ.get("SAEEVAL_CACHE"),
                os.environ.get("SAEEVAL_STORE"),
            )
            with guard:
                if key in kept:
                    kept.move_to_end(key)
                    return kept[key]
                lock = locks.setdefault(key, threading.Lock())
            with lock:
                with guard:
                    if key in kept:
                        return kept[key]
                value = function(*args)
                with guard:
                    kept[key] = value
                    locks.pop(key, None)
                    while len(kept) > max_entries:
                        kept.popitem(last=False)
                return value

        return call  # type: ignore[return-value]

    return decorate


@shared(max_entries=8)
def texts_of(config: RunConfig) -> TaskSet:
    """Texts and tasks the settings name. DataError for a missing or unusable source."""
    return TaskSet(_general_texts()) if config.task == GENERAL and not config.texts else task_set_of(config)


def _general_texts() -> LabelledTexts:
    """General text, cut out of the articles once (a second of work) and kept in the cache folder."""
    path = cache_dir() / "general-texts.json"
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        return LabelledTexts(GENERAL, tuple(kept["texts"]), {}, source=kept["source"])
    except (OSError, ValueError, KeyError):
        made = general_texts()
        write_atomic(path, json.dumps({"source": made.source, "texts": made.texts}).encode())
        return made


def load(config: RunConfig) -> Loaded | None:
    """Recordings of the first SAE in ``config``, shipped or made here; None when it has to be run first.

    Never loads a language model. SaeEvalError when model, SAE or texts cannot be used at all.
    """
    texts = texts_of(replace(config, saes=()))
    found = _stored(config, texts.texts.fingerprint)
    return None if found is None else _loaded(config, found[0], found[1])


def load_or_raise(config: RunConfig) -> Loaded:
    """As ``load``; DataError saying what to run when there is no recording."""
    found = load(config)
    if found is None:
        raise DataError(f"'{config.saes[0]}' has not been run on '{config.task or config.texts}' yet; press Run")
    return found


@shared(max_entries=64)
def shift_directions(loaded: Loaded) -> tuple[DirectionBoards, ...]:
    """Both directions of every pair with their boards (``.boards[DEV]``, ``.boards[TEST]``), in the task set's order.

    ``d.pair`` names the pair; ``d.task.target.column`` the target; ``d.boards[DEV].reason`` says why S is undefined.
    Empty when the task set has no SHIFT pair. DataError when a quadrant has too few texts.
    """
    return _shift_boards(loaded) if loaded.task_set.pairs else ()


def default_direction(loaded: Loaded, pair: str) -> DirectionBoards:
    """The pair's direction with the larger gap on dev (or test where the protocol has no dev)."""
    own = [d for d in shift_directions(loaded) if d.pair == pair]
    return max(own, key=lambda d: d.boards[live_part(loaded)].gap)


@shared(max_entries=64)
def shift_view(loaded: Loaded, pair: str, target: str, part: int) -> ShiftLatents:
    """Live scoring of sets for one direction (``target`` is its target column) on DEV or TEST."""
    direction = next((d for d in shift_directions(loaded) if d.pair == pair and d.task.target.column == target), None)
    if direction is None:
        raise DataError(f"no direction with target '{target}' for pair '{pair}'; choose one of the listed pairs")
    return shift_latents(loaded.residuals, loaded.latents, direction.boards[part], loaded.protocol)


@shared(max_entries=24)
def tpp_view(loaded: Loaded, part: int) -> TppLatents:
    """Live TPP matrices (``.at(n)``, ``.score(sets)``) on DEV or TEST, zero ablation; ``.mean_ablated`` is the other.

    DataError when the task set has no classes.
    """
    return tpp_latents(loaded.latents, _tpp_boards(loaded)[part])


def live_part(loaded: Loaded) -> int:
    """The part shown while choosing: DEV, or TEST where the protocol has no dev part."""
    return DEV if DEV in scored_parts(loaded.protocol) else scored_parts(loaded.protocol)[0]


@shared(max_entries=1)
def _store(path: str) -> Store:
    return Store(Path(path))


def store() -> Store:
    """The decision store of this server."""
    return _store(str(default_path()))


@shared(max_entries=4096)
def evidence(loaded: Loaded, latent: int) -> LatentEvidence:
    """What is shown for a latent: the task's own texts, general text where it is recorded, promoted tokens if stored."""
    task_set = loaded.task_set
    labels = [c.column for pair in task_set.pairs for c in pair] or ([task_set.tpp[0]] if task_set.tpp else [])
    sources = [EvidenceSource(task_set.texts, loaded.residuals, loaded.latents, tuple(dict.fromkeys(labels)))]
    general = general_text(loaded)
    if general is not None:
        sources.append(EvidenceSource(general.task_set.texts, general.residuals, general.latents))
    return latent_evidence(sources, latent, tokens=find_token_table(loaded.latents.sae, loaded.latents.sae_fingerprint))


@shared(max_entries=16)
def general_text(loaded: Loaded) -> Loaded | None:
    """The same SAE on general text (news articles), or None when that has not been recorded or is the task itself."""
    if loaded.task_set.texts.name == GENERAL:
        return None
    others = {
        m["residual_fingerprint"]
        for m in list_recordings("latents")
        if m["sae_fingerprint"] == loaded.latents.sae_fingerprint
    }
    if others <= {loaded.residuals.fingerprint}:
        return None  # this SAE has been recorded on nothing else: no need to look the texts up
    try:
        found = load(
            RunConfig(model=loaded.config.model, saes=loaded.config.saes, task=GENERAL, dtype=loaded.config.dtype)
        )
    except SaeEvalError:
        return None
    return found if found and found.latents.sae_fingerprint == loaded.latents.sae_fingerprint else None


@shared(max_entries=1024)
def set_score(view: ShiftLatents, ids: tuple[int, ...], ablation: str) -> ShiftScore:
    """Score of one set; kept, because several sessions and redraws ask for the same."""
    return score_set(view, ids, ablation)


@shared(max_entries=64)
def ranking_curve(
    view: ShiftLatents, rank: str, ablation: str, ns: tuple[int, ...]
) -> tuple[tuple[int, ShiftScore], ...]:
    """Scores of the top n for every n of ``ns`` that the ranking has latents for."""
    order = ranking(view, rank)
    ns = tuple(n for n in ns if n <= len(order))
    if not ns:
        return ()
    if ablation == "zero":
        return tuple(zip(ns, view.curve(order, ns), strict=True))
    return tuple((n, score_set(view, order[:n], ablation)) for n in ns)


def ranking(view: ShiftLatents, rank: str) -> np.ndarray:
    """Latent ids by falling effect on the attribute probe ("attribute") or on the biased probe ("base")."""
    return view.base_ranking if rank == "base" else view.attribute_ranking


@shared(max_entries=256)
def random_score(view: ShiftLatents, size: int, ablation: str) -> tuple[Estimate, np.ndarray]:
    """Random sets of that size: mean S over 5 fixed draws and its samples."""
    return random_sets(view, size, draws=5, rng=derive_rng(0, "random sets", size), ablation=ablation)


def note_time(seconds: float) -> None:
    """Append how long the server took for one press to the file $SAEEVAL_TIMINGS names; for tests/bench."""
    if path := os.environ.get("SAEEVAL_TIMINGS"):
        with open(path, "a", encoding="ascii") as file:
            file.write(f"{1000 * seconds:.2f}\n")


def latents_named(loaded: Loaded) -> dict[int, tuple[str, str]]:
    """latent -> (explanation, who gave it), from the usable verdicts on these texts: people, then LLMs, then the rest."""
    return _named(loaded, newest_verdict(loaded))


@shared(max_entries=16)
def _named(loaded: Loaded, _newest: int) -> dict[int, tuple[str, str]]:
    found: dict[int, tuple[str, str]] = {}
    for v in by_standing(verdicts(loaded)):
        if v.ok and v.explanation and v.latent not in found:
            found[v.latent] = (v.explanation, f"explanation by {v.rater} ({v.rater_kind})")
    return found


@shared(max_entries=8192)
def tokens_of(loaded: Loaded, latent: int) -> str:
    """The tokens a latent is strongest on, in one line; "" where no contexts are recorded. Untrusted text."""
    found = peak_tokens(loaded.task_set.texts.texts, loaded.residuals, loaded.latents.contexts.of(latent))
    return " \u00b7 ".join(token[:40] for token in found)


def by_standing(given: Iterable[Verdict]) -> list[Verdict]:
    """Whose explanation is shown first: a person's, an LLM's, an imported one, then the offline judge's word lists."""
    order = ("human", "llm", "imported", "local")
    return sorted(given, key=lambda v: order.index(v.rater_kind))


def verdicts(loaded: Loaded) -> list[Verdict]:
    """The current verdict of every rater on this SAE's latents, for these texts."""
    return _verdicts(loaded, newest_verdict(loaded))


def newest_verdict(loaded: Loaded) -> int:
    """Changes with every verdict on this SAE: what is derived from verdicts is kept under this number."""
    _ship_verdicts(str(default_path()), loaded)
    return store().newest_verdict(loaded.latents.sae_fingerprint)


@shared(max_entries=16)
def _verdicts(loaded: Loaded, _newest: int) -> list[Verdict]:
    return store().verdicts(loaded.latents.sae_fingerprint, task=loaded.task_set.texts.name)


@shared(max_entries=32)
def _ship_verdicts(_store_path: str, loaded: Loaded) -> int:
    """Verdicts that come with the bundle enter the store once."""
    return load_shipped_verdicts(store(), loaded.latents)


def parts(loaded: Loaded) -> tuple[int, ...]:
    """Parts that are scored under the protocol."""
    return scored_parts(loaded.protocol)


def prepared(loaded: Loaded) -> Prepared:
    """What ``saeeval run`` would score for the same settings."""
    tpp = None
    if loaded.task_set.tpp is not None:
        c = loaded.config
        tpp = loaded.task_set.tpp_task(seed=c.seed, protocol=loaded.protocol, per_cell=c.texts_per_cell)
    live = tpp is not None and not loaded.protocol.redraw_negatives
    recordings = Recordings(loaded.residuals, [loaded.latents])
    boards = _tpp_boards(loaded) if live else {}
    return Prepared(
        loaded.config, loaded.protocol, loaded.task_set, recordings, list(shift_directions(loaded)), tpp, boards
    )


def controls_at_hand(loaded: Loaded) -> list[Placed] | None:
    """Controls of the headline scores on test if they were made before."""
    try:
        return _kept_controls(loaded)
    except LookupError:
        return None


def make_controls(loaded: Loaded) -> list[Placed]:
    """The same, scored now: seconds of work; they are at hand from then on."""
    return beside.controls_of(prepared(loaded), loaded.latents)


@shared(max_entries=16)
def _kept_controls(loaded: Loaded) -> list[Placed]:
    found = beside.kept_controls(prepared(loaded), loaded.latents)
    if found is None:
        raise LookupError  # not kept, so that it is looked for again
    return found


@shared(max_entries=64)
def shift_set_controls(loaded: Loaded, view: ShiftLatents, ids: tuple[int, ...], ablation: str) -> list[Control]:
    """Controls of one set in one direction."""
    return shift_controls(loaded.residuals, view, loaded.protocol, ids, ablation, seed=loaded.config.seed)


@shared(max_entries=64)
def tpp_set_controls(loaded: Loaded, part: int, sets: tuple[tuple[int, ...], ...], ablation: str) -> list[Control]:
    """Controls of one set per class."""
    return tpp_controls(loaded.residuals, tpp_view(loaded, part), sets, ablation, seed=loaded.config.seed)


@shared(max_entries=64)
def shift_set_refits(
    loaded: Loaded, view: ShiftLatents, ids: tuple[int, ...], n: int, rank: str, ablation: str
) -> list[RefitScore]:
    """[this set, top n of the ranking] with intervals that vary the training texts too; the ranking is taken anew each time."""

    def scores(own: ShiftLatents) -> list[ShiftScore]:
        return [score_set(own, ids, ablation), score_set(own, ranking(own, rank)[:n], ablation)]

    boards = [("", view.board)]
    return shift_refits(loaded.residuals, [loaded.latents], boards, loaded.protocol, scores, seed=loaded.config.seed)[0]


@shared(max_entries=64)
def tpp_set_refits(
    loaded: Loaded, part: int, sets: tuple[tuple[int, ...], ...], n: int, ablation: str
) -> list[RefitScore]:
    """[these sets, top n per class] in the same way."""

    def scores(own: TppLatents) -> list[TppScore]:
        own = own.mean_ablated if ablation == "mean" else own
        return [own.score(sets), own.at(n)]

    return tpp_refits(
        loaded.residuals, [loaded.latents], tpp_view(loaded, part).board, scores, seed=loaded.config.seed
    )[0]


@shared(max_entries=32)
def shift_headline(loaded: Loaded, part: int) -> tuple[Estimate, str] | None:
    """(small-N area with mean ablation, mean over pairs, what was averaged); None without pairs."""
    return _mean_over_pairs(loaded, part, shift_area)


@shared(max_entries=32)
def shift_at(loaded: Loaded, n: int, part: int) -> tuple[Estimate, str] | None:
    """(S of the top n by attribution, zero ablation as in the paper, what was averaged); None without pairs."""
    n = min(n, loaded.latents.n_latents)
    return _mean_over_pairs(
        loaded, part, lambda view: set_score(view, tuple(int(i) for i in view.attribute_ranking[:n]), "zero")
    )


def _mean_over_pairs(loaded: Loaded, part: int, score: Callable[[ShiftLatents], Scored]) -> tuple[Estimate, str] | None:
    directions = shift_directions(loaded)
    if not directions:
        return None
    total = over_pairs([(d.pair, score(shift_view(loaded, d.pair, d.task.target.column, part))) for d in directions])
    note = f"mean over {total.pairs} pair(s)" + (
        f", {total.left_out} undefined direction(s) left out" if total.left_out else ", both directions"
    )
    return total.score, note


@shared(max_entries=32)
def tpp_headline(loaded: Loaded, part: int) -> tuple[Estimate, str] | None:
    """(small-N area with mean ablation, what was scored); None without classes or under redrawn negatives."""
    if loaded.task_set.tpp is None or loaded.protocol.redraw_negatives:
        return None
    return tpp_area(tpp_view(loaded, part)).score, f"{len(loaded.task_set.tpp[1])} classes of {loaded.task_set.tpp[0]}"


@shared(max_entries=32)
def tpp_at(loaded: Loaded, n: int, part: int) -> Estimate:
    """TPP score of the top n per class, zero ablation as in the paper."""
    return tpp_view(loaded, part).at(n).score


def keep_upload(name: str, content: bytes) -> Path:
    """Store an uploaded file under its content's hash (so that the same file is recorded once); its path."""
    folder = cache_dir() / "uploads"
    folder.mkdir(exist_ok=True)
    path = folder / f"{hashlib.sha256(content).hexdigest()[:16]}{Path(name).suffix.lower()}"
    if not path.exists():
        write_atomic(path, content)
    return path


@shared(max_entries=16)
def columns_of(path: Path) -> list[str]:
    """Columns of a file of texts. DataError if it cannot be read."""
    return [str(c) for c in read_frame(path).columns]


@shared(max_entries=16)
def read_upload(path: Path, text_column: str) -> LabelledTexts:
    """Labelled texts of an uploaded file. DataError says what is wrong with it."""
    return read_texts(path, text_column)


def _stored(config: RunConfig, texts_fingerprint: str) -> tuple[str, str] | None:
    """(path of the residuals, path of the latents) of a finished recording, or None."""
    known = _known(config.saes[0])
    if known is None:
        return None
    key = recording_key(config, known.hook, texts_fingerprint)
    for folder in recording_folders():
        residuals = folder / f"residuals-{key.fingerprint}"
        if not exists(residuals):
            continue
        for other in recording_folders():
            latents = other / f"latents-{key.of_sae(known.fingerprint)}"
            if exists(latents):
                return str(residuals), str(latents)
    return None


def _known(sae: str) -> KnownSae | None:
    folder = local_folder(sae)
    if folder is None:
        return known_sae(sae)
    return _known_folder(sae, tuple(f.stat().st_mtime_ns for f in sorted(folder.iterdir())))


@shared(max_entries=64)
def _known_folder(sae: str, _stamp: tuple[int, ...]) -> KnownSae | None:
    return known_sae(sae)


@shared(max_entries=8)
def _loaded(config: RunConfig, residuals: str, latents: str) -> Loaded:
    texts = texts_of(replace(config, saes=()))
    return Loaded(config, get_protocol(config.protocol), texts, _residuals(residuals), _latents(latents))


@shared(max_entries=4)
def _residuals(path: str) -> ResidualRecording:
    return load_residuals(Path(path))


@shared(max_entries=6)
def _latents(path: str) -> LatentRecording:
    return load_latents(Path(path))


def _probes_key(loaded: Loaded) -> Hashable:
    """Boards depend on the pass, the texts' labels and the settings, not on the SAE."""
    return (replace(loaded.config, saes=()), loaded.residuals.fingerprint)


@shared(max_entries=8, key=_probes_key)
def _shift_boards(loaded: Loaded) -> tuple[DirectionBoards, ...]:
    return tuple(shift_boards(loaded.config, loaded.task_set, loaded.residuals, loaded.protocol))


@shared(max_entries=8, key=_probes_key)
def _tpp_boards(loaded: Loaded) -> dict[int, TppBoard]:
    c = loaded.config
    task = loaded.task_set.tpp_task(seed=c.seed, protocol=loaded.protocol, per_cell=c.texts_per_cell)
    return tpp_boards(c, task, loaded.residuals, loaded.protocol)


@dataclass(frozen=True)
class NamedSet:
    """A set to compare with: ids, or why there is none."""

    name: str
    ids: tuple[int, ...] | None
    reason: str = ""
