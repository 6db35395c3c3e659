"""Structure: who may import whom, what stays unloaded until it is needed, no hidden randomness, no printing."""

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ENGINE = (
    "wording", "redaction", "errors", "config", "versions", "storage", "texts", "models", "saes", "recordings", "scores", "evaluation",
    "controls", "training", "evidence", "ledger", "judging", "sweep", "holding", "planted", "formats", "door", "bundle", "bench", "cli",
)  # fmt: skip  # one order to be read along a line, not down a column of twenty
"""The flow of data, one word per room: a file imports only from its own room and from those before it."""
DASHBOARD = (
    "theme", "state", "services", "jobs", "deciding", "payloads", "results", "figures", "report_page", "components",
    "stories", "widgets", "views", "shell", "launch", "main",
)  # fmt: skip  # as above
"""The same for the dashboard, which may import all of the engine but its command line."""
ROOMS = {"saeeval_core": ENGINE, "app": DASHBOARD}
FILES = sorted(
    p for root in ROOMS for p in (ROOT / root).rglob("*.py") if p.parent != ROOT / root or p.stem != "__init__"
)
CORE = [p for p in FILES if p.is_relative_to(ROOT / "saeeval_core")]
FLAT = 8
"""Most files that lie in no room of the engine."""
LAST = "cli"
OWN_PROCESS = {"bench.sides"}
"""Runs another project's code that draws from torch's global generator, in a process of its own."""
HEAVY = ("transformers", "transformer_lens", "sae_lens")


def name_of(path: Path) -> str:
    """ "shift", or "judging.run" for files of a subpackage."""
    return ".".join(path.relative_to(ROOT / "saeeval_core").with_suffix("").parts).removesuffix(".__init__")


@cache
def parsed(path: Path) -> ast.Module:
    """Parsed once for all tests, none of which changes it."""
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def imports(path: Path, *, inside_functions: bool = True) -> frozenset[str]:
    """Dotted names of everything a file imports, except for type checking."""
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

    visit(parsed(path), False)
    return frozenset(found)


def room_of(path: Path) -> tuple[str, str]:
    """("saeeval_core", "scores"): the package and the room in it."""
    root, first, *_ = path.relative_to(ROOT).with_suffix("").parts
    return root, first


def module_of(path: Path) -> str:
    """ "saeeval_core.scores.shift" """
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_a_file_imports_only_from_its_own_room_and_those_before(path):
    root, room = room_of(path)
    order = ROOMS[root]
    assert room in order, f"{path.name} lies in no room: name it in the order"
    for name in imports(path):
        package, _, rest = name.partition(".")
        if package == root and rest:
            found = rest.split(".")[0]
            assert found not in order or order.index(found) <= order.index(room), name


def test_every_room_is_there_and_few_files_lie_in_none():
    for root, order in ROOMS.items():
        found = {room_of(p)[1] for p in FILES if room_of(p)[0] == root}
        assert found <= set(order)
    flat = [p for p in (ROOT / "saeeval_core").glob("*.py")]
    assert len(flat) <= FLAT


def test_no_cycles_at_all():
    modules = {module_of(p): p for p in FILES}
    graph = {name: imports(p) & modules.keys() for name, p in modules.items()}
    state: dict[str, int] = {}

    def walk(node: str, path: tuple[str, ...]) -> None:
        assert state.get(node) != 1, f"cycle: {' -> '.join((*path, node))}"
        if node not in state:
            state[node] = 1
            for after in sorted(graph[node]):
                if after != node:
                    walk(after, (*path, node))
            state[node] = 2

    for node in graph:
        walk(node, ())


@pytest.mark.parametrize("room", ["deciding", "payloads", "services"])
def test_values_and_decisions_know_no_page(room):
    own = [p for p in FILES if room_of(p) == ("app", room)]
    assert own and [p.name for p in own if any(i.split(".")[0] == "streamlit" for i in imports(p))] == []


def test_nothing_imports_the_command_line():
    own = [p for p in FILES if room_of(p) != ("saeeval_core", LAST)]
    assert [p.name for p in own if any(i.startswith(f"saeeval_core.{LAST}") for i in imports(p))] == []


@pytest.mark.parametrize("path", CORE, ids=name_of)
def test_the_engine_knows_no_dashboard(path):
    roots = {i.split(".")[0] for i in imports(path)}
    allowed = {"app"} if room_of(path)[1] == LAST else set()
    assert not roots & ({"streamlit", "plotly", "app"} - allowed)


@pytest.mark.parametrize("path", CORE, ids=name_of)
def test_slow_libraries_are_imported_inside_functions(path):
    top = {i.split(".")[0] for i in imports(path, inside_functions=False)}
    assert not top & set(HEAVY)


LIGHT = [
    "saeeval_core.evaluation.prepare",
    "saeeval_core.scores.shift",
    "saeeval_core.scores.tpp",
    "saeeval_core.recordings.recording",
    "saeeval_core.saes.registry",
    "app.services.evidence",
    "app.services.scoring",
    "app.services.trust",
    "saeeval_core.cli.main",
]


def test_opening_results_loads_no_language_model_library():
    names = LIGHT
    code = (
        f"import importlib, sys\nfor name in {names!r}:\n    importlib.import_module(name)\n"
        f"    print(name, [m for m in {HEAVY!r} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"{name} []" for name in names]


def test_services_load_no_streamlit():
    """They serve jobs, reports and tests, too, and a page element in them would be drawn where nobody looks."""
    names = [module_of(p) for p in FILES if room_of(p) == ("app", "services")]
    code = "import importlib, sys\n" + "".join(f"importlib.import_module({n!r})\n" for n in names)
    code += "print([m for m in sys.modules if m.split('.')[0] == 'streamlit'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert len(names) > 5 and done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize("path", CORE, ids=name_of)
def test_no_global_generator_is_used_outside_a_fork(path):
    source = path.read_text(encoding="utf-8")
    numpy_calls = set(re.findall(r"\b(?:np|numpy)\.random\.(\w+)\(", source))
    assert numpy_calls <= {"default_rng", "Generator", "PCG64", "SeedSequence"}
    assert not re.search(r"^\s*(?:import random|from random import)", source, re.M)
    for function in [n for n in ast.walk(parsed(path)) if isinstance(n, ast.FunctionDef)]:
        own = ast.unparse(function)
        seeds = "manual_seed(" in own and "fork_rng" not in own and "Generator" not in own
        assert not seeds or name_of(path) in OWN_PROCESS, function.name


@pytest.mark.parametrize("path", CORE, ids=name_of)
def test_only_the_command_line_prints(path):
    calls = [n for n in ast.walk(parsed(path)) if isinstance(n, ast.Call)]
    assert [c.lineno for c in calls if isinstance(c.func, ast.Name) and c.func.id == "print"] == []


@pytest.mark.parametrize("path", CORE, ids=name_of)
def test_no_pickles_and_no_unchecked_tensors(path):
    found = imports(path)
    assert not {i.split(".")[0] for i in found} & {"pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
    for call in [n for n in ast.walk(parsed(path)) if isinstance(n, ast.Call)]:
        name = ast.unparse(call.func)
        if name.endswith("torch.load"):
            assert any(k.arg == "weights_only" and ast.unparse(k.value) == "True" for k in call.keywords)
        if name in ("np.load", "numpy.load"):
            assert not any(k.arg == "allow_pickle" and ast.unparse(k.value) == "True" for k in call.keywords)
        assert name not in ("eval", "exec")
