"""What stands beside the scores of a run: controls, and on request intervals that also vary the training texts.

Both are added to the result of ``pipeline.score`` and come from the same recordings and boards.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from saeeval_core.config import headline_n
from saeeval_core.controls import ABOUT, Control, warnings_of
from saeeval_core.deletion import word_deletions
from saeeval_core.errors import ConfigError
from saeeval_core.pipeline import Prepared
from saeeval_core.refits import REFITS, RefitScore, shift_refits, tpp_refits
from saeeval_core.shift import ShiftLatents
from saeeval_core.small_n import GRID, RECOMMENDED, shift_area, tpp_area
from saeeval_core.sweep_rows import Scorer
from saeeval_core.texts import TEST
from saeeval_core.tpp import TppLatents
from saeeval_core.uncertainty import LEVEL_WITH_TRAINING, Estimate, Scored


def add_controls(prepared: Prepared, result: dict[str, Any], *, deletion: bool = False) -> None:
    """Give every SAE of the result its controls and a sentence for each it does not beat.

    ``results[k]["controls"]`` are those of ``saeeval sweep``: per metric, variant and N, on the test part, of the top N by
    attribution whatever was selected. ``deletion`` adds the attribute-token deletion, which needs another pass.
    """
    config, recordings = prepared.config, prepared.recordings
    deleted = []
    if deletion and prepared.directions:
        deleted = word_deletions(config, prepared.task_set, recordings.residuals.key.hook, prepared.directions)
        for direction, (words, score) in zip(prepared.directions, deleted, strict=True):
            result["probes"].setdefault("deleted_words", {})[f"{direction.task.name}, {direction.task.direction}"] = {
                "words": words, "score": score.score.to_dict(),
            }  # fmt: skip
    metrics = tuple(m for m, there in (("shift", prepared.directions), ("tpp", prepared.tpp_boards)) if there)
    scorer = Scorer(
        metrics=metrics, ns=tuple(sorted({*config.ns, *GRID})), controls=True, by_direction=False, selections=(),
        deletions=[score for _, score in deleted], loss_recovered={}, run=config, task_set=prepared.task_set,
        residuals=recordings.residuals, boards=prepared.directions, tpp=prepared.tpp_boards.get(TEST), identity="",
    )  # fmt: skip
    for row, latents in zip(result["results"], recordings.latents, strict=True):
        unit = scorer.unit(row["sae"], latents, with_bases=True)
        rows = [r for r in unit["rows"] if r["role"] == "control" and (r["n"] is None or r["n"] in config.ns)]
        row["controls"] = [
            {"metric": r["metric"], "variant": r["variant"], "n": r["n"]} | _control(r).to_dict() for r in rows
        ]
        row["warnings"] = [line for metric in metrics for line in _warnings(row, metric, rows)]
    result["controls"] = {name: about for name, about in ABOUT.items() if deletion or name != "word deletion"}


def add_refits(prepared: Prepared, result: dict[str, Any], refits: int = REFITS) -> None:
    """Give every SAE of the result its test scores with intervals over resampled training and test texts.

    Of the top N by attribution and of the area. ConfigError for a protocol whose probes have no C, for another selection
    and for fewer than 20 refits.
    """
    config, recordings = prepared.config, prepared.recordings
    if any(row["selection"] != "attribution" for row in result["results"]):
        raise ConfigError("--refits varies the ranking by attribution; leave --select at attribution")

    def of_shift(view: ShiftLatents) -> Sequence[Scored]:
        return [shift_area(view), *view.curve(view.attribute_ranking, config.ns)]

    def of_tpp(view: TppLatents) -> Sequence[Scored]:
        return [tpp_area(view), *(view.at(n) for n in config.ns)]

    if prepared.directions:
        directions = [(d.pair, d.boards[TEST]) for d in prepared.directions]
        found = shift_refits(
            recordings.residuals, recordings.latents, directions, prepared.protocol, of_shift, seed=config.seed, refits=refits
        )
        for row, own in zip(result["results"], found, strict=True):
            row["shift"]["refits"] = _refit_rows(own, config.ns, refits)
    if prepared.tpp_boards:
        found = tpp_refits(
            recordings.residuals, recordings.latents, prepared.tpp_boards[TEST], of_tpp, seed=config.seed, refits=refits
        )
        for row, own in zip(result["results"], found, strict=True):
            row["tpp"]["refits"] = _refit_rows(own, config.ns, refits)


def _refit_rows(found: Sequence[RefitScore], ns: Sequence[int], refits: int) -> dict[str, Any]:
    area, *by_n = found
    return {
        "level": LEVEL_WITH_TRAINING, "refits": refits, "small_n_area": area.score.to_dict(),
        "by_n": [{"n": n} | f.score.to_dict() for n, f in zip(ns, by_n, strict=True)],
    }  # fmt: skip


def _warnings(row: dict[str, Any], metric: str, controls: Sequence[dict[str, Any]]) -> Iterable[str]:
    """Sentences on the two headline scores: the recommended area, and the paper's at ``headline_n``."""
    area = row[metric]["small_n_area"]["test"]
    scores = [(RECOMMENDED, None, area.get("score", area.get("value")))]
    cells = row["shift"]["aggregate"] if metric == "shift" else row["tpp"]["by_n"]
    headline = headline_n([cell["n"] for cell in cells])
    scores += [("top-N", cell["n"], cell["test"]["score"]) for cell in cells if cell["n"] == headline]
    for variant, n, value in scores:
        own = [_control(r) for r in controls if (r["metric"], r["variant"], r["n"]) == (metric, variant, n)]
        name = variant if n is None else f"N = {n}, zero ablation"
        yield from (f"{metric.upper()}, {name}: {line}" for line in warnings_of(Estimate(value), own))


def _control(row: dict[str, Any]) -> Control:
    ci = None if row["ci_low"] is None else (row["ci_low"], row["ci_high"])
    return Control(row["control"], Estimate(row["value"], ci, row["reason"]))
