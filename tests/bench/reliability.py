"""What was tried to break this version, and what it survived, as one table: every case of ``hostile`` and ``faults``.

    python tests/bench/reliability.py [--out table.md] [--soak] [--junit results.xml]

``--soak`` adds the long cases (an hour and more). ``--junit`` counts results that pytest has written already. A test that
tries something several times says so with ``record_property("tried", n)``; its other numbers, such as "presses", are
added up beside it.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as xml
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROWS = {
    "random kill -9 of the server while people decide, undo and commit": "browser_kills",
    "killed after storing, before answering": "browser_restart.*killed_after_storing",
    "server restarted while the page is idle": "browser_restart.*idle",
    "presses lost on their way, reloads, a clock set back": "browser_restart.*(reload|leaving|lost_press)",
    "two servers, two tabs and two processes on one store or cache": "browser_restart.*(tab|two_servers)|two_at_once",
    "kill -9 of `run` at every file it writes, then run again": "killed_commands.*(a_run|a_pass)",
    "kill -9 of `sweep`, report and export at every file, then again": "killed_commands.*(sweep|report|export)",
    "the writer: nothing goes past it, nothing is left behind": "killed_commands",
    "store full, locked, read-only or moved away": "disks.*store|browser_restart.*away|ledger.test_trouble",
    "cache full or read-only": "disks|stored_files.*(full|no_folder)",
    "SQLite: bit flips, cuts, lost blocks, other files": "damaged_store|ledger.test_damage",
    "cache: bit flips, cuts, lost blocks": "damaged_files.*(file_of_a_run|unit_of)",
    "cache: files in each other's place, edited sidecars, probes, controls": "damaged_files.*place|edited_recordings",
    "files of the package: bit flips, cuts, lost blocks": "damaged_files.*shipped",
    "results and reports: bit flips, cuts, lost blocks": "damaged_files.*(result|report)",
    "the unpacked model: bit flips, cuts, lost blocks": "unpacked_model",
    "long form: flipped bits in arrays, sidecars and kept JSON": "soak_flips",
    "dashboard with one damaged file": "stored_files",
    "clocks that are wrong or go back": "test_clock",
    "hostile texts": "hostile.*test_(text_files|corpora)",
    "hostile SAE folders": "hostile.*sae_folders",
    "hostile model folders": "hostile.*model_folders",
    "hostile imports, labels, results and judge replies": "hostile.*(imports|judge|labels|results)",
    "hostile options on the command line": "hostile.*command_line",
    "hostile URL parameters": "hostile.*url_parameters",
    "hostile websocket values": "hostile.*websocket",
    "hostile names in pages": "hostile_names|no_markdown",
    "HTTP and websocket probes": "test_border",
    "leaks of keys": "test_redaction|judging_claude",
    "long sessions: memory and file descriptors": "soak.*session",
}
"""Row -> what the id of its cases contains (a regular expression); a case counts in the first row that takes it."""
OTHERS = "other cases"


@dataclass(frozen=True)
class Case:
    """One test that ran, or one that did not."""

    id: str
    """Module and name, such as "tests.faults.test_disks.test_a_run[0]"."""
    outcome: str
    """passed, failed or skipped."""
    tried: int = 1
    """How often it tried to break something."""
    reason: str = ""
    """Why it was skipped or failed, in a line."""
    numbers: Mapping[str, int] = field(default_factory=dict)
    """What else it counted, such as "presses"."""


def read_cases(path: Path) -> list[Case]:
    """The tests in a file of ``pytest --junitxml``."""
    return [_case(element) for element in xml.parse(path).iter("testcase")]


def table(cases: Sequence[Case]) -> str:
    """The Markdown table, and below it what failed and what was left out, with its reason."""
    lines = ["| part | tried | survived | failed |", "|---|---|---|---|"]
    for name, own in _rows(cases):
        ran = [c for c in own if c.outcome != "skipped"]
        failed = [c for c in ran if c.outcome == "failed"]
        tried, lost = sum(c.tried for c in ran), sum(c.tried for c in failed)
        names = dict.fromkeys(n for c in ran for n in c.numbers)
        more = "".join(f", {sum(c.numbers.get(n, 0) for c in ran):,} {n}" for n in names)
        count = f"{tried:,}{more}" if ran else "left out"
        lines.append(f"| {name} | {count} | {tried - lost if ran else ''} | {f'{lost:,}' if lost else ''} |")
    ran = [c for c in cases if c.outcome != "skipped"]
    survived = sum(c.tried for c in ran if c.outcome == "passed")
    lines.append(f"| all: {len(ran):,} cases | {sum(c.tried for c in ran):,} | {survived:,} | |")
    notes = [f"- {c.id}: {c.outcome}: {c.reason}" for c in cases if c.outcome == "failed"]
    left_out = [c.reason for c in cases if c.outcome == "skipped"]
    notes += [f"- {left_out.count(why)} left out: {why}" for why in dict.fromkeys(left_out)]
    return "\n".join([*lines, *([""] if notes else []), *notes]) + "\n"


def run(soak: bool, junit: Path) -> int:
    """Run the suites; pytest's exit code."""
    marks = "hostile or faults or soak" if soak else "(hostile or faults) and not soak"
    how = ["-m", marks, "-n", "2", "--dist", "loadfile", f"--junitxml={junit}", "-o", "junit_family=xunit1"]
    env = os.environ | {"SAEEVAL_SOAK": "1" if soak else "0", "PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, "-m", "pytest", "-q", *how], cwd=ROOT, env=env, stdout=sys.stderr).returncode


def _case(element: xml.Element) -> Case:
    numbers = {p.get("name", ""): int(p.get("value", "0")) for p in element.iter("property")}
    outcome, reason = "passed", ""
    for kind in ("failure", "error", "skipped"):
        if (bad := element.find(kind)) is not None:
            outcome, reason = "skipped" if kind == "skipped" else "failed", bad.get("message") or ""
    name = f"{element.get('classname')}.{element.get('name')}"
    return Case(name, outcome, numbers.pop("tried", 1), " ".join(reason.split())[:160], numbers)


def _rows(cases: Sequence[Case]) -> Iterator[tuple[str, list[Case]]]:
    """(row, its cases) of every row; the row of the others only if there are any."""
    rows: dict[str, list[Case]] = {name: [] for name in [*ROWS, OTHERS]}
    for case in cases:
        own = re.sub(r"\[.*", "", case.id)
        rows[next((name for name, pattern in ROWS.items() if re.search(pattern, own)), OTHERS)].append(case)
    return ((name, own) for name, own in rows.items() if own or name != OTHERS)


def main() -> int:
    """Print the table; exit code 1 if something did not survive."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="write the table here too")
    parser.add_argument("--soak", action="store_true", help="add the long cases")
    parser.add_argument("--junit", type=Path, help="count these results instead of running anything")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        junit = given.junit or Path(folder) / "junit.xml"
        if given.junit is None:
            run(given.soak, junit)
        cases = read_cases(junit)
    text = table(cases)
    print(text, end="")
    if given.out:
        given.out.write_text(text, encoding="utf-8")
    return int(any(c.outcome == "failed" for c in cases))


if __name__ == "__main__":
    sys.exit(main())
