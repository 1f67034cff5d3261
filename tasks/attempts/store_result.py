"""Copies a provider's result into the bucket, whole and checked; an expired link is renewed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from pro_video.core.checkpoints import reach
from pro_video.core.errors import LinkExpired
from pro_video.core.progress import Stage
from pro_video.core.stopping import current_stop
from pro_video.records import StoredFile, StoredResult
from pro_video.s3.storage import Storage, StoredObject
from tasks.run.job import Job

# Links for one result; each replaces one that has expired during the transfer.
_MOST_LINKS = 4


async def store_result(
    job: Job,
    storage: Storage,
    step: str,
    key: str,
    link: Callable[[], Awaitable[str]],
    stage: Stage,
) -> StoredResult:
    """Stream a result into the bucket, unless it is there.

    Args:
        job: the job whose progress is shown.
        storage: the bucket.
        step: ``lip-sync`` or ``inpainting``.
        key: object for the result; a copy that is fetched later has a key of its own.
        link: reads a valid link from the provider.
        stage: the row of the progress table that the transfer fills.

    Raises:
        LinkExpired: the provider's links expire faster than the result can be fetched.
        TransientError: the transfer broke off; another try may succeed.
        TerminalError: the result cannot be taken.
    """
    present = await storage.head(key)
    if present is None:
        reach("store.begin", step)
        present = await _fetch(job, storage, step, key, link, stage)
        reach("store.stored", step)
    return StoredResult(file=StoredFile.of(present), stored_at=job.now())


async def _fetch(
    job: Job,
    storage: Storage,
    step: str,
    key: str,
    link: Callable[[], Awaitable[str]],
    stage: Stage,
) -> StoredObject:
    share = 0.0

    def note(done: int, total: int | None) -> None:
        nonlocal share
        reach("store.part", step)
        share = done / total if total else 0.0

    async with job.reporter.following(stage, lambda: share):
        for remaining in reversed(range(_MOST_LINKS)):
            current_stop().raise_if_set()
            try:
                return await storage.fetch(
                    await link(), key, content_type="video/mp4", on_progress=note
                )
            except LinkExpired:
                if not remaining:
                    raise
    raise AssertionError("unreachable")
