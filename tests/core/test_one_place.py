"""One formula, one place: names that are defined once, and lines that only their own file may hold."""

import ast
import re
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted(p for root in ("saeeval_core", "app") for p in (ROOT / root).rglob("*.py"))
DEFINED_ONCE = {
    "small_n_area": "scores/area.py",
    "area_of_values": "scores/area.py",
    "area_weights": "scores/area.py",
    "unless_empty": "evaluation/variants.py",
    "over_pairs": "scores/uncertainty.py",
    "over_draws": "scores/uncertainty.py",
    "mean_known": "scores/uncertainty.py",
    "paired_difference": "scores/uncertainty.py",
    "difference": "scores/uncertainty.py",
    "say": "scores/uncertainty.py",
    "value_and_interval": "scores/uncertainty.py",
    "random_latents": "controls/controls.py",
    "matched_latents": "controls/controls.py",
    "shuffled_decoders": "controls/rivals.py",
    "basis_recording": "controls/rivals.py",
    "fit_three": "scores/shift_probes.py",
    "weighted_auc": "scores/auc.py",
    "diagonal_means": "scores/tpp.py",
    "matrix_score": "scores/tpp.py",
    "apart_from_zero": "scores/uncertainty.py",
    "edit_sizes": "scores/edit_size.py",
    "shift_training": "texts/tasks.py",
    "evidence_sources": "evidence/sources.py",
    "load_shipped": "judging/verdict_files.py",
    "csv_text": "storage/row_csv.py",
}
"""Function -> its file below saeeval_core."""
ONLY_IN = {
    r"\.standard_normal\(": {"saeeval_core/controls/rivals.py"},  # rows in random directions
    r"np\.eye\(len\(diagonal\)|eye\(delta": {"saeeval_core/scores/tpp.py"},  # on and off the diagonal
    r"derive_rng\([^)]*(RANDOM|random latents)": {"saeeval_core/controls/controls.py"},
    r"redraw_negatives": {
        "saeeval_core/config.py",
        "saeeval_core/evaluation/boards.py",
        "saeeval_core/planted/validate.py",
    },
    # What is resampled in the other two is no text: words of a bag, worlds and training runs.
    r"np\.percentile\([^)]*97\.5": {
        "saeeval_core/scores/uncertainty.py",
        "saeeval_core/planted/validate.py",
        "saeeval_core/texts/composed_report.py",
    },
    r"ShiftProbes\(": {
        "saeeval_core/scores/shift_probes.py",
        "saeeval_core/evaluation/boards.py",
        "saeeval_core/bench/rescore.py",
    },
    r'"small_n_area"|"worst_group_ci"|"matrix_ci"': {"saeeval_core/evaluation/result_json.py"},
    r"_VERSION\b": {"saeeval_core/controls/attach.py"},
}
"""What the line does -> the files that may hold it."""


@cache
def definitions() -> Counter[tuple[str, str]]:
    found: Counter[tuple[str, str]] = Counter()
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                found[node.name, path.relative_to(ROOT).as_posix()] += 1
    return found


@pytest.mark.parametrize("name", list(DEFINED_ONCE))
def test_a_formula_is_defined_once(name):
    places = [place for (found, place), n in definitions().items() if found == name for _ in range(n)]
    assert places == [f"saeeval_core/{DEFINED_ONCE[name]}"]


@pytest.mark.parametrize("line", ONLY_IN)
def test_a_line_stands_only_in_its_own_files(line):
    holding = {p.relative_to(ROOT).as_posix() for p in FILES if re.search(line, p.read_text(encoding="utf-8"))}
    assert holding <= ONLY_IN[line] and holding
