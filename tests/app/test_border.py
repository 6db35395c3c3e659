"""Who may talk to the server: the real one, asked over HTTP and websockets as pages of other addresses would."""

import os
import socket
import subprocess
import sys
import time
from http.client import HTTPConnection
from pathlib import Path

import pytest
from starlette.datastructures import Headers
from websockets.sync.client import connect

from app.services.border import Allowed, Origin

pytestmark = pytest.mark.hostile
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    """Of a running server without any bundle."""
    folder = tmp_path_factory.mktemp("border")
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    own = {"SAEEVAL_ASSETS": f"{folder}/a", "SAEEVAL_STORE": f"{folder}/s.sqlite", "SAEEVAL_CACHE": f"{folder}/c"}
    command = [sys.executable, "-m", "app.launch", str(port)]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=ROOT, env=os.environ | own | {"PYTHONPATH": str(ROOT)}, stdout=log, stderr=log
        )
    end = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            break
        except OSError:
            assert time.monotonic() < end, (folder / "log").read_text()[-2000:]
            time.sleep(0.1)
    yield port
    process.kill()
    process.wait()


FOREIGN = {
    "another port": "http://localhost:{other}",
    "another port by number": "http://127.0.0.1:{other}",
    "no port": "http://localhost",
    "another scheme": "https://localhost:{port}",
    "another name of this machine": "http://127.0.0.1:{port}",
    "any address": "http://0.0.0.0:{port}",
    "a site": "https://evil.example",
    "a site, same port": "http://evil.example:{port}",
    "below localhost": "http://localhost.evil.example:{port}",
    "localhost as a user": "http://localhost:{port}@evil.example",
    "null": "null",
    "empty": "",
    "a file": "file://",
    "an extension": "chrome-extension://abcdefgh",
    "with a path": "http://localhost:{port}/x",
    "two": "http://localhost:{port} http://evil.example",
    "a huge port": "http://localhost:99999999",
}


def given(template: str, port: int) -> str:
    return template.format(port=port, other=port + 1)


def websocket(port: int, *, origin: str | None, host: str | None = None) -> int:
    """The status of the answer to a handshake."""
    sock = socket.create_connection(("127.0.0.1", port), 10)
    lines = ["GET /_stcore/stream HTTP/1.1", f"Host: {host or f'localhost:{port}'}", "Upgrade: websocket"]
    lines += ["Connection: Upgrade", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13"]
    lines += [] if origin is None else [f"Origin: {origin}"]
    with sock:
        sock.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        return int(sock.recv(100).split()[1])


def put(port: int, headers: dict[str, str]) -> tuple[int, str]:
    """The answer to an upload."""
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("PUT", "/_stcore/upload_file/a/b", b"x", {"Host": f"localhost:{port}"} | headers)
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def test_a_page_of_the_server_itself_is_let_in(port):
    with connect(f"ws://localhost:{port}/_stcore/stream", origin=f"http://localhost:{port}", proxy=None):
        pass
    assert websocket(port, origin=f"http://127.0.0.1:{port}", host=f"127.0.0.1:{port}") == 101
    assert websocket(port, origin="http://localhost:9000", host="localhost:9000") == 101  # through a tunnel
    assert websocket(port, origin=None) == 101  # a program, not a page


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_websocket_of_another_address_is_refused(port, kind):
    assert websocket(port, origin=given(FOREIGN[kind], port)) == 403


@pytest.mark.parametrize("kind", FOREIGN)
def test_an_upload_of_another_address_is_refused(port, kind):
    status, told = put(port, {"Origin": given(FOREIGN[kind], port)})
    assert (status, "another address" in told) == (403, True)


def test_an_upload_that_the_browser_calls_cross_site_is_refused(port):
    assert put(port, {"Sec-Fetch-Site": "cross-site"})[0] == 403
    assert "another address" not in put(port, {"Origin": f"http://localhost:{port}"})[1]


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "localhost.evil.example", "169.254.169.254", "a b", "localhost@x"]
)
def test_a_name_that_was_rebound_to_this_machine_gets_nothing(port, host):
    host = given(host, port)
    assert websocket(port, origin=f"http://{host}", host=host) in (400, 403)
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/", headers={"Host": host})
    assert connection.getresponse().status in (400, 403)


@pytest.mark.parametrize("path", ["/", "/shift", "/static/none.js", "/_stcore/health", "/media/none", "/nothing"])
def test_every_answer_forbids_frames_guessing_and_other_addresses(port, path):
    connection = HTTPConnection("localhost", port, timeout=10)
    connection.request("GET", path)
    headers = connection.getresponse().headers
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert policy["frame-ancestors"] == "'none'"
    assert policy["object-src"] == "'none'"
    assert policy["img-src"] == "'self' data: blob:"
    assert not any("http" in value or "*" in value for value in policy.values())
    assert (headers["x-frame-options"], headers["x-content-type-options"]) == ("DENY", "nosniff")


def refusal(allowed: Allowed, host: str, origin: str, scheme: str = "http") -> str:
    return allowed.refusal(scheme, Headers({"host": host, "origin": origin}), changes=True)


def test_an_address_in_front_of_the_server_is_let_in_by_name():
    allowed = Allowed(origins=frozenset({Origin("https", "lab.example.org", 443)}))
    assert not refusal(allowed, "lab.example.org", "https://lab.example.org")
    assert not refusal(allowed, "lab.example.org:443", "https://lab.example.org")
    assert refusal(allowed, "lab.example.org", "http://lab.example.org")
    assert refusal(allowed, "lab.example.org:8501", "http://lab.example.org:8501")
    assert refusal(allowed, "lab.example.org", "https://evil.example")
    assert not refusal(allowed, "localhost:8501", "http://localhost:8501")


@pytest.mark.parametrize(
    "text", ["", "lab", "ftp://lab", "http://", "http://lab:x", "http://lab/app", "http://u@lab", "http://[::1"]
)
def test_what_is_no_address(text):
    assert Origin.of(text) is None


def test_addresses_are_compared_as_browsers_do():
    assert Origin.of("HTTPS://Lab.Example.ORG") == Origin("https", "lab.example.org", 443)
    assert Origin.of("http://[::1]:8501") == Origin("http", "::1", 8501)
