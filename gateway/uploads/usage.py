"""The bytes that the uploads of an owner take in the bucket, and their limit."""

from __future__ import annotations

from gateway.base.problems import ProblemError
from gateway.base.settings import GatewaySettings
from gateway.base.single_flight import SingleFlightCache
from gateway.bucket.bucket import Bucket
from gateway.bucket.objects import in_thread, list_objects

_OWNERS = 10_000
_COUNT_LIFE = 30.0


def owner_prefix(owner: str) -> str:
    """The prefix of an owner's uploads."""
    return f"uploads/{owner}/"


def upload_prefix(owner: str, upload_id: str) -> str:
    """The prefix of one upload's objects."""
    return f"{owner_prefix(owner)}{upload_id}/"


class StorageUsage:
    """Bytes per owner: counted in the bucket every half minute, and added up in between."""

    def __init__(self, settings: GatewaySettings, bucket: Bucket) -> None:
        self._settings = settings
        self._bucket = bucket
        self._counted: SingleFlightCache[str, int] = SingleFlightCache(size=_OWNERS)
        self._added: dict[str, int] = {}

    async def room(self, owner: str) -> int:
        """Bytes that the owner may still store; not below 0."""
        counted = await self._counted.get(owner, lambda: self._count(owner), seconds=_COUNT_LIFE)
        used = counted + self._added.get(owner, 0)
        return max(0, self._settings.stored_bytes - used)

    def add(self, owner: str, size: int) -> None:
        """Add bytes that were promised or stored since the last count."""
        self._added[owner] = self._added.get(owner, 0) + size

    async def _count(self, owner: str) -> int:
        self._added.pop(owner, None)
        storage = await self._bucket.storage()
        return await in_thread(
            lambda: sum(found.size for found in list_objects(storage, owner_prefix(owner)))
        )


def storage_full(settings: GatewaySettings) -> ProblemError:
    """429 for an owner whose uploads reach the limit."""
    return ProblemError(
        429,
        "storage_limit",
        f"With this file your uploads would take more than the {settings.stored_bytes} bytes that "
        "they may. Nothing was stored; remove uploads, or wait until old ones expire.",
        retry_after=3600,
    )
