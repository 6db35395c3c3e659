"""Out to Neuronpedia: the list's form, own explanations, nothing sent unasked, the key nowhere but in its header; links."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from typer.testing import CliRunner

from saeeval_core.cli.main import app
from saeeval_core.config import DEFAULT_SAE
from saeeval_core.errors import ConfigError, DataError
from saeeval_core.formats import neuronpedia as n
from saeeval_core.formats.report import ReportLatent, latent_card
from saeeval_core.judging.imports import read_explanations
from saeeval_core.ledger.store import Store
from saeeval_core.ledger.verdicts import Verdict
from saeeval_core.recordings import known_saes
from saeeval_core.recordings.known_saes import KnownSae, neuronpedia_page, neuronpedia_place
from saeeval_core.saes.local import file_fingerprint, inspect_sae

KEY = "np-VERYSECRET-0123456789"
PLACE = "gpt2-small/0-res-jb"
ROWS = [
    Verdict(3, "p", "s", "bios", "LocalJudge", "local", explanation="word list"),
    Verdict(3, "p", "s", "bios", "Ada", "human", explanation="pronouns <b>"),
    Verdict(5, "p", "s", "", "Neuronpedia (m)", "imported", explanation="theirs"),
]


@pytest.fixture
def filled(tmp_path, monkeypatch) -> Store:
    monkeypatch.setenv("SAEEVAL_STORE", str(tmp_path / "s.sqlite"))
    store = Store()
    print_ = str(file_fingerprint(inspect_sae(DEFAULT_SAE)))
    about = {"task": "bios: a x b", "direction": "target a / spurious b", "sae_fingerprint": print_}
    made = store.create_set("pronouns", "Ada", metric="shift", recording_fingerprint="r", **about)
    store.decide(made.id, "Ada", {3: "ablate", 5: "ablate", 7: "keep"})
    store.add_verdicts([Verdict(**{**vars(v), "sae_fingerprint": print_}) for v in ROWS])
    return store


@pytest.fixture
def service():
    got: list = []

    class Handler(BaseHTTPRequestHandler):
        status, answer, headers_out = 200, b'{"url": "https://www.neuronpedia.org/list/x"}', {}

        def log_message(self, *args) -> None:
            pass

        def do_POST(self) -> None:
            got.append((self.path, dict(self.headers), self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(self.status)
            for name, value in self.headers_out.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(self.answer)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}", got, Handler
    server.shutdown()


def made() -> n.LatentList:
    features = (n.ListedLatent("gpt2-small", "0-res-jb", "3", "pronouns"),)
    return n.LatentList("pronouns", "about", "", features)


def test_the_command_writes_the_list_and_sends_nothing(filled, tmp_path, monkeypatch):
    monkeypatch.setenv(n.KEY_VARIABLE, KEY)
    monkeypatch.setattr(n, "send", lambda *_: pytest.fail("a dry run sends nothing"))
    out, told = tmp_path / "list.json", tmp_path / "own.jsonl"
    line = ["export", "1", "--neuronpedia", "--id", PLACE, "--out", str(out), "--explanations", str(told)]
    ran = CliRunner().invoke(app, line)
    assert ran.exit_code == 0 and "not sent" in ran.output and KEY not in ran.output
    found = json.loads(out.read_text())
    assert set(found) == {"name", "description", "testText", "features"}
    about = {"modelId": "gpt2-small", "layer": "0-res-jb"}
    assert found["features"] == [
        about | {"index": "3", "description": "pronouns <b> (Ada, human)"},
        about | {"index": "5", "description": ""},  # what was imported is not given out as ours
    ]
    rows = [json.loads(row) for row in told.read_text().splitlines()]
    assert [(r["index"], r["explanationModelName"], r["typeName"]) for r in rows] == [
        ("3", "Ada", "saeeval-human"),
        ("3", "LocalJudge", "saeeval-local"),
    ]


@pytest.mark.parametrize("more", [[], ["--id", "x"], ["--id", "../a/b"], ["--id", "a/b?c"]])
def test_without_an_id_of_theirs_there_is_one_line(filled, more):
    ran = CliRunner().invoke(app, ["export", "1", "--neuronpedia", *more])
    assert isinstance(ran.exception, ConfigError) and "no id of Neuronpedia" in str(ran.exception)


def test_the_key_goes_into_its_header_and_nowhere_else(service, monkeypatch):
    url, got, _ = service
    monkeypatch.setenv(n.KEY_VARIABLE, KEY)
    assert n.send(made(), base_url=url) == "https://www.neuronpedia.org/list/x"
    ((path, headers, body),) = got
    assert path == "/api/list/new-with-features" and headers["X-Api-Key"] == KEY and KEY.encode() not in body
    assert json.loads(body)["features"][0] == {
        "modelId": "gpt2-small",
        "layer": "0-res-jb",
        "index": "3",
        "description": "pronouns",
    }


@pytest.mark.parametrize("status", [401, 500, 302])
def test_a_refusal_is_one_line_without_the_key_and_no_redirect_is_followed(service, monkeypatch, status):
    url, got, handler = service
    handler.status, handler.answer = status, f"bad key {KEY}".encode()
    handler.headers_out = {"location": f"{url}/elsewhere"} if status == 302 else {}
    monkeypatch.setenv(n.KEY_VARIABLE, KEY)
    with pytest.raises(DataError, match=str(status)) as refused:
        n.send(made(), base_url=url)
    assert KEY not in str(refused.value) and len(got) == 1


def test_no_key_and_no_https_send_nothing(monkeypatch):
    monkeypatch.delenv(n.KEY_VARIABLE, raising=False)
    with pytest.raises(ConfigError, match="NEURONPEDIA_API_KEY"):
        n.send(made())
    monkeypatch.setenv(n.KEY_VARIABLE, KEY)
    with pytest.raises(ConfigError, match="in the clear"):
        n.send(made(), base_url="http://neuronpedia.example")


def test_links_are_https_and_only_of_what_can_be_an_id(monkeypatch):
    assert neuronpedia_page(DEFAULT_SAE, 3) == "", "the bundled ones are not there"
    assert neuronpedia_place(PLACE) == ("gpt2-small", "0-res-jb")
    for sae, here in {"r/good": PLACE, "r/bad": "a/b/../../x", "r/worse": "javascript:alert(1)/x"}.items():
        monkeypatch.setattr(known_saes, "_neuronpedia_id", lambda _, here=here: here)
        expected = f"https://www.neuronpedia.org/{PLACE}/3" if sae == "r/good" else ""
        assert neuronpedia_page(sae, 3) == expected


@pytest.mark.parametrize(
    "page", ["", "javascript:alert(1)", "http://x/y", f"https://www.neuronpedia.org/{PLACE}/3'><b>"]
)
def test_a_report_links_to_https_only_and_escaped(page):
    said = latent_card(ReportLatent(3, "ablate", page=page))
    assert ("<a " in said) == page.startswith("https") and "<b>" not in said and "javascript" not in said


def record(index: object, *texts: str, **more: object) -> dict:
    """A latent as their API gives it: explanations stand inside."""
    about = {"modelId": "gpt2-small", "layer": "0-res-jb", "index": index}
    told = [
        about | {"id": f"x{k}", "description": t, "explanationModelName": "m", "scores": []}
        for k, t in enumerate(texts)
    ]
    return about | {"maxActApprox": 3.5, "explanations": told} | more


SAE = KnownSae("jb", "blocks.0.hook_resid_pre", "print", 4, PLACE)


def test_records_of_their_api_come_in(tmp_path):
    file = tmp_path / "api.json"
    file.write_text(json.dumps([record("3", "pronouns"), record("1", "dates"), record("2")]))
    found = read_explanations(file, SAE)
    assert [(v.latent, v.explanation, v.rater, v.rater_kind) for v in found] == [
        (1, "dates", "Neuronpedia (m)", "imported"),
        (3, "pronouns", "Neuronpedia (m)", "imported"),
    ]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (record("9", "x"), "has 4 latents"),
        (record("3", "x", modelId="gemma"), "another"),
        (record("3", "x", layer="1-res-jb"), "another"),
    ],
)
def test_records_of_another_sae_or_width_are_refused(tmp_path, wrong, said):
    file = tmp_path / "api.json"
    file.write_text(json.dumps([wrong, record("1", "x")]))
    with pytest.raises(DataError, match=said):
        read_explanations(file, SAE)
