"""The tutorial: a notebook without outputs that runs from top to bottom."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).resolve().parents[3] / "docs" / "tutorial.ipynb"


def cells() -> Iterator[tuple[int, dict]]:
    yield from enumerate(json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"])


def run(source: str, where: str, names: dict) -> object:
    """What a notebook shows of a cell: the value of its last line, where that is an expression."""
    import ast

    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, where, "exec"), names)
    return eval(compile(ast.Expression(last.value), where, "eval"), names) if last else None


def test_it_is_a_notebook_without_outputs():
    content = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert (content["nbformat"], content["nbformat_minor"]) == (4, 5)
    assert len({c["id"] for _, c in cells()}) == len(content["cells"])
    for number, cell in cells():
        if cell["cell_type"] == "code":
            assert (cell["outputs"], cell["execution_count"]) == ([], None)
            compile("".join(cell["source"]), f"cell {number}", "exec")


@pytest.mark.slow
def test_it_runs_from_top_to_bottom(cache, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict = {"__name__": "__main__"}
    shown = {
        number: run("".join(cell["source"]), f"cell {number} of {NOTEBOOK.name}", names)
        for number, cell in cells()
        if cell["cell_type"] == "code"
    }
    result, answer = names["result"], names["direction"].ablate(names["chosen"])
    assert any(result is value for value in shown.values()) and "<svg" in result._repr_html_()
    assert answer.score.value is not None and answer.selective_erasure.value is not None
    assert {"report.html", "result.json"} <= {p.name for p in (tmp_path / "letters").iterdir()}
    assert names["lab"].address.startswith("http://localhost:8501/shift?sae=memory%3Amy-sae-")
