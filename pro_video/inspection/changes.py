"""Does a result show what it should: something changed where it had to, and still the same video?

A few pairs of pictures are compared, at most `MAX_PAIRS`, decoded from the keyframes before them.
Noise of encoding stays below a few grey levels in every block of 8x8 pixels; removed letters, marks
and moved lips do not. Only what is certain is judged: an unchanged even surface, an unchanged area
for text (there may have been none), and an erasure that a protection overlaps say nothing.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from av.video.frame import VideoFrame

from pro_video.errors import MediaUnusable, OutputRejected
from pro_video.inpainting_plan import InpaintingPlan, PlannedMask
from pro_video.inspection.pictures import Difference, difference
from pro_video.inspection.reading import Source, bounded, frames_at, opened, picture_stream
from pro_video.request_models import Segment
from pro_video.timeline import Timeline

MAX_PAIRS: Final = 12
READ_BUDGET: Final = 256 * 1024 * 1024
_SHARES: Final = (0.5, 0.25, 0.75)
NOISE_MEAN: Final = 3.0
NOISE_PEAK: Final = 8.0
LIP_NOISE_MEAN: Final = 2.0
LIP_NOISE_PEAK: Final = 5.0
EVEN_SURFACE: Final = 24.0
COARSE_WIDTH: Final = 32
FOREIGN_MEAN: Final = 40.0
_END_MARGIN: Final = 0.1


@dataclass(frozen=True, slots=True)
class AreaChange:
    """What was seen in one erased area: its index in the plan's masks, its type, the difference."""

    mask: int
    type: str
    changed: bool
    peak: float


def check_picture_changed(
    before: Source, after: Source, plan: InpaintingPlan, duration: float
) -> tuple[AreaChange, ...]:
    """What changed in each erased area that was looked at.

    Args:
        before: the video that was given for text removal.
        after: the result.
        plan: what was asked for; its times are those of ``before``.
        duration: of ``before`` in seconds.

    Raises:
        OutputRejected: an area in which everything had to go is as before
            (``output_picture_unchanged``), or the result shows another video
            (``output_picture_foreign``).
    """
    erased = [(i, mask) for i, mask in enumerate(plan.masks) if mask.type != "keep"]
    samples = _samples([(mask.start, min(mask.end, duration)) for _, mask in erased], duration)
    instants = sorted({instant for moments in samples for instant in moments} or {duration / 2})
    seen: list[list[Difference]] = [[] for _ in erased]
    whole: list[float] = []
    for instant, old, new in _pairs(before, after, instants, instants):
        whole.append(difference(old, new, at_most=COARSE_WIDTH).mean)
        for place, (_, mask) in enumerate(erased):
            if instant in samples[place]:
                seen[place].append(difference(old, new, mask.region))
    if sum((x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in (mask.region for _, mask in erased)) < 0.5:
        _check_foreign(whole)
    changes = tuple(
        AreaChange(index, mask.type, not _unchanged(found), max(d.peak for d in found))
        for (index, mask), found in zip(erased, seen, strict=True)
        if found
    )
    guards = [mask for mask in plan.masks if mask.type == "keep"]
    for change in changes:
        mask = plan.masks[change.mask]
        if not change.changed and mask.type == "remove" and not _overlapped(mask, guards):
            raise OutputRejected(
                f"text inpainting changed nothing in annotation_areas[{change.mask}], where "
                "everything had to be erased; the files are kept for a look, run the job again",
                code="output_picture_unchanged",
            )
    return changes


def check_lips_changed(
    before: Source, after: Source, segments: Sequence[Segment], timeline: Timeline
) -> None:
    """Did lip-sync change any picture inside the segments?

    Args:
        before: the source video.
        after: the result.
        segments: of the request.
        timeline: `Timeline.observed` with the result's length.

    Raises:
        OutputRejected: no picture inside any segment differs (``output_picture_unchanged``), or the
            result shows another video (``output_picture_foreign``).
    """
    ranges = [(segment.start, segment.end) for segment in segments]
    samples = _samples(ranges, timeline.source)
    instants = sorted({instant for moments in samples for instant in moments})
    shown = [timeline.at(instant) for instant in instants]
    found, whole = [], []
    for _, old, new in _pairs(before, after, instants, shown):
        found.append(difference(old, new))
        whole.append(difference(old, new, at_most=COARSE_WIDTH).mean)
    _check_foreign(whole)
    if found and all(d.mean <= LIP_NOISE_MEAN and d.peak <= LIP_NOISE_PEAK for d in found):
        raise OutputRejected(
            "lip-sync changed nothing in the picture of any segment; the files are kept for a "
            "look, choose another model or check that a face is visible",
            code="output_picture_unchanged",
        )


def _samples(ranges: Sequence[tuple[float, float]], duration: float) -> list[tuple[float, ...]]:
    """Up to three moments of each range; ranges beyond the bound get none."""
    last = max(0.0, duration - _END_MARGIN)
    each = max(1, min(len(_SHARES), MAX_PAIRS // max(1, len(ranges))))
    return [
        tuple(min(start + (end - start) * share, last) for share in _SHARES[:each])
        if place * each < MAX_PAIRS
        else ()
        for place, (start, end) in enumerate(ranges)
    ]


def _pairs(
    before: Source, after: Source, instants: Sequence[float], after_instants: Sequence[float]
) -> Iterator[tuple[float, VideoFrame, VideoFrame]]:
    """Each instant that both files show, with its two pictures; never more than those in memory."""
    try:
        with (
            bounded(before, READ_BUDGET) as first_reader,
            bounded(after, READ_BUDGET) as second_reader,
            opened(first_reader, "the video before") as first,
            opened(second_reader, "the result") as second,
        ):
            first_stream, second_stream = picture_stream(first), picture_stream(second)
            if first_stream is None or second_stream is None:
                raise MediaUnusable("there is no picture to compare", code="media_no_streams")
            for instant, old, new in zip(
                instants,
                frames_at(first, first_stream, instants),
                frames_at(second, second_stream, after_instants),
                strict=True,
            ):
                if old is not None and new is not None:
                    yield instant, old, new
    except MediaUnusable as error:
        raise OutputRejected(
            f"the result cannot be compared with its source: {error.message}",
            code="output_undecodable",
        ) from error


def _check_foreign(means: Sequence[float]) -> None:
    if means and statistics.median(means) > FOREIGN_MEAN:
        raise OutputRejected(
            "the result shows another picture than its source; the files are kept for a look, ask "
            "the provider",
            code="output_picture_foreign",
        )


def _unchanged(found: Sequence[Difference]) -> bool:
    telling = [d for d in found if d.contrast > EVEN_SURFACE]
    return bool(telling) and all(d.mean <= NOISE_MEAN and d.peak <= NOISE_PEAK for d in telling)


def _overlapped(mask: PlannedMask, guards: Sequence[PlannedMask]) -> bool:
    left, top, right, bottom = mask.region
    return any(
        guard.region[0] < right
        and guard.region[2] > left
        and guard.region[1] < bottom
        and guard.region[3] > top
        and guard.start < mask.end
        and guard.end > mask.start
        for guard in guards
    )
