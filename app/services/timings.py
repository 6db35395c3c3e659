"""Durations of presses, written to a file for tests/bench."""

import os


def note_time(seconds: float) -> None:
    """Append the server's time for one press to the file $SAEEVAL_TIMINGS, if that is set."""
    if path := os.environ.get("SAEEVAL_TIMINGS"):
        with open(path, "a", encoding="ascii") as file:
            file.write(f"{1000 * seconds:.2f}\n")
