"""Turns the Prefect blocks into clients: the bucket, Sync.so and GhostCut."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import httpx
from prefect import get_client
from prefect.blocks.abstract import CredentialsBlock
from prefect.exceptions import ObjectNotFound
from pydantic import ValidationError

from pro_video.core.errors import StorageRefused
from pro_video.core.settings import Settings, get_settings
from pro_video.s3.storage import Storage
from tasks.connections.blocks import GhostCutCredentials, SyncSoCredentials
from tasks.connections.bucket import BucketDocument, KeptStorage, read_bucket
from tasks.connections.bucket_proof import prove_when_reachable
from tasks.connections.records_bucket import RecordsBucket

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient

logger = logging.getLogger("prefect.pro_video.connections")

# Seconds until a changed block takes effect; the tasks of a thousand jobs do not each read it.
_BLOCK_LIFE = 30.0
# Buckets that the blocks have named in the life of a process, for the jobs that began there.
_MOST_PLACES = 4


@dataclass(frozen=True)
class Connections:
    """The bucket, the providers' credentials, and the records' place of one job."""

    storage: Storage
    sync_so: SyncSoCredentials
    ghostcut: GhostCutCredentials
    records: RecordsBucket


Loaded = tuple[BucketDocument, SyncSoCredentials, GhostCutCredentials, BucketDocument]
C = TypeVar("C", bound=CredentialsBlock)


class ConnectionCache:
    """The connections of jobs with the same settings, renewed from the blocks.

    Args:
        load: reads the blocks.
        prove: tests a bucket before jobs use it.
        now: a monotonic clock in seconds.
    """

    def __init__(
        self,
        load: Callable[[], Awaitable[Loaded]],
        *,
        prove: Callable[[Storage], Awaitable[None]] | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._load = load
        self._prove = prove
        self._now = now
        self._loaded_at = float("-inf")
        self._storage = KeptStorage(now)
        self._records_storage = KeptStorage(now)
        self._current: Connections | None = None
        self._places: OrderedDict[str, Storage] = OrderedDict()
        self._is_reading = False

    def expire(self, seconds: float) -> None:
        """Let the next call read the blocks again, if the last read is longer ago."""
        if self._now() - self._loaded_at > seconds:
            self._loaded_at = float("-inf")

    async def get(self) -> Connections:
        """The connections; while Prefect does not answer, those that were read last.

        Raises:
            StorageRefused: a block is missing, or its bucket lacks what jobs rely on.
            httpx.HTTPError: Prefect has never answered.
        """
        current, now = self._current, self._now()
        if current is not None and (self._is_reading or now - self._loaded_at <= _BLOCK_LIFE):
            return current
        try:
            self._current = await self._read()
        except httpx.HTTPError as error:
            if current is None:
                raise
            logger.debug("Could not read the blocks anew: %s", type(error).__name__)
            return current
        self._loaded_at = now
        self._places[self._current.storage.place] = self._current.storage
        while len(self._places) > _MOST_PLACES:
            self._places.popitem(last=False)
        return self._current

    async def staying_in(self, place: str) -> Connections:
        """The connections for a job that began in the bucket ``place``, whatever the blocks name
        now.

        Raises:
            StorageRefused: this process has not seen that bucket; names both.
            httpx.HTTPError: as :meth:`get`.
        """
        try:
            current = await self.get()
        except StorageRefused:
            if self._current is None or place not in self._places:
                raise
            current = self._current
        if current.storage.place == place:
            return current
        if place not in self._places:
            raise StorageRefused(
                f"This job began in {place}, where its records are; the S3 Bucket block now names "
                f"{current.storage.place}. Register {place} again and retry this run, or start a "
                "new job, which buys anew.",
                code="other_bucket",
            )
        return replace(current, storage=self._places[place])

    async def _read(self) -> Connections:
        # One of a thousand callers reads; the others go on with the connections before.
        self._is_reading = True
        try:
            bucket, sync_so, ghostcut, results = await self._load()
            storage = await self._storage.of(bucket)
            if self._prove is not None:
                await self._prove(storage)
            # One client, unless the records have a bucket of their own.
            same = bucket.is_same_bucket(results)
            kept_in = storage if same else await self._records_storage.of(results)
            records = RecordsBucket.of(kept_in, results.folder, results.id)
            return Connections(storage, sync_so, ghostcut, records)
        finally:
            self._is_reading = False


_caches: dict[Settings, ConnectionCache] = {}
_place: ContextVar[str | None] = ContextVar("pro_video_place", default=None)


def stay_in(place: str) -> None:
    """Bind the running job to this bucket; see :attr:`Storage.place`."""
    _place.set(place)


async def _load(name: str) -> Loaded:
    async with get_client() as client:
        return (
            await read_bucket(client, name),
            await _read_credentials(client, SyncSoCredentials, name),
            await _read_credentials(client, GhostCutCredentials, name),
            await read_bucket(client, f"{name}-results"),
        )


async def _read_credentials(client: PrefectClient, kind: type[C], name: str) -> C:
    """A block, read without the event that Prefect would write about it."""
    slug = kind.get_block_type_slug()
    try:
        document = await client.read_block_document_by_name(name, slug)
        return kind.model_validate(document.data)
    except ObjectNotFound:
        raise StorageRefused(
            f"There is no block {slug}/{name}. Make the blocks with pro-video register, or in "
            "Prefect's UI.",
            code="block_missing",
        ) from None
    except ValidationError as error:
        raise StorageRefused(
            f"The block {slug}/{name} is invalid: {error.error_count()} fields are wrong. Correct "
            "them in Prefect's UI.",
            code="block_invalid",
        ) from None


async def connections() -> Connections:
    """The clients of the blocks named by the setting ``PRO_VIDEO_BLOCK``.

    Raises:
        StorageRefused: a block is missing, or it names another bucket than the one that the running
            job began in.
    """
    settings = get_settings()
    if settings not in _caches:
        _caches[settings] = ConnectionCache(
            partial(_load, settings.block), prove=prove_when_reachable
        )
    place = _place.get()
    if place is None:
        return await _caches[settings].get()
    return await _caches[settings].staying_in(place)


def expire_connections(seconds: float) -> None:
    """Let the next :func:`connections` read the blocks again, if the last read is more seconds
    ago."""
    cache = _caches.get(get_settings())
    if cache is not None:
        cache.expire(seconds)
