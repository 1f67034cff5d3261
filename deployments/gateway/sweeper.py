"""Removes what nobody completed and nobody needs any more from the uploads' part of the bucket."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from datetime import UTC, datetime, timedelta

from deployments.gateway.bucket import Listed, abort_uploads, discard, in_thread, list_objects
from deployments.gateway.context import GatewayContext
from deployments.gateway.direct_uploads import RECORD
from deployments.gateway.leftovers import Leftovers
from deployments.gateway.problems import ProblemError
from deployments.gateway.runs import Runs
from pro_video.errors import ProVideoError

logger = logging.getLogger("pro_video.gateway.sweeper")

_PREFIX = "uploads/"
_DOUBT = 2
# Clocks differ, and the last part may still be on its way when an upload expires.
_SLACK = timedelta(minutes=10)


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


async def sweep(context: GatewayContext, runs: Runs, now: datetime) -> int:
    """Remove expired uploads; returns how many.

    A direct upload that was not completed goes at its expiry; a complete upload, and the files of
    a form, after the time to keep them, unless an unfinished job names them.
    """
    storage = await context.storage()
    settings = context.settings
    open_until = now - timedelta(hours=settings.upload_hours) - _SLACK
    keep_until = now - timedelta(hours=settings.upload_keep_hours)
    await in_thread(context.threads, lambda: abort_uploads(storage, _PREFIX, before=open_until))
    found: dict[str, list[Listed]] = defaultdict(list)
    for entry in await in_thread(context.threads, lambda: list(list_objects(storage, _PREFIX))):
        parts = entry.key.split("/")
        if len(parts) == 4:
            found["/".join(parts[:3])].append(entry)
    removed = 0
    for prefix, entries in found.items():
        newest = max(entry.modified_at for entry in entries)
        is_open = all(entry.key.endswith(f"/{RECORD}") for entry in entries)
        if newest >= (open_until if is_open else keep_until):
            continue
        if await runs.uses_upload(prefix.rpartition("/")[2]):
            continue
        await discard(context.threads, storage, f"{prefix}/")
        removed += 1
    if removed:
        logger.info("Removed %d expired uploads", removed)
    return removed
