"""Tables in the terminal: long names are cut visibly, and what is undefined says why."""

from io import StringIO

from rich.console import Console

from saeeval_core.evaluation.result import TppAtN, TppCell, TppResult
from saeeval_core.formats import tables
from saeeval_core.scores.uncertainty import Estimate


def test_the_matrix_of_tpp_marks_what_is_cut_and_names_why_a_probe_is_undefined():
    known, undefined = Estimate(0.1, (0.0, 0.2)), Estimate(None, None, "its interval covers .5")
    cell = TppCell([[known, undefined], [known, undefined]], known, known, known)
    tpp = TppResult(
        ("Clothing, Shoes", "Software"), {"test": [known, undefined]}, (), (TppAtN(1, (1, 1), {"test": cell}),)
    )
    console = Console(width=100, record=True, file=StringIO())
    tables._print_tpp(console, tpp, ["test"])
    said = console.export_text()
    assert "Clothing…" in said and "Clothing," not in said.replace("Clothing, Shoes", "")
    assert said.count("Software: n/a, its interval covers .5") == 1
