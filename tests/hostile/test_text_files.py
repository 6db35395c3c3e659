"""Files of texts of every odd kind."""

import gzip
import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from refusals import Canary, refused, refused_or

from saeeval_core.texts.files import SMALL, read_frame
from saeeval_core.texts.sources import file_task_set, read_texts
from saeeval_core.training.cache import read_corpus

pytestmark = pytest.mark.hostile

ROWS = [(f"the river number {i}", "nurse" if i % 2 else "surgeon", "x" if i % 4 < 2 else "y") for i in range(40)]
PLAIN = "text,job,cue\n" + "".join(",".join(r) + "\n" for r in ROWS)
LABELS = {"target": "job=nurse,surgeon", "spurious": "cue=x,y", "classes": "job=nurse,surgeon"}


def lines(*rows: object) -> bytes:
    return "".join(json.dumps(r) + "\n" for r in rows).encode("utf-8", "surrogatepass")


JSON_ROWS = [{"text": t, "job": j, "cue": c} for t, j, c in ROWS]

# name -> (bytes, what the refusal says; None: refused or read, but never anything else)
BYTES: dict[str, tuple[bytes, str | None]] = {
    "empty.csv": (b"", ""),
    "blank.csv": (b"\n\n\n", ""),
    "header only.csv": (b"text,job,cue\n", "no text"),
    "no text column.csv": (b"words,job,cue\na,b,c\n", "unknown column 'text'"),
    "two text columns.csv": (b"text,text,job\na,b,c\n", None),
    "no header.csv": (b"a,b,c\nd,e,f\n", "unknown column"),
    "ragged.csv": (b"text,job\na,b\na,b,c,d\n", ""),
    "short rows.csv": (b"text,job,cue\na\nb\n", ""),
    "open quote.csv": (b'text,job\n"a,b\n', ""),
    "nul.csv": (b"text,job\na\0b,c\n", "NUL"),
    "only nul.csv": (b"\0" * 5000, "NUL"),
    "utf-16.csv": (PLAIN.encode("utf-16"), None),
    "utf-32.csv": (PLAIN.encode("utf-32"), None),
    "latin-1.csv": (PLAIN.replace("river", "rivi\xe8re").encode("latin-1"), None),
    "cut utf-8.csv": (PLAIN.replace("river", "rivi\xe8re").encode()[:19], None),
    "bom.csv": (b"\xef\xbb\xbf" + PLAIN.encode(), None),
    "bom twice.csv": (b"\xef\xbb\xbf\xef\xbb\xbf" + PLAIN.encode(), None),
    "semicolons.csv": (PLAIN.replace(",", ";").encode(), None),
    "tabs.csv": (PLAIN.replace(",", "\t").encode(), None),
    "old mac.csv": (PLAIN.replace("\n", "\r").encode(), None),
    "surrogates.csv": (PLAIN.replace("river", "\ud800").encode("utf-8", "surrogatepass"), None),
    "no values.csv": (b"text,job,cue\n" + b",,\n" * 50, "no text"),
    "long field.csv": (b"text,job,cue\n" + b"a" * 300_000 + b",nurse,x\n", ""),
    "many columns.csv": (",".join(f"c{i}" for i in range(5000)).encode() + b"\n", "columns"),
    "names.csv": (("text,<script>,\u202eabc,=cmd|'/C calc'!A0\n" + "a,b,c,d\n" * 5).encode(), ""),
    "pickle.csv": (pickle.dumps({"text": [1]}), ""),
    "elf.csv": (b"\x7fELF" + bytes(range(256)) * 20, ""),
    "zip.csv": (b"PK\x03\x04" + bytes(200), ""),
    "gzip.csv": (gzip.compress(PLAIN.encode()), ""),
    "html.csv": (b"<!doctype html><script>alert(1)</script>\n" * 20, ""),
    "one value.csv": (PLAIN.replace("surgeon", "nurse").encode(), "no value 'surgeon'"),
    "numbers.csv": (b"text,job,cue\n" + b"1,2,3\n" * 50, "no value 'nurse'"),
    "huge numbers.csv": (b"text,job,cue\n" + b"a," + b"9" * 400 + b",x\n" * 40, ""),
    "inf.csv": (b"text,job,cue\n" + b"a,inf,nan\n" * 40, ""),
    "few.csv": (PLAIN.encode(), None),
    "empty.jsonl": (b"", ""),
    "blank.jsonl": (b"\n\n", ""),
    "no json.jsonl": (b"this is no json\n", ""),
    "half json.jsonl": (lines(*JSON_ROWS)[:-9], ""),
    "array.jsonl": (json.dumps(JSON_ROWS).encode(), None),
    "numbers.jsonl": (b"1\n2\n3\n", ""),
    "strings.jsonl": (b'"a"\n"b"\n', ""),
    "nulls.jsonl": (b"null\nnull\n", ""),
    "lists.jsonl": (b"[1]\n[2]\n", ""),
    "empty objects.jsonl": (b"{}\n{}\n", ""),
    "deep list.jsonl": (b"[" * 100_000 + b"\n", ""),
    "deep object.jsonl": (b'{"a":' * 100_000 + b"\n", ""),
    "deep value.jsonl": (b'{"text":"a","job":' + b"[" * 900 + b"]" * 900 + b"}\n", ""),
    "huge number.jsonl": (b'{"text":"a","job":' + b"9" * 5000 + b"}\n", ""),
    "big number.jsonl": (b'{"text":"a","job":' + b"9" * 30 + b',"cue":1}\n', ""),
    "nan.jsonl": (b'{"text":"a","job":NaN,"cue":Infinity}\n', ""),
    "surrogates.jsonl": (lines({"text": "\ud800", "job": "nurse", "cue": "x"}), ""),
    "escaped surrogates.jsonl": (b'{"text":"\\ud800","job":"nurse","cue":"x"}\n' * 9, ""),
    "surrogate label.jsonl": (b'{"text":"a","job":"\\udfff","cue":"x"}\n' * 9, ""),
    "surrogate key.jsonl": (b'{"text":"a","\\ud800":"b"}\n' * 9, ""),
    "nul.jsonl": (lines({"text": "a\0b", "job": "nurse", "cue": "x"}), ""),
    "mixed.jsonl": (lines({"text": 1}, {"text": [1]}, {"text": {"a": 1}}, {"text": "a"}), ""),
    "objects as labels.jsonl": (lines(*[r | {"job": {"a": 1}} for r in JSON_ROWS]), ""),
    "lists as labels.jsonl": (lines(*[r | {"job": [1, 2]} for r in JSON_ROWS]), ""),
    "booleans.jsonl": (lines(*[r | {"job": True} for r in JSON_ROWS]), ""),
    "many keys.jsonl": (lines({f"k{i}": 1 for i in range(5000)}), "columns"),
    "new keys.jsonl": (lines(*[{f"k{i}": 1} for i in range(5000)]), "columns"),
    "odd split.jsonl": (lines(*[r | {"split": "elsewhere"} for r in JSON_ROWS]), None),
    "number split.jsonl": (lines(*[r | {"split": 3} for r in JSON_ROWS]), None),
    "dates.jsonl": (lines(*[r | {"job": "2024-01-01T00:00:00Z"} for r in JSON_ROWS]), ""),
    "far dates.jsonl": (lines(*[r | {"date": 1e300} for r in JSON_ROWS]), None),
    "utf-16.jsonl": (lines(*JSON_ROWS).decode().encode("utf-16"), None),
    "bom.jsonl": (b"\xef\xbb\xbf" + lines(*JSON_ROWS), None),
    "empty.parquet": (b"", ""),
    "magic only.parquet": (b"PAR1PAR1", ""),
    "no parquet.parquet": (b"PAR1" + b"this is not it" * 9 + b"PAR1", ""),
    "pickle.parquet": (pickle.dumps([1, 2, 3]), ""),
    "csv.parquet": (PLAIN.encode(), ""),
    "texts.xlsx": (b"PK\x03\x04", ".csv, .parquet or .jsonl"),
    "texts.pkl": (pickle.dumps([1]), ".csv, .parquet or .jsonl"),
    "texts": (PLAIN.encode(), ".csv, .parquet or .jsonl"),
    "texts.csv.exe": (PLAIN.encode(), ".csv, .parquet or .jsonl"),
    "texts.py": (b"import os", ".csv, .parquet or .jsonl"),
}


def of(path: Path) -> object:
    found = file_task_set(path, "text", **LABELS)
    for text in found.texts.texts:
        text.encode("utf-8")
    return found


@pytest.mark.parametrize("name", BYTES)
def test_a_file_of_texts(held, name):
    content, says = BYTES[name]
    (held / name).write_bytes(content)
    if says is None:
        refused_or(lambda: of(held / name))
    else:
        assert says in refused(lambda: of(held / name))


@pytest.mark.parametrize("name", [n for n in BYTES if n.rsplit(".")[-1] in ("csv", "jsonl", "parquet")])
def test_its_columns_on_the_page(held, name):
    (held / name).write_bytes(BYTES[name][0])
    found = refused_or(lambda: read_frame(held / name, SMALL))
    assert found is None or all(isinstance(c, str) and len(found) <= SMALL.columns for c in found)


@pytest.mark.parametrize("name", [n for n in BYTES if n.rsplit(".")[-1] in ("jsonl", "parquet", "pkl", "xlsx")])
def test_the_same_as_a_corpus(held, name):
    (held / name).write_bytes(BYTES[name][0])
    found = refused_or(lambda: read_corpus(held / name))
    assert found is None or all(isinstance(t, str) and t.strip() for t in found)


def texts(n: int = 40) -> pa.Array:
    return pa.array([r[0] for r in ROWS[:n]])


def parquet(**columns: object) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        made = {k: v if isinstance(v, pa.Array | pa.ChunkedArray) else pa.array(v) for k, v in columns.items()}
        pq.write_table(pa.table(made), path)

    return write


def twice(path: Path) -> None:
    pq.write_table(pa.Table.from_arrays([texts(), texts()], names=["text", "text"]), path)


def deep() -> pa.Array:
    kind, value = pa.int64(), 1
    for _ in range(60):
        kind, value = pa.list_(kind), [value]
    return pa.array([value] * 40, kind)


JOBS = pa.array([r[1] for r in ROWS])
PARQUET: dict[str, tuple[Callable[[Path], None], str | None]] = {
    "categorical text": (parquet(text=texts().dictionary_encode(), job=JOBS, cue=[r[2] for r in ROWS]), None),
    "categorical labels": (parquet(text=texts(), job=JOBS.dictionary_encode(), cue=[r[2] for r in ROWS]), None),
    "large strings": (parquet(text=texts().cast(pa.large_string()), job=JOBS, cue=JOBS), None),
    "string views": (parquet(text=texts().cast(pa.string_view()), job=JOBS, cue=JOBS), None),
    "binary text": (parquet(text=texts().cast(pa.binary()), job=JOBS, cue=JOBS), ""),
    "no utf-8": (parquet(text=pa.array([b"\xff\xfe"] * 40), job=JOBS, cue=JOBS), ""),
    "numbers as text": (parquet(text=list(range(40)), job=JOBS, cue=JOBS), "no text"),
    "nulls as text": (parquet(text=pa.nulls(40), job=JOBS, cue=JOBS), "no text"),
    "lists as text": (parquet(text=[["a"]] * 40, job=JOBS, cue=JOBS), "holds lists"),
    "structs as text": (parquet(text=[{"a": "b"}] * 40, job=JOBS, cue=JOBS), "unknown column 'text'"),
    "no rows": (parquet(text=pa.array([], pa.string()), job=pa.array([], pa.string())), "no text"),
    "no columns": (lambda path: pq.write_table(pa.table({}), path), ""),
    "two columns of a name": (twice, ""),
    "decimals": (parquet(text=texts(), job=pa.array(range(40), pa.int64()).cast(pa.decimal128(30, 3)), cue=JOBS), ""),
    "timestamps": (parquet(text=texts(), job=pa.array(range(40), pa.timestamp("ns")), cue=JOBS), ""),
    "dates": (parquet(text=texts(), job=pa.array(range(40), pa.int32()).cast(pa.date32()), cue=JOBS), ""),
    "far dates": (parquet(text=texts(), job=pa.array([2**30] * 40, pa.int32()).cast(pa.date32()), cue=JOBS), ""),
    "times": (parquet(text=texts(), job=pa.array(range(40), pa.time64("us")), cue=JOBS), ""),
    "durations": (parquet(text=texts(), job=pa.array(range(40), pa.duration("s")), cue=JOBS), ""),
    "structs as labels": (parquet(text=texts(), job=[{"a": 1}] * 40, cue=JOBS), ""),
    "deep lists": (parquet(text=texts(), job=deep(), cue=JOBS), ""),
    "maps": (parquet(text=texts(), job=pa.array([[("a", 1)]] * 40, pa.map_(pa.string(), pa.int64())), cue=JOBS), ""),
    "booleans": (parquet(text=texts(), job=[True, False] * 20, cue=JOBS), ""),
    "largest numbers": (parquet(text=texts(), job=[2**63 - 1, -(2**63)] * 20, cue=JOBS), ""),
    "unsigned": (parquet(text=texts(), job=pa.array([2**64 - 1] * 40, pa.uint64()), cue=JOBS), ""),
    "halves": (parquet(text=texts(), job=pa.array(np.full(40, np.inf, np.float16)), cue=JOBS), ""),
    "nan labels": (parquet(text=texts(), job=[float("nan")] * 40, cue=JOBS), ""),
    "hostile names": (parquet(**{"text": texts(), "<script>": JOBS, "\u202e": JOBS, "": JOBS}), ""),
    "a long name": (parquet(**{"text": texts(), "x" * 100_000: JOBS}), ""),
    "NUL in text": (parquet(text=["a\0b"] * 40, job=JOBS, cue=JOBS), "NUL"),
    "NUL in labels": (parquet(text=texts(), job=["nurse\0", "surgeon\0"] * 20, cue=JOBS), ""),
    "odd splits": (parquet(text=texts(), job=JOBS, cue=JOBS, split=[1.5] * 40), ""),
    "a pandas index": (parquet(text=texts(), job=JOBS, cue=JOBS, __index_level_0__=JOBS), None),
}


@pytest.mark.parametrize("name", PARQUET)
def test_a_parquet_file(held, name):
    write, says = PARQUET[name]
    write(held / "odd.parquet")
    if says is None:
        refused_or(lambda: of(held / "odd.parquet"))
    else:
        assert says in refused(lambda: of(held / "odd.parquet"))


def test_one_value_that_is_repeated_until_it_fills_the_memory(held):
    same = pa.array(["a" * 1000]).take(pa.array(np.zeros(210_000, np.int32)))
    pq.write_table(pa.table({"text": same}), held / "bomb.parquet")
    assert (held / "bomb.parquet").stat().st_size < 100_000
    assert "bytes when unpacked" in refused(lambda: read_frame(held / "bomb.parquet", SMALL))


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("whole") / "whole.parquet"
    parquet(text=texts(), job=JOBS, cue=[r[2] for r in ROWS])(path)
    return path.read_bytes()


@pytest.mark.parametrize("share", [0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99])
def test_a_parquet_file_that_was_cut(held, whole, share):
    (held / "cut.parquet").write_bytes(whole[: int(len(whole) * share)])
    refused(lambda: of(held / "cut.parquet"))


@pytest.mark.parametrize("at", range(24))
def test_a_parquet_file_with_damaged_bytes(held, whole, at):
    place = 4 + at * (len(whole) - 8) // 24
    (held / "flipped.parquet").write_bytes(
        whole[:place] + bytes(b ^ 255 for b in whole[place : place + 3]) + whole[place + 3 :]
    )
    refused_or(lambda: of(held / "flipped.parquet"))


def fifo(path: Path) -> None:
    os.mkfifo(path)


def archive(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("../../private/kept.txt", "changed")


PLACES: dict[str, Callable[[Path], object]] = {
    "missing.csv": lambda path: None,
    "folder.csv": Path.mkdir,
    "folder.parquet": Path.mkdir,
    "pipe.csv": fifo,
    "pipe.jsonl": fifo,
    "pipe.parquet": fifo,
    "zeros.csv": lambda path: path.symlink_to("/dev/zero"),
    "noise.parquet": lambda path: path.symlink_to("/dev/urandom"),
    "terminal.jsonl": lambda path: path.symlink_to("/dev/tty"),
    "loop.csv": lambda path: path.symlink_to(path),
    "nowhere.csv": lambda path: path.symlink_to(path.parent / "no" / "where"),
    "archive.csv": archive,
    "secret.csv": lambda path: path.symlink_to(path.parents[1] / "private" / "kept.txt"),
}


@pytest.mark.parametrize("name", PLACES)
def test_what_is_no_plain_file(held, name):
    PLACES[name](held / name)
    refused(lambda: of(held / name))
    refused_or(lambda: read_corpus(held / name))


NAMES = [
    "",
    ".",
    "..",
    "/",
    "~nobody/x.csv",
    "a\0b.csv",
    "x" * 300 + ".csv",
    "\ud800.csv",
    "a\nb.csv",
    "\x1b[31m.csv",
    "\u202e.csv",
]


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_names_of_files(held, name):
    refused(lambda: of(held / name if name else Path(name)))


@pytest.mark.parametrize(
    "name", ["a\nb.csv", "\x1b[31m.csv", "\u202e.csv", "<script>.csv", "'; drop table.csv"], ids=ascii
)
def test_names_of_damaged_files(held, name):
    (held / name).write_bytes(b"")
    refused(lambda: of(held / name))


COLUMNS = [
    "",
    "job=",
    "=",
    "job",
    "job=nurse",
    "job=nurse,nurse",
    "job=nurse,surgeon,x",
    "nowhere=a,b",
    "text=a,b",
    '"',
    "job=\ud800,x",
    "job=" + "x," * 5000,
]


@pytest.mark.parametrize("choice", COLUMNS, ids=lambda c: ascii(c)[:30])
@pytest.mark.parametrize("option", ["target", "classes"])
def test_choices_of_labels(held, choice, option):
    (held / "plain.csv").write_text(PLAIN)
    refused_or(lambda: file_task_set(held / "plain.csv", "text", **LABELS | {option: choice}))


@pytest.mark.parametrize(
    "column", ["", "job\0", "nowhere", "\0", "\ud800", "x" * 10_000, "__class__"], ids=lambda c: ascii(c)[:20]
)
def test_columns_that_are_not_there(held, column):
    (held / "plain.csv").write_text(PLAIN)
    refused(lambda: read_texts(held / "plain.csv", column))
    refused_or(lambda: read_texts(held / "plain.csv", "text", column))


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet", "pkl", "txt"])
def test_a_pickle_is_never_opened(held, ending):
    (held / f"texts.{ending}").write_bytes(pickle.dumps(Canary()))
    refused_or(lambda: of(held / f"texts.{ending}"))
    refused_or(lambda: read_corpus(held / f"texts.{ending}"))
