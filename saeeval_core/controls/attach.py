"""What stands beside the scores of a run: controls, and on request intervals that also vary the training texts.

Both are added to the result of ``pipeline.score`` and come from the same recordings and boards.
"""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

from saeeval_core.config import RunConfig, cache_dir, fingerprint, get_protocol, headline_n
from saeeval_core.controls.controls import Control, warnings_of
from saeeval_core.controls.deletion import word_deletions
from saeeval_core.controls.refits import REFITS, RefitScore, shift_refits, tpp_refits
from saeeval_core.controls.refits import check as refits_check
from saeeval_core.errors import ConfigError
from saeeval_core.evaluation.prepare import Prepared, shift_identity, tpp_identity
from saeeval_core.recordings.recording import LatentRecording, recording_folders
from saeeval_core.scores.area import GRID, RECOMMENDED, shift_area, tpp_area, unless_empty
from saeeval_core.scores.shift import ShiftLatents
from saeeval_core.scores.tpp import TppLatents
from saeeval_core.scores.uncertainty import LEVEL_WITH_TRAINING, Estimate, Scored, over_pairs
from saeeval_core.storage.artifacts import write_atomic
from saeeval_core.sweep.rows import Scorer
from saeeval_core.texts.tasks import TEST

_VERSION = 2
"""Raised when controls kept earlier must not be used any more."""


@dataclass(frozen=True)
class Placed:
    """A control and the score it stands beside."""

    metric: str
    """shift | tpp"""
    variant: str
    """As in a sweep's rows: "top-N", or a name of small_n."""
    n: int | None
    """None for an area."""
    control: Control


def controls_of(prepared: Prepared, latents: LatentRecording, *, shipped: bool = True) -> list[Placed]:
    """The controls of one SAE, for every metric, variant and N on the test part; kept on disk, because they take seconds.

    They are those of ``saeeval sweep``: of the top N by attribution, whatever was selected. TPP has none where the protocol
    redraws its negatives.
    """
    found = kept_controls(prepared, latents, shipped=shipped)
    if found is not None:
        return found
    metrics = tuple(m for m, there in (("shift", prepared.directions), ("tpp", prepared.tpp_boards)) if there)
    scorer = Scorer(
        metrics=metrics,
        ns=_ns(prepared.config),
        controls=True,
        by_direction=False,
        selections=(),
        deletions=(),
        loss_recovered={},
        run=prepared.config,
        task_set=prepared.task_set,
        residuals=prepared.recordings.residuals,
        boards=prepared.directions,
        tpp=prepared.tpp_boards.get(TEST),
        identity="",
    )
    rows = scorer.unit(latents.sae, latents, with_bases=True)["rows"] if metrics else []
    found = [_placed(r, r["control"], (r["ci_low"], r["ci_high"])) for r in rows if r["role"] == "control"]
    path = cache_dir() / "recordings" / f"{controls_name(prepared, latents)}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, json.dumps([_to_dict(p) for p in found]).encode())
    return found


def kept_controls(prepared: Prepared, latents: LatentRecording, *, shipped: bool = True) -> list[Placed] | None:
    """Those made before for the same recording, task, protocol, seed and N; None when there are none."""
    for folder in recording_folders(shipped=shipped):
        path = folder / f"{controls_name(prepared, latents)}.json"
        try:
            rows = json.loads(path.read_text(encoding="utf-8"))
            return [_placed(r, r["name"], r["ci"]) for r in rows]
        except FileNotFoundError:
            continue
        except (OSError, ValueError, KeyError, TypeError) as error:
            sys.stderr.write(f"stored controls ignored and made again: {path.name}: {error}\n")
    return None


def add_controls(prepared: Prepared, result: dict[str, Any], *, shipped: bool = True) -> None:
    """Give every SAE of the result its controls and a sentence for each that a headline score does not beat.

    Controls are of the top N by attribution; a judge's or a person's selection gets them without the sentences.
    """
    for row, latents in zip(result["results"], prepared.recordings.latents, strict=True):
        found = [p for p in controls_of(prepared, latents, shipped=shipped) if p.n is None or p.n in prepared.config.ns]
        scored = [m for m in ("shift", "tpp") if m in row and row["selection"] == "attribution"]
        row["warnings"] = [line for metric in scored for line in _warnings(row, metric, found)]
        _add(result, row, found)


def add_deletion(prepared: Prepared, result: dict[str, Any]) -> None:
    """Give every SAE the attribute-token deletion as a reference; another pass over the scored texts. SHIFT only.

    It ablates no latents: one number beside every N and variant. The deleted words go into the result.
    """
    config, directions = prepared.config, prepared.directions
    if not directions:
        raise ConfigError("--deletion is a control of SHIFT, which this task or --metrics leaves out")
    found = word_deletions(config, prepared.task_set, prepared.recordings.residuals.key.hook, directions)
    result["probes"]["deleted_words"] = {
        f"{d.task.name}, {d.task.direction}": {"words": words, "score": score.score.to_dict()}
        for d, (words, score) in zip(directions, found, strict=True)
    }
    total = over_pairs([(d.pair, score) for d, (_, score) in zip(directions, found, strict=True)])
    control = Control("word deletion", total.score)
    placed = [Placed("shift", RECOMMENDED, None, control), *(Placed("shift", "top-N", n, control) for n in config.ns)]
    for row in result["results"]:
        _add(result, row, placed)


def add_refits(prepared: Prepared, result: dict[str, Any], refits: int = REFITS) -> None:
    """Give every SAE of the result its test scores with intervals over resampled training and test texts.

    Of the top N by attribution and of the area; ``refit_differences`` are the areas of any two SAEs, paired. ConfigError for
    a protocol whose probes have no C, for another selection and for fewer than 20 refits.
    """
    config, recordings = prepared.config, prepared.recordings
    check_refits(config, str(result["results"][0]["selection"]), refits)

    def of_shift(view: ShiftLatents) -> Sequence[Scored]:
        return [shift_area(view), *map(unless_empty, view.curve(view.attribute_ranking, config.ns))]

    def of_tpp(view: TppLatents) -> Sequence[Scored]:
        return [tpp_area(view), *(unless_empty(view.at(n)) for n in config.ns)]

    found: dict[str, list[list[RefitScore]]] = {}
    if prepared.directions:
        directions = [(d.pair, d.boards[TEST]) for d in prepared.directions]
        found["shift"] = shift_refits(
            recordings.residuals,
            recordings.latents,
            directions,
            prepared.protocol,
            of_shift,
            seed=config.seed,
            refits=refits,
        )
    if prepared.tpp_boards:
        found["tpp"] = tpp_refits(
            recordings.residuals, recordings.latents, prepared.tpp_boards[TEST], of_tpp, seed=config.seed, refits=refits
        )
    for metric, by_sae in found.items():
        for row, own in zip(result["results"], by_sae, strict=True):
            row[metric]["refits"] = _refit_rows(own, config.ns, refits)
    names = [row["sae"] for row in result["results"]]
    result["refit_differences"] = [
        {"metric": metric, "a": names[i], "b": names[k], "variant": RECOMMENDED}
        | by_sae[i][0].difference(by_sae[k][0]).to_dict()
        for metric, by_sae in found.items()
        for i, k in combinations(range(len(names)), 2)
    ]


def check_refits(config: RunConfig, selection: str, refits: int) -> None:
    """Before anything is computed: ConfigError when ``add_refits`` would refuse."""
    if selection != "attribution":
        raise ConfigError("--refits varies the ranking by attribution; leave --select at attribution")
    refits_check(get_protocol(config.protocol).optimiser == "logistic", refits)


def _refit_rows(found: Sequence[RefitScore], ns: Sequence[int], refits: int) -> dict[str, Any]:
    area, *by_n = found
    return {
        "level": LEVEL_WITH_TRAINING,
        "refits": refits,
        "small_n_area": area.score.to_dict(),
        "by_n": [{"n": n} | f.score.to_dict() for n, f in zip(ns, by_n, strict=True)],
        "undefined_share": max(f.undefined_share for f in found),
    }


def _warnings(row: dict[str, Any], metric: str, controls: Sequence[Placed]) -> Iterable[str]:
    """Sentences on the two headline scores: the recommended area, and the paper's at ``headline_n``."""
    cells = row["shift"]["aggregate"] if metric == "shift" else row["tpp"]["by_n"]
    n = headline_n([cell["n"] for cell in cells])
    scores = (
        [(RECOMMENDED, None, row[metric]["small_n_area"]["test"]["score"])] if "small_n_area" in row[metric] else []
    )
    scores += [("top-N", n, cell["test"]["score"]) for cell in cells if cell["n"] == n]
    for variant, k, value in scores:
        own = [p.control for p in controls if (p.metric, p.variant, p.n) == (metric, variant, k)]
        name = variant if k is None else f"N = {k}, zero ablation"
        yield from (f"{metric.upper()}, {name}: {line}" for line in warnings_of(Estimate(value), own))


def _add(result: dict[str, Any], row: dict[str, Any], found: Sequence[Placed]) -> None:
    row.setdefault("controls", []).extend(_to_dict(p) for p in found)
    result.setdefault("controls", {}).update({p.control.name: p.control.about for p in found})


def controls_name(prepared: Prepared, latents: LatentRecording) -> str:
    """Name of the file, without ending, in which an SAE's controls are kept beside the recordings."""
    config = prepared.config
    tasks = [shift_identity(d.task) for d in prepared.directions]
    tpp = None if prepared.tpp is None else tpp_identity(prepared.tpp)
    key = [
        latents.fingerprint,
        tasks,
        tpp,
        asdict(prepared.protocol),
        config.seed,
        config.resamples,
        _ns(config),
        _VERSION,
    ]
    return f"controls-{fingerprint(key)}"


def _ns(config: RunConfig) -> tuple[int, ...]:
    """The N asked for and those the area needs."""
    return tuple(sorted({*config.ns, *GRID}))


def _to_dict(placed: Placed) -> dict[str, Any]:
    return {"metric": placed.metric, "variant": placed.variant, "n": placed.n} | placed.control.to_dict()


def _placed(row: Mapping[str, Any], name: str, ci: Sequence[float | None] | None) -> Placed:
    low, high = ci or (None, None)
    score = Estimate(row["value"], None if low is None or high is None else (low, high), row["reason"])
    return Placed(row["metric"], row["variant"], row["n"], Control(name, score))
