"""Reads a small JSON body, with a bound on its size and on the time it may take."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.requests import Request

from gateway.base.problems import ProblemError
from gateway.jobs.request_mapping import LONGEST_JSON, loads

_SECONDS = 30.0


async def read_object(request: Request) -> dict[str, Any]:
    """A JSON object.

    Raises:
        ProblemError: 400, 408, 413, 415 or 422.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise ProblemError(415, "not_json", "Send application/json.")
    body = bytearray()
    try:
        async with asyncio.timeout(_SECONDS):
            while True:
                message = await request.receive()
                if message["type"] == "http.disconnect":
                    raise ProblemError(400, "gone", "The body did not come whole.")
                body += message.get("body", b"")
                if len(body) > LONGEST_JSON:
                    raise ProblemError(
                        413, "body_too_large", f"The body may have {LONGEST_JSON} bytes at most."
                    )
                if not message.get("more_body", False):
                    break
    except TimeoutError:
        raise ProblemError(408, "too_slow", "The body arrived too slowly.") from None
    # Only the form's fields are encoded twice: here a text is no object.
    value = None if body.lstrip()[:1] != b"{" else loads(bytes(body), "body")
    if not isinstance(value, dict):
        raise ProblemError(400, "not_json_object", "The body must be one JSON object.")
    return value
