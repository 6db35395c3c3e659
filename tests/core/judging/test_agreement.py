"""Agreement between raters: hand-worked kappas, missing ratings, and the published figures of the paper's labels."""

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from saeeval_core.errors import DataError
from saeeval_core.judging.agreement import (
    agreement,
    agreements,
    by_concept,
    conflicts,
    krippendorff,
    ratings_by_rater,
    report,
    with_missing_as_zero,
)
from saeeval_core.judging.paper_labels import paper_ratings, read_paper_labels
from saeeval_core.ledger.verdicts import Verdict

LABELS = "judge_labels/paper_labels.json"


def cells(values) -> dict[tuple[int | str, str], int]:
    return {(i, "c"): v for i, v in enumerate(values) if v is not None}


def test_hand_worked_kappa() -> None:
    """Four cells, three agree; margins (2, 2) and (1, 3): expected agreement 1/2, so kappa = (3/4 - 1/2) / (1/2)."""
    found = agreement("a", "b", cells([0, 0, 1, 1]), cells([0, 1, 1, 1]), resamples=50)
    assert (found.n, found.exact.value, found.within_1.value) == (4, 0.75, 1.0)
    assert found.kappa_ge1.value == pytest.approx(0.5)
    assert found.kappa_5.value == pytest.approx(0.5)
    assert found.confusion[:2, :2].tolist() == [[1, 1], [0, 2]]


def test_all_kappas_match_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 5, (2, 300))
    y = np.where(rng.random(300) < 0.5, x, y)
    found = agreement("a", "b", cells(x), cells(y), resamples=20)
    assert found.kappa_5.value == pytest.approx(cohen_kappa_score(x, y))
    assert found.kappa_quadratic.value == pytest.approx(cohen_kappa_score(x, y, weights="quadratic"))
    assert found.kappa_ge1.value == pytest.approx(cohen_kappa_score(x >= 1, y >= 1))
    assert found.kappa_ge2.value == pytest.approx(cohen_kappa_score(x >= 2, y >= 2))
    assert found.kappa_5.ci is not None
    assert found.kappa_5.ci[0] < found.kappa_5.value < found.kappa_5.ci[1]


def test_missing_ratings_are_left_out() -> None:
    found = agreement("a", "b", cells([0, 4, None, 2]), cells([0, None, 3, 2]), resamples=20)
    assert (found.n, found.exact.value) == (2, 1.0)


def test_kappa_of_constant_raters_is_undefined_with_a_reason() -> None:
    found = agreement("a", "b", cells([0, 0]), cells([0, 0]), resamples=20)
    assert found.exact.value == 1.0
    assert (found.kappa_5.value, found.kappa_5.reason) == (None, "both raters always gave the same answer")
    assert agreement("a", "b", cells([1]), cells([None, 2])).exact.reason == "no cell rated by both"


def test_kappa_where_one_rater_gave_one_answer_is_undefined_and_no_zero() -> None:
    """Chance alone gives all the agreement there is: kappa would be 0 with the interval [0, 0] whatever b says."""
    found = agreement("a", "b", cells([0, 0, 0, 0]), cells([0, 1, 4, 0]), resamples=20)
    assert found.exact.value == 0.5 and found.kappa_quadratic.value is None
    assert (found.kappa_ge2.value, found.kappa_ge2.reason) == (None, "a always gave the same answer")
    apart = agreement("a", "b", cells([1, 0, 1]), cells([0, 0, 4]), resamples=20)
    assert apart.kappa_ge1.value is not None and apart.kappa_ge2.reason == "a always gave the same answer"


def test_krippendorff_against_the_published_example() -> None:
    """Krippendorff's own worked example (12 units, 4 observers, missing values; levels 1..5 shifted to 0..4)."""
    rows = ("1 2 3 3 2 1 4 1 2 . . .", "1 2 3 3 2 2 4 1 2 5 . 3", ". 3 3 3 2 3 4 2 2 5 1 .", "1 2 3 3 2 4 4 1 2 5 1 .")
    ratings = {str(i): cells([None if v == "." else int(v) - 1 for v in row.split()]) for i, row in enumerate(rows)}
    expected = {"nominal": 0.743, "ordinal": 0.815, "interval": 0.849}
    assert {m: round(krippendorff(ratings, metric=m).value, 3) for m in expected} == expected


def test_krippendorff_is_undefined_without_pairs_or_variation() -> None:
    assert krippendorff({"a": cells([1]), "b": cells([None, 1])}).reason == "no cell has two ratings"
    assert krippendorff({"a": cells([1, 1]), "b": cells([1, 1])}).reason == "all ratings are the same"


def test_conflicts_are_sorted_by_distance() -> None:
    found = conflicts(cells([0, 1, 4, 2]), cells([0, 2, 0, 0]))
    assert [(c.item, c.distance) for c in found] == [(2, 4), (3, 2), (1, 1)]
    assert [c.item for c in conflicts(cells([0, 1, 4]), cells([0, 2, 0]), threshold=1)] == [2]


def test_failed_verdicts_have_no_cells() -> None:
    common = {"sae_fingerprint": "s", "sae": "toy", "task": "t", "rater": "j", "rater_kind": "llm"}
    verdicts = [Verdict(1, ratings={"a": 0}, **common), Verdict(2, status="refused", **common)]
    assert ratings_by_rater(verdicts) == {"j": {(1, "a"): 0}}


def test_report_needs_two_raters_and_names_how_missing_ones_were_read() -> None:
    with pytest.raises(DataError, match="needs two raters"):
        report({"a": cells([1])}, "store")
    ratings = {"a": cells([1, 0]), "b": cells([1])}
    assert report(ratings, "store", resamples=20).to_dict()["missing_ratings"] == "left out"
    zero = report(ratings, "store", missing_as_zero=["b"], resamples=20).to_dict()
    assert zero["missing_ratings"] == "read as 0 for b"
    assert zero["pairs"][0]["n"] == 2
    json.dumps(zero, allow_nan=False)


@pytest.mark.needs_shared(LABELS)
def test_published_figures_of_the_papers_labels(shared: Path) -> None:
    ratings = paper_ratings(read_paper_labels(shared / LABELS))
    found = {(p.a, p.b): p for p in agreements(ratings)}
    human_llm, humans = found["human_a", "llm"], found["human_a", "human_b"]
    assert human_llm.n == 328
    figures = (human_llm.exact, human_llm.kappa_ge1, human_llm.kappa_ge2, human_llm.kappa_5)
    assert [round(e.value, 3) for e in figures] == [0.884, 0.632, 0.510, 0.468]
    assert (humans.n, humans.exact.value, round(humans.kappa_ge1.value, 3)) == (80, 0.8125, 0.571)
    assert by_concept("a", "b", ratings["human_a"], ratings["llm"])["gender"].n == 41


@pytest.mark.needs_shared(LABELS)
def test_missing_read_as_zero_gives_the_older_figures(shared: Path) -> None:
    ratings = with_missing_as_zero(paper_ratings(read_paper_labels(shared / LABELS)), ["llm"])
    found = agreement("human_a", "llm", ratings["human_a"], ratings["llm"])
    assert found.n == 424
    figures = (found.exact, found.kappa_ge1, found.kappa_ge2, found.kappa_5)
    assert [round(e.value, 3) for e in figures] == [0.906, 0.623, 0.494, 0.463]
