"""Estimates a job's price, and refuses a job that may cost more than its limit."""

from __future__ import annotations

from collections.abc import Mapping

from pro_video.core.errors import MediaUnusable, SourceRefused
from pro_video.media.info import MediaInfo
from pro_video.pricing.estimate import Estimate, estimate_job
from pro_video.request.check import InpaintingRequest, JobRequest
from pro_video.request.timeline import timeline_of
from tasks.probe_sources import probe_in_place, sources_of


async def refuse_before_upload(
    request: JobRequest | InpaintingRequest, max_cost_usd: float | None
) -> None:
    """Refuse a job that may cost more than its limit, before a byte is copied.

    A file behind a link is known after its copy only, and an unusable one is the copy's to report:
    such a job is refused later, before anything is paid.

    Args:
        request: the checked request.
        max_cost_usd: the limit, USD; None for no limit.

    Raises:
        RequestRefused: the price may exceed the limit.
        TransientError: a file could not be read now.
    """
    if max_cost_usd is None:
        return
    named, audios = sources_of(request)
    found: dict[str, MediaInfo] = {}
    for one in (named, *audios):
        try:
            info = await probe_in_place(one)
        except (MediaUnusable, SourceRefused):
            return
        if info is None:
            return
        found[one.source] = info
    estimate(request, found[named.source], found).check(max_cost_usd)


def estimate(
    request: JobRequest | InpaintingRequest, video: MediaInfo, audios: Mapping[str, MediaInfo]
) -> Estimate:
    """The price of a request.

    A lip-sync counts also where that of an earlier job may be reused.

    Args:
        request: the checked request.
        video: probe of the video.
        audios: probe of each audio, by its source.
    """
    seconds = video.duration
    if isinstance(request, JobRequest):
        seconds = timeline_of(request, audios, video, None).length
    return estimate_job(
        model=request.lip_sync.model if isinstance(request, JobRequest) else None,
        seconds=seconds,
        fps=video.video.fps if video.video is not None else None,
        segments=request.segments if isinstance(request, JobRequest) else (),
        areas=request.annotation_areas,
        inpainting=request.inpainting,
    )
