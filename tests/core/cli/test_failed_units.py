"""What failed in a sweep is a table at its end: unit, SAE, node, message; the same in several units is one line."""

from dataclasses import asdict

from saeeval_core.cli.executing import say_failed
from saeeval_core.sweep.columns import ScoreRow


def failed(task: str, protocol: str = "", error: str = "no [weights]", **more: str) -> dict:
    return asdict(ScoreRow("bad", task=task, protocol=protocol, status="failed", error=error, **more))


def test_each_failure_is_a_line_with_its_units_node_and_message(capsys):
    rows = [failed("bios"), failed("news"), failed("bios", "paper", "its worker was lost", node="gpu7 (a1), gpu8 (b2)")]
    say_failed(rows)
    head, *lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert head.split() == ["failed", "unit", "SAE", "node", "message"]
    assert [" ".join(line.split()) for line in lines] == [
        "record bios; record news bad this machine no [weights]",
        "score bios, paper bad gpu7 (a1), gpu8 (b2) its worker was lost",
    ]


def test_nothing_is_said_where_nothing_failed(capsys):
    say_failed([])
    assert capsys.readouterr().out == ""
