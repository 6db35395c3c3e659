"""kill -9 at every file that a command writes: run again, it gives the same result, and nothing half-written is read."""

import ast
import os
import re
import shutil
from pathlib import Path

import pytest
from forks import STAGES, die_at, forked, names_of_writes, own_folders
from worlds import Command, sweep

RUN = (
    "model.json",
    "pace.json",
    "residuals.safetensors",
    "residuals.json",
    "latents.safetensors",
    "latents.json",
    "probes.safetensors",
    "probes.json",
    "probes.safetensors",
    "probes.json",
    "own-controls.json",
    "controls.json",
    "result.json",
)
"""What ``saeeval run`` writes, in order."""
SWEEP = ("unit.json", "unit.json", "scoring.json", "sweep.json", "sweep.csv")
"""What a sweep writes where both SAEs are recorded."""
EXPORT = ("scr.json", "tpp.json")
"""What ``saeeval run --format saebench`` writes where everything is recorded."""
_WHEN = re.compile(r'"(created|datetime_epoch_millis|seal)": ("[^"]*"|\d+)')


def every(names: tuple[str, ...]) -> list:
    """(number of the write, stage): each write in one of the stages, in the long form in all."""
    cases = []
    for i, name in enumerate(names):
        for j, stage in enumerate(STAGES):
            marks = [] if j == i % len(STAGES) else [pytest.mark.soak]
            cases.append(pytest.param(i + 1, stage, id=f"{i + 1}-{name}-{stage}", marks=marks))
    return cases


def timeless(path: Path) -> str:
    """The content of a result without the time at which it was made."""
    return _WHEN.sub("", path.read_text())


def written(names: Path) -> tuple[str, ...]:
    """The names of files in the order in which they were written, without fingerprints."""
    plain = (re.sub(r"-[0-9a-f]{16}|^.*_(?=(scr|tpp)_)|_eval_results", "", n) for n in names.read_text().split())
    return tuple(plain)


@pytest.fixture
def survives(command: Command, tmp_path: Path):
    """Kill a command at one of its writes, run it again, and compare what it gives with what it should."""

    def check(arguments: list[str], cache: Path, write: int, stage: str) -> None:
        assert command(arguments, cache, lambda: die_at(write, stage)).killed
        command(arguments, cache).fine()

    return check


@pytest.mark.parametrize(("write", "stage"), every(RUN))
def test_a_run(survives, world, finished, tmp_path, write, stage):
    survives(world.run(tmp_path / "result.json"), tmp_path / "cache", write, stage)
    assert (tmp_path / "result.json").read_bytes() == (finished / "topk.json").read_bytes()


@pytest.mark.parametrize(("write", "stage"), every(("state.safetensors", "state.json")))
def test_a_pass_that_stores_its_state(command, world, finished, tmp_path, write, stage):
    def often() -> None:
        from saeeval_core.recordings import recorder

        recorder.SAVE_EVERY = 0.0
        die_at(write, stage)

    arguments = world.run(tmp_path / "result.json")
    assert command(arguments, tmp_path / "cache", often).killed
    command(arguments, tmp_path / "cache").fine()
    assert (tmp_path / "result.json").read_bytes() == (finished / "topk.json").read_bytes()
    assert not list((tmp_path / "cache").rglob("state.*")), "no longer needed"


@pytest.mark.parametrize(("write", "stage"), every(SWEEP))
def test_a_sweep(world, finished, own_copy, tmp_path, write, stage):
    shutil.rmtree(own_copy / "sweep")
    start = lambda: (own_folders(own_copy), sweep(world, tmp_path))  # noqa: E731
    assert forked(lambda: (die_at(write, stage), start()), tmp_path).killed
    forked(start, tmp_path).fine()
    for name in ("sweep.json", "sweep.csv"):
        assert timeless(tmp_path / name) == timeless(finished / name)


@pytest.mark.parametrize(("write", "stage"), every(EXPORT))
def test_an_export(survives, command, world, own_copy, tmp_path, write, stage):
    arguments = world.run(tmp_path / "folder", "--format", "saebench")
    command(world.run(tmp_path / "whole", "--format", "saebench"), own_copy).fine()
    survives(arguments, own_copy, write, stage)
    files = sorted(p.name for p in (tmp_path / "whole").iterdir())
    assert files == sorted(p.name for p in (tmp_path / "folder").iterdir() if p.suffix == ".json")
    assert all(timeless(tmp_path / "folder" / n) == timeless(tmp_path / "whole" / n) for n in files)


@pytest.mark.parametrize("stage", STAGES)
def test_a_report(command, finished, tmp_path, stage):
    out = tmp_path / "report.html"
    out.write_text("of yesterday")
    arguments = ["report", str(finished / "topk.json"), "--out", str(out)]
    assert command(arguments, tmp_path / "cache", lambda: die_at(1, stage)).killed
    assert (out.read_text() == "of yesterday") == (stage != "renamed"), "the old page or the new one, never half of one"
    command(arguments, tmp_path / "cache").fine()
    assert out.read_text().rstrip().endswith("</html>")


def test_these_are_all_writes(command, world, own_copy, tmp_path):
    seen = [tmp_path / name for name in ("run", "sweep", "export")]
    command(world.run(tmp_path / "result.json"), tmp_path / "other", lambda: names_of_writes(seen[0])).fine()
    shutil.rmtree(own_copy / "sweep")
    forked(lambda: (names_of_writes(seen[1]), own_folders(own_copy), sweep(world, tmp_path)), tmp_path).fine()
    export = world.run(tmp_path / "folder", "--format", "saebench")
    command(export, own_copy, lambda: names_of_writes(seen[2])).fine()
    assert tuple(map(written, seen)) == (RUN, SWEEP, EXPORT)


ROOT = Path(__file__).resolve().parents[2]
OTHER_WRITERS = {
    "saeeval_core/storage/artifacts.py": "the writer itself",
    "saeeval_core/storage/manifest.py": "made by hand for a release",
    "saeeval_core/texts/composed_report.py": "made by hand for a release",
    "saeeval_core/recordings/keep.py": "an empty file that is locked",
    "saeeval_core/planted/world.py": "os.devnull",
    "saeeval_core/bench": "files between two processes of one comparison",
    "app/services/uploads.py": "a temporary folder",
    "saeeval_core/texts/own.py": "a temporary folder",
    "saeeval_core/models/unpacked_model.py": "a temporary folder",
    "saeeval_core/recordings/kept_activations.py": "a temporary folder",
    "app/services/worker_process.py": "a pipe",
    "app/services/timings.py": "a log of times, one line added at once",
    "app/views/judge/paper.py": "a temporary folder",
}
"""Files that write without ``write_atomic``, and why a kill there loses nothing."""
WRITES = ("write_text", "write_bytes", "to_parquet", "save_file", "mkstemp", "savez")


def writers() -> set[str]:
    """Files of the program with a call that writes a file."""
    found = set()
    for path in [*ROOT.glob("saeeval_core/**/*.py"), *ROOT.glob("app/**/*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                name = getattr(node.func, "attr", getattr(node.func, "id", ""))
                mode = [a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
                if name in WRITES or name in ("open", "fdopen") and {"w", "wb", "a", "x"} & set(mode):
                    found.add(path.relative_to(ROOT).as_posix())
    return found


def test_every_other_file_goes_through_the_writer():
    assert {w for w in writers() if not any(w.startswith(own) for own in OTHER_WRITERS)} == set()


def test_what_a_killed_writer_left_is_removed_hours_later(tmp_path):
    from saeeval_core.storage.artifacts import write_atomic

    for name, hours in ((".a[1].json.old", 7), (".a[1].json.new", 1), (".other.json.old", 7)):
        (tmp_path / name).write_text("half")
        then = (tmp_path / name).stat().st_mtime - hours * 3600
        os.utime(tmp_path / name, (then, then))
    write_atomic(tmp_path / "a[1].json", b"whole")
    assert sorted(p.name for p in tmp_path.iterdir()) == [".a[1].json.new", ".other.json.old", "a[1].json"]
