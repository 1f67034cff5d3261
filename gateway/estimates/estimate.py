"""The files of a request and their price."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import BinaryIO, cast

from pydantic import BaseModel, ConfigDict, Field

from gateway.base.problems import FieldProblem, invalid
from gateway.jobs.request_mapping import ClientRequest, request_name
from pro_video.core.errors import MediaUnusable, RequestRefused, SourceRefused
from pro_video.core.job_warning import JobWarning
from pro_video.core.settings import get_settings
from pro_video.media.children.examine import examine
from pro_video.media.info import MediaInfo
from pro_video.pricing.estimate import Estimate, StageEstimate, estimate_request
from pro_video.request.check import JobRequest
from pro_video.request.rules_files import check_media
from pro_video.s3.storage import Storage


class EstimateView(BaseModel):
    """The price of a request."""

    model_config = ConfigDict(frozen=True)

    low_usd: Decimal = Field(description="Sum of the stages, USD.")
    high_usd: Decimal = Field(description="Sum of the stages, USD.")
    stages: tuple[StageEstimate, ...] = Field(description="The paid stages, in their order.")
    video_seconds: float = Field(description="Length of the video.")
    within_max_cost: bool | None = Field(
        description="Would a job with this `options.max_cost_usd` begin? null without one."
    )
    warnings: list[JobWarning] = Field(description="Those that the job would begin with.")


@dataclass(frozen=True)
class Probed:
    """A request whose files were read.

    Attributes:
        request: with the warnings of the rules.
        seconds: length of the video.
        estimate: the price.
    """

    request: JobRequest
    seconds: float
    estimate: Estimate


async def probed(storage: Storage, request: JobRequest, names: Mapping[str, str]) -> Probed:
    """Read the files of a checked request where they are.

    Args:
        storage: the bucket.
        request: from :func:`gateway.jobs.request_mapping.product_request`.
        names: the request's field of each source.

    Raises:
        ProblemError: 422 with each file that cannot be used, and each rule that the files break.
        TransientError: a file could not be read now.
    """
    problems: list[FieldProblem] = []
    found: dict[str, MediaInfo] = {}
    for source in dict.fromkeys((request.video, *request.audios)):
        try:
            found[source] = await _probe(storage, source)
        except (MediaUnusable, SourceRefused) as error:
            code = error.code or type(error).__name__
            problems.append(FieldProblem(field=names[source], code=code, message=error.message))
    if problems:
        raise invalid(problems)
    video = found[request.video]
    try:
        checked = check_media(request, video, found, touching=get_settings().touching_segments)
    except RequestRefused as refused:
        raise invalid(
            [
                FieldProblem(field=request_name(one.field), code=one.code, message=one.message)
                for one in refused.problems
            ]
        ) from None
    return Probed(checked, video.duration, estimate_request(checked, video, found))


def estimate_view(found: Probed, client: ClientRequest) -> EstimateView:
    """The response for a request's price."""
    options = client.options if isinstance(client.options, Mapping) else {}
    limit, price = options.get("max_cost_usd"), found.estimate
    return EstimateView(
        low_usd=price.low_usd,
        high_usd=price.high_usd,
        stages=price.stages,
        video_seconds=found.seconds,
        within_max_cost=None if limit is None else price.high_usd <= Decimal(str(limit)),
        warnings=list(found.request.warnings),
    )


async def _probe(storage: Storage, source: str) -> MediaInfo:
    # The module loads libav, 30 MB that a gateway without estimates does not need.
    from pro_video.media.probe import COUNT_BUDGET, probe

    if not source.startswith("s3://"):
        raise SourceRefused(
            "is a link, which an estimate does not follow; upload the file, and name the upload",
            code="source_not_read",
        )
    reader = await storage.source_reader(source, byte_budget=2 * COUNT_BUDGET)
    return await examine(probe, cast(BinaryIO, reader), size=reader.size, what="the file")
