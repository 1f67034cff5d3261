"""Reads the body of an unauthenticated request, with bounds on its size, time and number."""

from __future__ import annotations

import asyncio

from starlette.requests import Request

from gateway.base.problems import ProblemError


class BodyReader:
    """Reads whole bodies.

    Args:
        max_bytes: size of the largest body.
        seconds: longest time of a body.
        at_once: bodies received at the same time; further ones are refused.
    """

    def __init__(self, *, max_bytes: int, seconds: float, at_once: int) -> None:
        self._max_bytes = max_bytes
        self._seconds = seconds
        self._free = at_once

    async def read(self, request: Request) -> bytes:
        """The raw body.

        Raises:
            ProblemError: 413, 408, or 503 when too many are being received.
            starlette.requests.ClientDisconnect: the sender disconnected.
        """
        length = request.headers.get("content-length", "")
        if length.isdecimal() and int(length[:20]) > self._max_bytes:
            raise self._too_large()
        if self._free <= 0:
            raise ProblemError(
                503,
                "busy",
                "Too many callbacks are being received. Send it again later.",
                retry_after=5,
            )
        self._free -= 1
        try:
            async with asyncio.timeout(self._seconds):
                return await self._whole(request)
        except TimeoutError:
            raise ProblemError(
                408,
                "too_slow",
                "The body did not arrive in time. Send it again.",
                headers={"Connection": "close"},
            ) from None
        finally:
            self._free += 1

    async def _whole(self, request: Request) -> bytes:
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > self._max_bytes:
                raise self._too_large()
        return bytes(body)

    def _too_large(self) -> ProblemError:
        return ProblemError(
            413,
            "too_large",
            f"The callback has more than {self._max_bytes} bytes.",
            headers={"Connection": "close"},
        )
