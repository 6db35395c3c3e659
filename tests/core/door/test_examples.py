"""Every example in a docstring of the notebook's door runs, and every public name has one."""

import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import saeeval_core as se
from saeeval_core import door

MODULES = [f"saeeval_core.door.{m.name}" for m in pkgutil.iter_modules(door.__path__)]
_PLAIN = {"Estimate", "SaeEvalError", "Task", "Ablated"}
"""Made by what has an example."""


def examples(module: str, names: dict) -> list[doctest.DocTest]:
    found = doctest.DocTestFinder(exclude_empty=True).find(importlib.import_module(module), extraglobs=names)
    return [test for test in found if test.examples]


@pytest.mark.parametrize("module", MODULES)
def test_examples_say_what_happens(module, notebook):
    for test in examples(module, notebook):
        out: list[str] = []
        flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
        failed = doctest.DocTestRunner(optionflags=flags).run(test, out=out.append).failed
        assert not failed, "".join(out)


def test_every_public_name_has_an_example(notebook):
    with_one = {t.name.rsplit(".", 1)[-1] for m in MODULES for t in examples(m, notebook)}
    assert set(se.__all__) - _PLAIN <= with_one
    assert {"ablate", "decide", "to_frame", "to_json", "to_saebench", "report"} <= with_one


def test_what_the_docs_say_runs(notebook, tmp_path, monkeypatch):
    monkeypatch.setenv("SAEEVAL_STORE", str(tmp_path / "store.sqlite"))
    text = (Path(__file__).resolve().parents[3] / "docs" / "api.md").read_text(encoding="utf-8")
    names = {k: notebook[k] for k in ("frame", "model", "tokenizer", "sae", "rows")} | {"folder": tmp_path}
    for block in re.findall(r"```python\n(.*?)```", text, re.S):
        exec(compile(block, "docs/api.md", "exec"), names)
    assert names["lab"].address.startswith("http://localhost:8501/shift?")
    assert {p.name for p in tmp_path.iterdir()} >= {"result.json", "saebench", "report.html", "tasks"}
