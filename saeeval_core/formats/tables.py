"""Results as tables for the terminal."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from saeeval_core.config import headline_n
from saeeval_core.scores.area import RECOMMENDED
from saeeval_core.scores.uncertainty import LEVEL_WITH_TRAINING, Estimate, difference_words


def print_run(console: Console, result: dict[str, Any]) -> None:
    """The tables of ``saeeval run``, readable at 100 columns."""
    task, config = result["task"], result["config"]
    console.print(
        f"\n[bold]{escape(task['name'])}[/] ({'composed, ' if task['composed'] else ''}{task['texts']} texts) on "
        f"{escape(result['model']['name'])} {result['model']['hook']}, protocol {config['protocol']}, seed {config['seed']}"
    )
    if task["small"]:
        console.print(task["small"], style="yellow", markup=False)
    parts = ["dev", "test"] if config["protocol"] == "robust" else ["test"]
    for row in result["results"]:
        u = row["unsupervised"]
        ev = "n/a" if u["explained_variance"] is None else f"{u['explained_variance']:.3f}"
        console.print(
            f"\n[bold]{escape(row['sae'])}[/]  L0 {u['l0']:.1f}, explained variance {ev}, dead here {u['dead']:.1%}"
        )
        if "shift" in row:
            _print_shift(console, row["shift"], parts)
        if "tpp" in row:
            _print_tpp(console, row["tpp"], parts)
        if row.get("controls"):
            _print_controls(console, row)
    for d in result.get("refit_differences", ()):
        words = difference_words(Estimate(d["value"], d["ci"], d["reason"]), LEVEL_WITH_TRAINING)
        console.print(f"  {d['metric'].upper()} area, {d['a']} minus {d['b']}: {words}", markup=False, highlight=False)
    _print_deleted_words(console, result["probes"].get("deleted_words", {}))
    console.print(
        f"\nIntervals: 95 %, {config['resamples']} resamples of {task['interval_level']}. "
        f"Selection: {result['results'][0]['selection']}. n/a: undefined, with the reason beside it.",
        style="dim",
        markup=False,
    )


def print_faults(console: Console, result: dict[str, Any]) -> None:
    """The table of ``saeeval faults``: one line per setting and metric, of the SAEs (controls stay in the JSON)."""
    rows = [r for r in result["rows"] if r.get("role") != "control"]
    shown = {
        "sae": "SAE",
        "where": "worlds",
        "score": "score",
        "sd_texts_fixed": "sd, texts fixed",
        "sd_texts_redrawn": "sd, redrawn",
        "spearman": "Spearman",
        "oracle_rank": "oracle rank",
        "random_score": "random",
    }
    shown = {k: title for k, title in shown.items() if any(r.get(k) is not None for r in rows)}
    if len({r.get("sae") for r in rows}) == 1:
        shown.pop("sae", None)
    table = Table("setting", "metric", *shown.values(), box=None, header_style="bold")
    for r in rows:
        cells = [r.get(k) for k in shown]
        table.add_row(
            r["setting"], r["metric"], *("n/a" if v is None else v if isinstance(v, str) else _short(v) for v in cells)
        )
    console.print(table)


def _print_shift(console: Console, shift: dict[str, Any], parts: list[str]) -> None:
    ns = [row["n"] for row in shift["directions"][0]["by_n"]]
    table = Table(
        title="SHIFT score S (test), by number of ablated latents", title_justify="left", box=None, header_style="bold"
    )
    table.add_column("direction", overflow="fold")
    for column in ("base", "oracle", *(f"N={n}" for n in _shown(ns))):
        table.add_column(column, no_wrap=True)
    reasons = []
    for d in shift["directions"]:
        reason = d["reason"]["test"]
        cells = [_interval(b["test"]["score"], b["test"]["ci"]) for b in d["by_n"] if b["n"] in _shown(ns)]
        table.add_row(
            escape(f"{d['target_values']} not {d['spurious_values']}"),
            _short(d["base"]["test"]["value"]),
            _short(d["oracle"]["test"]["value"]),
            *cells,
        )
        if reason:
            reasons.append(f"{d['target_values']} not {d['spurious_values']}: n/a, {reason}")
    for part in reversed(parts):
        row = {a["n"]: a[part] for a in shift["aggregate"]}
        table.add_row(
            f"[bold]mean over pairs ({part})[/]",
            "",
            "",
            *(_interval(row[n]["score"], row[n]["ci"]) for n in _shown(ns)),
        )
    console.print(table)
    for line in reasons:
        console.print(f"  {line}", style="dim", markup=False)
    _print_area(console, shift["small_n_area"], parts)
    _print_refits(console, shift)
    last = shift["aggregate"][0]["test"]
    console.print(f"  {last['pairs']} pairs; {last['directions_left_out']} undefined directions left out", style="dim")


def _print_tpp(console: Console, tpp: dict[str, Any], parts: list[str]) -> None:
    table = Table(title="TPP (balanced accuracy lost)", title_justify="left", box=None, header_style="bold")
    for column in ("N", *(f"score ({p})" for p in parts), "own class (test)", "other classes (test)"):
        table.add_column(column)
    for row in tpp["by_n"]:
        own, other = row["test"]["intended"], row["test"]["unintended"]
        table.add_row(
            str(row["n"]),
            *(_interval(row[p]["score"], row[p]["ci"]) for p in parts),
            _interval(own["value"], own["ci"]),
            _interval(other["value"], other["ci"]),
        )
    console.print(table)
    if "small_n_area" in tpp:
        _print_area(console, tpp["small_n_area"], parts)
    _print_refits(console, tpp)
    middle = tpp["by_n"][min(len(tpp["by_n"]) - 1, 4)]
    names = [escape(c[:9]) for c in tpp["classes"]]
    matrix = Table(
        title=f"TPP matrix, N={middle['n']}, test: ablated class (row) x probe (column)",
        title_justify="left",
        box=None,
        header_style="bold",
    )
    for name in ("", *names):
        matrix.add_column(name, justify="right" if name else "left")
    for name, values in zip(names, middle["test"]["matrix"], strict=True):
        matrix.add_row(name, *("n/a" if v is None else f"{v:+.3f}" for v in values))
    console.print(matrix)


def _print_area(console: Console, area: dict[str, Any], parts: list[str]) -> None:
    figures = ", ".join(f"{p} {_interval(area[p]['score'], area[p]['ci'])}" for p in reversed(parts))
    console.print(f"  {area['definition']}: [bold]{figures}[/]", highlight=False)


def _print_refits(console: Console, metric: dict[str, Any]) -> None:
    """The test scores once more, with intervals that vary the training texts too."""
    if "refits" not in metric:
        return
    found = metric["refits"]
    ns = _shown([row["n"] for row in found["by_n"]])
    cells = [f"N={r['n']} {_interval(r['value'], r['ci'])}" for r in found["by_n"] if r["n"] in ns]
    area = _interval(found["small_n_area"]["value"], found["small_n_area"]["ci"])
    left_out = f" ({found['undefined_share']:.0%} of them undefined)" if found["undefined_share"] else ""
    console.print(
        f"  intervals over {found['level']}, {found['refits']} refits{left_out}: area {area}; {', '.join(cells)}",
        markup=False,
        highlight=False,
    )


def _print_controls(console: Console, row: dict[str, Any]) -> None:
    """One line per control, in the two variants that are headlines; then what the SAE does not beat."""
    n = headline_n([c["n"] for c in row["controls"] if c["n"] is not None])
    scored = dict.fromkeys(c["metric"] for c in row["controls"])
    columns = [(metric, *variant) for metric in scored for variant in ((RECOMMENDED, None), ("top-N", n))]
    table = Table(
        title="Controls (test; of the top N by attribution)", title_justify="left", box=None, header_style="bold"
    )
    table.add_column("control")
    for metric, _, k in columns:
        table.add_column(f"{metric.upper()} {'area' if k is None else f'N={k}'}", no_wrap=True)
    by_place = {(c["metric"], c["variant"], c["n"], c["name"]): c for c in row["controls"]}
    for name in dict.fromkeys(c["name"] for c in row["controls"]):
        cells = [by_place.get((*place, name)) for place in columns]
        table.add_row(name, *("" if c is None else _interval(c["value"], c["ci"]) for c in cells))
    console.print(table)
    for line in row.get("warnings", ()):
        console.print(f"  {line}", style="yellow", markup=False, highlight=False)


def _print_deleted_words(console: Console, deleted: dict[str, Any]) -> None:
    for direction, found in deleted.items():
        console.print(
            f"  deleted for {direction}: {', '.join(found['words'])}", style="dim", markup=False, highlight=False
        )


def _shown(ns: list[int]) -> list[int]:
    """At most five columns fit into 100 characters: those of the paper's usual N."""
    usual = [n for n in ns if n in (2, 5, 10, 20)]
    return usual if len(usual) >= 3 else ns[:4]


def _interval(value: float | None, ci: Sequence[float] | None) -> str:
    if value is None:
        return "n/a"
    return _short(value) if ci is None else f"{_short(value)} [{_short(ci[0])},{_short(ci[1])}]"


def _short(value: float) -> str:
    """Two decimals without the leading zero: .23, -.04, 1.10."""
    text = f"{value:.2f}"
    return text.replace("0.", ".", 1) if text.lstrip("-").startswith("0.") else text
