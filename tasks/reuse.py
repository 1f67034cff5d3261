"""Reuses the lip-sync result of an earlier job when only the annotation areas differ.

Such a job costs only the text removal. Its video, audios, segments and lip-sync options have to be
the same. A job whose areas are the same too is a request for a new lip-sync and buys one.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Callable, Collection
from datetime import datetime

from prefect.context import FlowRunContext
from pydantic import ValidationError

from pro_video.core.errors import SourceRefused
from pro_video.core.job_names import RECORDS, job_file
from pro_video.core.stopping import current_stop
from pro_video.records import Record, StageResult, StoredFile, UploadedFiles
from pro_video.request.check import JobRequest
from pro_video.request.models import LipSyncOptions
from pro_video.s3.listing import Listed
from pro_video.s3.storage import Storage
from tasks.connections.connections import connections
from tasks.connections.records import recorded, with_retries
from tasks.run.job import Job

_INDEX = f"{RECORDS}lip-sync/"

OWNER_TAG = "owner:"
"""Flow-run tag with the job's owner; reuse never crosses owners."""


class Reusable(Record):
    """An entry of the index: the last finished lip-sync of one kind.

    Attributes:
        job_id: the job that bought it.
        areas: fingerprint of the areas in the last job that used it.
        stage: the finished stage, with the key of its result.
    """

    job_id: str
    areas: str
    stage: StageResult


class Reused(Record):
    """The lip-sync that a job takes over, or None; decided once.

    Its import path is a data format, like those of :mod:`pro_video.records`.
    """

    stage: StageResult | None = None


def lip_sync_fingerprint(owner: str, request: JobRequest, files: UploadedFiles) -> str:
    """Identifies a lip-sync by its inputs.

    Size and ETag identify the bytes of a file. The ETag of equal bytes differs in encrypted buckets
    and after an upload in other parts; the lip-sync is then bought. The converse never happens.
    """
    copies = dict(zip(request.audios, files.audios, strict=True))
    return _digest(
        {
            "owner": owner,
            "video": [files.video.size, files.video.etag],
            "segments": [
                [
                    segment.start,
                    segment.end,
                    segment.audio_start,
                    segment.audio_end,
                    copies[segment.audio].size,
                    copies[segment.audio].etag,
                    # A segment without options of its own is identified as before there were any.
                    *([segment.overrides] if segment.overrides else []),
                ]
                for segment in sorted(request.segments, key=lambda segment: segment.start)
            ],
            "options": _options(request.lip_sync),
        }
    )


def _options(options: LipSyncOptions) -> dict[str, object]:
    later = {"active_speaker", "occlusion_detection"}
    return options.model_dump(mode="json", exclude=later) | options.model_dump(
        mode="json", include=later, exclude_defaults=True
    )


def areas_fingerprint(request: JobRequest) -> str:
    """Identifies the part of a job behind the lip-sync."""
    return _digest(
        {
            "areas": [area.model_dump(mode="json") for area in request.annotation_areas],
            "options": request.inpainting.model_dump(mode="json"),
        }
    )


async def reuse_lip_sync(job: Job, request: JobRequest, files: UploadedFiles) -> Reused:
    """Take over the lip-sync of an earlier job with the same inputs, if there is one.

    Args:
        job: the job.
        request: its checked request.
        files: its copies of the sources.
    """
    return await recorded(
        f"{job.job_id}/reused", lambda: with_retries(lambda: _reuse(job, request, files))
    )


async def _reuse(job: Job, request: JobRequest, files: UploadedFiles) -> Reused:
    storage = (await connections()).storage
    raw = await storage.get_bytes(_key(request, files))
    if raw is None:
        return Reused()
    entry = Reusable.model_validate_json(raw)
    source = entry.stage.stored
    if entry.job_id == job.job_id or entry.areas == areas_fingerprint(request):
        return Reused()
    present = await storage.head(source.key)
    if present is None or present.etag != source.etag:
        return Reused()
    try:
        copied = await storage.copy_object(
            storage.uri(source.key), job.keys.lip_sync_result, content_type="video/mp4"
        )
    except SourceRefused:
        # Removed in the meantime.
        return Reused()
    return Reused(stage=_taken_over(entry, StoredFile.of(copied), job.now()))


async def remember_lip_sync(
    job: Job, request: JobRequest, files: UploadedFiles, stage: StageResult
) -> None:
    """Let later jobs with the same inputs find this job's lip-sync."""
    storage = (await connections()).storage
    origin = stage.reused_from or job.job_id
    entry = Reusable(job_id=origin, areas=areas_fingerprint(request), stage=stage)
    await storage.put_bytes(
        _key(request, files), entry.model_dump_json().encode(), content_type="application/json"
    )


async def removed_entries(
    storage: Storage,
    gone: Collection[str],
    jobs: Collection[str],
    *,
    before: datetime,
    is_over: Callable[[], bool],
) -> AsyncIterator[Listed]:
    """The entries of the index whose result was removed: they have no use any more.

    Args:
        storage: the bucket.
        gone: objects that are removed already, or would be.
        jobs: ids of the only jobs whose lip-syncs count; empty for all.
        before: younger entries stay.
        is_over: must the search end now?
    """
    for listed in await asyncio.to_thread(lambda: list(storage.listed(_INDEX))):
        current_stop().raise_if_set()
        if is_over():
            return
        raw = await storage.get_bytes(listed.key) if listed.modified_at < before else None
        try:
            entry = Reusable.model_validate_json(raw or b"")
        except ValidationError:
            # Young, removed meanwhile, a foreign object, or an entry of another version.
            continue
        key = entry.stage.stored.key
        owner = job_file(key)
        if jobs and (owner is None or owner.job_id not in jobs):
            continue
        if key in gone or await storage.head(key) is None:
            yield listed


def _taken_over(entry: Reusable, file: StoredFile, now: datetime) -> StageResult:
    return entry.stage.model_copy(
        update={
            "attempt": 0,
            "reused_from": entry.job_id,
            "stored": file,
            "submitted_at": now,
            "finished_at": now,
            "stored_at": now,
            "cost_usd": None,
        }
    )


def _key(request: JobRequest, files: UploadedFiles) -> str:
    return f"{_INDEX}{lip_sync_fingerprint(_owner(), request, files)}"


def _owner() -> str:
    context = FlowRunContext.get()
    tags = context.flow_run.tags if context is not None and context.flow_run is not None else []
    return next((tag for tag in sorted(tags) if tag.startswith(OWNER_TAG)), "")


def _digest(parts: dict[str, object]) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
