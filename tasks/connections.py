"""Turns the Prefect blocks into clients: the bucket, Sync.so and GhostCut."""

from __future__ import annotations

import time
from dataclasses import dataclass

from prefect import get_client

from pro_video.errors import StorageRefused
from pro_video.settings import Settings, get_settings
from pro_video.storage import Storage
from tasks.blocks import GhostCutCredentials, SyncSoCredentials
from tasks.bucket import BucketDocument, read_bucket, storage_of

# A changed key is picked up within this time, in seconds, without a read per task of a thousand
# jobs.
_BLOCK_LIFE = 30.0


@dataclass(frozen=True)
class Connections:
    """What one job talks to."""

    storage: Storage
    sync_so: SyncSoCredentials
    ghostcut: GhostCutCredentials


class _Cache:
    """The connections of jobs with the same settings, read anew from the blocks now and then."""

    def __init__(self) -> None:
        self._loaded_at = float("-inf")
        self._bucket: BucketDocument | None = None
        self._current: Connections | None = None

    async def get(self) -> Connections:
        if self._current is None or time.monotonic() - self._loaded_at > _BLOCK_LIFE:
            bucket, sync_so, ghostcut = await _load(get_settings().block)
            # The bucket's client holds connections and threads: it is kept while its block is
            # unchanged.
            if self._current is not None and bucket == self._bucket:
                storage = self._current.storage
            else:
                storage = storage_of(bucket)
            self._bucket = bucket
            self._current = Connections(storage, sync_so, ghostcut)
            self._loaded_at = time.monotonic()
        return self._current


_caches: dict[Settings, _Cache] = {}


async def _load(name: str) -> tuple[BucketDocument, SyncSoCredentials, GhostCutCredentials]:
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
    return await _caches.setdefault(get_settings(), _Cache()).get()
