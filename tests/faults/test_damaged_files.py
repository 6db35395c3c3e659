"""Damage to every kind of stored file: it is named and the file made again, or it changes no number."""

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from damage import DAMAGES, swap
from forks import forked, own_folders
from worlds import Command, sweep

from saeeval_core.errors import ArtifactError

KINDS = (
    "recordings/residuals-*.json",
    "recordings/residuals-*.safetensors",
    "recordings/latents-*.json",
    "recordings/latents-*.safetensors",
    "recordings/probes-*.json",
    "recordings/probes-*.safetensors",
    "recordings/controls-*.json",
)
"""What a run reads."""


def one_of(cache: Path, kind: str, rng: random.Random) -> Path:
    return rng.choice(sorted(cache.glob(kind)))


def differs(path: Path, before: bytes) -> bool:
    """Whether a file says something else than before: white space in JSON says nothing."""
    if path.suffix != ".json":
        return path.read_bytes() != before
    try:
        return json.loads(path.read_bytes()) != json.loads(before)
    except ValueError:
        return True


@pytest.fixture
def same_result(command: Command, world, finished, own_copy, tmp_path):
    """Runs both SAEs: results are those of before, and ``damaged`` is named if it says something else now."""

    def check(*damaged: Path) -> None:
        said = ""
        before = {p: (finished / "cache" / p.relative_to(own_copy)).read_bytes() for p in damaged}
        changed = [p for p in damaged if differs(p, before[p])]
        for sae in ("topk", "standard"):
            out = tmp_path / f"{sae}.json"
            said += command(world.run(out, sae=sae), own_copy).fine().err
            assert out.read_bytes() == (finished / f"{sae}.json").read_bytes(), said
        assert not changed or "made again" in said, said
        for path in changed:
            assert path.name in said or path.read_bytes() == before[path], f"{path.name} is not named, and as it was"
            assert path.exists() and (path.parent / "aside").exists(), "moved aside, and made again"

    return check


def each(kinds: tuple[str, ...]) -> list:
    """(kind, damage): of every kind one damage, a flipped bit every second time, in the long form all."""
    cases = []
    for i, kind in enumerate(kinds):
        for j, name in enumerate(DAMAGES):
            marks = [] if j == (i % 2) * (1 + i // 2 % (len(DAMAGES) - 1)) else [pytest.mark.soak]
            cases.append(pytest.param(kind, name, id=f"{kind}-{name}", marks=marks))
    return cases


@pytest.mark.parametrize(("kind", "name"), each(KINDS))
def test_a_file_of_a_run(same_result, own_copy, kind, name):
    rng = random.Random(f"{kind} {name}")
    path = one_of(own_copy, kind, rng)
    DAMAGES[name](path, rng)
    same_result(path)


PAIRS = {
    "sidecars of two SAEs": ("recordings/latents-*.json",) * 2,
    "arrays of two SAEs": ("recordings/latents-*.safetensors",) * 2,
    "probes of two tasks": ("recordings/probes-*.json",) * 2,
    "arrays of probes of two tasks": ("recordings/probes-*.safetensors",) * 2,
    "controls of two SAEs": ("recordings/controls-*.json",) * 2,
    "residuals and latents": ("recordings/residuals-*.safetensors", "recordings/latents-*.safetensors"),
    "a sidecar and controls": ("recordings/latents-*.json", "recordings/controls-*.json"),
}


@pytest.mark.parametrize("name", PAIRS)
def test_two_files_in_each_others_place(same_result, own_copy, name):
    one, other = (sorted(own_copy.glob(kind))[i] for i, kind in enumerate(PAIRS[name]) if kind)
    swap(one, other)
    same_result(one, other)


@pytest.mark.parametrize("name", [*DAMAGES, "swap"])
def test_a_unit_of_a_sweep(world, finished, own_copy, tmp_path, name):
    units = sorted(own_copy.glob("sweep/unit-*.json"))
    before = units[0].read_bytes()
    if name == "swap":
        swap(*units)
    else:
        DAMAGES[name](units[0], random.Random(name))
    changed = differs(units[0], before)
    done = forked(lambda: (own_folders(own_copy), sweep(world, tmp_path)), tmp_path).fine()
    assert (units[0].name in done.err) == changed
    assert (tmp_path / "sweep.csv").read_bytes() == (finished / "sweep.csv").read_bytes()


SHIPPED = (
    "recordings/residuals-*.json",
    "recordings/residuals-*.safetensors",
    "recordings/latents-*.json",
    "recordings/latents-*.safetensors",
    "recordings/probes-*.json",
    "recordings/probes-*.safetensors",
    "saes/*/sae_weights.safetensors",
    "saes/*/cfg.json",
    "verdicts/*.jsonl",
    "manifest.json",
)
"""What comes with the package and decides a number."""


@pytest.fixture(scope="module")
def shipped(tmp_path_factory) -> Path:
    """A planted bundle with a verdict file and a manifest."""
    from planted_assets import make_assets

    folder = tmp_path_factory.mktemp("shipped")
    forked(
        lambda: (own_folders(folder / "cache"), shipping(folder / "assets"), make(make_assets, folder)), folder
    ).fine()
    return folder / "assets"


def shipping(assets: Path) -> None:
    """In a fork: the package's files lie there; probes are trained again over the grid that theirs were."""
    import numpy as np

    from saeeval_core.scores import probes

    os.environ["SAEEVAL_ASSETS"], probes.C_GRID = str(assets), np.array([0.003, 0.1])


def make(make_assets: Callable[..., Path], folder: Path) -> None:
    from app.services import loading
    from saeeval_core.config import RunConfig
    from saeeval_core.judging.verdict_files import write_verdicts
    from saeeval_core.ledger.verdicts import Verdict
    from saeeval_core.storage.manifest import build_manifest

    make_assets(folder / "assets", per_cell=110)
    latents = loading.load(RunConfig()).latents
    about = latents.sae_fingerprint, latents.sae, "bios", "judge", "llm"
    rows = [Verdict(i, *about, {"nurse": i % 4}, "words", "why", evidence_hash="e") for i in range(20)]
    write_verdicts(folder / "assets" / "verdicts" / f"{latents.sae}.jsonl", rows)
    build_manifest()


def numbers() -> None:
    """Print what the dashboard computes from the package's files: scores of a direction and of TPP, and verdicts."""
    from app.services import loading, scoring, verdicts
    from saeeval_core.config import RunConfig
    from saeeval_core.errors import SaeEvalError

    try:
        loaded = loading.load(RunConfig())
    except SaeEvalError as error:
        print("refused:", error)
        return
    if loaded is None:
        print("a run is offered")
        return
    directions = scoring.shift_directions(loaded)
    for direction in directions[:1]:
        view = scoring.shift_view(loaded, direction.pair, direction.task.target.column, 1)
        ranking = view.attribute_ranking[:20].tolist()
        print(ranking, view.score(ranking[:5]).score)
    for verdict in sorted(verdicts.current(loaded), key=lambda v: v.latent):
        print(verdict.latent, dict(verdict.ratings))


@pytest.fixture(scope="module")
def intact(shipped, tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("intact")
    return forked(lambda: (own_folders(folder / "cache"), shipping(shipped), numbers()), folder).fine().out


@pytest.mark.parametrize(("kind", "name"), each(SHIPPED))
def test_a_shipped_file(shipped, intact, tmp_path, kind, name):
    assets = shutil.copytree(shipped, tmp_path / "assets")
    path, rng = one_of(assets, kind, random.Random(kind)), random.Random(f"{kind} {name}")
    before = path.read_bytes()
    DAMAGES[name](path, rng)
    after, changed = path.read_bytes(), differs(path, before)
    done = forked(lambda: (own_folders(tmp_path / "cache"), shipping(assets), numbers()), tmp_path).fine()
    lost = done.out.startswith(("refused: ", "a run is offered")) or intact.startswith(done.out)
    assert done.out == intact or lost and changed, f"other numbers\n{done.out}"
    assert done.out == intact or path.name in done.err or done.out.startswith(("refused: ", "a run is")), done.err
    assert path.read_bytes() == after and not (path.parent / "aside").exists(), "never moved"


@pytest.mark.parametrize("name", DAMAGES)
def test_a_result_is_read_as_it_was_written_or_not_at_all(finished, tmp_path, record_property, name):
    from saeeval_core.evaluation.result_json import read_result

    expected, path = read_result(finished / "topk.json"), tmp_path / "topk.json"
    for seed in range(100):
        shutil.copy(finished / "topk.json", path)
        DAMAGES[name](path, random.Random(seed))
        try:
            assert read_result(path) == expected
        except ArtifactError as error:
            assert "\n" not in str(error) and path.name in str(error)
    record_property("tried", 100)


def test_a_report_of_a_damaged_result_is_one_line(command, finished, tmp_path):
    path = tmp_path / "result.json"
    path.write_text((finished / "topk.json").read_text().replace('"value": 0.', '"value": 0.9', 1))
    line = command(["report", str(path), "--out", str(tmp_path / "page.html")], tmp_path / "cache").one_line()
    assert "'result.json' is not as it was written" in line and not (tmp_path / "page.html").exists()
