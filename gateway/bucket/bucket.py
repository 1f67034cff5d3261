"""The bucket of the jobs, as the Prefect block ``PRO_VIDEO_BLOCK`` names it."""

from __future__ import annotations

import asyncio

from gateway.base.malloc import trim
from gateway.base.refreshed_value import RefreshedValue
from gateway.prefect_client.loop import PrefectLoop
from pro_video.core.settings import get_settings
from pro_video.s3.storage import Storage
from tasks.connections.bucket import KeptStorage, read_bucket

# Changed credentials are picked up within this time, in seconds.
_BLOCK_LIFE = 60.0


class Bucket:
    """Gives the storage; reads the block at the first request, so that the gateway starts before
    Prefect does."""

    def __init__(self, prefect: PrefectLoop, *, timeout: float) -> None:
        self._prefect = prefect
        self._timeout = timeout
        self._kept = KeptStorage()
        self._current = RefreshedValue(
            self._read, name="The storage", life=_BLOCK_LIFE, timeout=None
        )

    async def storage(self) -> Storage:
        """The bucket of the jobs.

        Raises:
            ProblemError: 503, when Prefect is away or has no such block.
        """
        return await self._current.get()

    async def _read(self) -> Storage:
        name = get_settings().block
        async with asyncio.timeout(self._timeout):
            block = await self._prefect.run(lambda client: read_bucket(client, name))
        # Without a deadline: describing S3 to boto3 takes seconds on a busy machine.
        storage = await self._kept.of(block)
        if storage is not self._current.last:
            await asyncio.to_thread(trim)
        return storage
