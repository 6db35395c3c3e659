"""The command line as a whole: what it loads, and that the help knows every command."""

import subprocess
import sys

from saeeval_core.cli.main import COMMANDS

SLOW = (
    "torch",
    "transformers",
    "transformer_lens",
    "sae_lens",
    "scipy",
    "sklearn",
    "pandas",
    "sqlalchemy",
    "streamlit",
)


def test_the_help_answers_without_loading_what_only_commands_need():
    code = (
        "import sys\nfrom saeeval_core.cli.main import main\nsys.argv = ['saeeval', '--help']\n"
        f"try:\n    main()\nfinally:\n    print([m for m in {SLOW!r} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
    assert all(f" {name} " in done.stdout for name in COMMANDS)
