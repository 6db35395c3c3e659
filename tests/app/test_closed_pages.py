"""Closed pages are ended at their time: what they hold open is closed without waiting for Python's collector."""

import asyncio
import os
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
from browser.conftest import Server
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.sync.client import connect

from app.services.closed_pages import ClosedPages

WITHOUT_A_COLLECTOR = (
    "import gc, sys; gc.disable(); from app import launch; launch.OPTIONS['server.disconnectedSessionTTL'] = 1; "
    "launch.main(int(sys.argv[1]))"
)


def session(name: str, ended: list[str]) -> SimpleNamespace:
    return SimpleNamespace(session=SimpleNamespace(id=name, shutdown=lambda: ended.append(name)))


def run(story: Callable[[], Coroutine[None, None, None]]) -> None:
    """On a thread of its own: in this one playwright's loop may be running."""
    with ThreadPoolExecutor(1) as other:
        other.submit(lambda: asyncio.run(story())).result()


async def turn() -> None:
    """Let what is due happen."""
    for _ in range(3):
        await asyncio.sleep(0)


def test_a_closed_page_is_kept_then_ended_and_one_that_is_open_again_is_not():
    async def story() -> None:
        ended: list[str] = []
        pages = ClosedPages(0)
        pages.save(session("a", ended))
        pages.save(session("b", ended))
        assert pages.get("a").session.id == "a" and len(pages.list()) == 2
        pages.delete("b")
        pages.delete("never kept")
        await turn()
        assert ended == ["a"] and pages.list() == [] and pages.get("a") is None

    run(story)


def test_a_page_that_is_closed_twice_is_kept_for_the_whole_time_again_and_too_many_end_the_first():
    async def story() -> None:
        ended: list[str] = []
        pages = ClosedPages(1000, most=2)
        for name in ("a", "b", "a", "c"):
            pages.save(session(name, ended))
        assert ended == ["b"] and [s.session.id for s in pages.list()] == ["a", "c"]

    run(story)


@pytest.fixture
def server(tmp_path):
    (tmp_path / "assets").mkdir()
    found = Server(tmp_path / "assets", tmp_path, ("-c", WITHOUT_A_COLLECTOR))
    yield found
    found.kill()


def load_page(server: Server) -> None:
    """As a browser does: connect, ask for a run, read to its end, leave."""
    asked = BackMsg()
    asked.rerun_script.query_string = ""
    address = f"ws://localhost:{server.port}/_stcore/stream"
    with connect(address, origin=server.url, subprotocols=["streamlit"], max_size=None) as socket:
        socket.send(asked.SerializeToString())
        while True:
            said = ForwardMsg()
            said.ParseFromString(socket.recv(timeout=60))
            if said.WhichOneof("type") == "script_finished":
                return


def open_files(server: Server) -> int:
    """Event loops and their pipes: what every session opens."""
    folder = Path(f"/proc/{server.process.pid}/fd")
    names = [os.readlink(folder / fd) for fd in os.listdir(folder) if (folder / fd).is_symlink()]
    return sum(name.startswith(("socket:", "anon_inode:[eventpoll]")) for name in names)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open files are read from /proc")
def test_the_servers_open_files_stay_the_same_over_page_loads(server):
    load_page(server)
    with_one_page, end = open_files(server), time.monotonic() + 60
    for _ in range(12):
        load_page(server)
    while open_files(server) > with_one_page:
        assert time.monotonic() < end, f"{open_files(server)} open files, {with_one_page} with one page"
        time.sleep(0.2)
