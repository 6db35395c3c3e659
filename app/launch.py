"""Start the dashboard's server in this process: localhost only, no telemetry, the default bundle loaded meanwhile."""

import gc
import threading
import webbrowser
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from app import theme
from app.services.border import Allowed, Border

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


def _serve(options: dict[str, Any], allowed: Allowed, opened: str) -> None:
    """Serve until interrupted. ``opened``: an address to open in a browser once the server answers, or ""."""
    import streamlit as st
    from starlette.middleware import Middleware

    @asynccontextmanager
    async def started(_app: st.App) -> AsyncIterator[None]:
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
