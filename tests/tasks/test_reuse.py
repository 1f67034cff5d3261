"""The index of lip-syncs that later jobs may take over, after a cleanup."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

from pro_video.core.job_names import JobKeys
from pro_video.records import StageResult, StoredFile
from pro_video.s3.storage import Storage
from tasks.reuse import Reusable, removed_entries

NOW = datetime.now(UTC)


async def entry_of(storage: Storage, name: str, *, stored: bool) -> Reusable:
    """An entry of the index; its result is in the bucket if ``stored``."""
    keys = JobKeys(str(uuid.uuid4()))
    if stored:
        await storage.put_bytes(keys.lip_sync_result, b"video")
    stage = StageResult(
        attempt=1,
        reference="pv",
        provider_job_id="1",
        stored=StoredFile(key=keys.lip_sync_result, size=5, etag="e"),
        submitted_at=NOW,
        finished_at=NOW,
        stored_at=NOW,
    )
    entry = Reusable(job_id=keys.job_id, areas="", stage=stage)
    await storage.put_bytes(f"results/lip-sync/{name}", entry.model_dump_json().encode())
    return entry


async def test_entries_without_a_result_are_found(storage: Storage) -> None:
    await entry_of(storage, "kept", stored=True)
    removed = await entry_of(storage, "removed", stored=False)
    planned = await entry_of(storage, "planned", stored=True)
    await storage.put_bytes("results/lip-sync/foreign", b"{}")
    gone = {planned.stage.stored.key}

    async def found(*jobs: str, before: datetime, is_over: bool = False) -> list[str]:
        entries = removed_entries(storage, gone, jobs, before=before, is_over=lambda: is_over)
        return [each.key.rpartition("/")[2] async for each in entries]

    later = NOW + timedelta(hours=1)
    assert await found(before=NOW - timedelta(hours=1)) == []
    assert await found(before=later, is_over=True) == []
    assert await found(removed.job_id, before=later) == ["removed"]
    assert await found(before=later) == ["planned", "removed"]
