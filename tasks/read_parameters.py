"""Turns a flow's parameters into a checked request, within the worker's limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pro_video.core.errors import RequestRefused
from pro_video.core.settings import get_settings
from pro_video.media.info import MediaInfo
from pro_video.pricing.estimate import estimate_request
from pro_video.request.check import (
    InpaintingRequest,
    JobRequest,
    check_inpainting_request,
    check_request,
)
from pro_video.request.rules_files import check_inpainting_media, check_media
from tasks.probe_sources import with_problems_of_files
from tasks.run.job import Job
from tasks.run.job_state import REQUEST


async def checked_request(job: Job, **fields: Any) -> JobRequest:
    """The request of a whole job.

    Raises:
        RequestRefused: with every problem at once, those of its files included.
    """
    settings = get_settings()
    try:
        request = check_request(
            fields,
            max_segments=settings.max_segments,
            allow_local_files=settings.allow_local_files,
            touching=settings.touching_segments,
        )
    except RequestRefused as refused:
        audios = [
            (f"segments[{index}].audio", segment.audio)
            for index, segment in enumerate(fields["segments"][: settings.max_segments])
        ]
        raise await with_problems_of_files(refused, fields["video"], audios) from None
    job.state.display_name = request.display_name
    job.state.segments_count = len(request.segments)
    return request


async def checked_inpainting_request(
    job: Job,
    *,
    video: str,
    areas: Sequence[Any],
    display_name: str | None,
    options: dict[str, Any],
) -> InpaintingRequest:
    """The request of a text removal alone, or of the second half of a job.

    Raises:
        RequestRefused: with every problem at once, those of the video included.
    """
    try:
        request = check_inpainting_request(
            video, areas, options, allow_local_files=get_settings().allow_local_files
        )
    except RequestRefused as refused:
        raise await with_problems_of_files(refused, video, []) from None
    if not job.is_subflow:
        job.state.display_name = display_name
    return request


async def checked_files(
    job: Job,
    request: JobRequest,
    video: MediaInfo,
    audios: Mapping[str, MediaInfo],
    max_cost_usd: float | None,
) -> JobRequest:
    """The request with the ends that its files allow; its warnings and its price are shown.

    Args:
        job: the job.
        request: the checked request.
        video: probe of the video.
        audios: probe of each audio, by its source.
        max_cost_usd: the most that the job may cost, USD; None for no limit.

    Raises:
        RequestRefused: with every rule that the files break, or with the price above the limit;
            nothing was paid.
    """
    request = check_media(request, video, audios, touching=get_settings().touching_segments)
    job.state.estimate = estimate_request(request, video, audios)
    job.state.estimate.check(max_cost_usd)
    await job.warn(REQUEST, request.warnings)
    return request


async def checked_inpainting_files(
    job: Job, request: InpaintingRequest, video: MediaInfo, max_cost_usd: float | None
) -> InpaintingRequest:
    """The same for a text removal; the second half of a job has shown both already."""
    request = check_inpainting_media(request, video)
    if not job.is_subflow:
        job.state.estimate = estimate_request(request, video, {})
        job.state.estimate.check(max_cost_usd)
        await job.warn(REQUEST, request.warnings)
    return request
