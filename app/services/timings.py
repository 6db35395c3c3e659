"""How long presses take, written down where somebody measures (tests/bench)."""

import os


def note_time(seconds: float) -> None:
    """Append how long the server took for one press to the file $SAEEVAL_TIMINGS names; for tests/bench."""
    if path := os.environ.get("SAEEVAL_TIMINGS"):
        with open(path, "a", encoding="ascii") as file:
            file.write(f"{1000 * seconds:.2f}\n")
