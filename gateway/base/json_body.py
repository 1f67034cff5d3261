"""Reads small bodies, with bounds on their size and time."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from starlette.requests import ClientDisconnect, Request

from gateway.base.problems import ProblemError, invalid_field

LONGEST_JSON = 128 * 1024
"""Bytes of a JSON text; far above any real request, and small for Prefect's parameters."""

_SECONDS = 30.0


def loads(text: bytes, name: str) -> Any:
    """JSON data; None for an empty text. JSON that was encoded twice is decoded twice.

    Raises:
        ProblemError: 422, naming ``name``.
    """
    try:
        value: Any = text.decode("utf-8").strip() or None
        for _ in range(2):
            if isinstance(value, str):
                value = json.loads(value)
        # Lone surrogates pass the parser, but nothing behind it.
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError):
        raise invalid_field(name, "not_json", "is not valid JSON in UTF-8") from None
    return value


async def read_body(
    request: Request, *, max_bytes: int, seconds: float, too_large: str = "body_too_large"
) -> bytes:
    """The raw body.

    Args:
        request: the request.
        max_bytes: size of the largest body.
        seconds: longest time of a body.
        too_large: code of the problem of a larger body.

    Raises:
        ProblemError: 400, 408 or 413. The connection ends, because the rest stays unread.
    """
    body = bytearray()
    closing = {"Connection": "close"}
    try:
        async with asyncio.timeout(seconds):
            async for chunk in request.stream():
                body += chunk
                if len(body) > max_bytes:
                    message = f"The body has more than {max_bytes} bytes. Send less."
                    raise ProblemError(413, too_large, message, headers=closing)
    except TimeoutError:
        message = "The body arrived too slowly. Send the request again."
        raise ProblemError(408, "too_slow", message, headers=closing) from None
    except ClientDisconnect:
        # No response can reach this client.
        raise ProblemError(400, "gone", "The body did not arrive whole.") from None
    return bytes(body)


async def read_object(request: Request) -> dict[str, Any]:
    """A JSON object.

    Raises:
        ProblemError: 400, 408, 413, 415 or 422.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise ProblemError(415, "not_json", "Send the request as application/json.")
    body = await read_body(request, max_bytes=LONGEST_JSON, seconds=_SECONDS)
    # A JSON text is no object, although `loads` would decode it again.
    value = None if body.lstrip()[:1] != b"{" else loads(body, "body")
    if not isinstance(value, dict):
        raise ProblemError(400, "not_json_object", "The body must be one JSON object.")
    return value
