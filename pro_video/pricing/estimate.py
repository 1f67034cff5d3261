"""Estimates the price of a job: a range for each paid stage, and its basis."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from decimal import ROUND_UP, Decimal
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, computed_field

from pro_video.core.errors import FieldProblem, RequestRefused
from pro_video.media.info import MediaInfo
from pro_video.pricing.prices import (
    BILLED_FPS,
    GHOSTCUT,
    POINT_SECONDS,
    SYNC_SO,
    USD_PER_POINT,
)
from pro_video.request.check import InpaintingRequest, JobRequest
from pro_video.request.models import AnnotationArea, InpaintingOptions, Segment
from pro_video.request.timeline import timeline_of

_CENT_PARTS: Final = Decimal("0.0001")


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class StageEstimate(_Frozen):
    """The price of one paid stage.

    Attributes:
        stage: ``lip-sync`` or ``inpainting``.
        provider: its name for people.
        low_usd: the price with the largest known discount and the most favourable reading of the
            provider's rules, USD.
        high_usd: the list price with the least favourable reading, USD.
        basis: amounts, price list and date.
    """

    stage: Literal["lip-sync", "inpainting"] = Field(description="The paid stage.")
    provider: str = Field(description="Sync.so or GhostCut.")
    low_usd: Decimal = Field(description="USD with the largest discount.")
    high_usd: Decimal = Field(description="USD by the price list.")
    basis: str = Field(description="Amounts, price list and its date.")

    @property
    def text(self) -> str:
        """The range for people."""
        return _range(self.low_usd, self.high_usd)


class Estimate(_Frozen):
    """The price of a job; no invoice.

    Attributes:
        stages: the stages that will be bought, in their order.
    """

    stages: tuple[StageEstimate, ...] = Field(description="The paid stages, in their order.")

    @computed_field(description="Sum of the stages, USD.")  # type: ignore[prop-decorator]
    @property
    def low_usd(self) -> Decimal:
        return sum((stage.low_usd for stage in self.stages), Decimal(0))

    @computed_field(description="Sum of the stages, USD.")  # type: ignore[prop-decorator]
    @property
    def high_usd(self) -> Decimal:
        return sum((stage.high_usd for stage in self.stages), Decimal(0))

    @property
    def text(self) -> str:
        """The range for people, such as ``0.16 to 0.25 USD``."""
        return _range(self.low_usd, self.high_usd)

    def check(self, max_cost_usd: float | None) -> None:
        """Compare the upper end with a limit.

        Raises:
            RequestRefused: the job may cost more than the limit, USD.
        """
        if max_cost_usd is None or self.high_usd <= Decimal(str(max_cost_usd)):
            return
        stages = "; ".join(
            f"{stage.provider} {stage.text} ({stage.basis})" for stage in self.stages
        )
        message = (
            f"is {max_cost_usd:g} USD, but the job may cost {self.high_usd:.2f} USD ({stages}). "
            "Nothing was paid. Raise the limit, choose a cheaper model or quality, or shorten the "
            "video"
        )
        raise RequestRefused([FieldProblem("max_cost_usd", message, "max_cost_exceeded")])


def estimate_lip_sync(
    model: str, seconds: float, fps: float | None, segments: Sequence[Segment] = ()
) -> StageEstimate:
    """The price of a lip-sync.

    Three facts are not documented, and make the range: whether frames count at the output's rate or
    at 25 a second, whether a segmented job is billed by the whole output or by its segments, and
    the plan's discount.

    Args:
        model: Sync.so's model.
        seconds: length of the output.
        fps: frames per second of the output; None when unknown.
        segments: times of the source; none: the whole.

    Raises:
        ValueError: an amount is not finite, or negative.
    """
    rates = sorted({fps or BILLED_FPS, BILLED_FPS})
    if not all(math.isfinite(one) and one > 0 for one in rates) or not _is_length(seconds):
        raise ValueError("seconds and fps must be finite, seconds not negative, fps above zero")
    spoken = sum(segment.end - segment.start for segment in segments) if segments else seconds
    fewest, most = _frames(min(spoken, seconds), rates[0]), _frames(seconds, rates[-1])
    low, high = SYNC_SO.range_of(model)
    return StageEstimate(
        stage="lip-sync",
        provider="Sync.so",
        low_usd=_usd(low * fewest),
        high_usd=_usd(high * most),
        basis=f"{model}: {fewest} to {most} frames at {low.normalize():f} to "
        f"{high.normalize():f} USD; {SYNC_SO.source}, {SYNC_SO.as_of}",
    )


def estimate_inpainting(tier: str, seconds: float) -> StageEstimate:
    """The price of a text removal. Rough: GhostCut publishes no prices.

    Args:
        tier: the quality.
        seconds: length of the video.

    Raises:
        ValueError: the length is not finite, or negative.
    """
    if not _is_length(seconds):
        raise ValueError("seconds must be finite and not negative")
    units = max(1, math.ceil(seconds / POINT_SECONDS))
    low, high = (units * each for each in GHOSTCUT.range_of(tier))
    points = f"{low:f}" if low == high else f"{low:f} to {high:f}"
    return StageEstimate(
        stage="inpainting",
        provider="GhostCut",
        low_usd=_usd(low * USD_PER_POINT),
        high_usd=_usd(high * USD_PER_POINT),
        basis=f"{tier}: {points} points at about {USD_PER_POINT} USD; {GHOSTCUT.source}, "
        f"{GHOSTCUT.as_of}",
    )


def estimate_job(
    *,
    model: str | None,
    seconds: float,
    fps: float | None,
    segments: Sequence[Segment],
    areas: Sequence[AnnotationArea],
    inpainting: InpaintingOptions,
) -> Estimate:
    """The price of a job.

    Args:
        model: Sync.so's model; None when no lip-sync is bought.
        seconds: length of the lip-synced video.
        fps: its frames per second; None when unknown.
        segments: of the request.
        areas: of the request; none: no text removal is bought.
        inpainting: its options.
    """
    stages = []
    if model is not None:
        stages.append(estimate_lip_sync(model, seconds, fps, segments))
    if areas:
        stages.append(estimate_inpainting(inpainting.quality, seconds))
    return Estimate(stages=tuple(stages))


def estimate_request(
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


def _is_length(seconds: float) -> bool:
    return math.isfinite(seconds) and seconds >= 0


def _frames(seconds: float, fps: float) -> int:
    return math.ceil(round(seconds * fps, 6))


def _range(low: Decimal, high: Decimal) -> str:
    first, last = f"{low:.2f}", f"{high:.2f}"
    return f"{last} USD" if first == last else f"{first} to {last} USD"


def _usd(amount: Decimal) -> Decimal:
    return amount.quantize(_CENT_PARTS, rounding=ROUND_UP)
