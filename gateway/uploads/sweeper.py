"""Removes abandoned and expired uploads from the bucket."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from gateway.app.context import GatewayContext
from gateway.base.problems import ProblemError
from gateway.bucket.objects import (
    Listed,
    abort_uploads,
    discard,
    in_thread,
    list_objects,
    list_unfinished,
)
from gateway.prefect_client.runs import Runs
from gateway.uploads.direct_uploads import RECORD
from gateway.uploads.orphan_uploads import Leftovers
from pro_video.core.errors import ProVideoError
from pro_video.s3.storage import Storage

logger = logging.getLogger("pro_video.gateway.sweeper")

_PREFIX = "uploads/"
_DOUBT = 2
# Clocks differ, and the last part may still be on its way when an upload expires.
_SLACK = timedelta(minutes=10)
# At the least rate that a form may have, a part of it takes 22 minutes. With the pause between two
# sweeps this is less than an hour.
_FORM_SILENCE = timedelta(minutes=40)


async def sweep_forever(context: GatewayContext, runs: Runs, leftovers: Leftovers) -> None:
    """Sweep now and then, as long as the gateway runs; trouble waits for the next time."""
    pause = context.settings.sweep_seconds
    swept_at = time.monotonic()
    while True:
        await asyncio.sleep(min(pause, context.settings.upstream_seconds))
        try:
            await tidy(context, runs, leftovers)
            if time.monotonic() - swept_at >= pause:
                swept_at = time.monotonic()
                await sweep(context, runs, datetime.now(UTC))
        except (ProblemError, ProVideoError) as error:
            logger.warning("Could not sweep the uploads: %s", type(error).__name__)


async def tidy(context: GatewayContext, runs: Runs, leftovers: Leftovers) -> None:
    """Remove what forms have left behind.

    Raises:
        ProblemError: Prefect or the storage is still away.
    """
    # Until then a request for a job, whose answer was lost, may still make one.
    for prefix in leftovers.older_than(_DOUBT * context.settings.upstream_seconds):
        used = await runs.uses_upload(prefix.split("/")[2])
        if used or await discard(context.threads, await context.storage(), prefix):
            leftovers.drop(prefix)


@dataclass
class _Upload:
    """One upload in the bucket: its objects, and its unfinished multipart uploads."""

    objects: list[Listed] = field(default_factory=list)
    unfinished: list[Listed] = field(default_factory=list)

    @property
    def last_sign(self) -> datetime:
        """The time of its last part or object."""
        return max(entry.modified_at for entry in (*self.objects, *self.unfinished))

    @property
    def is_form(self) -> bool:
        """Is it a form's? Only direct uploads have a record, from their beginning on."""
        return not any(entry.key.endswith(f"/{RECORD}") for entry in self.objects)

    @property
    def is_open(self) -> bool:
        return all(entry.key.endswith(f"/{RECORD}") for entry in self.objects)


async def sweep(context: GatewayContext, runs: Runs, now: datetime) -> int:
    """Remove expired uploads; returns how many.

    A direct upload that was not completed goes at its expiry; a complete upload, and the files of
    a form, after the time to keep them, unless an unfinished job names them. A form that nothing
    arrives of any more, and that no job came of, was broken off by a gateway that was killed.
    """
    storage = await context.storage()
    settings = context.settings
    open_until = now - timedelta(hours=settings.upload_hours) - _SLACK
    keep_until = now - timedelta(hours=settings.upload_keep_hours)
    await in_thread(context.threads, lambda: abort_uploads(storage, _PREFIX, before=open_until))
    found = await in_thread(context.threads, lambda: _uploads(storage))
    removed = 0
    for prefix, upload in found.items():
        upload_id = prefix.rpartition("/")[2]
        if upload.is_form and upload.last_sign < now - _FORM_SILENCE:
            goes = not await runs.uses_upload(upload_id, ever=True)
        else:
            goes = False
        if not goes and upload.last_sign < (open_until if upload.is_open else keep_until):
            goes = not await runs.uses_upload(upload_id)
        if goes:
            await discard(context.threads, storage, f"{prefix}/")
            removed += 1
    if removed:
        logger.info("Removed %d expired uploads", removed)
    return removed


def _uploads(storage: Storage) -> dict[str, _Upload]:
    """All uploads by their prefixes ``uploads/<owner>/<upload id>``; blocking."""
    found: dict[str, _Upload] = defaultdict(_Upload)
    # First what is unfinished: what becomes an object in between is then seen twice, not never.
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
