"""Restricts a server on a private address to known hosts and origins.

A page of a foreign site reaches such a server through its visitor's browser in two ways: under the
server's name, which ``Origin`` shows, and under a name of its own that points to this machine (DNS
rebinding), which only ``Host`` shows.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from pro_video.net.addresses import is_loopback


class KnownHosts:
    """ASGI middleware: passes requests to one of the server's own names.

    Loopback names and all addresses count as its own: no DNS is needed for them.

    Args:
        app: the application.
        names: further host names, without ports; ``*`` allows any.
        refusal: makes the response to a refused name or origin.
        origins: allowed origins besides the server's own; None leaves the check to ``app``.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        names: Collection[str],
        refusal: Callable[[str], ASGIApp],
        origins: Collection[str] | None = None,
    ) -> None:
        self._app = app
        self._names = {name.lower() for name in names}
        self._refusal = refusal
        self._origins = origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._app
        if scope["type"] in ("http", "websocket"):
            headers = Headers(scope=scope)
            host = headers.get("host", "")
            origin = headers.get("origin")
            if not self._is_own(host):
                app = self._refusal(host)
            elif origin is not None and not self._may_ask(origin, host):
                app = self._refusal(origin)
        await app(scope, receive, send)

    def _is_own(self, host: str) -> bool:
        name = host_name(f"//{host}")
        if name is None:
            return False
        # Browsers always send a name; HTTP/1.0 clients may not.
        return not name or "*" in self._names or name in self._names or _needs_no_dns(name)

    def _may_ask(self, origin: str, host: str) -> bool:
        if self._origins is None or origin in self._origins:
            return True
        return origin.partition("://")[2] == host


def host_name(url: str) -> str | None:
    """The host of a URL in lower case, "" without one, None for a malformed URL."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return None


def _needs_no_dns(name: str) -> bool:
    if is_loopback(name):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
