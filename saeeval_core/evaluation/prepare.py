"""From settings to numbers: find or make the recordings, find or train the probes, score every N in both directions."""

import json
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any
from typing import Protocol as Interface

import numpy as np

from saeeval_core.config import Protocol, RunConfig, cache_dir, fingerprint, get_protocol
from saeeval_core.errors import ArtifactError, ConfigError, DataError, UnsupportedSAE
from saeeval_core.models.identity import BUNDLED_MODEL, model_stamp
from saeeval_core.recordings.known_saes import KnownSae, identify
from saeeval_core.recordings.recording import (
    LatentRecording,
    RecordingKey,
    ResidualRecording,
    find_latents,
    find_residuals,
    recording_folders,
    save_latents,
    save_residuals,
)
from saeeval_core.scores.area import DEFINITION, GRID, small_n_area
from saeeval_core.scores.probes import Probe
from saeeval_core.scores.selections import Selected, by_attribution
from saeeval_core.scores.shift import (
    ShiftBoard,
    ShiftLatents,
    ShiftProbes,
    ShiftScore,
    fit_shift_probes,
    shift_board,
    shift_latents,
)
from saeeval_core.scores.tpp import TppBoard, TppLatents, TppScore, fit_tpp_probes, tpp_board, tpp_latents
from saeeval_core.scores.uncertainty import LEVEL, over_pairs, undefined
from saeeval_core.storage.artifacts import exists, load_arrays, save_arrays
from saeeval_core.texts.sources import BUNDLED_TASKS, TaskSet, file_task_set, hub_task_set, load_task_set
from saeeval_core.texts.tasks import DEV, TEST, ShiftTask, TppTask, shift_training

PART_NAMES = {DEV: "dev", TEST: "test"}


class Selector(Interface):
    """Chooses which latents are ablated; scores never know who chose."""

    def shift(self, view: ShiftLatents, ns: Sequence[int]) -> list[Selected]:
        """What to ablate in one direction, for every N."""
        ...

    def tpp(self, view: TppLatents, ns: Sequence[int]) -> list[list[Selected]]:
        """What to ablate, [class][N]."""
        ...


class TopByAttribution:
    """The default selection: the first N of each ranking."""

    def shift(self, view: ShiftLatents, ns: Sequence[int]) -> list[Selected]:
        """The first N by |I| of the attribute probe."""
        return by_attribution(view.attribute_ranking, ns)

    def tpp(self, view: TppLatents, ns: Sequence[int]) -> list[list[Selected]]:
        """The first N eligible latents of every class."""
        return [by_attribution(ranking, ns) for ranking in view.rankings]

    def __str__(self) -> str:
        return "attribution"


@dataclass(frozen=True)
class Recordings:
    """One pass: the residuals and the SAEs recorded on them."""

    residuals: ResidualRecording
    latents: list[LatentRecording]


def task_set_of(config: RunConfig) -> TaskSet:
    """The texts and tasks the settings name. Of a file or Hub data set only the texts drawn for a task are kept."""
    draw: dict[str, Any] = {
        "seed": config.seed,
        "protocol": get_protocol(config.protocol),
        "per_cell": config.texts_per_cell,
    }
    labels = {
        "target": config.target,
        "spurious": config.spurious,
        "classes": config.classes,
        "group_column": config.group_column,
    }
    if config.texts.startswith("hub:"):
        return hub_task_set(config.texts.removeprefix("hub:"), config.text_column, **labels).drawn(**draw)
    if config.texts:
        return file_task_set(Path(config.texts), config.text_column, **labels).drawn(**draw)
    found = load_task_set(config.task)
    if any(labels.values()):
        raise ConfigError(
            "--target, --spurious, --classes and --group-column go with --texts FILE, not with a named task"
        )
    return found if config.task.split(":")[0] in BUNDLED_TASKS else found.drawn(**draw)


def obtain_recordings(
    config: RunConfig, task_set: TaskSet, saes: Sequence[str], *, shipped: bool = True, on_progress: Any = None
) -> Recordings:
    """Load the recordings of these SAEs (all on one hook) or make the missing ones in one pass and keep them.

    Raises what loading models, SAEs and texts raises; a damaged stored recording is named on stderr and made again.
    """
    known = [identify(s) for s in saes]
    hook = common_hook(known)
    key = recording_key(config, hook, task_set.texts.fingerprint)
    found = _find(key, known, shipped)
    if found is not None:
        return found
    # Only now are torch, transformers and SAELens needed.
    from saeeval_core.models.language_model import load_model
    from saeeval_core.recordings.recorder import record
    from saeeval_core.saes.loaded import load_sae

    model = load_model(config.model, device=config.device, dtype=config.dtype)
    loaded = [load_sae(s, device=model.device) for s in saes]
    folder = cache_dir() / "recordings"
    residuals, latents = record(
        model,
        hook,
        task_set.texts.texts,
        task_set.texts.fingerprint,
        loaded,
        storage=key.storage,
        cells=label_cells(task_set),
        on_progress=on_progress,
        partial=folder / "partial" / fingerprint([key.fingerprint, [s.fingerprint for s in loaded]]),
    )
    save_residuals(residuals, folder)
    for latent in latents:
        save_latents(latent, folder, storage=key.storage)
    return Recordings(residuals, latents)


def recording_key(config: RunConfig, hook: str, texts_fingerprint: str) -> RecordingKey:
    """Key of the residual recording; bundled texts on the bundled model are stored in half precision, as shipped."""
    bundled = (
        config.model == BUNDLED_MODEL and config.task.split(":")[0] in (*BUNDLED_TASKS, "general") and not config.texts
    )
    return RecordingKey(
        config.model,
        model_stamp(config.model),
        config.dtype,
        hook,
        texts_fingerprint,
        "float16" if bundled else "float32",
    )


def common_hook(saes: Sequence[KnownSae]) -> str:
    """The one hook all these SAEs read. UnsupportedSAE for several hooks."""
    hooks = sorted({sae.hook for sae in saes})
    if len(hooks) > 1:
        raise UnsupportedSAE(f"the SAEs read different hooks ({', '.join(hooks)}); run them one after another")
    return hooks[0]


def check_texts(config: RunConfig, task_set: TaskSet) -> None:
    """Before minutes are spent on a pass: DataError when a quadrant has too few texts to train on."""
    protocol = get_protocol(config.protocol)
    if "shift" in config.metrics:
        for task in task_set.shift_tasks(seed=config.seed, protocol=protocol, per_cell=config.texts_per_cell):
            shift_training(task, seed=config.seed, protocol=protocol)


def label_cells(task_set: TaskSet) -> np.ndarray | None:
    """int[texts]: number of each text's combination of labels, so that evidence can be kept for each."""
    names = list(
        dict.fromkeys(
            [c.column for pair in task_set.pairs for c in pair] or ([task_set.tpp[0]] if task_set.tpp else [])
        )
    )
    if not names:
        return None
    joined = np.array(["\t".join(values) for values in zip(*(task_set.texts.columns[n] for n in names), strict=True)])
    cells = np.unique(joined, return_inverse=True)[1]
    return cells if cells.max() < 64 else None


def shift_probes(
    residuals: ResidualRecording, task: ShiftTask, protocol: Protocol, *, seed: int, shipped: bool = True
) -> ShiftProbes:
    """The probes of one direction, from disk if this recording has them for this task, protocol and seed."""
    training = shift_training(task, seed=seed, protocol=protocol)
    kept = _KeptProbes(residuals, ["shift", *shift_identity(task)], protocol, seed, shipped)
    found = kept.load()
    if found is None:
        fitted = fit_shift_probes(residuals, task, protocol, seed=seed)
        kept.save([fitted.base, fitted.oracle, fitted.attribute])
        return fitted
    return ShiftProbes(training, *found)


def tpp_probes(
    residuals: ResidualRecording, task: TppTask, protocol: Protocol, *, seed: int, shipped: bool = True
) -> list[Probe]:
    """The one-vs-rest probes, from disk if this recording has them for this task, protocol and seed."""
    kept = _KeptProbes(residuals, ["tpp", *tpp_identity(task)], protocol, seed, shipped)
    found = kept.load()
    if found is None:
        found = fit_tpp_probes(residuals, task, protocol, seed=seed)
        kept.save(found)
    return found


@dataclass(frozen=True)
class _KeptProbes:
    residuals: ResidualRecording
    task: list[Any]
    protocol: Protocol
    seed: int
    shipped: bool

    @property
    def _name(self) -> str:
        key = [self.residuals.fingerprint, self.task, asdict(self.protocol), self.seed]
        return f"probes-{fingerprint(key)}"

    def load(self) -> list[Probe] | None:
        for folder in recording_folders(shipped=self.shipped):
            if exists(folder / self._name):
                try:
                    a, meta = load_arrays(folder / self._name)
                except ArtifactError as error:
                    sys.stderr.write(f"stored probes ignored and trained again: {error}\n")
                    continue
                rows = zip(a["weight"], a["bias"], meta["probes"], strict=True)
                return [Probe(w, float(b), **about) for w, b, about in rows]
        return None

    def save(self, probes: Sequence[Probe]) -> None:
        arrays = {"weight": np.stack([p.weight for p in probes]), "bias": np.array([p.bias for p in probes])}
        about = [{"n_texts": p.n_texts, "c": p.c, "epoch": p.epoch} for p in probes]
        meta = {"kind": "probes", "residuals": self.residuals.fingerprint, "probes": about}
        save_arrays(cache_dir() / "recordings" / self._name, arrays, meta)


@dataclass(frozen=True)
class DirectionBoards:
    """One direction of one pair on the parts that are scored."""

    pair: str
    task: ShiftTask
    boards: dict[int, ShiftBoard]


@dataclass(frozen=True)
class Prepared:
    """Everything a run scores, before any latent is chosen."""

    config: RunConfig
    protocol: Protocol
    task_set: TaskSet
    recordings: Recordings
    directions: list[DirectionBoards]
    """SHIFT; empty when it is not wanted or the texts define no pair."""
    tpp: TppTask | None
    tpp_boards: dict[int, TppBoard]
    """Empty when TPP is not wanted, not defined, or redraws its negatives (and so has no board)."""


def prepare(config: RunConfig, *, shipped: bool = True, on_progress: Any = None) -> Prepared:
    """Texts, recordings and probes of these settings, found or made. Raises what each of these raises."""
    protocol = get_protocol(config.protocol)
    task_set = task_set_of(config)
    check_texts(config, task_set)
    recordings = obtain_recordings(config, task_set, config.saes, shipped=shipped, on_progress=on_progress)
    metrics = [m for m in config.metrics if (m == "shift" and task_set.pairs) or (m == "tpp" and task_set.tpp)]
    if not metrics:
        raise DataError(
            f"'{task_set.texts.name}' defines no task for {', '.join(config.metrics)}; give --target and --spurious, or --classes"
        )
    directions = shift_boards(config, task_set, recordings.residuals, protocol, shipped) if "shift" in metrics else []
    tpp = None
    if "tpp" in metrics:
        tpp = task_set.tpp_task(seed=config.seed, protocol=protocol, per_cell=config.texts_per_cell)
    live = tpp is not None and not protocol.redraw_negatives
    boards = tpp_boards(config, tpp, recordings.residuals, protocol, shipped) if live else {}
    return Prepared(config, protocol, task_set, recordings, directions, tpp, boards)


def score(prepared: Prepared, select: Selector | None = None) -> dict[str, Any]:
    """Everything ``saeeval run`` prints and writes (DESIGN section 4); plain JSON values."""
    select = select or TopByAttribution()
    config, task_set, recordings = prepared.config, prepared.task_set, prepared.recordings
    result: dict[str, Any] = {
        "config": json.loads(config.to_json()),
        "model": {
            "name": config.model,
            "dtype": config.dtype,
            "hook": recordings.residuals.key.hook,
            "note": recordings.residuals.note,
            "bos_id": recordings.residuals.bos_id,
        },
        "task": {
            "name": task_set.texts.name,
            "source": task_set.texts.source,
            "composed": task_set.texts.composed,
            "texts": len(task_set.texts.texts),
            "fingerprint": task_set.texts.fingerprint,
            "dropped": dict(task_set.texts.dropped),
            "small": task_set.small,
            "interval_level": LEVEL,
        },
        "probes": {"shift": [_probe_summary(d) for d in prepared.directions]},
        "results": [],
        "versions": versions(),
    }
    for latents in recordings.latents:
        if max(config.ns) > latents.n_latents:
            raise ConfigError(
                f"N = {max(config.ns)} but SAE '{latents.sae}' has {latents.n_latents} latents; lower --n"
            )
        row: dict[str, Any] = {
            "sae": latents.sae,
            "about": latents.about,
            "selection": str(select),
            "unsupervised": latents.unsupervised,
        }
        if prepared.directions:
            row["shift"] = _shift_result(prepared, latents, select)
        if prepared.tpp is not None:
            row["tpp"] = _tpp_result(prepared, prepared.tpp, latents, select)
        result["results"].append(row)
    return result


def run(
    config: RunConfig, *, select: Selector | None = None, shipped: bool = True, on_progress: Any = None
) -> dict[str, Any]:
    """``prepare`` and ``score`` in one."""
    return score(prepare(config, shipped=shipped, on_progress=on_progress), select)


def shift_boards(
    config: RunConfig, task_set: TaskSet, residuals: ResidualRecording, protocol: Protocol, shipped: bool = True
) -> list[DirectionBoards]:
    """Both directions of every pair. A pair with too few texts raises DataError (all its numbers would be noise)."""
    check_tokens(residuals)
    out = []
    for task in task_set.shift_tasks(seed=config.seed, protocol=protocol, per_cell=config.texts_per_cell):
        probes = shift_probes(residuals, task, protocol, seed=config.seed, shipped=shipped)
        for direction, own in ((task, probes), (task.swapped(), probes.swapped())):
            boards = {
                part: shift_board(
                    residuals, direction, own, protocol, part=part, seed=config.seed, resamples=config.resamples
                )
                for part in scored_parts(protocol)
            }
            out.append(DirectionBoards(task.name, direction, boards))
    return out


def tpp_boards(
    config: RunConfig, task: TppTask, residuals: ResidualRecording, protocol: Protocol, shipped: bool = True
) -> dict[int, TppBoard]:
    """Part -> board of all probes, every other class with the same weight."""
    check_tokens(residuals)
    probes = tpp_probes(residuals, task, protocol, seed=config.seed, shipped=shipped)
    return {
        part: tpp_board(residuals, task, probes, part=part, seed=config.seed, resamples=config.resamples)
        for part in scored_parts(protocol)
    }


def scored_parts(protocol: Protocol) -> tuple[int, ...]:
    """Dev and test, or test alone where the protocol has no dev part."""
    return (DEV, TEST) if protocol.separate_dev else (TEST,)


def check_tokens(residuals: ResidualRecording) -> None:
    """DataError if a text has no tokens: it has no pooled residual to score."""
    empty = int((residuals.n_valid == 0).sum())
    if empty:
        raise DataError(f"{empty} text(s) consist of no tokens at all (control characters only?); remove them")


def versions() -> dict[str, str]:
    """Versions of everything that can change a number."""
    names = ("torch", "transformers", "transformer-lens", "sae-lens", "scikit-learn", "numpy", "scipy")
    return {"saeeval": version("saeeval"), "python": platform.python_version()} | {n: version(n) for n in names}


def _find(key: RecordingKey, saes: Sequence[KnownSae], shipped: bool) -> Recordings | None:
    try:
        residuals = find_residuals(key, shipped=shipped)
        if residuals is None:
            return None
        latents = [find_latents(key, sae.fingerprint, shipped=shipped) for sae in saes]
    except ArtifactError as error:
        sys.stderr.write(f"stored recording ignored and made again: {error}\n")
        return None
    kept = [r for r in latents if r is not None]
    return Recordings(residuals, kept) if len(kept) == len(latents) else None


def _shift_result(prepared: Prepared, latents: LatentRecording, select: Selector) -> dict[str, Any]:
    config, protocol = prepared.config, prepared.protocol
    directions, scores, areas = [], [], []
    for d in prepared.directions:
        views = {
            part: shift_latents(prepared.recordings.residuals, latents, board, protocol)
            for part, board in d.boards.items()
        }
        chosen = select.shift(views[TEST], config.ns)  # rankings come from training texts, the same for every part
        curves = {part: [view.score(c.ids) for c in chosen] for part, view in views.items()}
        small = select.shift(views[TEST], GRID)
        own_areas = {
            part: small_n_area([_if_any(view.score_mean_ablated(c.ids), c) for c in small], GRID)
            for part, view in views.items()
        }
        areas.append((d.pair, own_areas))
        # A selection that ended empty is a state, not a score of 0: it is left out of the mean.
        scores.append(
            (d.pair, {p: [_if_any(s, c) for s, c in zip(own, chosen, strict=True)] for p, own in curves.items()})
        )
        directions.append(
            {
                "pair": d.pair,
                "target": d.task.target.column,
                "spurious": d.task.spurious.column,
                "target_values": str(d.task.target),
                "spurious_values": str(d.task.spurious),
                "by_n": [
                    {
                        "n": c.n,
                        "n_ablated": len(c.ids),
                        "ids": list(c.ids),
                        "state": c.state,
                        "not_judged": c.not_judged,
                    }
                    | {PART_NAMES[p]: _shift_cell(views[p], curves[p][i], c, protocol) for p in curves}
                    for i, c in enumerate(chosen)
                ],
                "small_n_area": {PART_NAMES[p]: a.score.to_dict() for p, a in own_areas.items()},
            }
            | _probe_summary(d)
        )
    aggregate = [
        {"n": n}
        | {PART_NAMES[p]: over_pairs([(pair, c[p][i]) for pair, c in scores]).to_dict() for p in scored_parts(protocol)}
        for i, n in enumerate(config.ns)
    ]
    area = {PART_NAMES[p]: over_pairs([(pair, a[p]) for pair, a in areas]).to_dict() for p in scored_parts(protocol)}
    return {"directions": directions, "aggregate": aggregate, "small_n_area": {"definition": DEFINITION} | area}


def _if_any(score: ShiftScore, chosen: Selected) -> ShiftScore:
    if chosen.ids:
        return score
    return replace(score, score=undefined(chosen.state), samples=np.empty(0))


def _shift_cell(view: ShiftLatents, s: ShiftScore, chosen: Selected, protocol: Protocol) -> dict[str, Any]:
    s, ids = _if_any(s, chosen), chosen.ids
    cell: dict[str, Any] = {
        "accuracy": s.accuracy.value,
        "accuracy_ci": s.accuracy.ci,
        "score": s.score.value,
        "ci": s.score.ci,
        "reason": s.score.reason,
        "worst_group": s.worst_group.value,
        "worst_group_ci": s.worst_group.ci,
        "worst_group_name": s.worst_group_name,
        "leakage": s.leakage.value,
        "leakage_ci": s.leakage.ci,
        "mean_ablation": _if_any(view.score_mean_ablated(ids), chosen).score.to_dict(),
        "auc": (view.board.auc_score(view.removed(ids)) if ids else undefined(chosen.state)).to_dict(),
    }
    if not protocol.strict_gap:
        cell["saebench_value"] = s.score.value if s.score.value is not None else 0
    return cell


def _tpp_result(prepared: Prepared, task: TppTask, latents: LatentRecording, select: Selector) -> dict[str, Any]:
    config, protocol = prepared.config, prepared.protocol
    if protocol.redraw_negatives:
        if str(select) != "attribution":
            raise ConfigError(
                f"protocol '{protocol.name}' scores TPP for its own ranking only, not for '{select}'; "
                "use --protocol robust, or --metrics shift"
            )
        from saeeval_core.scores.saebench_tpp import redrawn_tpp

        check_tokens(prepared.recordings.residuals)
        return redrawn_tpp(prepared.recordings.residuals, latents, task, protocol, ns=config.ns, seed=config.seed)
    boards = prepared.tpp_boards
    views = {part: tpp_latents(latents, board) for part, board in boards.items()}
    chosen = select.tpp(views[TEST], config.ns)
    small = list(zip(*select.tpp(views[TEST], GRID), strict=True))
    areas = {
        part: small_n_area(
            [_if_any_class(view.score_mean_ablated([c.ids for c in own]), own) for own in small], GRID
        ).score
        for part, view in views.items()
    }
    by_n = []
    for i, n in enumerate(config.ns):
        sets = [own[i] for own in chosen]
        ids = [c.ids for c in sets]
        scores = {part: _if_any_class(view.score(ids), sets) for part, view in views.items()}
        to_mean = {part: _if_any_class(view.score_mean_ablated(ids), sets) for part, view in views.items()}
        by_n.append(
            {
                "n": n,
                "n_ablated": [len(c.ids) for c in sets],
                "ids": [list(c.ids) for c in sets],
                "state": [c.state for c in sets],
            }
            | {PART_NAMES[p]: _tpp_cell(s) | {"mean_ablation": _tpp_cell(to_mean[p])} for p, s in scores.items()}
        )
    return {
        "classes": list(task.classes),
        "clean": {PART_NAMES[p]: [c.to_dict() for c in b.clean] for p, b in boards.items()},
        "probes": [{"n_texts": p.n_texts, "c": p.c, "epoch": p.epoch} for p in boards[TEST].probes],
        "by_n": by_n,
        "small_n_area": {"definition": DEFINITION}
        | {PART_NAMES[p]: {"score": a.value, "ci": a.ci, "reason": a.reason} for p, a in areas.items()},
    }


def _if_any_class(score: TppScore, chosen: Sequence[Selected]) -> TppScore:
    """A selection that leaves every class empty is a state, not a score of 0."""
    if any(c.ids for c in chosen):
        return score
    nothing = undefined(", ".join(dict.fromkeys(c.state for c in chosen)))
    return replace(score, score=nothing, intended=nothing, unintended=nothing, samples=np.empty(0))


def _tpp_cell(s: TppScore) -> dict[str, Any]:
    return {
        "matrix": [[e.value for e in row] for row in s.matrix],
        "matrix_ci": [[e.ci for e in row] for row in s.matrix],
        "score": s.score.value,
        "ci": s.score.ci,
        "reason": s.score.reason,
        "intended": s.intended.to_dict(),
        "unintended": s.unintended.to_dict(),
    }


def _probe_summary(d: DirectionBoards) -> dict[str, Any]:
    def parts(name: str) -> dict[str, Any]:
        return {PART_NAMES[p]: getattr(b, name).to_dict() for p, b in d.boards.items()}

    first = next(iter(d.boards.values()))
    p = first.probes
    return {
        "name": f"{d.task.name}, {d.task.direction}",
        "n_per_quadrant": p.training.n,
        "training_texts": p.base.n_texts,
        "c": {"base": p.base.c, "oracle": p.oracle.c, "attribute": p.attribute.c},
        "base": parts("base"),
        "oracle": parts("oracle"),
        "attribute": parts("attribute"),
        "reason": {PART_NAMES[part]: b.reason for part, b in d.boards.items()},
    }


def shift_identity(task: ShiftTask) -> list[Any]:
    """Labels, texts and parts of one direction, for fingerprints."""
    return [vars(task.target), vars(task.spurious), _hash(task.rows, task.part, task.target_label, task.spurious_label)]


def tpp_identity(task: TppTask) -> list[Any]:
    """The same of a TPP task."""
    return [task.column, list(task.classes), _hash(task.rows, task.part, task.label)]


def _hash(*arrays: np.ndarray) -> str:
    return fingerprint([a.tolist() for a in arrays])
