"""Verify: a result counts only when it is what was asked for; and the picture of before and
after."""

from __future__ import annotations

from collections.abc import Mapping
from typing import BinaryIO, cast

from prefect import get_run_logger, task

from pro_video.checkpoints import reach
from pro_video.errors import MediaUnusable
from pro_video.inpainting_plan import inpainting_plan
from pro_video.inspection.changes import (
    check_lips_changed,
    check_picture_changed,
    untouched,
)
from pro_video.inspection.examine import examine
from pro_video.inspection.heard import SLACK, check_sound_kept, check_sound_replaced, lines
from pro_video.inspection.reading import MOMENTS_BUDGET
from pro_video.media_info import MediaInfo
from pro_video.preview import choose_instants, make_preview
from pro_video.records import ProbedFiles, StoredFile, UploadedFiles, Verified
from pro_video.request import InpaintingRequest, JobRequest
from pro_video.rules.files import audible_seconds
from pro_video.storage import Storage
from pro_video.timeline import Timeline
from pro_video.verify import check_output, expected_duration, same_duration
from tasks.connections import connections
from tasks.job import Job, current_job
from tasks.ledger import INPAINTING, LIP_SYNC
from tasks.options import PERSISTED
from tasks.requests import timeline_of

# Blocks around what the checks ask for are read too.
_READ_BUDGET = 2 * MOMENTS_BUDGET


@task(name="verify lip-sync", **PERSISTED)
async def verify_lip_sync(
    record: str,
    request: JobRequest,
    audios: Mapping[str, MediaInfo],
    files: UploadedFiles,
    probed: ProbedFiles,
    result: StoredFile,
) -> Verified:
    """Check the lip-sync result; make the preview when it is the job's last.

    Raises:
        OutputRejected: naming the check it does not pass. Both files stay in the bucket.
    """
    reach("verify.begin", LIP_SYNC)
    job = current_job()
    storage = (await connections()).storage
    reader = await _opened(storage, result)
    info = await examine(
        check_output,
        reader,
        size=result.size,
        duration=expected_duration(
            probed.video, request.segments, audios, request.lip_sync.sync_mode
        ),
        sound=True,
        like=probed.video,
        what="the lip-sync result",
    )
    timeline = timeline_of(request, audios, probed.video, info)
    if probed.video.video is not None and info.video is not None:
        await examine(
            check_lips_changed,
            await _opened(storage, files.video),
            await _opened(storage, result),
            request.segments,
            timeline,
            length=info.duration,
            source=probed.video.video,
            result=info.video,
        )
    await _check_lip_sync_sound(storage, request, audios, files, probed, result, timeline, info)
    reach("verify.done", LIP_SYNC)
    if request.annotation_areas:
        return Verified(info=info)
    instants = choose_instants(info.duration, request.segments)
    preview = await _preview(job, storage, files.video, result, instants)
    return Verified(info=info, preview=preview)


@task(name="verify inpainting", **PERSISTED)
async def verify_inpainting(
    record: str,
    request: InpaintingRequest,
    files: UploadedFiles,
    probed: ProbedFiles,
    result: StoredFile,
) -> Verified:
    """Check the text removal: the whole file, changed in its areas, unchanged elsewhere.

    Raises:
        OutputRejected: naming the check it does not pass. Both files stay in the bucket.
    """
    reach("verify.begin", INPAINTING)
    job = current_job()
    storage = (await connections()).storage
    reader = await _opened(storage, result)
    info = await examine(
        check_output,
        reader,
        size=result.size,
        duration=same_duration(probed.video),
        sound=probed.video.audio is not None,
        like=probed.video,
        what="the result",
    )
    plan = inpainting_plan(request.annotation_areas, request.inpainting, probed.video.duration)
    if probed.video.video is not None and info.video is not None:
        await examine(
            check_picture_changed,
            await _opened(storage, files.video),
            await _opened(storage, result),
            plan,
            probed.video.duration,
            source=probed.video.video,
            result=info.video,
        )
    if probed.video.audio is not None:
        await examine(
            check_sound_kept,
            await _opened(storage, files.video),
            await _opened(storage, result),
            [(0.0, min(probed.video.duration, info.duration))],
        )
    instants = choose_instants(info.duration, (), request.annotation_areas)
    original = job.ledger.files.video if job.is_subflow and job.ledger.files else files.video
    preview = await _preview(job, storage, original, result, instants)
    reach("verify.done", INPAINTING)
    return Verified(info=info, preview=preview)


async def _check_lip_sync_sound(
    storage: Storage,
    request: JobRequest,
    audios: Mapping[str, MediaInfo],
    files: UploadedFiles,
    probed: ProbedFiles,
    result: StoredFile,
    timeline: Timeline,
    info: MediaInfo,
) -> None:
    """The sound of the source outside the segments, and that of their audios inside."""
    if probed.video.audio is not None:
        await examine(
            check_sound_kept,
            await _opened(storage, files.video),
            await _opened(storage, result),
            untouched(request.segments, timeline, info.duration, SLACK),
            timeline.at,
        )
    heard = [audible_seconds(segment, audios[segment.audio]) for segment in request.segments]
    compared = [
        (line, await _opened(storage, files.audios[files.audio_of_segment[line.segment]]))
        for line in lines(request.segments, heard, timeline, info.duration)
    ]
    await examine(
        check_sound_replaced,
        await _opened(storage, files.video),
        await _opened(storage, result),
        compared,
    )


async def _opened(storage: Storage, file: StoredFile) -> BinaryIO:
    """A seekable stream over an object, to be read in a thread; the checks bound it themselves."""
    return cast(BinaryIO, await storage.reader(file.key, byte_budget=_READ_BUDGET))


async def _preview(
    job: Job, storage: Storage, before: StoredFile, after: StoredFile, instants: tuple[float, ...]
) -> StoredFile | None:
    first, second = await _opened(storage, before), await _opened(storage, after)
    try:
        jpeg = await examine(make_preview, first, second, instants=instants)
    except MediaUnusable as error:
        # The result passed its checks; a missing thumbnail is no reason to hold it back.
        get_run_logger().warning("No preview could be made: %s", error.message)
        return None
    await storage.put_bytes(job.keys.preview, jpeg, content_type="image/jpeg")
    found = await storage.head(job.keys.preview)
    return None if found is None else StoredFile(key=found.key, size=found.size, etag=found.etag)
