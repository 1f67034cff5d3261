"""Reads a small JSON body, with a bound on its size and on the time it may take."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from starlette.requests import Request

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


async def read_object(request: Request) -> dict[str, Any]:
    """A JSON object.

    Raises:
        ProblemError: 400, 408, 413, 415 or 422.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise ProblemError(415, "not_json", "Send the request as application/json.")
    body = bytearray()
    try:
        async with asyncio.timeout(_SECONDS):
            while True:
                message = await request.receive()
                if message["type"] == "http.disconnect":
                    raise ProblemError(400, "gone", "The body did not arrive whole.")
                body += message.get("body", b"")
                if len(body) > LONGEST_JSON:
                    raise ProblemError(
                        413,
                        "body_too_large",
                        f"The body has more than {LONGEST_JSON} bytes. Send less.",
                    )
                if not message.get("more_body", False):
                    break
    except TimeoutError:
        raise ProblemError(
            408, "too_slow", "The body arrived too slowly. Send the request again."
        ) from None
    # A JSON text is no object, although `loads` would decode it again.
    value = None if body.lstrip()[:1] != b"{" else loads(bytes(body), "body")
    if not isinstance(value, dict):
        raise ProblemError(400, "not_json_object", "The body must be one JSON object.")
    return value
