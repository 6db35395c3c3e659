"""The dashboard's main script; ``saeeval app`` and ``streamlit run app/main.py`` both run it."""

import sys
from importlib.util import find_spec
from pathlib import Path

if find_spec("app") is None or find_spec("saeeval_core") is None:  # a clone that was not installed
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from app.shell import main

main()
