"""Calls of the API and of the storage behind its links, repeated while that may help."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import httpx

from pro_video.client.errors import Problem, TooMany, Unavailable, Unreachable, problem_of

# httpx logs each call at INFO, with the signed query of a link.
logging.getLogger("httpx").setLevel(logging.WARNING)

_TIMEOUT: Final = httpx.Timeout(60.0, connect=10.0)
_PAUSES: Final = (0.5, 1.0, 2.0)
# A longer pause is the caller's decision.
_LONGEST_PAUSE: Final = 30.0
# A proxy of the environment does not reach this machine's servers.
_DIRECT: Final[dict[str, None]] = {
    f"all://{host}": None for host in ("127.0.0.1", "localhost", "[::1]")
}

Sleep = Callable[[float], Awaitable[None]]


class Transport:
    """Two HTTP clients: that of the API, and one without the token for links.

    Args:
        api: address of the API, such as ``http://127.0.0.1:4204``.
        token: of its owner; None where the API needs none.
        sleep: pauses between tries, seconds.
    """

    def __init__(self, api: str, token: str | None, *, sleep: Sleep = asyncio.sleep) -> None:
        headers = {"User-Agent": "pro-video-client"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        self.host = httpx.URL(api).netloc.decode()
        self.sleep = sleep
        self._api = httpx.AsyncClient(
            base_url=api, headers=headers, timeout=_TIMEOUT, mounts=_DIRECT
        )
        self._links = httpx.AsyncClient(timeout=_TIMEOUT, mounts=_DIRECT)

    async def close(self) -> None:
        """Close the connections."""
        await self._api.aclose()
        await self._links.aclose()

    async def send(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        params: Mapping[str, Any] | None = None,
        key: str | None = None,
        again: bool = True,
    ) -> bytes:
        """The body of a response of success.

        Args:
            method, path: of the API.
            json: body.
            params: query.
            key: ``Idempotency-Key``.
            again: whether a request whose answer was lost may be sent a second time.

        Raises:
            Problem: of the API.
            Unreachable: no answer.
        """
        headers = {} if key is None else {"Idempotency-Key": key}
        for pause in (*_PAUSES, None):
            try:
                response = await self._api.request(
                    method, path, json=json, params=params, headers=headers
                )
            except httpx.TransportError as error:
                sent = not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
                if pause is None or (sent and not again):
                    raise self.unreachable(error) from None
                await self.sleep(pause)
                continue
            if response.is_success:
                return response.content
            problem = problem_of(response)
            if pause is None or not _may_pass(problem):
                raise problem
            await self.sleep(max(pause, problem.retry_after or 0.0))
        raise AssertionError("the last try has ended")

    @asynccontextmanager
    async def stream(self, path: str, headers: Mapping[str, str]) -> AsyncIterator[httpx.Response]:
        """A response of success whose body is read while it arrives; one try.

        Raises:
            Problem: of the API.
            httpx.TransportError: no answer.
        """
        async with self._api.stream("GET", path, headers=headers) as response:
            if not response.is_success:
                await response.aread()
                raise problem_of(response)
            yield response

    async def put(self, url: str, data: bytes) -> bool:
        """Put bytes to a link; whether the storage took them. One try."""
        try:
            return (await self._links.put(url, content=data)).is_success
        except httpx.TransportError:
            return False

    @asynccontextmanager
    async def link(self, url: str) -> AsyncIterator[httpx.Response]:
        """The response of a link, read while it arrives; one try.

        Raises:
            httpx.HTTPError: no answer, or none of success.
        """
        async with self._links.stream("GET", url) as response:
            response.raise_for_status()
            yield response

    def unreachable(self, error: Exception) -> Unreachable:
        """The error for an API without an answer."""
        return Unreachable(f"No answer came from {self.host} ({type(error).__name__}).")


def _may_pass(problem: Problem) -> bool:
    """Is another try, after a short pause, of use?"""
    pause = problem.retry_after or 0.0
    return isinstance(problem, TooMany | Unavailable) and pause <= _LONGEST_PAUSE
