"""Bring a provider's result home: whole, checked, and with a fresh link when the first one has
run out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from pro_video.checkpoints import reach
from pro_video.errors import LinkExpired
from pro_video.progress import Stage
from pro_video.records import StoredResult
from pro_video.stopping import current_stop
from pro_video.storage import Storage, StoredObject
from tasks.job import Job
from tasks.upload import stored_file

# Each is asked for when the one before has run out during the transfer.
_MOST_LINKS = 4


async def bring_result(
    job: Job,
    storage: Storage,
    step: str,
    key: str,
    link: Callable[[], Awaitable[str]],
    stage: Stage,
    copy: int = 1,
) -> StoredResult:
    """Stream a result into the bucket; a first copy that is there already is returned.

    A later copy takes the place of the one before, which stays beside it unless it is the same.

    Args:
        job: the job whose progress is shown.
        storage: the bucket.
        step: ``lip-sync`` or ``inpainting``.
        key: where the result goes.
        link: asks the provider for a link that works now.
        stage: the row of the progress table that the transfer fills.
        copy: how often the result was asked for, from 1.

    Raises:
        LinkExpired: the provider's links run out faster than the result can be fetched.
        TransientError: the transfer broke and may be tried again.
        TerminalError: the result cannot be taken.
    """
    before = await storage.head(key)
    if before is not None and copy == 1:
        return StoredResult(file=stored_file(before), stored_at=job.now())
    aside = f"{key.removesuffix('.mp4')}-copy-{copy - 1}.mp4"
    if before is not None and await storage.head(aside) is None:
        # One that is there is from a process that died later in this very step.
        await storage.copy_object(storage.uri(key), aside, content_type="video/mp4")
    reach("store.begin", step)
    stored = await _fetch(job, storage, step, key, link, stage)
    reach("store.stored", step)
    if before is not None and stored.etag == before.etag:
        await storage.delete(aside)
    return StoredResult(file=stored_file(stored), stored_at=job.now())


async def _fetch(
    job: Job,
    storage: Storage,
    step: str,
    key: str,
    link: Callable[[], Awaitable[str]],
    stage: Stage,
) -> StoredObject:
    share = 0.0

    def told(done: int, total: int | None) -> None:
        nonlocal share
        reach("store.part", step)
        share = done / total if total else 0.0

    async with job.reporter.following(stage, lambda: share):
        for remaining in reversed(range(_MOST_LINKS)):
            current_stop().raise_if_set()
            try:
                return await storage.fetch(
                    await link(), key, content_type="video/mp4", on_progress=told
                )
            except LinkExpired:
                if not remaining:
                    raise
    raise AssertionError("unreachable")
