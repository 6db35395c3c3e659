"""Requests that no browser of this dashboard makes: paths, hosts, origins and broken HTTP. The server answers on."""

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser.conftest import Server

pytestmark = pytest.mark.hostile

PATHS = [
    *(
        "/../../../../etc/passwd",
        "/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "/..%2f..%2f..%2fetc%2fpasswd",
        "/....//....//etc/passwd",
    ),
    *(
        "/static/../../../../etc/passwd",
        "/static/%2e%2e/%2e%2e/pyproject.toml",
        "/app/static/../main.py",
        "/app/static/..%2fmain.py",
    ),
    *(
        "/media/../../etc/passwd",
        "/media/%00",
        "/media/nowhere.png",
        "/component/lab/../../main.py",
        "/component/nowhere/x.js",
    ),
    *(
        "/component/%2e%2e/%2e%2e/main.py",
        "/_stcore/bidi-components/../../app/main.py",
        "/_stcore/nowhere",
        "/_stcore/metrics",
    ),
    *(
        "/_stcore/upload_file/a/b",
        "/_stcore/host-config",
        "/_stcore/script-health-check",
        "/.env",
        "/store.sqlite",
        "/main.py",
    ),
    *(
        "//etc/passwd",
        "/etc/passwd",
        "/\\..\\..\\etc\\passwd",
        "/%ff%fe",
        "/%",
        "/?x=%ff",
        "/<script>alert(1)</script>",
        "/" + "x" * 20_000,
    ),
    *("/shift?" + "n=1&" * 5_000, "/shift?latent=%00", "/.git/config", "/.streamlit/secrets.toml"),
]
GET = "GET /_stcore/health HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n"
RAW = {
    "no request": "\r\n\r\n",
    "words": "hello there\r\n\r\n",
    "another version": "GET / HTTP/9.9\r\nHost: {host}\r\n\r\n",
    "no host": "GET / HTTP/1.1\r\n\r\n",
    "a foreign host": "GET / HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n",
    "a header of 100 kB": GET + "X: " + "x" * 100_000 + "\r\n\r\n",
    "a thousand headers": GET + "".join(f"X{i}: 1\r\n" for i in range(1000)) + "\r\n",
    "a negative length": "POST /_stcore/upload_file/a/b HTTP/1.1\r\nHost: {host}\r\nContent-Length: -1\r\n\r\n",
    "a length of words": "POST / HTTP/1.1\r\nHost: {host}\r\nContent-Length: many\r\n\r\n",
    "two lengths": "POST / HTTP/1.1\r\nHost: {host}\r\nContent-Length: 1\r\nContent-Length: 9\r\n\r\nx",
    "broken chunks": "POST / HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
    "an unknown method": "BREW / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n",
    "a proxy's request": "CONNECT example.org:443 HTTP/1.1\r\nHost: {host}\r\n\r\n",
    "an absolute address": "GET http://example.org/ HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n",
    "a delete": "DELETE /_stcore/upload_file/a/b HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n",
    "an upload of nobody": "PUT /_stcore/upload_file/a/b HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx",
}
UPGRADE = (
    "GET /_stcore/stream HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nOrigin: {origin}\r\n\r\n"
)
FOREIGN = [
    "http://evil.example",
    "https://localhost.evil.example",
    "null",
    "file://",
    "http://127.0.0.1.evil.example",
    "javascript:",
]


@pytest.fixture(scope="module")
def running(tmp_path_factory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("http")
    (folder / "assets").mkdir()
    server = Server(folder / "assets", folder)
    yield server
    server.kill()


def ask(server: Server, text: str) -> bytes:
    """The first 100 kB of what the server says, in ten seconds at most."""
    found = b""
    with socket.create_connection(("127.0.0.1", server.port), 10) as s, contextlib.suppress(OSError):
        s.settimeout(10)
        s.sendall(text.replace("{host}", f"localhost:{server.port}").encode("latin-1", "replace"))
        s.shutdown(socket.SHUT_WR)
        while len(found) < 100_000 and (more := s.recv(65536)):
            found += more
    return found


def answers(server: Server) -> None:
    assert server.process.poll() is None
    assert b"200 OK" in ask(server, GET + "\r\n")[:40]


def keeps_its_files(found: bytes) -> None:
    for secret in (b"root:x:", b"import streamlit", b"[project]", b"SQLite format", b"repositoryformatversion"):
        assert secret not in found


@pytest.mark.parametrize("path", PATHS, ids=lambda p: ascii(p)[:40])
def test_a_path(running, path):
    found = ask(running, f"GET {path} HTTP/1.1\r\nHost: {{host}}\r\nConnection: close\r\n\r\n")
    keeps_its_files(found)
    assert b"Traceback" not in found and found[:12].split(b" ")[-1][:1] != b"5"
    answers(running)


@pytest.mark.parametrize("name", RAW)
def test_a_request(running, name):
    found = ask(running, RAW[name])
    keeps_its_files(found)
    assert b"Traceback" not in found
    if name in ("a foreign host", "an upload of nobody", "a delete"):
        assert not found or found.split(b" ")[1][:1] == b"4", found[:100]
    answers(running)


@pytest.mark.parametrize("origin", FOREIGN)
def test_a_websocket_of_a_foreign_page_is_refused(running, origin):
    found = ask(running, UPGRADE.replace("{origin}", origin))
    assert b"101" not in found[:20], found[:100]
    answers(running)


def test_the_server_writes_nothing_but_its_store_and_log(running):
    names = {p.name for p in Path(running.store).parent.iterdir()}
    assert names <= {"assets", "server.log", "store.sqlite", "store.sqlite-wal", "store.sqlite-shm", "backups"}
