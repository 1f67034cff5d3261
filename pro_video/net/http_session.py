"""Bounded HTTP exchanges with one API: a response, or the reason for none.

Redirects are not followed, so keys reach the API's own origin alone. Body and time are bounded.
httpx's exceptions stay inside, because their texts and attributes hold the request.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Self

import httpx

from pro_video.core.redaction import redact_url
from pro_video.net.addresses import is_loopback
from pro_video.net.gate import default_tls

# httpcore logs response headers (a redirect's Location, cookies) at DEBUG; httpx logs each call at
# INFO, which is a line a poll for a waiting job.
logging.getLogger("httpcore").setLevel(logging.INFO)
logging.getLogger("httpx").setLevel(logging.WARNING)

LARGEST_BODY = 32 * 1024 * 1024
"""Bytes of a response that are read; a full page of 2000 works is a tenth of it."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Time limits of an exchange, in seconds.

    Attributes:
        connect: to connect, name lookup and TLS included.
        create: between two pieces of the response to a call that creates a job.
        read: between two pieces of any other response.
        total: for a whole exchange.
    """

    connect: float = 10.0
    create: float = 60.0
    read: float = 15.0
    total: float = 90.0


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """A response: the status, the headers (names in lower case) and the whole body."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    def json(self) -> object:
        """The body as JSON; None for anything else, such as an edge server's HTML page."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None


@dataclass(frozen=True, slots=True)
class NoResponse:
    """The reason for no response.

    Attributes:
        reason: safe to show.
        never_sent: the request certainly did not reach the other side.
    """

    reason: str
    never_sent: bool


class HttpSession:
    """Connections to one API. An async context manager."""

    def __init__(
        self, base_url: str, *, timeouts: Timeouts, largest_body: int = LARGEST_BODY
    ) -> None:
        self._base = _checked_base(base_url)
        self._timeouts = timeouts
        self._largest_body = largest_body
        self._client = httpx.AsyncClient(
            follow_redirects=False,
            verify=default_tls(),
            # The environment's proxies do not reach a sandbox on this machine.
            trust_env=not is_loopback(httpx.URL(self._base).host),
            headers={"User-Agent": "pro-video", "Accept": "application/json, text/plain;q=0.9"},
        )

    def __repr__(self) -> str:
        return f"HttpSession({self._base!r})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        await self._client.aclose()

    async def send(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        content: bytes | None = None,
        params: Mapping[str, str] | None = None,
        read_timeout: float | None = None,
        before_sending: Callable[[], None] | None = None,
    ) -> HttpResponse | NoResponse:
        """One exchange, never repeated here.

        Args:
            method: HTTP method.
            path: below the base URL, with its leading slash.
            headers: with the credentials; they go to this origin alone.
            content: the exact bytes of the body.
            params: the query.
            read_timeout: seconds between two pieces of the response.
            before_sending: called on a connection, directly before the head and before the body is
                written. Its exception ends the exchange before the request has arrived whole.
        """
        limits = self._timeouts
        wait = limits.read if read_timeout is None else read_timeout
        request = self._client.build_request(
            method,
            self._base + path,
            headers=dict(headers),
            content=content,
            params=dict(params) if params else None,
            extensions={"trace": _calling(before_sending)} if before_sending else None,
            timeout=httpx.Timeout(wait, connect=limits.connect),
        )
        try:
            async with asyncio.timeout(max(limits.total, wait + limits.connect)):
                return await self._exchange(request)
        except TimeoutError:
            return NoResponse("the whole answer did not come in time", never_sent=False)
        except httpx.ConnectTimeout:
            return NoResponse("no connection in time", never_sent=True)
        except (httpx.ConnectError, httpx.PoolTimeout):
            return NoResponse("no connection", never_sent=True)
        except httpx.TimeoutException:
            return NoResponse("no answer in time", never_sent=False)
        except httpx.TransportError as error:
            return NoResponse(f"the connection broke ({type(error).__name__})", never_sent=False)
        except httpx.DecodingError:
            return NoResponse("the answer cannot be decoded", never_sent=False)

    async def _exchange(self, request: httpx.Request) -> HttpResponse | NoResponse:
        response = await self._client.send(request, stream=True)
        try:
            body = bytearray()
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > self._largest_body:
                    return NoResponse("the answer is too large", never_sent=False)
        finally:
            await response.aclose()
        headers = {name.lower(): value for name, value in response.headers.items()}
        return HttpResponse(response.status_code, headers, bytes(body))


def _calling(before_sending: Callable[[], None]) -> Callable[[str, object], Awaitable[None]]:
    """A trace of httpcore (https://www.encode.io/httpcore/extensions/#trace) that calls the
    function whenever bytes of the request are about to leave."""

    async def trace(event: str, info: object) -> None:
        if event.endswith((".send_request_headers.started", ".send_request_body.started")):
            before_sending()

    return trace


def _checked_base(base_url: str) -> str:
    try:
        url = httpx.URL(base_url)
    except (httpx.InvalidURL, TypeError):
        raise ValueError("the base URL is not a URL") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError("the base URL is http(s):// and a host")
    if url.userinfo or url.query or url.fragment:
        raise ValueError(f"the base URL {redact_url(base_url)} has no user, query or fragment")
    return base_url.rstrip("/")
