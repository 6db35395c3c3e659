"""Importing the package loads nothing; the door's names load what they need when they are used."""

import subprocess
import sys
from pathlib import Path

import pytest

import saeeval_core as se

ROOT = Path(__file__).resolve().parents[3]


def loaded_by(code: str, *names: str) -> str:
    """Which of these modules a fresh process has loaded after the code."""
    code += f"\nimport sys\nprint([m for m in {names!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_the_package_loads_nothing():
    names = ("numpy", "pandas", "torch", "transformers", "transformer_lens", "sae_lens", "saeeval_core.door")
    assert loaded_by("import saeeval_core", *names) == "[]"


def test_the_names_load_no_language_model_library_before_they_are_used():
    heavy = ("torch", "transformers", "transformer_lens", "sae_lens", "streamlit", "tqdm")
    assert loaded_by("import saeeval_core as se\n[getattr(se, name) for name in se.__all__]", *heavy) == "[]"


def test_there_are_these_names_and_no_others():
    assert se.__all__ == sorted(se.__all__) and set(se.__all__) <= set(dir(se))
    assert all(getattr(se, name) is not None for name in se.__all__)
    with pytest.raises(AttributeError, match="no attribute 'scroe'; it has Ablated"):
        _ = se.scroe
