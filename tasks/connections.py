"""Turns the Prefect blocks into clients: the bucket, Sync.so and GhostCut."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

import httpx
from prefect import get_client

from pro_video.errors import StorageRefused
from pro_video.settings import Settings, get_settings
from pro_video.storage import Storage
from tasks.blocks import GhostCutCredentials, SyncSoCredentials
from tasks.bucket import BucketDocument, KeptStorage, read_bucket

logger = logging.getLogger("prefect.pro_video.connections")

# A changed key is picked up within this time, in seconds, without a read per task of a thousand
# jobs.
_BLOCK_LIFE = 30.0


@dataclass(frozen=True)
class Connections:
    """The bucket and the providers' credentials of one job."""

    storage: Storage
    sync_so: SyncSoCredentials
    ghostcut: GhostCutCredentials


Loaded = tuple[BucketDocument, SyncSoCredentials, GhostCutCredentials]


class ConnectionCache:
    """The connections of jobs with the same settings, read anew from the blocks now and then.

    Args:
        load: reads the blocks.
        now: seconds of a clock that never goes back.
    """

    def __init__(
        self,
        load: Callable[[], Awaitable[Loaded]],
        *,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._load = load
        self._now = now
        self._loaded_at = float("-inf")
        self._storage = KeptStorage(now)
        self._current: Connections | None = None
        self._is_reading = False

    def expire(self, seconds: float) -> None:
        """Let the next asker read the blocks again if that was done longer ago than this."""
        if self._now() - self._loaded_at > seconds:
            self._loaded_at = float("-inf")

    async def get(self) -> Connections:
        """The connections; those that were read last while Prefect is away.

        Raises:
            StorageRefused: naming a block that does not exist.
            httpx.HTTPError: Prefect is away and never answered.
        """
        current, now = self._current, self._now()
        if current is not None and (self._is_reading or now - self._loaded_at <= _BLOCK_LIFE):
            return current
        try:
            bucket, sync_so, ghostcut = await self._read()
        except httpx.HTTPError as error:
            if current is None:
                raise
            logger.debug("Could not read the blocks anew: %s", type(error).__name__)
            return current
        self._current = Connections(await self._storage.of(bucket), sync_so, ghostcut)
        self._loaded_at = now
        return self._current

    async def _read(self) -> Loaded:
        # Of a thousand askers one reads; the others go on with what there is.
        self._is_reading = True
        try:
            return await self._load()
        finally:
            self._is_reading = False


_caches: dict[Settings, ConnectionCache] = {}


async def _load(name: str) -> Loaded:
    async with get_client() as client:
        bucket = await read_bucket(client, name)
    try:
        sync_so = await SyncSoCredentials.aload(name)
        ghostcut = await GhostCutCredentials.aload(name)
    except ValueError as error:
        # Prefect's text names the block, and nothing of its content.
        raise StorageRefused(
            f"{error} Make the blocks with python -m deployments.register, or in Prefect's UI.",
            code="block_missing",
        ) from None
    return bucket, sync_so, ghostcut


async def connections() -> Connections:
    """The clients of the blocks named by the setting ``PRO_VIDEO_BLOCK``.

    Raises:
        StorageRefused: naming a block that does not exist.
    """
    settings = get_settings()
    if settings not in _caches:
        _caches[settings] = ConnectionCache(partial(_load, settings.block))
    return await _caches[settings].get()


def expire_connections(seconds: float) -> None:
    """Let the next :func:`connections` read the blocks again if that was done longer ago than this
    many seconds."""
    cache = _caches.get(get_settings())
    if cache is not None:
        cache.expire(seconds)
