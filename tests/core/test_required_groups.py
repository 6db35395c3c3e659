"""A group of tests that must run here cannot be skipped silently (SAEEVAL_REQUIRE, see ``conftest.py``)."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).resolve().parents[1] / "conftest.py"
SKIPPING = """
import pytest
@pytest.mark.{group}
def test_one():
    pytest.skip("nothing to run it with")
def test_two():
    pytest.skip("not in a group")
"""
MODULE = 'import pytest\npytest.importorskip("a_package_nobody_has")\ndef test_three():\n    pass\n'


@pytest.fixture(scope="module")
def suite(tmp_path_factory) -> Path:
    """A small suite under our conftest: a skipped test per group, one without, and a module that skips while imported."""
    root = tmp_path_factory.mktemp("suite")
    (root / "pytest.ini").write_text("[pytest]\nmarkers =\n    browser: b\n    saebench: s\n")
    tests = root / "tests"
    for folder in ("browser", "parity"):
        (tests / folder).mkdir(parents=True)
    shutil.copy(CONFTEST, tests / "conftest.py")
    shutil.copy(CONFTEST.with_name("toys.py"), tests / "toys.py")
    (tests / "test_browser_marks.py").write_text(SKIPPING.format(group="browser"))
    (tests / "parity" / "test_imports.py").write_text(MODULE)
    return root


def results(suite: Path, required: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "-rs", str(suite / "tests")],
        capture_output=True,
        text=True,
        cwd=suite,
        env={**os.environ, "SAEEVAL_REQUIRE": required},
    )
    return done.returncode, done.stdout


def test_without_the_setting_everything_may_skip(suite):
    code, out = results(suite, "")
    assert code == 0 and "3 skipped" in out, out


def test_a_required_group_that_skips_fails_the_run(suite):
    code, out = results(suite, "browser,other")
    assert (
        code == 1 and "skipped although SAEEVAL_REQUIRE asks for 'browser': Skipped: nothing to run it with" in out
    ), out
    assert "1 failed, 2 skipped" in out, out


def test_a_required_module_that_skips_while_imported_fails_the_run(suite):
    code, out = results(suite, "saebench")
    assert code != 0 and "skipped although SAEEVAL_REQUIRE asks for 'saebench'" in out, out


@pytest.mark.needs_shared("certainly-not-there.parquet")
def test_data_that_is_not_there_is_a_skip_with_a_reason():
    pytest.fail("this must have been skipped")


def test_the_cache_is_never_the_user_s(monkeypatch):
    from saeeval_core.config import cache_dir

    assert "saeeval-tests-" in str(cache_dir())
    assert "ANTHROPIC_API_KEY" not in os.environ
