"""Explanations, labels, verdicts, decision sets, results and spreadsheets from elsewhere, and what judges reply."""

import csv
import gzip
import io
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from fake_claude import FakeClaude, answer, error, message
from judge_fixtures import toy_source
from refusals import refused, refused_or, shown

from app import results
from app.report_page import result_page
from saeeval_core.config import RunConfig
from saeeval_core.errors import ConfigError
from saeeval_core.evaluation.result_json import from_json, read_result
from saeeval_core.evidence.intruder import judged_evidence
from saeeval_core.formats.decision_sets import ExportedDecision, ExportedSet, set_from_text, set_to_csv, set_to_json
from saeeval_core.formats.saebench_files import rows_of
from saeeval_core.judging.claude import ClaudeJudge, ClaudeSettings
from saeeval_core.judging.imports import read_explanations
from saeeval_core.judging.neuronpedia import fetch_explanations
from saeeval_core.judging.paper_labels import read_paper_labels
from saeeval_core.judging.run import judge_questions
from saeeval_core.judging.verdict import NO_VERDICTS, Concept
from saeeval_core.judging.verdict_files import read_verdicts
from saeeval_core.ledger.store import Store
from saeeval_core.recordings.known_saes import KnownSae
from saeeval_core.storage.row_csv import csv_text, read_cell
from saeeval_core.storage.row_json import check_result
from saeeval_core.training.about import read_about

pytestmark = pytest.mark.hostile

SAE = KnownSae("toy", "blocks.0.hook_resid_pre", "print", 4, "gpt2-small/0-res-jb")
DEEP, DEEP_OBJECT, HUGE = "[" * 100_000, '{"a":' * 100_000, "9" * 5000
NO_JSON = [
    "",
    " ",
    "{",
    "[",
    "null",
    "1",
    '"x"',
    "[]",
    "[1]",
    "[[]]",
    "{}",
    DEEP,
    DEEP_OBJECT,
    HUGE,
    "NaN",
    '"\\ud800"',
    "\0",
    "{'a': 1}",
]
NO_JSON += [
    '{"a": 1}{"b": 2}',
    '{"a": ' + HUGE + "}",
    '{"__class__": "os.system"}',
    "cos\nsystem\n(S'touch canary'\ntR.",
]
ODD = [None, True, -1, 3.7, "3", "²", "", [], [1], {}, {"a": 1}, 10**30, "\ud800", "x" * 5000, float("nan"), "<script>"]


def put(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
    return path


# Explanations and ratings.

EXPLANATIONS: dict[str, str | bytes] = {
    **{f"{i}.jsonl": content for i, content in enumerate(NO_JSON)},
    "empty.csv": "",
    "no latent.csv": "explanation\na\n",
    "a word.csv": "latent\nthree\n",
    "a square.csv": "latent\n²\n",
    "beyond.csv": "latent\n4\n",
    "negative.csv": "latent\n-1\n",
    "digits.csv": "latent\n" + "9" * 5000 + "\n",
    "rating 5.csv": "latent,rating:a\n1,5\n",
    "rating -1.csv": "latent,rating:a\n1,-1\n",
    "rating NaN.csv": "latent,rating:a\n1,NaN\n",
    "another SAE.csv": "latent,sae\n1,other\n",
    "another width.csv": "latent,n_latents\n1,9\n",
    "open quote.csv": 'latent,explanation\n1,"abc\n2,d\n',
    "latin-1.csv": b"latent,explanation\n1,caf\xe9\n",
    "surrogate.csv": "latent,explanation\n1,\ud800\n",
    "gzip.csv": gzip.compress(b"latent\n1\n"),
    "odd.xlsx": b"PK\x03\x04",
    "bool rating.jsonl": '{"latent": 1, "ratings": {"a": true}}',
    "list ratings.jsonl": '{"latent": 1, "ratings": [1]}',
    "text ratings.jsonl": '{"latent": 1, "ratings": "3"}',
    "surrogate.jsonl": '{"latent": 1, "explanation": "\\ud800"}',
    "raw surrogate.jsonl": '{"latent": 1, "explanation": "\ud800"}',
    "half latent.jsonl": '{"latent": 1.5}',
    "true.jsonl": '{"latent": true}',
}


@pytest.mark.parametrize("name", EXPLANATIONS)
def test_files_of_explanations(held, name):
    assert refused(lambda: read_explanations(put(held / name, EXPLANATIONS[name]), SAE))


@pytest.mark.parametrize("odd", ODD, ids=shown)
@pytest.mark.parametrize(
    "key", ["latent", "explanation", "reason", "rater", "model", "task", "ratings", "rating:a", "sae"]
)
def test_an_odd_cell_of_an_explanation(held, key, odd):
    file = put(held / "odd.jsonl", json.dumps({"latent": 1, "explanation": "a"} | {key: odd}))
    for v in refused_or(lambda: read_explanations(file, SAE)) or ():
        assert 0 <= v.latent < 4 and all(type(r) is int and 0 <= r <= 4 for r in v.ratings.values())
        Store(held / "s.sqlite").add_verdicts([v])


@pytest.mark.parametrize(
    "name", ["", ".", "nowhere.csv", "folder.csv", "x" * 300 + ".csv", "a\0b.csv", "\ud800.csv"], ids=shown
)
def test_names_of_files_of_explanations(held, name):
    (held / "folder.csv").mkdir()
    refused(lambda: read_explanations(held / name, SAE))


# Labels of the paper, verdicts that are shipped, facts about an SAE, settings.

LABEL = {"id": 1, "latent": 3, "sae": "s", "contexts": ["\nExample 1: a << b>>(1.5) c"], "human_a": {"gender": 3}}


@pytest.mark.parametrize("content", NO_JSON, ids=shown)
def test_label_files(held, content):
    refused_or(lambda: read_paper_labels(put(held / "labels.json", content)))


@pytest.mark.parametrize("odd", ODD, ids=shown)
@pytest.mark.parametrize("key", ["id", "latent", "sae", "contexts", "human_a", "llm", "promoted_tokens"])
def test_an_odd_value_in_a_label_file(held, key, odd):
    for item in refused_or(lambda: read_paper_labels(put(held / "l.json", json.dumps([LABEL | {key: odd}])))) or ():
        item.evidence.sae.encode("utf-8")


@pytest.mark.parametrize(
    "text",
    ["<<" * 100_000, ">>(1)" * 100_000, "<<a>>(" * 50_000, "Example 1: " * 50_000, "<<a>>(" + "9" * 5000 + ")"],
    ids=shown,
)
def test_texts_of_a_label_file_take_no_quadratic_time(held, text):
    refused_or(lambda: read_paper_labels(put(held / "l.json", json.dumps([LABEL | {"contexts": [text]}]))))


SHARED = dict.fromkeys(("sae", "sae_fingerprint", "task", "rater", "model", "prompt"), "x") | {
    "status": "ok",
    "rater_kind": "llm",
}
OWN = {"latent": 1, "ratings": {"a": 3}, "explanation": "e", "reason": "r", "evidence_hash": "h"}


@pytest.mark.parametrize("content", NO_JSON, ids=shown)
def test_verdict_files(held, content):
    assert not refused_or(lambda: read_verdicts(put(held / "v.jsonl", content)))


@pytest.mark.parametrize("odd", ODD, ids=shown)
@pytest.mark.parametrize("key", [*OWN, "rater", "rater_kind", "status"])
def test_an_odd_value_in_a_verdict_file(held, key, odd):
    rows = [{"shared": SHARED | ({key: odd} if key in SHARED else {})}, OWN | ({key: odd} if key in OWN else {})]
    file = put(held / "v.jsonl", "\n".join(map(json.dumps, rows)))
    for v in refused_or(lambda: read_verdicts(file)) or ():
        refused_or(lambda v=v: Store(held / "s.sqlite").add_verdicts([v]))


@pytest.mark.parametrize(
    "content", [*NO_JSON, '{"l0": "many"}', '{"seed": 1.5}', '{"dead": [1]}', '{"model": 3}'], ids=shown
)
def test_facts_about_an_sae(held, content):
    put(held / "about.json", content)
    found = read_about(held)
    assert found is None or not found.to_dict()


@pytest.mark.parametrize(
    "content", [*NO_JSON, '{"ns": 3}', '{"ns": ["a"]}', '{"ns": []}', '{"protocol": []}', '{"metrics": 3}'], ids=shown
)
def test_settings_of_a_run(content):
    if content == "{}":
        assert RunConfig.from_json(content) == RunConfig()
    else:
        refused(lambda: RunConfig.from_json(content), only=ConfigError)


# Decision sets.

SET = ExportedSet(
    "mine", "shift", "bios", "toy", "print", "rec", (ExportedDecision(1, "ablate"), ExportedDecision(2, "keep"))
)


def opened(text: str) -> None:
    found, _ = set_from_text(text, n_latents=4, sae_fingerprint="print", recording_fingerprint="rec")
    assert all(0 <= d.latent < 4 and d.rater_kind != "human" for d in found.decisions)
    set_to_json(found).encode("utf-8"), set_to_csv(found).encode("utf-8")


@pytest.mark.parametrize(
    "text", [*NO_JSON, '{"kind": 3}', '{"kind": "saeeval decision set", "schema": 1}', "latent\n1\n"], ids=shown
)
def test_files_of_decisions(text):
    refused(lambda: opened(text))


@pytest.mark.parametrize("odd", ODD, ids=shown)
@pytest.mark.parametrize(
    "key", ["name", "metric", "task", "sae", "sae_fingerprint", "decisions", "schema", "kind", "log"]
)
def test_an_odd_value_in_a_set(key, odd):
    refused_or(lambda: opened(json.dumps(json.loads(set_to_json(SET)) | {key: odd})))


@pytest.mark.parametrize("odd", ODD, ids=shown)
@pytest.mark.parametrize("key", ["latent", "new", "old", "of", "who", "at", "reason", "id", "undoes"])
def test_an_odd_value_in_a_log(key, odd):
    content = json.loads(set_to_json(SET)) | {"log": [{"latent": 1, "new": "ablate"}, {"latent": 2, "new": "keep"}]}
    content["log"][0] |= {key: odd}
    refused_or(lambda: opened(json.dumps(content)))


@pytest.mark.parametrize("odd", ODD, ids=shown)
@pytest.mark.parametrize("key", ["latent", "decision", "of", "rater", "rater_kind", "when", "reason"])
def test_an_odd_value_in_a_decision(key, odd):
    content = json.loads(set_to_json(SET))
    content["decisions"][0] |= {key: odd}
    refused_or(lambda: opened(json.dumps(content)))


@pytest.mark.parametrize(
    "change",
    [
        ("1,ablate", "9,ablate"),
        ("ablate", "ABLATE"),
        ("print", "other"),
        ("latent", "latents"),
        ("\n", "\0\n"),
        (",", ";"),
        ("1", "9" * 5000),
        ("mine", '"mine'),
    ],
    ids=shown,
)
def test_a_set_as_csv(change):
    refused_or(lambda: opened(set_to_csv(SET).replace(*change)))


# Results.


def result() -> dict:
    """A small result of every part."""
    cell = {"value": 0.5, "ci": [0.4, 0.6], "reason": None}
    score = {"score": 0.5, "ci": [0.4, 0.6], "reason": None}
    mean = score | {"pairs": 1, "directions_left_out": 0}
    shift_cell = score | {"accuracy": 0.9, "accuracy_ci": [0.8, 1.0], "worst_group": 0.5, "leakage": 0.1}
    direction = {
        "pair": "p",
        "target": "a",
        "base": {"test": cell},
        "oracle": {"test": cell},
        "attribute": {"test": cell},
        "spurious": "b",
        "by_n": [{"n": 5, "ids": [1, 2], "test": shift_cell}],
    }
    matrix = score | {"matrix": [[0.3, 0.0], [0.1, 0.2]], "matrix_ci": None}
    sae = {
        "sae": "toy",
        "about": {"architecture": "topk", "n_latents": 32, "hook": "h"},
        "unsupervised": {"l0": 3.0},
        "shift": {"directions": [direction], "aggregate": [{"n": 5, "test": mean}], "small_n_area": {"test": mean}},
        "tpp": {
            "classes": ["x", "y"],
            "clean": {"test": [cell, cell]},
            "probes": [{"n_texts": 9, "c": 1.0, "epoch": None}],
            "by_n": [{"n": 5, "n_ablated": [5, 5], "ids": [[1], [2]], "test": matrix}],
        },
        "controls": [{"metric": "tpp", "variant": "top-N", "n": 5, "name": "random", "about": ""} | cell],
        "warnings": ["a"],
    }
    return {
        "config": json.loads(RunConfig().to_json()),
        "model": {"name": "m"},
        "task": {"name": "t", "dropped": {"empty text": 1}},
        "probes": {"shift": []},
        "results": [sae],
        "versions": {"saeeval": "1"},
    }


def paths(value: object, at: tuple = ()) -> Iterator[tuple]:
    if at:
        yield at
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, own in inner:
        yield from paths(own, (*at, key))


def replaced(content: dict, at: tuple, new: object) -> dict:
    content = json.loads(json.dumps(content))
    place = content
    for key in at[:-1]:
        place = place[key]
    place[at[-1]] = new
    return content


def used(content: object) -> None:
    """Everything that is done with a result: the report, the rows of Compare, and SAEBench's files."""
    result_page(from_json(content, "'r.json'"), when="now").encode("utf-8")


def compared(content: object) -> None:
    for row in rows_of(content, "r.json"):
        json.dumps(vars(row), allow_nan=False).encode("utf-8")
    results.saebench_files(content, "r.json")


PLACES = list(paths(result()))


def test_the_result_can_be_used():
    used(result()), compared(result())


@pytest.mark.parametrize("at", PLACES, ids=lambda at: "/".join(map(str, at)))
def test_an_odd_value_in_a_result(at):
    for odd in ODD:
        refused_or(lambda odd=odd: compared(replaced(result(), at, odd)))
    for odd in (None, -1, "x", [], {}):
        refused_or(lambda odd=odd: used(replaced(result(), at, odd)))


@pytest.mark.parametrize("content", NO_JSON, ids=shown)
def test_files_of_results(held, content):
    refused(lambda: read_result(put(held / "r.json", content)))
    found = results.Results()
    refused(lambda: results._add(found, held / "r.json"))


PUBLISHED = {
    "eval_type_id": "tpp",
    "eval_result_metrics": {"tpp_metrics": {"tpp_threshold_10_total_metric": 0.3}},
    "eval_config": {"model_name": "m", "dataset_names": ["d"], "random_seed": 1},
    "sae_cfg_dict": {"architecture": "topk", "d_sae": 32},
    "sae_lens_id": "s",
    "eval_result_unstructured": {"saeeval": {"unsupervised": {"l0": 2.0}}},
}
SWEEP = {
    "kind": "sweep",
    "rows": [{"sae": "a", "metric": "tpp", "n": 10, "value": 0.2, "ci_low": 0.1, "ci_high": 0.3}],
    "differences": [
        {
            "sae_a": "a",
            "sae_b": "b",
            "metric": "tpp",
            "variant": "v",
            "protocol": "p",
            "task": "t",
            "n": 1,
            "value": 0.1,
        }
    ],
    "rank_agreement": [{"x": "l0", "y": "tpp", "spearman": 0.5, "n_saes": 2}],
}
TRUTH = {
    "kind": "planted",
    "verdict": ["v"],
    "shift": {"robust": {"headline": "h", "spearman": 0.5, "spearman_ci": [0, 1], "n_saes": 3}},
}
FAULTS = {"kind": "faults", "rows": [{"setting": "s", "sd": 0.1}]}


@pytest.mark.parametrize("at", list(paths(PUBLISHED)), ids=lambda at: "/".join(map(str, at)))
def test_an_odd_value_in_a_published_file(at):
    for odd in ODD:
        refused_or(lambda odd=odd: compared(replaced(PUBLISHED, at, odd)))


STORED = [
    (name, content, at)
    for name, content in (("sweep", SWEEP), ("planted", TRUTH), ("faults", FAULTS))
    for at in paths(content)
]


@pytest.mark.parametrize(
    ("name", "content", "at"),
    STORED,
    ids=lambda v: v if isinstance(v, str) else "/".join(map(str, v)) if isinstance(v, tuple) else "",
)
def test_an_odd_value_in_a_stored_file(held, name, content, at):
    for odd in ODD:
        put(held / "s.json", json.dumps(replaced(content, at, odd)))
        found = results.Results()
        refused_or(lambda found=found: results._add(found, held / "s.json"))
        json.dumps([vars(r) for r in found.rows], allow_nan=False).encode("utf-8")


@pytest.mark.parametrize(
    "content", [{"seal": ""}, {"seal": None}, {"seal": "0" * 64, "rows": []}, {"seal": [1]}], ids=shown
)
def test_a_seal_that_does_not_fit(held, content):
    refused(lambda: check_result(held / "r.json", content))


# Spreadsheets run cells that begin like a formula.

CELLS = [
    "=1+1",
    "+1",
    "-1+1",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "=cmd|'/C calc'!A0",
    '=HYPERLINK("http://x")',
    "=IMPORTXML(1)",
    "'=1",
]


@pytest.mark.parametrize("cell", CELLS, ids=shown)
def test_a_formula_is_text_in_every_spreadsheet(cell):
    text = csv_text([{"name": cell, cell: 1}])
    shown = next(csv.DictReader(io.StringIO(text)))["name"]
    assert not shown.startswith(("=", "+", "-", "@", "\t", "\r"))
    assert all(not c.startswith(("=", "+", "-", "@", "\t", "\r")) for c in next(csv.reader(io.StringIO(text))))
    assert read_cell(shown) == cell or cell.startswith("'")


# Replies of judges.

REPLIES = {
    "empty": message(""),
    "no json": message("I cannot do that."),
    "half": message('{"explanation": "a"'),
    "deep": message(DEEP),
    "huge number": message('{"explanation":"a","reason":"b","ratings":{"concept_1":' + HUGE + "}}"),
    "surrogate": message('{"explanation":"\\ud800","reason":"b","ratings":{"concept_1":1}}'),
    "extra": message('{"explanation":"a","reason":"b","ratings":{"concept_1":1},"run":"rm"}'),
    "rating 5": message('{"explanation":"a","reason":"b","ratings":{"concept_1":5}}'),
    "rating text": message('{"explanation":"a","reason":"b","ratings":{"concept_1":"1"}}'),
    "rating true": message('{"explanation":"a","reason":"b","ratings":{"concept_1":true}}'),
    "rating 1.5": message('{"explanation":"a","reason":"b","ratings":{"concept_1":1.5}}'),
    "another concept": message('{"explanation":"a","reason":"b","ratings":{"nurse":1}}'),
    "no explanation": message('{"explanation":"","reason":"b","ratings":{"concept_1":1}}'),
    "a list": message("[]"),
    "refusal": message("no", "refusal"),
    "cut off": message('{"expl', "max_tokens"),
    "unknown stop": message("x", "unheard_of"),
    "no content": message("x") | {"content": []},
    "null content": message("x") | {"content": None},
    "text content": message("x") | {"content": "x"},
    "null text": message("x") | {"content": [{"type": "text", "text": None}]},
    "a tool": message("x") | {"content": [{"type": "tool_use", "id": "t", "name": "n", "input": {}}]},
    "no usage": {k: v for k, v in message("x").items() if k != "usage"},
    "odd usage": message("x") | {"usage": {"input_tokens": "many"}},
    "null usage": message("x") | {"usage": None},
    "empty object": {},
    "bytes": b"\xff\xfe\x00",
    "html": b"<html>gateway</html>",
    "no body": b"",
    "a list of json": b"[1, 2]",
    "deep body": DEEP.encode(),
    "401": (401, error("authentication_error")),
    "402": (402, error("billing_error")),
    "403": (403, error("permission_error")),
    "404": (404, error("not_found_error")),
    "413": (413, error("request_too_large")),
    "429": (429, error("rate_limit_error"), {"retry-after": "0"}),
    "500": (500, error("api_error")),
    "529": (529, error("overloaded_error")),
    "400 odd": (400, {"error": 3}),
    "500 list": (500, [1]),
    "302": (302, {}, {"location": "http://127.0.0.1:1/"}),
    "long": message("x" * 2_000_000),
    "reset": "reset",
}


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeClaude]:
    server = FakeClaude().start()
    yield server
    server.stop()


@pytest.mark.parametrize("name", REPLIES)
def test_replies_of_a_judge(held, fake, name):
    fake.behaviour = lambda *_: REPLIES[name]
    judge = ClaudeJudge("sk-secret", ClaudeSettings(base_url=fake.url, retries=0, timeout=5.0))
    question = judge.question(judged_evidence([toy_source()], 0), [Concept("gender")], "toy")
    store = Store(held / "s.sqlite")
    found = judge_questions(store, judge, [question])
    assert found.answered == 0 and set(found.failures) <= set(NO_VERDICTS) and sum(found.failures.values()) == 1
    assert all("sk-secret" not in v.raw for v in store.verdict_history("toyprint"))


SAID = [
    "<script>alert(1)</script>",
    "![x](http://127.0.0.1:1/x)",
    "\u202eabc",
    "x" * 100_000,
    "a\0b",
    "=1+1",
    "\x1b[31m",
]


@pytest.mark.parametrize("text", SAID, ids=shown)
def test_what_a_judge_says_is_kept_as_text(held, fake, text):
    fake.behaviour = lambda request, _: answer(request, 2, explanation=text, reason=text)
    judge = ClaudeJudge("sk-secret", ClaudeSettings(base_url=fake.url, retries=0))
    question = judge.question(judged_evidence([toy_source()], 0), [Concept("gender")], "toy")
    store = Store(held / "s.sqlite")
    judge_questions(store, judge, [question])
    (kept,) = store.verdict_history("toyprint")
    assert len(kept.explanation) <= 600 and kept.ratings in ({"gender": 2}, {})


# Neuronpedia.

ROW = {"modelId": "gpt2-small", "layer": "0-res-jb", "index": 1, "description": "d"}


def rows(*rows: object) -> bytes:
    return gzip.compress("".join(json.dumps(r) + "\n" for r in rows).encode())


BATCHES: dict[str, bytes | int] = {
    "not found": 404,
    "forbidden": 403,
    "an error": 500,
    "empty": b"",
    "empty gzip": gzip.compress(b""),
    "no gzip": b'{"index": 1}',
    "cut gzip": rows(ROW)[:-9],
    "html": gzip.compress(b"<html>"),
    "deep": gzip.compress(DEEP.encode()),
    "huge number": gzip.compress(b'{"index": ' + HUGE.encode() + b"}"),
    "surrogate": gzip.compress(b'{"index": 1, "description": "\\ud800"}'),
    "no utf-8": gzip.compress(b'{"index": 1, "description": "\xff"}'),
    "a list": rows([1]),
    "no index": rows({k: v for k, v in ROW.items() if k != "index"}),
    "no description": rows({k: v for k, v in ROW.items() if k != "description"}),
    "another model": rows(ROW | {"modelId": "other"}),
    "beyond": rows(ROW | {"index": 4}),
    "negative": rows(ROW | {"index": -1}),
    "a word": rows(ROW | {"index": "three"}),
    "a list as index": rows(ROW | {"index": [1]}),
    "a square": rows(ROW | {"index": "²"}),
}


@pytest.fixture(scope="module")
def service() -> Iterator[tuple[str, dict]]:
    files: dict = {}

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args) -> None:
            pass

        def do_GET(self) -> None:
            found = files["now"] if self.path.endswith("batch-0.jsonl.gz") else 404
            self.send_response(200 if isinstance(found, bytes) else found)
            self.end_headers()
            if isinstance(found, bytes):
                self.wfile.write(found)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}", files
    server.shutdown()


@pytest.mark.parametrize("name", BATCHES)
def test_what_neuronpedia_answers(service, name):
    url, files = service
    files["now"] = BATCHES[name]
    refused(lambda: fetch_explanations(SAE, base_url=url))
