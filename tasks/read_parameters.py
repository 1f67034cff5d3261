"""Turns a flow's parameters into a checked request, within the worker's limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pro_video.core.errors import RequestRefused
from pro_video.core.settings import get_settings
from pro_video.media.info import MediaInfo
from pro_video.request.check import (
    InpaintingRequest,
    JobRequest,
    check_inpainting_request,
    check_request,
)
from pro_video.request.rules_warnings import audible_seconds
from pro_video.request.timeline import Timeline, lip_sync_timeline
from tasks.probe_sources import with_problems_of_files
from tasks.run.job import Job


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


def timeline_of(
    request: JobRequest,
    audios: Mapping[str, MediaInfo],
    video: MediaInfo,
    result: MediaInfo | None,
) -> Timeline:
    """The map from the video's time to that of its lip-sync result; the predicted one when the
    result could not be read."""
    heard = [audible_seconds(segment, audios[segment.audio]) for segment in request.segments]
    predicted = lip_sync_timeline(
        video.duration, request.segments, heard, request.lip_sync.sync_mode
    )
    return predicted if result is None else predicted.observed(result.duration)
