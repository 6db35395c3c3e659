"""Values of options and arguments of every command: one line on stderr, a non-zero exit, no traceback."""

import pytest
from refusals import shown

pytestmark = pytest.mark.hostile

ODD = [
    "",
    " ",
    "-1",
    "3.7",
    "²",
    "nan",
    "9" * 5000,
    "x" * 300,
    "\ud800",
    "\udcff",
    "a\nb",
    "\x1b[31mred",
    "\u202e",
    "../../etc/passwd",
    "<script>",
    "$(id)",
    "%s%n",
]
RUN = [
    "task",
    "protocol",
    "n",
    "metrics",
    "texts",
    "model",
    "sae",
    "format",
    "select",
    "device",
    "seed",
    "texts-per-cell",
]


@pytest.mark.parametrize("odd", [o for o in ODD if o.strip()], ids=shown)
@pytest.mark.parametrize("option", RUN)
def test_run(call, option, odd):
    if (option, odd) in (("seed", "-1"), ("texts-per-cell", "-1")):
        pytest.skip("a whole number")
    call("run", "--task", "news", "--metrics", "nothing", f"--{option}={odd}")


COMMANDS = [
    ["list", "{}"],
    ["commit", "{}"],
    ["judge", "--latents={}", "--task=nowhere"],
    ["judge", "--judge={}"],
    ["judge", "--sae={}", "--task=nowhere"],
    ["import-explanations", "{}", "--sae=/nowhere"],
    ["import-explanations", "nowhere.csv", "--sae={}"],
    ["agreement", "--labels={}"],
    ["agreement", "--sae={}"],
    ["sweep", "--sae=x", "--protocol={}"],
    ["sweep", "--suite={}"],
    ["sweep", "--sae=x", "--task={}"],
    ["validate", "--protocol={}"],
    ["faults", "--seeds={}", "--task=nowhere"],
    ["report", "{}"],
    ["train-sae", "--corpus={}", "--out=made"],
    ["suite", "--corpus={}", "--out=made"],
    ["build-bundle", "--corpus={}"],
    ["{}"],
]


@pytest.mark.parametrize("odd", [o for o in ODD if o.strip() and o != "-1"], ids=shown)
@pytest.mark.parametrize("words", COMMANDS, ids=lambda w: " ".join(w)[:24])
def test_a_command(call, words, odd):
    call(*(w.replace("{}", odd) for w in words))


@pytest.mark.parametrize("path", ["private/x", "nowhere.json", "", ".", "\0", "/dev/null/x"], ids=shown)
def test_a_result_that_cannot_be_opened_or_written(call, path):
    call("report", path)


@pytest.mark.parametrize("out", ["/dev/null/x.html", "/proc/x/y.html", "x" * 300], ids=shown)
def test_a_report_that_cannot_be_written(call, held, out):
    (held / "r.json").write_text("[]")
    call("report", "r.json", "--out", out)
