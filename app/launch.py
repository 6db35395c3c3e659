"""Start the dashboard's server in this process: localhost only, no telemetry, the default bundle loaded meanwhile."""

import gc
import threading
import webbrowser
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from app import theme
from app.services import access
from app.services.border import Allowed, Border, Origin
from app.services.closed_pages import ClosedPages
from saeeval_core.errors import ConfigError

OPTIONS = {
    "server.headless": True,
    "server.address": "127.0.0.1",
    "server.allowedHosts": ["localhost", "127.0.0.1"],
    "server.enableXsrfProtection": True,
    "server.enableCORS": True,
    "server.maxUploadSize": 50,
    "server.fileWatcherType": "none",
    "browser.gatherUsageStats": False,
    "client.showErrorDetails": "type",
    "client.toolbarMode": "viewer",
    "client.showErrorLinks": False,
    # Streamlit's own advertisements, on the terminal and over the top right corner of the page.
    "logger.hideWelcomeMessage": True,
    "runner.magicEnabled": False,
    # A full collection after every run costs more than a press itself; Python's own collector does its work anyway.
    "runner.postScriptGC": False,
    "theme.light.primaryColor": theme.PRIMARY.light,
    "theme.dark.primaryColor": theme.PRIMARY.dark,
}
"""The same as app/.streamlit/config.toml, which ``streamlit run app/main.py`` reads, without the border around it."""


def main(port: int = 8501, *, open_browser: bool = False) -> None:
    """Serve until interrupted at http://localhost:PORT, to this machine alone. ``open_browser`` also opens it."""
    _serve(OPTIONS | {"server.port": port}, Allowed(), f"http://localhost:{port}" if open_browser else "")


@dataclass(frozen=True)
class Serving:
    """How a lab's server is reached, and what it lets people do."""

    address: str = "127.0.0.1"
    """Network address of this machine that it listens on."""
    port: int = 8501
    read_only: bool = False
    roots: tuple[Path, ...] = ()
    """Folders below which models and SAEs may lie."""
    origins: tuple[str, ...] = ()
    """Addresses that people type, where they differ from http://ADDRESS:PORT: behind a proxy, say."""

    def allowed(self) -> Allowed:
        """Whose pages may talk to it. ConfigError for an address that is none, and where nobody could tell its name."""
        found = {text: Origin.of(text) for text in self.origins}
        if wrong := [text for text, origin in found.items() if origin is None]:
            raise ConfigError(
                f"--origin '{wrong[0]}' is no address; give scheme and host such as https://lab.example.org"
            )
        if self.address in ("0.0.0.0", "::", "") and not self.origins:
            raise ConfigError(
                "--address for every network needs --origin http://NAME:PORT, the address that people type"
            )
        own = frozenset() if self.address in ("0.0.0.0", "::", "") else frozenset({self.address})
        return Allowed(Allowed().hosts | own, frozenset(o for o in found.values() if o is not None))

    def access(self, *, accounts: bool) -> access.Access:
        """The rules. ConfigError for a root that is no folder."""
        for root in self.roots:
            if not root.is_dir():
                raise ConfigError(f"--root '{root}' is no folder; give one that holds models or SAEs")
        return access.Access(self.read_only, tuple(r.resolve() for r in self.roots), accounts)

    def unprotected(self, *, accounts: bool) -> list[str]:
        """What is not protected, one line each."""
        local = self.address in ("127.0.0.1", "localhost", "::1")
        lines = []
        if not local and not any(o.startswith("https:") for o in self.origins):
            lines.append(
                "no encryption: whoever is on the way reads everything; put a proxy with TLS before it and give "
                "--origin https://NAME"
            )
        if not accounts:
            all_can = "everybody who reaches it can read every decision, verdict and text"
            if not self.read_only:
                all_can = "everybody who reaches it can decide in anybody's name, run models and fill the disk"
            lines.append(f"no login: {all_can}; set [auth] in .streamlit/secrets.toml")
        return lines


def has_accounts() -> bool:
    """Whether people log in: Streamlit's own login is configured. ConfigError where what it needs is not installed."""
    import streamlit as st
    from streamlit.errors import StreamlitSecretNotFoundError

    try:
        configured = "auth" in st.secrets
    except StreamlitSecretNotFoundError:
        return False
    if configured and find_spec("authlib") is None:
        raise ConfigError("secrets.toml has [auth], but Authlib is not installed; run: pip install 'streamlit[auth]'")
    return configured


def serve(serving: Serving, tell: Callable[[str], None]) -> None:
    """Serve a lab until interrupted, as ``serving`` says; ``tell`` gets its address and what is not protected.

    ConfigError before anything is opened.
    """
    from streamlit.web import bootstrap

    allowed = serving.allowed()
    hosts = sorted(allowed.hosts | {o.host for o in allowed.origins})
    own = {"server.address": serving.address, "server.port": serving.port, "server.allowedHosts": hosts}
    bootstrap.load_config_options(OPTIONS | own)  # before the secrets are looked at, which would load others
    accounts = has_accounts()
    access.put(serving.access(accounts=accounts))
    tell(f"The dashboard: http://{serving.address}:{serving.port} (Ctrl-C ends it)")
    for line in serving.unprotected(accounts=accounts):
        tell(f"Not protected: {line}")
    _serve(OPTIONS | own, allowed, "")


def _serve(options: dict[str, Any], allowed: Allowed, opened: str) -> None:
    """Serve until interrupted. ``opened``: an address to open in a browser once the server answers, or ""."""
    import streamlit as st
    from starlette.middleware import Middleware

    @asynccontextmanager
    async def started(_app: st.App) -> AsyncIterator[None]:
        _end_closed_pages_in_time()
        threading.Thread(target=warm, daemon=True, name="saeeval-warm").start()
        if opened:
            threading.Timer(0.5, webbrowser.open, [opened]).start()
        yield

    script = Path(__file__).with_name("main.py")
    server = st.App(script, lifespan=started, middleware=[Middleware(Border, allowed=allowed)])
    try:
        server.run(config=options)
    except KeyboardInterrupt:
        return


def _end_closed_pages_in_time() -> None:
    """Let the running server keep sessions of closed pages as ``ClosedPages`` does; it has no option for another storage."""
    from streamlit import config, runtime

    manager: Any = runtime.get_instance()._session_mgr
    manager._session_storage = ClosedPages(config.get_option("server.disconnectedSessionTTL"))


def warm() -> None:
    """Load the default bundle, so that the first page does not wait for it. Problems are told by the page itself."""
    from app import shell
    from app.services import loading, scoring, worker
    from app.services.evidence import evidence_of
    from saeeval_core.config import RunConfig
    from saeeval_core.errors import SaeEvalError

    worker.warm()
    shell.views()
    try:
        loaded = loading.load(RunConfig())
        if loaded is not None and loaded.task_set.pairs:
            direction = scoring.default_direction(loaded, scoring.shift_directions(loaded)[0].pair)
            view = scoring.shift_view(loaded, direction.pair, direction.task.target.column, scoring.live_part(loaded))
            for latent in view.attribute_ranking[:30]:
                evidence_of(loaded, int(latent))
    except SaeEvalError:
        return
    gc.freeze()  # what is loaded now stays: the collector need not walk through it again


if __name__ == "__main__":
    import sys

    main(int(sys.argv[1]) if len(sys.argv) > 1 else 8501)
