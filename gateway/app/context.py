"""Common resources of the gateway: settings, Prefect, the bucket, tokens and limits."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Annotated

import httpx
from fastapi import Depends
from starlette.requests import HTTPConnection

from gateway.auth.token_store import TokenStore
from gateway.base.malloc import trim
from gateway.base.problems import unavailable
from gateway.base.settings import GatewaySettings
from gateway.prefect_client.api import PrefectApi
from gateway.prefect_client.loop import Upstream, open_upstream
from pro_video.core.errors import ProVideoError
from pro_video.core.settings import get_settings
from pro_video.s3.storage import Storage
from tasks.connections.bucket import KeptStorage, read_bucket

# Changed credentials are picked up within this time, in seconds.
_BLOCK_LIFE = 60.0


class BucketSource:
    """The bucket of the block ``PRO_VIDEO_BLOCK``; looked up when it is first needed, so that the
    gateway starts before Prefect does."""

    def __init__(self, upstream: Upstream, *, seconds: float) -> None:
        self._upstream = upstream
        self._seconds = seconds
        self._kept = KeptStorage()
        self._storage: Storage | None = None
        self._loaded_at = float("-inf")
        self._lock = asyncio.Lock()

    async def get(self) -> Storage:
        """The storage.

        Raises:
            ProblemError: 503, when Prefect is away or has no such block.
        """
        if self._storage is not None and time.monotonic() - self._loaded_at < _BLOCK_LIFE:
            return self._storage
        async with self._lock:
            if self._storage is None or time.monotonic() - self._loaded_at >= _BLOCK_LIFE:
                await self._load()
            assert self._storage is not None
            return self._storage

    async def _load(self) -> None:
        try:
            async with asyncio.timeout(self._seconds):
                name = get_settings().block
                block = await self._upstream.run(lambda client: read_bucket(client, name))
            storage = await self._kept.of(block)
            if storage is not self._storage:
                self._storage = storage
                await asyncio.to_thread(trim)
        except (httpx.HTTPError, TimeoutError, ValueError, ProVideoError):
            if self._storage is None:
                raise unavailable("The storage") from None
        self._loaded_at = time.monotonic()


@dataclass(frozen=True)
class GatewayContext:
    """The shared objects of one gateway; one per application, made at its start.

    Attributes:
        settings: the gateway's settings.
        api: Prefect by path, with a deadline and problems as errors.
        bucket: gives the storage; use :meth:`storage`.
        tokens: the bearer tokens.
        threads: for blocking parts of uploads.
    """

    settings: GatewaySettings
    api: PrefectApi
    bucket: BucketSource
    tokens: TokenStore
    threads: ThreadPoolExecutor

    async def storage(self) -> Storage:
        """The bucket of the jobs.

        Raises:
            ProblemError: 503, while it cannot be known.
        """
        return await self.bucket.get()


@contextlib.asynccontextmanager
async def open_context(settings: GatewaySettings) -> AsyncIterator[GatewayContext]:
    """The shared objects, for the life of the application. Needs no server to be there yet."""
    threads = ThreadPoolExecutor(max_workers=8, thread_name_prefix="gateway")
    try:
        async with open_upstream() as upstream:
            yield GatewayContext(
                settings=settings,
                api=PrefectApi(upstream, seconds=settings.upstream_seconds),
                bucket=BucketSource(upstream, seconds=settings.upstream_seconds),
                tokens=TokenStore(upstream, settings),
                threads=threads,
            )
    finally:
        threads.shutdown(cancel_futures=True)


async def context_of(connection: HTTPConnection) -> GatewayContext:
    """The context of the application that handles a request; async, as FastAPI would use a thread
    otherwise."""
    context = connection.app.state.context
    assert isinstance(context, GatewayContext)
    return context


Context = Annotated[GatewayContext, Depends(context_of)]
"""For parameters of routes."""
