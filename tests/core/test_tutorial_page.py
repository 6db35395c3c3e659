"""docs/tutorial.md as it stands: every command, in order, in a folder with a CSV, a model and an SAE."""

import re
import shlex
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from saeeval_core.cli.main import app

ROOT = Path(__file__).resolve().parents[2]
MOST_WORDS = 900


def commands(page: str) -> list[str]:
    """The commands of a page's shell blocks, without comments."""
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.S)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [line.split("#")[0].strip() for line in lines if line.startswith("saeeval")]


@pytest.fixture
def desk(tmp_path: Path, tiny_model_dir, tiny_sae_dirs, tiny_texts_file, monkeypatch) -> Path:
    """The folder of which the tutorial speaks."""
    shutil.copytree(tiny_model_dir, tmp_path / "my-model")
    shutil.copytree(tiny_sae_dirs["topk"], tmp_path / "my-sae")
    shutil.copy(tiny_texts_file, tmp_path / "jobs.csv")
    monkeypatch.chdir(tmp_path)
    for name in ("STORE", "CACHE"):
        monkeypatch.setenv(f"SAEEVAL_{name}", str(tmp_path / name))
    return tmp_path


def test_the_tutorial_runs_from_the_csv_to_the_report(desk):
    found = commands("docs/tutorial.md")
    assert [shlex.split(c)[1] for c in found] == ["task", "run", "judge", "judge", "report"]
    for command in found:
        ran = CliRunner().invoke(app, shlex.split(command)[1:])
        assert ran.exit_code == 0, (command, ran.output[-800:], ran.exception)
    assert "<html" in (desk / "report.html").read_text(encoding="utf-8")[:300]


def test_options_on_the_pages_exist():
    import typer.main

    group = typer.main.get_command(app)
    for page in ("docs/judges.md", "docs/neuronpedia.md", "docs/network.md", "docs/own.md"):
        for command in commands(page):
            words = shlex.split(command)
            known = {o for p in group.commands[words[1]].params for o in (*p.opts, *p.secondary_opts)}
            assert {w for w in words[2:] if w.startswith("--")} <= known, command


def test_links_between_pages_lead_somewhere():
    for page in (ROOT / "docs").glob("*.md"):
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8")):
            assert target.startswith("https://") or (page.parent / target).exists(), (page.name, target)


def test_what_stands_before_the_measurements_fits_on_two_screens():
    before = (ROOT / "README.md").read_text(encoding="utf-8").split("## Measured")[0]
    assert len(before.split()) <= MOST_WORDS
