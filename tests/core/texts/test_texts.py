"""Parts and sizes of tasks: 60/20/20, given splits, groups, duplicates, the n rule and its refusals."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toys import GENDER, PROFESSION

from saeeval_core.config import PROTOCOLS
from saeeval_core.errors import DataError
from saeeval_core.texts.labelled import LabelledTexts
from saeeval_core.texts.parts import DEV, TEST, TRAIN
from saeeval_core.texts.tasks import Contrast, shift_task, shift_training, tpp_task

ROBUST = PROTOCOLS["robust"]
NAMES = {3: ("nurse", "female"), 2: ("nurse", "male"), 1: ("surgeon", "female"), 0: ("surgeon", "male")}


def texts_of(sizes: dict[int, int], split: dict[int, dict[str, int]] | None = None, **more) -> LabelledTexts:
    """Distinct texts, ``sizes[quadrant]`` of each; ``split[quadrant]`` says how many stand in each given part."""
    quadrant = [q for q, n in sizes.items() for _ in range(n)]
    if split is not None:
        more["split"] = np.array([name for q in sizes for name, n in split[q].items() for _ in range(n)])
    columns = {c: np.array([NAMES[q][i] for q in quadrant]) for i, c in enumerate(("profession", "gender"))}
    return LabelledTexts("toys", tuple(f"text {i}" for i in range(len(quadrant))), columns, **more)


def make(texts: LabelledTexts, protocol=ROBUST, seed=0, per_cell=1500):
    return shift_task(texts, PROFESSION, GENDER, seed=seed, protocol=protocol, per_cell=per_cell)


def counts(task, quadrant: int) -> list[int]:
    return [int(((task.quadrant == quadrant) & (task.part == p)).sum()) for p in (TRAIN, DEV, TEST)]


def test_parts_are_60_20_20_in_every_quadrant():
    task = make(texts_of({3: 100, 2: 103, 1: 55, 0: 60}))
    # A fifth each to dev and test, rounded down; train takes the rest.
    assert [counts(task, q) for q in (3, 2, 1, 0)] == [[60, 20, 20], [63, 20, 20], [33, 11, 11], [36, 12, 12]]


def test_parts_are_the_same_for_a_seed_and_others_for_another():
    texts = texts_of(dict.fromkeys(range(4), 60))
    one, same, other = make(texts), make(texts), make(texts, seed=1)
    assert np.array_equal(one.part, same.part) and not np.array_equal(one.part, other.part)


def test_protocols_without_dev_score_on_both():
    task = make(texts_of(dict.fromkeys(range(4), 100)), PROTOCOLS["saebench"])
    assert counts(task, 3) == [60, 0, 40]


def test_a_given_split_is_kept_and_a_third_of_test_becomes_dev():
    split = {q: {"train": 50, "test": 9 + q} for q in range(4)}
    task = make(texts_of({q: 59 + q for q in range(4)}, split))
    assert [counts(task, q) for q in range(4)] == [[50, 3, 6], [50, 3, 7], [50, 3, 8], [50, 4, 8]]
    split = {q: {"train": 50, "dev": 5, "test": 9} for q in range(4)}
    assert counts(make(texts_of(dict.fromkeys(range(4), 64), split)), 2) == [50, 5, 9]


def test_a_split_that_divides_nothing_is_left_aside():
    texts = texts_of(dict.fromkeys(range(4), 60), {q: {"train": 60} for q in range(4)})
    other = LabelledTexts(
        "t",
        (*texts.texts, "x"),
        {k: np.append(v, "?") for k, v in texts.columns.items()},
        split=np.append(texts.split, "unsupervised"),
    )
    assert counts(make(other), 2) == counts(make(texts), 2) == [36, 12, 12]


def test_n_is_the_smallest_quadrant_or_half_the_smallest_agreeing_one():
    sizes = {3: 50, 2: 21, 1: 30, 0: 44}
    split = {q: {"train": n, "test": 6} for q, n in sizes.items()}
    task = make(texts_of({q: n + 6 for q, n in sizes.items()}, split))
    training = shift_training(task, seed=0, protocol=ROBUST)
    assert training.n == 21  # min(50 // 2, 21, 30, 44 // 2)
    assert Counter(task.quadrant[training.balanced].tolist()) == dict.fromkeys(range(4), 21)
    assert Counter(task.quadrant[training.biased].tolist()) == {3: 42, 0: 42}
    assert len(training.balanced) == len(training.biased) == 84
    assert (task.part[np.concatenate([training.balanced, training.biased])] == TRAIN).all()
    paper = shift_training(task, seed=0, protocol=PROTOCOLS["paper"])
    assert Counter(task.quadrant[paper.biased].tolist()) == {3: 44, 0: 44}  # all there are, the same number of each


def test_both_directions_train_on_the_same_texts():
    task = make(texts_of(dict.fromkeys(range(4), 100)))
    one = shift_training(task, seed=3, protocol=ROBUST)
    other = shift_training(task.swapped(), seed=3, protocol=ROBUST)
    assert np.array_equal(one.balanced, other.balanced) and np.array_equal(one.biased, other.biased)
    assert not np.array_equal(one.balanced, shift_training(task, seed=4, protocol=ROBUST).balanced)


@pytest.mark.parametrize(
    ("sizes", "line"),
    [
        ({3: 90, 2: 19, 1: 90, 0: 90}, "quadrant 'nurse, male' has 19 training texts; at least 20 are needed"),
        ({3: 90, 2: 90, 1: 90, 0: 39}, "quadrant 'surgeon, male' has 39 training texts; at least 40 are needed"),
    ],
)
def test_too_few_texts_name_the_short_quadrant(sizes, line):
    split = {q: {"train": n, "test": 6} for q, n in sizes.items()}
    task = make(texts_of({q: n + 6 for q, n in sizes.items()}, split))
    with pytest.raises(DataError, match=line):
        shift_training(task, seed=0, protocol=ROBUST)


def test_an_empty_quadrant_is_named():
    with pytest.raises(DataError, match="no text is 'surgeon, female'"):
        make(texts_of({3: 50, 2: 50, 1: 0, 0: 50}))


def test_too_small_a_class_is_named():
    texts = LabelledTexts("t", tuple(map(str, range(60))), {"meal": np.array(["tea"] * 40 + ["soup"] * 20)})
    with pytest.raises(DataError, match="class 'soup' has 12 training texts; at least 20"):
        tpp_task(texts, "meal", ["tea", "soup"], seed=0, protocol=ROBUST, per_cell=1500)
    with pytest.raises(DataError, match="at least two different classes"):
        tpp_task(texts, "meal", ["tea", "tea"], seed=0, protocol=ROBUST, per_cell=1500)


def test_identical_texts_are_used_once_and_counted():
    texts = texts_of(dict.fromkeys(range(4), 50))
    again = (*texts.texts[:-3], *texts.texts[:3])  # the last three repeat the first three
    task = make(LabelledTexts("toys", again, texts.columns))
    assert len(task.rows) == 197 and task.dropped == {"duplicate text": 3}
    assert len({again[r] for r in task.rows}) == len(task.rows)


def test_identical_texts_never_straddle_given_parts():
    sizes = dict.fromkeys(range(4), 60)
    texts = texts_of(sizes, {q: {"train": 50, "test": 10} for q in range(4)})
    names = list(texts.texts)
    names[59], names[58] = names[0], names[1]  # two test texts repeat training texts
    task = make(LabelledTexts("toys", tuple(names), texts.columns, split=texts.split))
    assert task.dropped == {"duplicate text in another part": 2}
    assert len({names[r] for r in task.rows}) == len(task.rows) == 238


def test_no_more_than_the_asked_number_is_drawn_per_quadrant():
    task = make(texts_of(dict.fromkeys(range(4), 100)), per_cell=70)
    assert Counter(task.quadrant.tolist()) == dict.fromkeys(range(4), 70)
    assert task.dropped == {"beyond the drawn number per cell": 120}


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), n_groups=st.integers(60, 200), given_split=st.booleans())
def test_a_group_stands_in_one_part(seed, n_groups, given_split):
    rng = np.random.default_rng(seed)
    texts = texts_of(dict.fromkeys(range(4), 120))
    group = rng.integers(0, n_groups, len(texts.texts)).astype(str)
    training = rng.permutation(np.unique(group))[: n_groups // 2]
    split = np.where(np.isin(group, training), "train", "test") if given_split else None
    texts = LabelledTexts("toys", texts.texts, texts.columns, group=group, split=split)
    try:
        task = make(texts, seed=seed)
    except DataError as error:
        assert "has no text in the" in str(error)
        return
    home: dict[str, set[int]] = {}
    for row, part in zip(task.rows, task.part, strict=True):
        home.setdefault(group[row], set()).add(int(part))
    assert all(len(parts) == 1 for parts in home.values())


def test_quadrants_and_names():
    task = make(texts_of(dict.fromkeys(range(4), 30)))
    assert task.quadrant_name(2) == "nurse, male" and task.direction == "target profession / spurious gender"
    swapped = task.swapped()
    assert swapped.quadrant_name(2) == "female, surgeon" and swapped.swapped().name == task.name
    assert (swapped.quadrant == np.array([0, 2, 1, 3])[task.quadrant]).all()


def test_contrasts_compare_numbers_as_numbers():
    texts = LabelledTexts("r", ("a", "b"), {"rating": np.array(["5", "1"])})
    assert Contrast.parse("rating=5.0,1.0", texts) == Contrast("rating", "5", "1")
    for bad, line in (
        ("rating=5", "is not COLUMN="),
        ("rating=5,5.0", "two different"),
        ("rating=5,x", "has no value 'x'"),
        ("rating=05,1", "has no value '05'"),
        ("rating=5,2", "has no value '2'; it has 5 \\(1\\), 1 \\(1\\)"),
        ("ratin=5,1", "nearest: rating"),
    ):
        with pytest.raises(DataError, match=line):
            Contrast.parse(bad, texts)


def test_the_fingerprint_follows_texts_and_order_not_labels():
    texts = texts_of(dict.fromkeys(range(4), 2))
    relabelled = LabelledTexts("x", texts.texts, {"profession": texts.columns["gender"]})
    turned = LabelledTexts("x", texts.texts[::-1], texts.columns)
    assert texts.fingerprint == relabelled.fingerprint != turned.fingerprint
