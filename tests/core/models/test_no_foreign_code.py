"""No model brings code of its own: every loader of transformers is told so."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def test_every_loader_of_transformers_refuses_a_models_own_code():
    calls = []
    for path in [*(ROOT / "saeeval_core").rglob("*.py"), *(ROOT / "app").rglob("*.py")]:
        calls += re.findall(r"\bAuto\w+\.from_pretrained\(.*", path.read_text())
    assert len(calls) >= 4
    assert all("trust_remote_code=False" in c or "**safely" in c for c in calls), calls
