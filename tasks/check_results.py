"""Judges a paid result, and makes the picture of before and after."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, BinaryIO, cast

from prefect import get_run_logger

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
from tasks.run.job import Job
from tasks.run.job_state import INPAINTING, LIP_SYNC


async def check_lip_sync(
    job: Job,
    storage: Storage,
    request: JobRequest,
    audios: Mapping[str, MediaInfo],
    files: UploadedFiles,
    probed: ProbedFiles,
    result: StoredFile,
) -> Verified:
    """Judge the lip-sync result; make the preview when it is the job's last."""
    replacements = {
        audio: await _opened(storage, file)
        for audio, file in zip(request.audios, probed.sent or files.audios, strict=True)
    }
    judging = examine(
        judge_lip_sync,
        await _opened(storage, files.video),
        await _opened(storage, result),
        replacements,
        request=request,
        audio_infos=audios,
        video=probed.video,
        size=result.size,
    )
    before = None if request.annotation_areas else files.video
    return await _checked(job, storage, LIP_SYNC, judging, before, result, request.segments)


async def check_inpainting(
    job: Job,
    storage: Storage,
    request: InpaintingRequest,
    files: UploadedFiles,
    probed: ProbedFiles,
    result: StoredFile,
) -> Verified:
    """Judge the text removal, and make the preview, whose before is the job's source."""
    judging = examine(
        judge_inpainting,
        await _opened(storage, files.video),
        await _opened(storage, result),
        plan=inpainting_plan(request.annotation_areas, request.inpainting, probed.video.duration),
        video=probed.video,
        size=result.size,
    )
    before = job.state.files.video if job.is_subflow and job.state.files else files.video
    areas = request.annotation_areas
    return await _checked(job, storage, INPAINTING, judging, before, result, (), areas)


async def _checked(
    job: Job,
    storage: Storage,
    stage: Stage,
    judging: Awaitable[Judgement],
    before: StoredFile | None,
    result: StoredFile,
    *moments: Sequence[Any],
) -> Verified:
    """The judgement, and a preview of the two files when there is one for before."""
    reach("verify.begin", stage)
    judgement = await judged(job, stage, judging)
    preview, info = None, judgement.info
    if before is not None and info is not None and judgement.verdict is not Verdict.UNUSABLE:
        instants = choose_instants(info.duration, *moments)
        preview = await _preview(job, storage, before, result, instants)
    reach("verify.done", stage)
    return Verified(judgement=judgement, info=info, preview=preview)


async def judged(job: Job, stage: Stage, judging: Awaitable[Judgement]) -> Judgement:
    """The judgement; doubtful when the checks could not be made."""
    try:
        return await judging
    except MediaUnusable as error:
        return unjudged(stage, error)
    except (ProVideoError, Stopped):
        raise
    except Exception as error:  # noqa: BLE001 - a mistake in a check withholds no paid result
        shown = job.log_unexpected(error)
        return unjudged(stage, MediaUnusable(f"the check failed ({shown})"))


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
        # A missing preview is no reason to withhold a result.
        get_run_logger().warning("No preview could be made: %s", error.message)
        return None
    await storage.put_bytes(job.keys.preview, jpeg, content_type="image/jpeg")
    found = await storage.head(job.keys.preview)
    return None if found is None else StoredFile.of(found)
