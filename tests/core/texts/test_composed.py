"""Composed texts: one record per text, pools that never meet, no faults of grammar, no near-duplicates."""

import copy
import hashlib
import json
import re
from collections import Counter
from itertools import combinations
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from saeeval_core.errors import DataError
from saeeval_core.texts.composed import ComposedText, render
from saeeval_core.texts.composed_report import LabelReport, PairReport, TextReport, text_report, write_parquet
from saeeval_core.texts.stock import Stock, load_stock
from saeeval_core.texts.wording import MAX_JACCARD, faults, shingles

TEXTS = Path(__file__).parents[3] / "assets" / "texts"
PER_CELL = 10
FEMALE = {"she", "her", "hers", "herself", "ms"}
MALE = {"he", "his", "him", "himself", "mr"}
SMALL = {
    "name": "small",
    "labels": {"kind": ["tea", "soup"], "mood": ["good", "bad"]},
    "pairs": [["tea", "soup"]],
    "pool_seed": 1,
    "train_share": 0.5,
    "words": [4, 40],
    "fields": {
        "who": {"choice": [f"Guest{c}" for c in "ABCDEFGHIJKL"], "pooled": True},
        "thing": {
            "by": "kind",
            "choice": {"tea": [{"name": "urn", "is": "is"}], "soup": [{"name": "bowls", "is": "are"}]},
        },
        "months": {"range": [2, 30]},
        "months_w": {"words": "months"},
        "since": {"minus": [2024, "months"]},
    },
    "forms": {"mood": {"good": {"word": "fine"}, "bad": {"word": "poor"}}},
    "registers": {"plain": {"weight": 1, "body": [2, 2], "close": 0.5}},
    "mix": {"open": {"any": 1}, "body": {"any": 1, "mood": 1}, "close": {"any": 1}},
    "patterns": {
        "any": {
            "open": ["{who} came in {since}.", "it was {who} who saw {a:thing} in {since}."],
            "body": [
                f"After {{months_w}} {w} the {{thing}} {{thing.is}} {{word}}." for w in ("days", "weeks", "years")
            ],
            "close": ["That was all.", "So it ended."],
        },
        "mood=good": {"body": ["All in all it was {word}, said {who}.", "{who} was glad of {a:word} day."]},
        "mood=bad": {"body": ["All of it was {word}, and {who} left.", "{who} was sorry for {a:word} day."]},
    },
}


@pytest.fixture(scope="module", params=["bios", "reviews"])
def made(request: pytest.FixtureRequest) -> tuple[Stock, list[ComposedText]]:
    stock = load_stock(TEXTS / f"{request.param}_stock.json")
    return stock, render(stock, PER_CELL, seed=3)


def small(tmp_path: Path, **changes: object) -> Path:
    path = tmp_path / "small_stock.json"
    path.write_text(json.dumps(copy.deepcopy(SMALL) | changes))
    return path


def test_same_seed_same_texts_other_seed_other_texts(made: tuple[Stock, list[ComposedText]]) -> None:
    stock, texts = made
    assert render(stock, PER_CELL, seed=3) == texts
    assert not {t.text for t in render(stock, PER_CELL, seed=4)} & {t.text for t in texts}


def test_every_cell_and_part_has_its_size(made: tuple[Stock, list[ComposedText]]) -> None:
    stock, texts = made
    sizes = Counter((t.labels, t.split) for t in texts)
    assert sizes == {(c, p): n for c in stock.cells for p, n in (("train", 6), ("dev", 2), ("test", 2))}
    assert len({t.record for t in texts}) == len(texts)


def test_train_shares_no_pattern_and_no_pooled_filler_with_dev_and_test(made: tuple[Stock, list[ComposedText]]) -> None:
    stock, texts = made
    train = [t for t in texts if t.split == "train"]
    held = [t for t in texts if t.split != "train"]
    assert not {p for t in train for p in t.patterns} & {p for t in held for p in t.patterns}
    assert stock.pooled
    for name, pools in stock.pooled.items():
        assert not pools["train"] & pools["eval"]
        assert {t.values[name] for t in train} <= pools["train"]
        assert {t.values[name] for t in held} <= pools["eval"]


def test_texts_have_no_faults_and_keep_to_the_lengths(made: tuple[Stock, list[ComposedText]]) -> None:
    stock, texts = made
    low, high = stock.words
    for text in texts:
        assert faults(text.text) == []
        assert low <= len(text.text.split()) <= high
        assert 25 <= 1.3 * len(text.text.split()) <= 110


def test_no_two_texts_are_near_duplicates(made: tuple[Stock, list[ComposedText]]) -> None:
    grams = [shingles(t.text) for t in made[1]]
    assert max(len(a & b) / len(a | b) for a, b in combinations(grams, 2)) <= MAX_JACCARD


def test_every_class_has_enough_patterns(made: tuple[Stock, list[ComposedText]]) -> None:
    stock, _ = made
    first = next(iter(stock.labels))
    for value in stock.labels[first]:
        own = [p for (b, _), ps in stock.patterns.items() if f"{first}={value}" in b.split(",") for p in ps]
        assert len(own) >= 60, value


def test_pronouns_and_names_agree_with_the_record() -> None:
    stock = load_stock(TEXTS / "bios_stock.json")
    names = stock.fields["name"].choice
    for text in render(stock, PER_CELL, seed=8):
        mine, other = (FEMALE, MALE) if text.labels[1] == "female" else (MALE, FEMALE)
        words = set(re.findall(r"[a-z]+", text.text.lower()))
        assert words & mine, text.text
        assert not words & other, text.text
        assert text.values["name"] in names[text.labels[1]]
        assert text.values["name"] in text.text
        assert int(text.values["age"]) - int(text.values["years"]) >= 26


def test_the_possessive_slot_stands_only_before_what_is_possessed() -> None:
    """In the feminine `her` is both possessive ({her}) and object ({him}), so a mix-up shows only in the masculine."""
    objects = "about|and|as|at|away|before|for|from|in|into|or|through|to|whether|with"
    misused = re.compile(rf"\{{her\}}(?=[.,;:!?]|$| (?:{objects})\b)")
    stock = load_stock(TEXTS / "bios_stock.json")
    assert [p.text for ps in stock.patterns.values() for p in ps if misused.search(p.text)] == []


def test_a_record_fills_objects_numbers_and_articles(tmp_path: Path) -> None:
    for text in render(load_stock(small(tmp_path)), 5, seed=0):
        assert text.values["since"] == str(2024 - int(text.values["months"]))
        assert text.text[0].isupper()
        if text.labels[0] == "soup":
            assert "bowls is" not in text.text
        else:
            assert "saw a urn" not in text.text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": {"kind": ["tea"]}}, "has 1 labels"),
        ({"pairs": [["tea", "milk"]]}, "pairs name"),
        ({"mix": {"open": {"any": 1}, "body": {"kind": 1}, "close": {"any": 1}}}, "no body pattern in kind=tea"),
        ({"patterns": SMALL["patterns"] | {"mood=odd": {"body": ["It was odd."]}}}, "fits no cell"),
        ({"patterns": SMALL["patterns"] | {"kind=tea": {"end": ["It was odd."]}}}, "role 'end'"),
        ({"patterns": SMALL["patterns"] | {"kind=tea": {"body": ["That was all."]}}}, "repeats any/close/0"),
        ({"patterns": SMALL["patterns"] | {"mood=bad": {"body": ["A {thing} fell.", "It fell."]}}}, "fixed article"),
        (
            {"patterns": SMALL["patterns"] | {"mood=bad": {"body": ["The {cup} fell.", "It fell."]}}},
            "unknown slot 'cup'",
        ),
        ({"patterns": SMALL["patterns"] | {"mood=bad": {"body": ["It fell", "It was bad."]}}}, "does not end"),
        (
            {"patterns": SMALL["patterns"] | {"mood=bad": {"body": ["@loud It fell.", "It was bad."]}}},
            "register 'loud'",
        ),
        ({"patterns": SMALL["patterns"] | {"mood=bad": {"body": ["It {fell.", "It."]}}}, "a brace that is not a slot"),
        ({"fields": {"who": {"choice": ["A", "A"], "pooled": True}}}, "lists 'A' twice"),
        ({"fields": {"who": {"chioce": ["A", "B"]}}}, "field or register of another form"),
    ],
)
def test_a_bad_stock_is_refused_in_one_line(tmp_path: Path, changes: dict, message: str) -> None:
    with pytest.raises(DataError, match=re.escape(message)) as caught:
        load_stock(small(tmp_path, **changes))
    assert "\n" not in str(caught.value)


def test_a_missing_or_broken_file_and_too_many_texts_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no stock file"):
        load_stock(tmp_path / "none.json")
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(DataError, match="is not JSON"):
        load_stock(tmp_path / "broken.json")
    with pytest.raises(DataError, match="lower per_cell"):
        render(load_stock(small(tmp_path)), 4000, seed=0)
    with pytest.raises(DataError, match="at least 5"):
        render(load_stock(small(tmp_path)), 2, seed=0)


def test_the_parquet_and_its_sidecar_say_what_they_hold(made: tuple[Stock, list[ComposedText]], tmp_path: Path) -> None:
    stock, texts = made
    nothing, clear = (PairReport(stock.pairs[i], *stock.labels, 0.5, 0.5, g, (g, g)) for i, g in ((0, 0.0), (1, 0.3)))
    report = TextReport((LabelReport("x", 0.5, 1.0, 1.0),), (nothing, clear))
    write_parquet(stock, texts, tmp_path / f"{stock.name}.parquet", 3, report)
    table = pq.read_table(tmp_path / f"{stock.name}.parquet")
    assert table.column_names == ["text", *stock.labels, "split", "record"]
    assert table["text"].to_pylist() == [t.text for t in texts]
    side = json.loads((tmp_path / f"{stock.name}.json").read_text())
    assert side["composed"] is True
    assert side["stock_sha256"] == stock.sha256
    assert side["texts"] == len(texts)
    assert side["pairs"][0] == list(stock.pairs[1]), "the pair with a clear gap comes first"
    assert sorted(side["pairs"]) == sorted(map(list, stock.pairs))
    assert side["target"] == list(stock.labels)[0]
    assert side["spurious"]["column"] == list(stock.labels)[1]


@pytest.mark.parametrize("name", ["bios", "reviews"])
def test_the_shipped_texts_are_what_their_stock_renders(name: str) -> None:
    side = json.loads((TEXTS / f"{name}.json").read_text())
    stock = load_stock(TEXTS / f"{name}_stock.json")
    assert side["stock_sha256"] == stock.sha256, "the stock has changed since: render the texts again"
    assert side["sha256"] == hashlib.sha256((TEXTS / f"{name}.parquet").read_bytes()).hexdigest()
    table = pq.read_table(TEXTS / f"{name}.parquet")
    sizes = Counter(zip(*(table[c].to_pylist() for c in stock.labels), strict=True))
    assert set(sizes) == set(stock.cells)
    assert min(sizes.values()) == max(sizes.values()) >= {"bios": 300, "reviews": 250}[name]


def test_the_report_finds_planted_words_and_no_gap_where_there_is_none(tmp_path: Path) -> None:
    """Mood is told by one word in every text, so base and oracle read it perfectly and the gap is zero."""
    texts = [
        ComposedText(f"{kind} was {mood} on day {i}", (kind, mood), part, f"r{i}", "plain", (), {})
        for part, count in (("train", 12), ("dev", 4), ("test", 6))
        for kind in ("tea", "soup")
        for mood in ("good", "bad")
        for i in range(count)
    ]
    report = text_report(load_stock(small(tmp_path)), texts, seed=0, resamples=100)
    assert [r.label for r in report.labels] == ["kind", "mood"]
    assert all(r.chance == 0.5 and r.new_patterns == 1.0 for r in report.labels)
    first, second = report.pairs
    assert (first.target, second.target) == ("kind", "mood")
    assert first.oracle == second.oracle == 1.0
    for pair in report.pairs:
        assert pair.gap == pytest.approx(pair.oracle - pair.base)
        assert pair.gap_ci[0] <= pair.gap <= pair.gap_ci[1]
