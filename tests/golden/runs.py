"""What the guard of refactorings runs: each function gives plain values that only a named change may alter.

``python tests/golden/runs.py`` writes the files again; a commit that does so says which number changed and why.
"""

import csv
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from hashlib import sha256
from html.parser import HTMLParser
from importlib.metadata import version
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
REFERENCE = "reference (LLM-written)"
SECOND_SAE = "smollm2-135m-l15-standard-4k"
RUNS = {
    "run_default": ["run"],
    "run_saebench": ["run", "--protocol", "saebench", "--n", "2,10", "--no-controls"],
    "run_tpp_judge": ["run", "--metrics", "tpp", "--select", "judge", "--rater", REFERENCE],
}
"""File -> command. Settings are the shipped ones, so that every recording, and in the robust protocol every probe and
control, is found and none is made."""
SWEEP = ["sweep", "--sae", "smollm2-135m-l15-topk-4k", "--sae", SECOND_SAE, "--n", "1,2,3,5,10,20"]
LEFT_OUT = ("versions", "created", "made_by", "seal")
"""Keys whose values say who and when, not what."""


_MAIN = """
import json, os, sys
from saeeval_core.cli.main import main
for folder, arguments in json.loads(sys.argv[1]):
    os.environ.update(SAEEVAL_CACHE=folder, SAEEVAL_STORE=f"{folder}/store.sqlite")
    os.chdir(folder)
    sys.argv = ["saeeval", *arguments]
    try:
        main()
    except SystemExit as stop:
        if stop.code:
            raise
"""


def saeeval(commands: Iterable[tuple[Path, list[str]]]) -> None:
    """Run commands with one thread, each in the folder named with it, which is also its cache and has its store.

    One after another in one process: loading the libraries takes longer than some of them.
    """
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    said = json.dumps([(str(folder), arguments) for folder, arguments in commands])
    done = subprocess.run(
        [sys.executable, "-c", _MAIN, said],
        env=os.environ | threads | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def report_data(result: dict[str, Any]) -> list[Any]:
    """What the HTML report of a result says: its words in order, with those of its figures and of every dot in them."""
    from app.report_page import result_page
    from saeeval_core.evaluation.result_json import from_json

    page = result_page(from_json(result | {"versions": {}}), when="then")
    return words(page)


def words(page: str) -> list[str]:
    """Text outside of scripts and styles."""
    found: list[str] = []

    class Reader(HTMLParser):
        hidden = False

        def handle_starttag(self, tag: str, attrs: Any) -> None:
            self.hidden = tag in ("script", "style")

        def handle_endtag(self, tag: str) -> None:
            self.hidden = False

        def handle_data(self, data: str) -> None:
            if not self.hidden and data.strip():
                found.append(data.strip())

    Reader().feed(page)
    return found


def assets() -> dict[str, str]:
    """Path -> SHA-256 of everything that is shipped, pictures left out."""
    folder = ROOT / "assets"
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.parent.name != "screenshots")
    return {p.relative_to(folder).as_posix(): sha256(p.read_bytes()).hexdigest() for p in files}


def machine() -> list[str]:
    """What decides the last bits of a number here."""
    about = Path("/proc/cpuinfo").read_text() if platform.system() == "Linux" else ""
    cpu, flags = (re.search(rf"{line}\s*:\s*(.*)", about) for line in ("model name", "flags"))
    instructions = sha256(flags[1].encode()).hexdigest()[:8] if flags else ""
    libraries = [f"{name} {version(name)}" for name in ("torch", "numpy", "scipy", "scikit-learn")]
    openblas = [f"{k} {os.environ[k]}" for k in ("OPENBLAS_CORETYPE",) if k in os.environ]
    return [cpu[1] if cpu else platform.processor(), instructions, platform.python_version(), *libraries, *openblas]


def without(value: Any) -> Any:
    """The value without LEFT_OUT, at any depth."""
    if isinstance(value, dict):
        return {k: without(v) for k, v in value.items() if k not in LEFT_OUT}
    return [without(v) for v in value] if isinstance(value, list) else value


def dumped(value: Any) -> str:
    """JSON that can be compared by line."""
    return json.dumps(value, indent=0, sort_keys=True, ensure_ascii=False) + "\n"


def differences(old: Any, new: Any, path: str = "", tolerance: float = 1e-6) -> list[str]:
    """Where two values differ: exactly for ids, counts and strings, beyond the tolerance for other numbers.

    Keys may be added to objects; none may go.
    """
    if isinstance(old, dict) and isinstance(new, dict):
        gone = [f"{path}/{k}: gone" for k in old if k not in new]
        return gone + [d for k in old if k in new for d in differences(old[k], new[k], f"{path}/{k}", tolerance)]
    if isinstance(old, list) and isinstance(new, list):
        if len(old) != len(new):
            return [f"{path}: {len(old)} entries, now {len(new)}"]
        return [
            d
            for i, (a, b) in enumerate(zip(old, new, strict=True))
            for d in differences(a, b, f"{path}[{i}]", tolerance)
        ]
    if isinstance(old, float) and isinstance(new, int | float) and not isinstance(new, bool):
        return [] if abs(old - new) <= tolerance else [f"{path}: {old}, now {new}"]
    return [] if type(old) is type(new) and old == new else [f"{path}: {old!r}, now {new!r}"]


def number_or_text(rows: list[dict[str, str]]) -> list[dict[str, Any]]:
    """CSV cells with a decimal point as numbers, so that they are compared as such."""

    def read(cell: str) -> Any:
        try:
            return float(cell) if re.search(r"[.e]", cell) else cell
        except ValueError:
            return cell

    return [{k: read(v) for k, v in row.items()} for row in rows]


def everything(folder: Path) -> dict[str, Any]:
    """File -> content, all of them made anew."""
    own = {name: folder / name for name in (*RUNS, "sweep")}
    for path in own.values():
        path.mkdir()
    commands = {name: [*words, "--json", "out.json"] for name, words in RUNS.items()}
    commands["sweep"] = [*SWEEP, "--csv", "out.csv"]
    saeeval((own[name], words) for name, words in commands.items())
    found: dict[str, Any] = {n: without(json.loads((own[n] / "out.json").read_text())) for n in RUNS}
    # Fingerprints decide where recordings, probes and controls are looked for: the default run must make none of them.
    found["made"] = sorted(p.name for p in own["run_default"].glob("recordings/*") if p.is_file())
    with (own["sweep"] / "out.csv").open(newline="", encoding="utf-8") as file:
        found["sweep"] = number_or_text(list(csv.DictReader(file)))
    found["report"] = report_data(found["run_default"])
    return found


def main() -> None:
    """Write every file and what decides the last bits here."""
    with tempfile.TemporaryDirectory() as folder:
        found = everything(Path(folder))
    for name, value in found.items():
        (HERE / f"{name}.json").write_text(dumped(value), encoding="utf-8")
    (HERE / "machine.json").write_text(dumped(machine()), encoding="utf-8")
    (HERE / "assets.json").write_text(dumped(assets()), encoding="utf-8")


if __name__ == "__main__":
    main()
