"""Structure: who may import whom, what stays unloaded until it is needed, no hidden randomness, no printing."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CORE = sorted(p for p in (ROOT / "saeeval_core").rglob("*.py"))
_FLOW = (
    "errors config artifacts identity hub texts sources models registry saes baselines packing recording known_saes contexts "
    "recorder probes attribution ablation uncertainty selections shift tpp saebench tpp_cells small_n pipeline"
)
ORDER = _FLOW.split()
"""The data flow; a file imports only from those before it. Files not named here come after all of these."""
LAST = "cli"
OWN_PROCESS = {"bench"}
"""Runs another project's code that draws from torch's global generator, in a process of its own."""
HEAVY = ("transformers", "transformer_lens", "sae_lens")
LOADERS = {"models", "saes", "recorder", "training"}
"""May load torch; even they import what is in HEAVY only inside functions."""


def name_of(path: Path) -> str:
    """ "shift", or "judging.run" for files of a subpackage."""
    return ".".join(path.relative_to(ROOT / "saeeval_core").with_suffix("").parts).removesuffix(".__init__")


def imports(path: Path, *, inside_functions: bool = True) -> set[str]:
    """Dotted names of everything a file imports, except for type checking."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found: set[str] = set()

    def visit(node: ast.AST, inside: bool) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                continue
            here = inside or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
            if inside_functions or not here:
                if isinstance(child, ast.Import):
                    found.update(a.name for a in child.names)
                elif isinstance(child, ast.ImportFrom) and child.module:
                    found.add(child.module)
                    found.update(f"{child.module}.{a.name}" for a in child.names)
            visit(child, here)

    visit(tree, False)
    return found


def core_imports(path: Path) -> set[str]:
    """Names of the core files a file imports."""
    known = {name_of(p) for p in CORE} - {""}
    return {
        n for i in imports(path) if (n := i.removeprefix("saeeval_core.")) in known and i.startswith("saeeval_core.")
    }


@pytest.mark.parametrize("path", [p for p in CORE if name_of(p) in ORDER], ids=name_of)
def test_a_file_imports_only_from_files_before_it(path):
    place = ORDER.index(name_of(path))
    later = {n for n in core_imports(path) if n not in ORDER[:place]}
    # A loader that is only needed in one branch may be imported inside the function that takes it.
    lazily = later & LOADERS if "\n    from saeeval_core" in path.read_text(encoding="utf-8") else set()
    assert later - lazily == set()


def test_no_cycles_at_all():
    graph = {name_of(p): core_imports(p) for p in CORE}
    state: dict[str, int] = {}

    def walk(node: str, path: tuple[str, ...]) -> None:
        assert state.get(node) != 1, f"cycle: {' -> '.join((*path, node))}"
        if node not in state:
            state[node] = 1
            for after in sorted(graph.get(node, ())):
                if after != node:
                    walk(after, (*path, node))
            state[node] = 2

    for node in graph:
        walk(node, ())


def test_nothing_imports_the_command_line():
    assert [name_of(p) for p in CORE if LAST in core_imports(p)] == []


@pytest.mark.parametrize("path", CORE, ids=name_of)
def test_the_engine_knows_no_dashboard(path):
    roots = {i.split(".")[0] for i in imports(path)}
    allowed = (
        {"plotly"} if name_of(path) in ("report", "report_figures") else {"app"} if name_of(path) == LAST else set()
    )
    assert not roots & ({"streamlit", "plotly", "app"} - allowed)


@pytest.mark.parametrize("path", CORE, ids=name_of)
def test_slow_libraries_are_imported_inside_functions(path):
    top = {i.split(".")[0] for i in imports(path, inside_functions=False)}
    assert not top & set(HEAVY)


LIGHT = [
    "saeeval_core.pipeline",
    "saeeval_core.shift",
    "saeeval_core.tpp",
    "saeeval_core.recording",
    "saeeval_core.registry",
]
LATER = {"app.services": ROOT / "app" / "services.py", "saeeval_core.cli": ROOT / "saeeval_core" / "cli.py"}


def test_opening_results_loads_no_language_model_library():
    names = LIGHT + [module for module, path in LATER.items() if path.exists()]
    code = (
        f"import importlib, sys\nfor name in {names!r}:\n    importlib.import_module(name)\n"
        f"    print(name, [m for m in {HEAVY!r} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"{name} []" for name in names]


@pytest.mark.parametrize("path", CORE, ids=name_of)
def test_no_global_generator_is_used_outside_a_fork(path):
    source = path.read_text(encoding="utf-8")
    numpy_calls = set(re.findall(r"\b(?:np|numpy)\.random\.(\w+)\(", source))
    assert numpy_calls <= {"default_rng", "Generator", "PCG64", "SeedSequence"}
    assert not re.search(r"^\s*(?:import random|from random import)", source, re.M)
    for function in [n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.FunctionDef)]:
        own = ast.unparse(function)
        seeds = "manual_seed(" in own and "fork_rng" not in own and "Generator" not in own
        assert not seeds or name_of(path) in OWN_PROCESS, function.name


@pytest.mark.parametrize("path", CORE, ids=name_of)
def test_only_the_command_line_prints(path):
    calls = [n for n in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(n, ast.Call)]
    assert [c.lineno for c in calls if isinstance(c.func, ast.Name) and c.func.id == "print"] == []


@pytest.mark.parametrize("path", CORE, ids=name_of)
def test_no_pickles_and_no_unchecked_tensors(path):
    found = imports(path)
    assert not {i.split(".")[0] for i in found} & {"pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
    for call in [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call)]:
        name = ast.unparse(call.func)
        if name.endswith("torch.load"):
            assert any(k.arg == "weights_only" and ast.unparse(k.value) == "True" for k in call.keywords)
        if name in ("np.load", "numpy.load"):
            assert not any(k.arg == "allow_pickle" and ast.unparse(k.value) == "True" for k in call.keywords)
        assert name not in ("eval", "exec")
