"""The real server on a planted bundle and Debian's Chromium. Every test gets a browser context and a store of its own."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = os.environ.get("SAEEVAL_CHROMIUM", "/usr/bin/chromium")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "browser" in item.path.parts:
            item.add_marker(pytest.mark.browser)


class Server:
    """The app's server; can be killed and started again on the same port and store."""

    def __init__(self, assets: Path, folder: Path, command: tuple[str, ...] = ("-m", "app.launch")) -> None:
        self.command = command  # what Python runs; the port follows
        self.store, self.log = folder / "store.sqlite", folder / "server.log"
        self.env = os.environ | {
            "SAEEVAL_ASSETS": str(assets),
            "SAEEVAL_STORE": str(self.store),
            "PYTHONPATH": str(ROOT),
        }
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        self.url = f"http://localhost:{self.port}"
        self.start()

    def start(self) -> None:
        """Start and wait until it answers."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *self.command, str(self.port)], env=self.env, cwd=ROOT, stdout=log, stderr=log
            )
        end = time.monotonic() + 60
        while time.monotonic() < end:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(0.1)
        raise TimeoutError(f"no server: {self.log.read_text()[-2000:]}")

    def kill(self) -> None:
        """As a power cut would."""
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all browser tests."""
    from planted_assets import make_assets

    if not Path(CHROMIUM).exists():
        pytest.skip(f"no Chromium at {CHROMIUM}; install it or set SAEEVAL_CHROMIUM")
    folder = tmp_path_factory.mktemp("browser")
    os.environ["SAEEVAL_ASSETS"] = str(folder / "assets")
    try:
        assets = make_assets(folder / "assets", per_cell=110)
    finally:
        os.environ.pop("SAEEVAL_ASSETS")
    running = Server(assets, folder)
    yield running
    running.kill()


@pytest.fixture(scope="session")
def serve(server) -> Iterator[Callable[..., Server]]:
    """``serve(folder, "--read-only")``: a server of the same bundle that was started with ``saeeval serve``."""
    running: list[Server] = []

    def start(folder: Path, *options: str) -> Server:
        command = "-c", "from saeeval_core.cli.main import main; main()", "serve", *options, "--port"
        running.append(Server(Path(server.env["SAEEVAL_ASSETS"]), folder, command))
        return running[-1]

    yield start
    for one in running:
        one.kill()


@pytest.fixture(scope="session")
def chromium():
    """One browser for all tests."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium, server, request) -> Iterator[Callable]:
    """``open_page("/shift?n=5", who="Ada", width=1280)``: a page in a fresh context; fails the test on any page error.

    ``stay``: the lab stays at the latent that was decided on, so that the next key is about the same one.
    """
    contexts, problems = [], []

    def open_(
        path: str = "/",
        *,
        who: str | None = None,
        width: int = 1440,
        height: int = 900,
        dark: bool = False,
        stay: bool = True,
    ):
        context = chromium.new_context(
            viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light"
        )
        name = who or request.node.name.replace("[", "-").replace("]", "")
        context.add_cookies([{"name": "saeeval_who", "value": name, "url": server.url}])
        if stay:
            context.add_init_script(
                "localStorage.getItem('saeeval.advance') ?? localStorage.setItem('saeeval.advance', '0')"
            )
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("pageerror", lambda e: problems.append(str(e)))
        page.goto(server.url + path)
        contexts.append(context)
        return page

    yield open_
    for context in contexts:
        context.close()
    assert not problems, problems
