"""The text removal flow: the second half of a job, or a job of its own on an existing video."""

from __future__ import annotations

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State

from flows.parameters import (
    DISPLAY_NAME,
    LANGUAGE,
    MAX_COST_USD,
    ON_DOUBT,
    QUALITY,
    RESOLUTION,
    VIDEO,
    parameter,
)
from pro_video.core.progress import INPAINTING_ONLY_MESSAGE, Stage
from pro_video.judging.verdict import OnDoubt
from pro_video.records import JobResult
from pro_video.request.check import InpaintingRequest
from pro_video.request.models import AnnotationArea, Language, Quality, Resolution
from tasks.attempts.attempts import run_attempts
from tasks.connections.records import RESULTS
from tasks.inpainting import InpaintingStep
from tasks.read_parameters import checked_inpainting_files, checked_inpainting_request
from tasks.run.ending import completed, ending
from tasks.run.job import Job, running_job
from tasks.take_sources import take_own_file, take_sources
from tasks.use_result import use_result


@flow(name="text-inpainting", **RESULTS)
async def text_inpainting_flow(
    video: str = VIDEO,
    annotation_areas: list[AnnotationArea] = parameter(
        "Annotation areas", "Where to erase everything, erase text, or protect the picture."
    ),
    display_name: str = DISPLAY_NAME,
    language: Language = LANGUAGE,
    resolution: Resolution = RESOLUTION,
    quality: Quality = QUALITY,
    on_doubt: OnDoubt = ON_DOUBT,
    max_cost_usd: float | None = MAX_COST_USD,
) -> State[JobResult]:
    """Remove text and marks from a video with GhostCut; the rest of the picture stays as it is."""
    with running_job() as job:
        async with ending(job) as end:
            end.state = await _steps(
                job,
                await checked_inpainting_request(
                    job,
                    video=video,
                    areas=annotation_areas,
                    display_name=display_name or None,
                    options={
                        "language": language,
                        "resolution": resolution,
                        "quality": quality,
                    },
                ),
                on_doubt=on_doubt,
                max_cost_usd=max_cost_usd,
            )
        return end.final


async def _steps(
    job: Job, request: InpaintingRequest, *, on_doubt: OnDoubt, max_cost_usd: float | None
) -> State[JobResult]:
    log = get_run_logger()
    if job.is_subflow:
        files, probed = await take_own_file(job, request, "inpainting-probed")
    else:
        await job.begin()
        await job.reporter.stage(Stage.UPLOADING)
        files, probed = await take_sources(job, request, "video-probed", max_cost_usd)
    request = await checked_inpainting_files(job, request, probed.video, max_cost_usd)
    log.info(
        "Job %s: Starting GhostCut processing with %d annotation areas",
        job.job_id,
        len(request.annotation_areas),
    )
    await job.reporter.stage(Stage.INPAINTING_STARTING)
    bought = InpaintingStep(job, request, files, probed)
    await use_result(job, bought, await run_attempts(job, bought), on_doubt)
    return await completed(job, INPAINTING_ONLY_MESSAGE)
