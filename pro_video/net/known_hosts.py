"""Restricts a server on a private address to known hosts and origins.

A page of a foreign site reaches such a server through its visitor's browser in two ways: openly,
which shows in ``Origin``, and under a name of its own that it lets point to this machine (DNS
rebinding), which shows in ``Host`` alone.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from pro_video.net.exchange import is_loopback


class KnownHosts:
    """ASGI middleware: passes on what is asked under one of the server's own names.

    Loopback names and addresses are always its own: an address is looked up in no DNS.

    Args:
        app: the application behind.
        names: further host names, without ports; ``*`` takes any.
        refusal: answers in the place of ``app``; it is told the name, or the origin.
        origins: the origins whose pages may ask, besides the server's own; None leaves it to
            ``app`` to look at origins.
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
        # Without a name (HTTP/1.0) it is no browser that asks.
        return not name or "*" in self._names or name in self._names or _needs_no_dns(name)

    def _may_ask(self, origin: str, host: str) -> bool:
        if self._origins is None or origin in self._origins:
            return True
        return origin.partition("://")[2] == host


def host_name(url: str) -> str | None:
    """The host of a URL in lower case, "" for one without, None for what is no URL."""
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
