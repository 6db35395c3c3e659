"""A read-only server under presses, links, uploads and websocket messages that were made by hand: nothing is written."""

import hashlib
import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from driving import settled
from playwright.sync_api import Page, WebSocket, expect
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState
from test_browser_presses import WAIT, lab, tpp

from saeeval_core.texts.choices import LabelChoice, TaskLabels
from saeeval_core.texts.own import keep_task

pytestmark = pytest.mark.hostile
WHO = "Owner"
CAUGHT = """
  const send = WebSocket.prototype.send;
  WebSocket.prototype.send = function (data) { window.socket = this; return send.call(this, data); };
"""
FORGED = """presses => {
  const out = window.saeevalPresses, at = performance.now();
  for (const p of presses) out.pending.push({ ...p, client: out.client, seq: ++out.seq, at });
  out.courier({ client: out.client, seq: out.seq, log: out.pending, at });
}"""
SENT = """async () => {
  const ways = ["PUT", "POST", "DELETE"].map((method) =>
    fetch("/_stcore/upload_file/session/file", { method, body: new Blob(["text"]) }).then((r) => r.status));
  return Promise.all(ways);
}"""
NO_MESSAGE = b"\xff\xff\xff"
VIEWS = ("shift", "tpp?cell=2,2", "latents?strength=top+20", "compare", "judge?tab=blind", "judge?tab=team", "data")
LONG = ("compare",)
"""Where nobody decides anything: only in the long form, because every fragment takes a page of its own."""
MADE = {"desk": "x", "choice": "set:1", "model": "", "sae": "", "task": "", "protocol": "robust", "seed": 0} | {
    "ablation": "mean",
    "n": 5,
}
DID = {
    "client": "forged",
    "seq": 1,
    "log": [{"client": "forged", "seq": 1, "made": MADE, "kind": "decide", "latents": [3], "decision": "keep"}],
    "at": 1,
}
LINKS = (
    {"set": "2", "rename": "stolen", "delete": "1"},
    {"shift_set": "1", "name": "stolen", "who": "somebody", "import": "/etc/passwd"},
    {"task": "own:../../x", "texts": "/etc/passwd"},
    {"task": "hub:org/texts"},
    {"sae": "/etc"},
    {"sae": "hub:org/repo"},
    {"model": "gpt2-small", "sae": "gpt2-small-res-jb/blocks.8.hook_resid_pre"},
    {"model": "../../etc"},
    {"commit": "1", "undo": "1", "press": "decide", "seed": "-5"},
)


class Wire:
    """What one page and its server say to each other, and messages of ours in between."""

    def __init__(self, page: Page) -> None:
        self.page, self.said, self.heard = page, [], []
        page.add_init_script(CAUGHT)
        page.on("websocket", self._listen)

    def _listen(self, socket: WebSocket) -> None:
        socket.on("framesent", self._sent)
        socket.on("framereceived", lambda data: self.heard.append(data) if isinstance(data, bytes) else None)

    def _sent(self, data: bytes | str) -> None:
        if isinstance(data, bytes) and data != NO_MESSAGE:
            self.said.append(BackMsg.FromString(data))

    def send(self, message: BackMsg) -> None:
        """As the page itself would."""
        self.page.evaluate("bytes => window.socket.send(new Uint8Array(bytes))", list(message.SerializeToString()))

    def presses(self) -> list[dict[str, Any]]:
        """What a component sent with its last press."""
        every = [w.json_trigger_value for m in self.said for w in m.rerun_script.widget_states.widgets]
        return next(log for value in reversed(every) if value and (log := json.loads(value)[0]["value"].get("log")))

    def rerun(self, fragment: str = "") -> BackMsg:
        """The page's last request for a run, of the whole page or of one fragment, with a value for every widget."""
        message = BackMsg()
        message.CopyFrom(next(m for m in reversed(self.said) if m.WhichOneof("type") == "rerun_script"))
        run, states = message.rerun_script, {w.id: w for w in message.rerun_script.widget_states.widgets}
        forged = [state for id_, kind in self.widgets().items() for state in values(id_, kind)]
        del run.widget_states.widgets[:]
        run.widget_states.widgets.extend((states | {w.id: w for w in forged}).values())
        run.fragment_id = fragment
        return message

    def widgets(self) -> dict[str, str]:
        """Id of every widget that was drawn -> its kind."""
        found: dict[str, str] = {}
        for data in self.heard:
            message = ForwardMsg.FromString(data)
            kind = message.delta.new_element.WhichOneof("type") if message.WhichOneof("type") == "delta" else None
            if kind and (id_ := getattr(getattr(message.delta.new_element, kind), "id", "")):
                found[id_] = kind
        return found

    def fragments(self) -> set[str]:
        """Ids of all fragments that were drawn."""
        return {f for data in self.heard if (f := ForwardMsg.FromString(data).delta.fragment_id)}


@pytest.fixture(scope="module")
def made_before(server, chromium, tmp_path_factory, tiny_texts) -> tuple[Path, dict[str, dict[str, Any]]]:
    """A folder with sets and a kept task of ``WHO``, and the presses that made the sets: view -> press."""
    folder = tmp_path_factory.mktemp("locked")
    context = chromium.new_context()
    context.add_cookies([{"name": "saeeval_who", "value": WHO, "url": server.url}])
    page = context.new_page()
    own, presses = Wire(page), {}
    page.goto(f"{server.url}/shift")
    lab(page).keyboard.press("a")
    lab(page)
    (presses["shift"],) = own.presses()
    page.goto(f"{server.url}/tpp?cell=2,2&n=5")
    tpp(page).locator(".tpp .latents tbody tr").first.locator("input").uncheck()
    tpp(page)
    (presses["tpp"],) = own.presses()
    context.close()
    labels = TaskLabels(LabelChoice("profession", ("nurse", "surgeon")), LabelChoice("gender", ("female", "male")))
    keep_task("kept", tiny_texts, labels, folder=folder / "tasks")
    with closing(sqlite3.connect(server.store)) as source, closing(sqlite3.connect(folder / "store.sqlite")) as copy:
        source.backup(copy)
    return folder, presses


@pytest.fixture(scope="module")
def locked(serve, made_before):
    """The read-only server."""
    return serve(made_before[0], "--read-only")


@pytest.fixture
def wire(chromium, locked) -> Iterator[Callable[..., Wire]]:
    """``wire("/shift")``: a page of the read-only or another server, of the owner of what is there, with its wire."""
    contexts = []

    def open_(path: str, running: Any = locked) -> Wire:
        contexts.append(chromium.new_context(viewport={"width": 1440, "height": 900}))
        contexts[-1].add_cookies([{"name": "saeeval_who", "value": WHO, "url": running.url}])
        page = contexts[-1].new_page()
        page.set_default_timeout(60_000)
        wire = Wire(page)
        page.goto(f"{running.url}/{path.lstrip('/')}")
        settled(page)
        return wire

    yield open_
    for context in contexts:
        context.close()


def values(id_: str, kind: str) -> list[WidgetState]:
    """What a hand-made message says of a widget: pressed, switched on, typed into, a file given, an event sent."""
    if kind in ("button", "download_button"):
        return [WidgetState(id=id_, trigger_value=True)]
    if kind in ("text_input", "text_area"):
        return [WidgetState(id=id_, string_value="/etc/passwd")]
    if kind == "checkbox" and not id_.endswith("-w_present"):  # which hides what is looked for below
        return [WidgetState(id=id_, bool_value=True)]
    if kind == "file_uploader":
        state = WidgetState(id=id_)
        state.file_uploader_state_value.uploaded_file_info.add(file_id="session/file", name="set.json", size=4)
        return [state]
    if kind == "bidi_component":
        events = [{"event": e, "value": DID if e == "did" else "3"} for e in ("did", "go", "guest")]
        return [WidgetState(id=f"$$STREAMLIT_INTERNAL_KEY_{id_}__events", json_trigger_value=json.dumps(events))]
    return []


def alive(page: Page) -> None:
    """It answers, shows no exception, and says what it is."""
    settled(page)
    expect(page.get_by_text("this server is read-only").first).to_be_visible(timeout=WAIT)
    expect(page.get_by_test_id("stException")).to_have_count(0)


def kept(server) -> tuple[dict[str, list[tuple[object, ...]]], dict[str, str]]:
    """(table -> rows of the store, path -> hash of every other file beside it and in the cache).

    But for fitted probes and the store's backups: the server's own, whatever people do.
    """
    with closing(sqlite3.connect(f"file:{server.store}?mode=ro", uri=True)) as db:
        tables = [name for (name,) in db.execute("select name from sqlite_master where type = 'table' order by 1")]
        rows = {name: db.execute(f"select * from {name} order by 1").fetchall() for name in tables}
    moving = (server.store.name, server.log.name, "probes-")
    backups = f"{server.store.name}.backups"
    every = (f for folder in (server.store.parent, Path(os.environ["SAEEVAL_CACHE"])) for f in folder.rglob("*"))
    files = [f for f in every if f.is_file() and not f.name.startswith(moving) and f.parent.name != backups]
    return rows, {str(f): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


@pytest.mark.parametrize("view", ["shift", "tpp"])
def test_no_press_of_the_pages_own_script_is_carried_out(wire, locked, made_before, view):
    page, before = wire(f"/{view}?n=5").page, kept(locked)
    note = page.locator("#saeeval-presses")
    if view == "shift":
        lab(page).keyboard.press("k")  # says so without asking the server
        expect(note).to_contain_text("read-only", timeout=WAIT)
        note.click()
    else:
        expect(tpp(page).locator(".tpp .latents input:enabled")).to_have_count(0)
    press = made_before[1][view]
    forged = [press | {"kind": kind, "decision": "ablate", "latents": [1, 2]} for kind in ("decide", "undo", "commit")]
    forged += [f | {"made": f["made"] | {"choice": choice}} for choice in ("set:1", "2", "name:new") for f in forged]
    page.evaluate(FORGED, forged)
    expect(note).to_contain_text("read-only", timeout=WAIT)
    page.wait_for_function("() => window.saeevalPresses.pending.length === 0")
    alive(page)
    assert kept(locked) == before


def test_no_link_and_no_upload_changes_anything(wire, locked):
    page, before = wire("/").page, kept(locked)
    assert page.evaluate(SENT) == [403, 403, 403]
    for k, link in enumerate(LINKS):
        page.goto(f"{locked.url}/{('', 'shift', 'data', 'tpp')[k % 4]}?{urlencode(link)}")
        alive(page)
    assert kept(locked) == before


@pytest.mark.parametrize("path", [pytest.param(v, marks=pytest.mark.soak) if v in LONG else v for v in VIEWS])
def test_no_websocket_value_changes_anything(wire, locked, path):
    own, before = wire(path), kept(locked)
    for _ in range(2):  # the second with what the first has opened
        own.send(own.rerun())
        own.page.wait_for_timeout(1000)
        alive(own.page)
    asked = sorted(own.fragments())
    for k in range(len(asked)):
        own = wire(path)
        there = sorted(own.fragments())  # one that only waits for an answer may be gone
        own.send(own.rerun((there if k < len(there) else asked)[k]))
        own.page.wait_for_timeout(
            2000
        )  # what it says to a fragment that was not asked for may break Streamlit's own page
    alive(wire(path).page)
    assert kept(locked) == before and "Uncaught" not in locked.log.read_text()


def test_the_same_values_do_change_a_server_that_is_not_locked(wire, serve, tmp_path):
    """Otherwise the test above shows nothing."""
    running = serve(tmp_path)
    own = wire("/shift", running)
    lab(own.page)
    before, names = kept(running), ("new set", "/etc/passwd")
    own.send(own.rerun())
    own.page.wait_for_timeout(1000)
    settled(own.page)
    made = [row for row in kept(running)[0]["decision_sets"] if row not in before[0]["decision_sets"]]
    assert any(name in row for name in names for row in made)
    running.kill()


def test_no_other_message_stops_the_server(wire, locked):
    own, before = wire("/shift"), kept(locked)
    for name in (
        "clear_cache",
        "set_run_on_save",
        "debug_shutdown_runtime",
        "debug_disconnect_websocket",
        "stop_script",
    ):
        own.send(BackMsg(**{name: True}))
    own.page.evaluate("bytes => window.socket.send(new Uint8Array(bytes))", list(NO_MESSAGE))  # closes this socket
    own.page.goto(f"{locked.url}/shift")
    alive(lab(own.page))
    assert kept(locked) == before
