"""Refuses a job that may cost more than its limit, before a byte is copied."""

from __future__ import annotations

from pro_video.core.errors import MediaUnusable, SourceRefused
from pro_video.media.info import MediaInfo
from pro_video.pricing.estimate import estimate_request
from pro_video.request.check import InpaintingRequest, JobRequest
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
    estimate_request(request, found[named.source], found).check(max_cost_usd)
