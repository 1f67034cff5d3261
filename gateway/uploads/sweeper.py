"""Removes orphaned and expired uploads from the bucket."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from gateway.base.problems import ProblemError
from gateway.base.settings import GatewaySettings
from gateway.bucket.bucket import Bucket
from gateway.bucket.objects import (
    abort_uploads,
    in_thread,
    list_objects,
    list_unfinished,
    remove_all,
)
from gateway.prefect_client.runs import Runs
from gateway.uploads.direct_uploads import RECORD
from gateway.uploads.orphan_uploads import OrphanUploads
from pro_video.core.errors import ProVideoError
from pro_video.s3.listing import Listed
from pro_video.s3.storage import Storage

logger = logging.getLogger("pro_video.gateway.sweeper")

_PREFIX = "uploads/"
# Clocks differ, and the last part may still be on its way when an upload expires.
_SLACK = timedelta(minutes=10)
# At the lowest rate that a form may have, one part of it takes 22 minutes. Together with the pause
# between two sweeps this is less than an hour.
_FORM_SILENCE = timedelta(minutes=40)


@dataclass
class _Upload:
    """One upload in the bucket: its objects, and its unfinished multipart uploads."""

    objects: list[Listed] = field(default_factory=list)
    unfinished: list[Listed] = field(default_factory=list)

    @property
    def changed_at(self) -> datetime:
        """The time of its last part or object."""
        return max(entry.modified_at for entry in (*self.objects, *self.unfinished))

    @property
    def is_form(self) -> bool:
        """Whether it is a form's: a direct upload has a record from its beginning on."""
        return not any(entry.key.endswith(f"/{RECORD}") for entry in self.objects)

    @property
    def is_open(self) -> bool:
        return all(entry.key.endswith(f"/{RECORD}") for entry in self.objects)


class Sweeper:
    """The removals of one gateway; several gateways may sweep the same bucket."""

    def __init__(
        self, settings: GatewaySettings, bucket: Bucket, runs: Runs, orphans: OrphanUploads
    ) -> None:
        self._settings = settings
        self._bucket = bucket
        self._runs = runs
        self._orphans = orphans

    async def run(self) -> None:
        """Remove uploads until cancelled; errors wait for the next time."""
        pause = self._settings.sweep_seconds
        swept_at = time.monotonic()
        while True:
            await asyncio.sleep(min(pause, self._settings.upstream_seconds))
            try:
                await self.remove_orphans()
                if time.monotonic() - swept_at >= pause:
                    swept_at = time.monotonic()
                    await self.sweep(datetime.now(UTC))
            except (ProblemError, ProVideoError) as error:
                logger.warning("Could not sweep the uploads: %s", type(error).__name__)

    async def remove_orphans(self) -> None:
        """Remove the orphans that no job uses.

        Raises:
            ProblemError: Prefect or the storage is still away.
        """
        # Before that, a creation without an answer may still make a job of them.
        for prefix in self._orphans.older_than(2 * self._settings.upstream_seconds):
            used = await self._runs.uses_upload(prefix.split("/")[2])
            if used or await remove_all(await self._bucket.storage(), prefix):
                self._orphans.drop(prefix)

    async def sweep(self, now: datetime) -> None:
        """Remove expired uploads.

        A direct upload that was not completed is removed at its expiry. A complete upload and the
        files of a form are removed after the time to keep them, unless an unfinished job uses them.
        A form without a job and without new parts was broken off by a killed gateway.
        """
        storage = await self._bucket.storage()
        open_until = now - timedelta(hours=self._settings.upload_hours) - _SLACK
        keep_until = now - timedelta(hours=self._settings.upload_keep_hours)
        await in_thread(lambda: abort_uploads(storage, _PREFIX, before=open_until))
        removed = 0
        for prefix, upload in (await in_thread(lambda: _uploads(storage))).items():
            upload_id = prefix.rpartition("/")[2]
            is_expired = upload.changed_at < (open_until if upload.is_open else keep_until)
            broken_off = upload.is_form and upload.changed_at < now - _FORM_SILENCE
            if (broken_off and not await self._runs.uses_upload(upload_id, ever=True)) or (
                is_expired and not await self._runs.uses_upload(upload_id)
            ):
                await remove_all(storage, f"{prefix}/")
                removed += 1
        if removed:
            logger.info("Removed %d expired uploads", removed)


def _uploads(storage: Storage) -> dict[str, _Upload]:
    """All uploads by their prefixes ``uploads/<owner>/<upload id>``; blocking."""
    found: dict[str, _Upload] = defaultdict(_Upload)
    # Unfinished ones first: an upload that is completed in between is then listed twice, not never.
    for entry in list_unfinished(storage, _PREFIX):
        if (prefix := _prefix_of(entry)) is not None:
            found[prefix].unfinished.append(entry)
    for entry in list_objects(storage, _PREFIX):
        if (prefix := _prefix_of(entry)) is not None:
            found[prefix].objects.append(entry)
    return found


def _prefix_of(entry: Listed) -> str | None:
    parts = entry.key.split("/")
    return "/".join(parts[:3]) if len(parts) == 4 else None
