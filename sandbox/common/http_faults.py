"""Faults of the transport: what a proxy, a crash or a bad line does to one call.

`answer(scope, fault, accept)` runs `accept`, the real handler, unless the fault comes before it.
With `"when": "before"` (the default) nothing has happened on the server; with `"when": "after"`
the call took effect and only its answer is lost or spoilt.

| kind | what the caller sees |
|---|---|
| 500_html, 502_html, 503_html, 504, 403_html, 404_html | that status with a proxy's HTML page |
| 500_json, 503_json, 400_json | that status with a JSON error body |
| 429_rate | status 429 (before only); `retry_after` seconds adds the header |
| drop_connection | the connection is closed without an answer |
| slow | the answer comes `seconds` (default 5) late |
| truncate_json | the real answer cut in half, as a whole and wrong document |
| truncate_body | the real answer's headers, half of its body, then the connection is closed |
| extra_fields | the real JSON answer with members that nobody documented |
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import Receive, Scope, Send

from sandbox.common.faults import Fault
from sandbox.common.server import CONNECTION

_PAGE = "<html><head><title>{0}</title></head><body><center><h1>{0}</h1></center></body></html>"
_PAGES = {
    "500_html": (500, "500 Internal Server Error"),
    "502_html": (502, "502 Bad Gateway"),
    "503_html": (503, "503 Service Temporarily Unavailable"),
    "504": (504, "504 Gateway Time-out"),
    "403_html": (403, "403 Forbidden"),
    "404_html": (404, "404 Not Found"),
}
_JSON = {
    "500_json": (500, "Internal server error"),
    "503_json": (503, "Service Unavailable"),
    "400_json": (400, "Bad Request"),
}

TRANSPORT_KINDS = frozenset(
    {
        *_PAGES,
        *_JSON,
        "429_rate",
        "drop_connection",
        "slow",
        "truncate_json",
        "truncate_body",
        "extra_fields",
    }
)
"""Every kind that `answer` understands, for the list of known faults of an emulator."""

MAX_DELAY = 3600.0


class DropConnection(Response):
    """Closes the connection without a single byte of an answer."""

    def __init__(self) -> None:
        super().__init__(status_code=500)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await cut(scope, receive)


class CutBody(Response):
    """The headers of `whole` with its full length, the first `keep` bytes, then a closed line."""

    def __init__(self, whole: bytes, keep: int, headers: Mapping[str, str], status: int) -> None:
        super().__init__(content=whole, status_code=status, headers=headers)
        self._keep = keep

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send(
            {
                "type": "http.response.start",
                "status": self.status_code,
                "headers": self.raw_headers,
            }
        )
        await send(
            {
                "type": "http.response.body",
                "body": bytes(self.body[: self._keep]),
                "more_body": True,
            }
        )
        await cut(scope, receive, flush=True)


async def answer(
    scope: Scope,
    fault: Fault | None,
    accept: Callable[[], Awaitable[Response]],
    vendor: Mapping[str, Callable[[Fault], Response]] | None = None,
) -> Response:
    """Answer one call under a fault (None: plainly).

    `vendor` gives this vendor's own shape for a kind, such as its 429 body, or further kinds that
    replace the answer. A kind that neither knows is left to the handler, which has seen it too.
    """
    if fault is None:
        return await accept()
    after = fault.params.get("when") == "after" and fault.kind != "429_rate"
    if fault.kind == "slow":
        delay = min(max(fault.number("seconds", 5.0), 0.0), MAX_DELAY)
        if after:
            response = await accept()
            await asyncio.sleep(delay)
            return response
        await asyncio.sleep(delay)
        return await accept()
    if fault.kind in ("truncate_json", "truncate_body", "extra_fields"):
        return _spoil(fault.kind, await accept())
    replacement = _replacement(fault, vendor or {})
    if replacement is None:
        return await accept()
    if after:
        await accept()
    return replacement


def _replacement(
    fault: Fault, vendor: Mapping[str, Callable[[Fault], Response]]
) -> Response | None:
    if fault.kind in vendor:
        return vendor[fault.kind](fault)
    if fault.kind in _PAGES:
        status, title = _PAGES[fault.kind]
        return HTMLResponse(_PAGE.format(title), status_code=status)
    if fault.kind in _JSON:
        status, message = _JSON[fault.kind]
        return JSONResponse({"statusCode": status, "message": message}, status_code=status)
    if fault.kind == "429_rate":
        headers = {}
        if "retry_after" in fault.params:
            headers["Retry-After"] = str(fault.params["retry_after"])
        body = {"statusCode": 429, "message": "Too Many Requests"}
        return JSONResponse(body, status_code=429, headers=headers)
    if fault.kind == "drop_connection":
        return DropConnection()
    return None


def _spoil(kind: str, response: Response) -> Response:
    body = bytes(response.body)
    if kind == "extra_fields":
        document = json.loads(body)
        targets = document if isinstance(document, list) else [document]
        for target in targets:
            if isinstance(target, dict):
                target.update(UNKNOWN_FIELDS)
        return JSONResponse(document, status_code=response.status_code)
    headers = {"Content-Type": response.headers.get("content-type", "application/json")}
    half = len(body) // 2
    if kind == "truncate_json":
        return Response(body[:half], status_code=response.status_code, headers=headers)
    return CutBody(body, half, headers, response.status_code)


UNKNOWN_FIELDS: Mapping[str, Any] = {
    "traceId": "00-4bf92f3577b34da6-01",
    "experimental": {"nested": [1, None, {"deep": True}]},
    "costBreakdown": None,
}
"""The fields that `extra_fields` adds to each object of the response."""


def connection(scope: Scope) -> asyncio.Transport:
    """The connection of a call; only `sandbox.common.server` hands it over."""
    found: asyncio.Transport | None = (scope.get("extensions") or {}).get(CONNECTION)
    if found is None:
        raise RuntimeError("faults that cut the connection need sandbox.common.server")
    return found


async def cut(scope: Scope, receive: Receive, *, flush: bool = False) -> None:
    """End the connection, after all that was sent so far (`flush`) or at once.

    Returns when the server has noticed.
    """
    if flush:
        connection(scope).close()
    else:
        connection(scope).abort()
    while (await receive())["type"] != "http.disconnect":
        pass
