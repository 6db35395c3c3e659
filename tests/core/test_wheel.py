"""The wheel holds every file the program reads beside its code: an editable install would hide one that was moved."""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("app", "saeeval_core")
READ = (".js", ".css", ".toml")
_BUILD = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"


@pytest.fixture(scope="module")
def inside(tmp_path_factory) -> set[str]:
    """Paths inside the wheel, built from a copy: building leaves folders beside the code."""
    copy, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    for name in PACKAGES:
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    done = subprocess.run([sys.executable, "-c", _BUILD, str(out)], cwd=copy, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    (wheel,) = out.glob("*.whl")
    return set(ZipFile(wheel).namelist())


def beside_code() -> list[Path]:
    """Every file of the packages that is no Python."""
    found = (p for name in PACKAGES for p in (ROOT / name).rglob("*") if p.is_file())
    return [p for p in found if p.suffix != ".py" and "__pycache__" not in p.parts]


def test_the_wheel_has_every_module_script_style_and_setting(inside):
    modules = [p for name in PACKAGES for p in (ROOT / name).rglob("*.py")]
    files = beside_code()
    assert {p.suffix for p in files} == set(READ), "a new kind of file: see that the program finds it when installed"
    assert {p.relative_to(ROOT).as_posix() for p in (*modules, *files)} <= inside


def test_the_wheel_has_nothing_else(inside):
    ours = {p.relative_to(ROOT).as_posix() for name in PACKAGES for p in (ROOT / name).rglob("*") if p.is_file()}
    assert {n for n in inside if ".dist-info/" not in n} <= ours


def test_every_pattern_of_package_data_matches_a_file():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = settings["tool"]["setuptools"]["package-data"]["app"]
    assert [p for p in patterns if not list((ROOT / "app").glob(p))] == []
