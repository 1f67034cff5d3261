"""The main flow: lip-sync the segments of a video, then remove text where areas ask for it."""

from __future__ import annotations

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State

from flows.parameters import (
    ACTIVE_SPEAKER,
    ANNOTATION_AREAS,
    DISPLAY_NAME,
    LANGUAGE,
    MAX_COST_USD,
    MODEL,
    OCCLUSION_DETECTION,
    ON_DOUBT,
    QUALITY,
    RESOLUTION,
    REUSE_LIP_SYNC,
    SEGMENTS,
    SYNC_MODE,
    TEMPERATURE,
    VIDEO,
)
from flows.text_inpainting import text_inpainting_flow
from pro_video.core.progress import LIP_SYNC_AND_INPAINTING_MESSAGE, LIP_SYNC_ONLY_MESSAGE, Stage
from pro_video.judging.verdict import OnDoubt, Verdict
from pro_video.records import JobResult, StageResult
from pro_video.request.check import JobRequest
from pro_video.request.models import (
    AnnotationArea,
    Language,
    LipSyncModel,
    Quality,
    Resolution,
    Segment,
    Speaker,
    SyncMode,
)
from pro_video.request.timeline import timeline_of
from tasks.attempts.attempts import run_attempts
from tasks.connections.records import RESULTS
from tasks.lip_sync import LipSyncStep
from tasks.read_parameters import checked_files, checked_request
from tasks.reuse import Reused, remember_lip_sync
from tasks.reuse import reuse_lip_sync as take_over_lip_sync
from tasks.run.ending import completed, ending
from tasks.run.job import Job, running_job
from tasks.run.subflow import adopt_inpainting
from tasks.take_sources import take_sources
from tasks.use_result import use_result

# As a subflow it keeps its result where its caller does.
_text_inpainting = text_inpainting_flow.with_options(result_storage=None)


@flow(name="pro-video", **RESULTS)
async def pro_video_flow(
    video: str = VIDEO,
    segments: list[Segment] = SEGMENTS,
    annotation_areas: list[AnnotationArea] = ANNOTATION_AREAS,
    display_name: str = DISPLAY_NAME,
    model: LipSyncModel = MODEL,
    sync_mode: SyncMode = SYNC_MODE,
    temperature: float | None = TEMPERATURE,
    active_speaker: Speaker = ACTIVE_SPEAKER,
    occlusion_detection: bool = OCCLUSION_DETECTION,
    language: Language = LANGUAGE,
    resolution: Resolution = RESOLUTION,
    quality: Quality = QUALITY,
    reuse_lip_sync: bool = REUSE_LIP_SYNC,
    on_doubt: OnDoubt = ON_DOUBT,
    max_cost_usd: float | None = MAX_COST_USD,
) -> State[JobResult]:
    """Lip-sync segments of a video with Sync.so and remove text with GhostCut.

    The flow run is the job: its state says what happens, and its result says where the video is.
    A retry of a failed or cancelled run goes on where it stopped and pays for nothing twice.
    """
    with running_job() as job:
        async with ending(job) as end:
            end.state = await _steps(
                job,
                await checked_request(
                    job,
                    video=video,
                    segments=segments,
                    annotation_areas=annotation_areas,
                    display_name=display_name or None,
                    lip_sync={
                        "model": model,
                        "sync_mode": sync_mode,
                        "temperature": temperature,
                        "active_speaker": active_speaker,
                        "occlusion_detection": occlusion_detection,
                    },
                    inpainting={
                        "language": language,
                        "resolution": resolution,
                        "quality": quality,
                    },
                ),
                reuse=reuse_lip_sync,
                on_doubt=on_doubt,
                max_cost_usd=max_cost_usd,
            )
        return end.final


async def _steps(
    job: Job,
    request: JobRequest,
    *,
    reuse: bool,
    on_doubt: OnDoubt,
    max_cost_usd: float | None,
) -> State[JobResult]:
    log = get_run_logger()
    log.info(
        "Created Pro job %s with %d segments and %d annotation areas",
        job.job_id,
        len(request.segments),
        len(request.annotation_areas),
    )
    await job.begin()
    await job.reporter.stage(Stage.UPLOADING)
    files, probed = await take_sources(job, request, "probed", max_cost_usd)
    audios = dict(zip(request.audios, probed.audios, strict=True))
    request = await checked_files(job, request, probed.video, audios, max_cost_usd)

    bought = LipSyncStep(job, request, files, probed, audios)
    lip_sync, verified = await use_result(job, bought, await _lip_sync(bought, reuse), on_doubt)
    if verified.judgement.verdict is not Verdict.UNUSABLE:
        await remember_lip_sync(job, request, files, lip_sync)
    address = job.state.address(lip_sync.stored.key)
    log.info("Job %s: Sync.so result uploaded to S3: %s", job.job_id, address)
    if not request.annotation_areas:
        return await completed(job, LIP_SYNC_ONLY_MESSAGE)

    log.info(
        "Job %s: Found %d annotation areas. Starting GhostCut text inpainting...",
        job.job_id,
        len(request.annotation_areas),
    )
    await job.reporter.stage(Stage.INPAINTING_STARTING)
    state = await _text_inpainting(
        video=address,
        # Some sync modes change the video's length; the areas move with its pictures.
        annotation_areas=list(
            timeline_of(request, audios, probed.video, verified.info).moved(
                request.annotation_areas
            )
        ),
        display_name=request.display_name or "",
        language=request.inpainting.language,
        resolution=request.inpainting.resolution,
        quality=request.inpainting.quality,
        on_doubt=on_doubt,
        return_state=True,
    )
    inpainting = await adopt_inpainting(job, state)
    log.info(
        "Job %s: Successfully completed with chained processing. Final result: %s",
        job.job_id,
        job.state.address(inpainting.stored.key),
    )
    return await completed(job, LIP_SYNC_AND_INPAINTING_MESSAGE)


async def _lip_sync(bought: LipSyncStep, reuse: bool) -> StageResult:
    """The lip-sync of an earlier job with the same inputs, or a bought one."""
    job = bought.job
    reused = await take_over_lip_sync(job, bought.request, bought.files) if reuse else Reused()
    if reused.stage is None:
        return await run_attempts(job, bought)
    get_run_logger().info(
        "Job %s: Lip-sync taken over from job %s", job.job_id, reused.stage.reused_from
    )
    await job.reporter.stage(Stage.LIP_SYNC_COMPLETED)
    return reused.stage
