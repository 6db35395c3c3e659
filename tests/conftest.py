"""What every test stands on: a private cache, one thread, tiny offline models, SAEs and texts, and the skip rules.

Everything a test may use by name is here; functions to build more of the same are in ``toys.py``.
"""

import asyncio
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

# Before numpy and torch are loaded: tests share the machine, and one thread gives the same bits everywhere.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"
os.environ["WANDB_MODE"] = "disabled"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["SAEEVAL_KERNEL"] = "default"  # the same on every machine; tests of the switch name another
os.environ.pop("ANTHROPIC_API_KEY", None)  # no test may reach a paid service by accident

import pytest  # noqa: E402

SHARED = "SAEEVAL_SHARED_DATA"
REQUIRE = "SAEEVAL_REQUIRE"
_GROUP_FOLDERS = {"browser": "browser", "saebench": "parity", "ray": "cluster"}
_state: dict[str, str] = {}


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs_shared(*names): needs these files of the shared data folder")
    _state["cache"] = tempfile.mkdtemp(prefix="saeeval-tests-")
    os.environ["SAEEVAL_CACHE"] = _state["cache"]


def pytest_unconfigure() -> None:
    shutil.rmtree(_state.pop("cache", ""), ignore_errors=True)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object):
    from sharing_out import Files

    return Files(config, log) if config.getoption("dist") == "loadfile" else None


def shared_folder() -> Path:
    """Research data that is not part of the repository: the environment's folder, or ``shared/data`` beside the checkout."""
    given = os.environ.get(SHARED)
    return Path(given) if given else Path(__file__).resolve().parents[2] / "shared" / "data"


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers("needs_shared"):
        for name in marker.args:
            if not (shared_folder() / name).is_file():
                pytest.skip(f"needs {name}; set {SHARED} to the folder that holds it")
    if item.get_closest_marker("soak") and os.environ.get("SAEEVAL_SOAK") != "1":
        pytest.skip("takes long; set SAEEVAL_SOAK=1 (make soak)")


def required_groups() -> set[str]:
    """Groups that must run here: the comma-separated names in the environment."""
    return {g.strip() for g in os.environ.get(REQUIRE, "").split(",") if g.strip()}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo):
    report = yield
    names = {m.name for m in item.iter_markers()}
    # Research data that is not part of the repository cannot be required of a machine.
    missed = set() if "needs_shared" in names else required_groups() & names
    if report.skipped and missed and not hasattr(report, "wasxfail"):
        _fail(report, sorted(missed)[0])
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector):
    report = yield
    missed = [g for g in required_groups() if _GROUP_FOLDERS.get(g) in collector.path.parts]
    if report.skipped and missed:
        _fail(report, missed[0])
    return report


def _fail(report: pytest.TestReport | pytest.CollectReport, group: str) -> None:
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
    report.outcome = "failed"
    report.longrepr = f"skipped although {REQUIRE} asks for '{group}': {reason}"


@pytest.fixture(scope="session", autouse=True)
def _no_test_decides_in_a_persons_store(tmp_path_factory: pytest.TempPathFactory) -> None:
    os.environ["SAEEVAL_STORE"] = str(tmp_path_factory.mktemp("store") / "store.sqlite")


@pytest.fixture(autouse=True)
def one_thread() -> None:
    # Where torch is not loaded yet, it will find OMP_NUM_THREADS.
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


@pytest.fixture(autouse=True)
def no_loop_of_a_browser(request: pytest.FixtureRequest) -> Iterator[None]:
    """Chromium's driver leaves its event loop marked as running in this thread, where code under test may start its own."""
    loop = None if {"chromium", "browser_page"} & set(request.fixturenames) else asyncio._get_running_loop()
    if loop is not None:
        asyncio._set_running_loop(None)
    yield
    if loop is not None:
        asyncio._set_running_loop(loop)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache and a store of this test's own."""
    monkeypatch.setenv("SAEEVAL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SAEEVAL_STORE", str(tmp_path / "store.sqlite"))
    return tmp_path / "cache"


@pytest.fixture
def shared() -> Path:
    """The shared data folder; a test that uses it carries ``needs_shared``."""
    return shared_folder()


@pytest.fixture(scope="session")
def tiny_model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A two-block Llama of width 16 with a word-level tokenizer, as transformers saves it."""
    from toys import save_tiny_model

    return save_tiny_model(tmp_path_factory.mktemp("model") / "tiny-llama")


@pytest.fixture(scope="session")
def tiny_model(tiny_model_dir: Path):
    from saeeval_core.models.language_model import load_model

    return load_model(str(tiny_model_dir), device="cpu")


@pytest.fixture(scope="session")
def tiny_sae_dirs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of 16-wide SAEs with 32 latents of several classes, by architecture."""
    from toys import save_tiny_sae

    folder = tmp_path_factory.mktemp("saes")
    return {name: save_tiny_sae(folder / name, name) for name in ("topk", "standard", "jumprelu", "gated", "abstopk")}


@pytest.fixture(scope="session")
def tiny_texts():
    """320 texts in four quadrants (profession x gender) with a planted spurious cue, and three meals for TPP."""
    from toys import labelled_texts

    return labelled_texts()


@pytest.fixture(scope="session")
def tiny_texts_file(tiny_texts, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same texts as a CSV file."""
    import pandas as pd

    path = tmp_path_factory.mktemp("texts") / "toys.csv"
    pd.DataFrame({"text": tiny_texts.texts, **tiny_texts.columns}).to_csv(path, index=False)
    return path


@pytest.fixture(scope="session")
def tiny_recording(tiny_model, tiny_texts, tiny_sae_dirs):
    """(ResidualRecording, [LatentRecording of topk, standard]) of the tiny texts."""
    from toys import HOOK

    from saeeval_core.recordings.recorder import record
    from saeeval_core.saes.loaded import load_sae

    saes = [load_sae(str(tiny_sae_dirs[name])) for name in ("topk", "standard")]
    return record(tiny_model, HOOK, tiny_texts.texts, tiny_texts.fingerprint, saes)


@pytest.fixture(scope="session")
def planted():
    """Synthetic recordings in which eight known latents carry the spurious label; see ``toys.planted_world``."""
    from toys import planted_world

    return planted_world()


@pytest.fixture(scope="session")
def planted_probes(planted):
    """The three probes of the planted SHIFT task under the default protocol."""
    from saeeval_core.config import PROTOCOLS
    from saeeval_core.scores.shift_probes import fit_shift_probes
    from saeeval_core.texts.tasks import drawn_pair

    robust = PROTOCOLS["robust"]
    return fit_shift_probes(planted.residuals, drawn_pair(planted.shift, seed=0, protocol=robust), robust, seed=0)
