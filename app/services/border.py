"""The server's border: whose pages may talk to it, what it takes, and what it tells browsers to refuse.

Streamlit takes a websocket from any port of localhost, so a page of another local program could press buttons here.
This stands before all of Streamlit and lets a page in only from the address that the server itself was asked under.
"""

from collections.abc import Collection
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.services import access

_SAFE = ("GET", "HEAD", "OPTIONS")
_DEFAULT_PORTS = {"http": 80, "https": 443}
_POLICY = {
    "default-src": "'self'",
    # Streamlit's page has a script of its own inside, components are loaded as blobs, and some figures compile theirs.
    "script-src": "'self' 'unsafe-inline' 'unsafe-eval' blob: data:",
    "style-src": "'self' 'unsafe-inline'",
    "img-src": "'self' data: blob:",
    "font-src": "'self' data:",
    "media-src": "'self' data: blob:",
    "worker-src": "'self' blob:",
    "frame-src": "'self' blob: data:",
    "object-src": "'none'",
    "base-uri": "'self'",
    "form-action": "'self'",
    "frame-ancestors": "'none'",
}
"""Nothing is fetched from, sent to or framed by another address."""


@dataclass(frozen=True)
class Origin:
    """Scheme, host and port as a browser sees them."""

    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, text: str) -> "Origin | None":
        """From "https://lab.example.org:8443"; None for anything but scheme, host and perhaps a port."""
        try:
            parts = urlsplit(text)
            port = parts.port
        except ValueError:
            return None
        extra = parts.path or parts.query or parts.fragment or "@" in parts.netloc
        if parts.scheme not in _DEFAULT_PORTS or not parts.hostname or extra:
            return None
        return cls(parts.scheme, parts.hostname, _DEFAULT_PORTS[parts.scheme] if port is None else port)


@dataclass(frozen=True)
class Allowed:
    """Under which addresses this server answers."""

    hosts: frozenset[str] = frozenset({"localhost", "127.0.0.1", "::1"})
    """Names without a port, asked directly; the port is the browser's, which a tunnel may change."""
    origins: frozenset[Origin] = frozenset()
    """Addresses that people type where something stands in front of this server."""

    def refusal(self, scheme: str, headers: Headers, *, changes: bool) -> str:
        """Why a request is refused, in one line; "" when it is not. ``changes``: a websocket or an upload."""
        asked = self._asked(scheme, headers.getlist("host"))
        if not asked:
            return "this server does not answer under that name; use the address it printed when it started"
        if not changes:
            return ""
        given = headers.getlist("origin")
        if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return "a page of another address asked; open the dashboard itself"
        # No Origin: not a page in a browser, which always sends one here.
        if given and (len(given) > 1 or Origin.of(given[0]) not in asked):
            return "a page of another address asked; open the dashboard itself"
        return ""

    def _asked(self, scheme: str, hosts: Collection[str]) -> set[Origin]:
        """The addresses that a request with this Host header may have been typed as; none when it is refused."""
        if len(hosts) != 1:
            return set()
        (host,) = hosts
        here = Origin.of(f"{scheme}://{host}")
        found = {o for o in self.origins if o == Origin.of(f"{o.scheme}://{host}")}
        return found | ({here} if here is not None and here.host in self.hosts else set())


class Border:
    """ASGI middleware around the whole server: refuses what ``Allowed`` refuses, adds the headers to every answer."""

    def __init__(self, app: ASGIApp, allowed: Allowed) -> None:
        self._app, self._allowed = app, allowed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, websocket or lifespan."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        scheme = {"ws": "http", "wss": "https"}.get(scope["scheme"], scope["scheme"])
        headers, web = Headers(scope=scope), scope["type"] == "http"
        sends = web and scope["method"] not in _SAFE
        why = self._allowed.refusal(scheme, headers, changes=sends or not web)
        if sends:  # Streamlit would keep a file in memory before any view is asked
            why = why or access.why_not("sending files")

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                _protect(MutableHeaders(scope=message), headers.get("host", ""), scheme)
            await send(message)

        if not why:
            await self._app(scope, receive, guarded)
        elif web:
            await PlainTextResponse(why, 403)(scope, receive, guarded)
        else:
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": why})  # before it is accepted: 403


def _protect(headers: MutableHeaders, host: str, scheme: str) -> None:
    own = Origin.of(f"{scheme}://{host}")
    # 'self' covers websockets in recent browsers only; a Host that is no address names nothing.
    sockets = f" ws://{host} wss://{host}" if own is not None else ""
    policy = _POLICY | {"connect-src": f"'self'{sockets} data: blob:"}
    headers["content-security-policy"] = "; ".join(f"{name} {value}" for name, value in policy.items())
    headers["x-frame-options"] = "DENY"
    headers["x-content-type-options"] = "nosniff"
    headers["referrer-policy"] = "same-origin"
    headers["cross-origin-resource-policy"] = "same-origin"
    headers["cross-origin-opener-policy"] = "same-origin"
