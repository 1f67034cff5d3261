"""Makes the verdict on a result that was paid for, and the picture of before and after."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import BinaryIO, cast

from prefect import get_run_logger, task

from pro_video.core.checkpoints import reach
from pro_video.core.errors import MediaUnusable, ProVideoError
from pro_video.core.stopping import Stopped
from pro_video.judging.judge import READ_BUDGET, Stage, judge_inpainting, judge_lip_sync, unjudged
from pro_video.judging.preview import choose_instants, make_preview
from pro_video.judging.verdict import Judgement, Verdict
from pro_video.media.children.examine import examine
from pro_video.media.info import MediaInfo
from pro_video.providers.ghostcut.plan import inpainting_plan
from pro_video.records import ProbedFiles, StoredFile, UploadedFiles, Verified
from pro_video.request.check import InpaintingRequest, JobRequest
from pro_video.s3.storage import Storage
from tasks.connections.connections import connections
from tasks.run.job import Job, current_job
from tasks.run.job_state import INPAINTING, LIP_SYNC
from tasks.run.options import PERSISTED
from tasks.run.unexpected import tell_unexpected


@task(name="verify lip-sync", **PERSISTED)
async def verify_lip_sync(
    record: str,
    request: JobRequest,
    audios: Mapping[str, MediaInfo],
    files: UploadedFiles,
    probed: ProbedFiles,
    result: StoredFile,
) -> Verified:
    """Judge the lip-sync result; make the preview when it is the job's last."""
    reach("verify.begin", LIP_SYNC)
    job = current_job()
    storage = (await connections()).storage
    heard = {
        segment.audio: await _opened(storage, (probed.sent or files.audios)[index])
        for segment, index in zip(request.segments, files.audio_of_segment, strict=True)
    }
    judgement = await judged(
        job,
        LIP_SYNC,
        examine(
            judge_lip_sync,
            await _opened(storage, files.video),
            await _opened(storage, result),
            heard,
            request=request,
            audio_infos=audios,
            video=probed.video,
            size=result.size,
        ),
    )
    preview = None
    if not request.annotation_areas and (info := _shown(judgement)):
        instants = choose_instants(info.duration, request.segments)
        preview = await _preview(job, storage, files.video, result, instants)
    reach("verify.done", LIP_SYNC)
    return Verified(judgement=judgement, info=judgement.info, preview=preview)


@task(name="verify inpainting", **PERSISTED)
async def verify_inpainting(
    record: str,
    request: InpaintingRequest,
    files: UploadedFiles,
    probed: ProbedFiles,
    result: StoredFile,
) -> Verified:
    """Judge the text removal, and make the preview."""
    reach("verify.begin", INPAINTING)
    job = current_job()
    storage = (await connections()).storage
    judgement = await judged(
        job,
        INPAINTING,
        examine(
            judge_inpainting,
            await _opened(storage, files.video),
            await _opened(storage, result),
            plan=inpainting_plan(
                request.annotation_areas, request.inpainting, probed.video.duration
            ),
            video=probed.video,
            size=result.size,
        ),
    )
    preview = None
    if info := _shown(judgement):
        instants = choose_instants(info.duration, (), request.annotation_areas)
        original = job.ledger.files.video if job.is_subflow and job.ledger.files else files.video
        preview = await _preview(job, storage, original, result, instants)
    reach("verify.done", INPAINTING)
    return Verified(judgement=judgement, info=judgement.info, preview=preview)


async def judged(job: Job, stage: Stage, judging: Awaitable[Judgement]) -> Judgement:
    """The judgement; doubtful where the checks could not be made."""
    try:
        return await judging
    except MediaUnusable as error:
        return unjudged(stage, error)
    except (ProVideoError, Stopped):
        raise
    except Exception as error:  # noqa: BLE001 - a mistake in a check withholds no paid result
        shown = tell_unexpected(job.job_id, error)
        return unjudged(stage, MediaUnusable(f"the check failed ({shown})"))


def _shown(judgement: Judgement) -> MediaInfo | None:
    """The file, when it can be shown in a preview."""
    return None if judgement.verdict is Verdict.UNUSABLE else judgement.info


async def _opened(storage: Storage, file: StoredFile) -> BinaryIO:
    """A seekable stream over an object, for the functions that read media."""
    return cast(BinaryIO, await storage.reader(file.key, byte_budget=READ_BUDGET))


async def _preview(
    job: Job, storage: Storage, before: StoredFile, after: StoredFile, instants: tuple[float, ...]
) -> StoredFile | None:
    first, second = await _opened(storage, before), await _opened(storage, after)
    try:
        jpeg = await examine(make_preview, first, second, instants=instants)
    except MediaUnusable as error:
        # A missing thumbnail is no reason to hold a result back.
        get_run_logger().warning("No preview could be made: %s", error.message)
        return None
    await storage.put_bytes(job.keys.preview, jpeg, content_type="image/jpeg")
    found = await storage.head(job.keys.preview)
    return None if found is None else StoredFile(key=found.key, size=found.size, etag=found.etag)
