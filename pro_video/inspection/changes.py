"""Does a result show what it should: changed where it had to, and elsewhere the same video?

A few moments of both videos are compared, at most `MAX_PAIRS` where something had to change and
`MAX_OTHERS` elsewhere, decoded from the keyframes before them. Only what is certain is judged: an
unchanged even surface, an unchanged area for text (there may have been none), and an erasure that a
protection overlaps say nothing; nor do moments of which it is not known when the result shows them.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from pro_video.errors import OutputRejected
from pro_video.inpainting_plan import InpaintingPlan, PlannedMask
from pro_video.inspection.grids import Shape, nearest
from pro_video.inspection.heard import SAME_LENGTH
from pro_video.inspection.kept import Kept
from pro_video.inspection.moments import Early, moments, near_keyframes, reach_of
from pro_video.inspection.pictures import Difference, difference
from pro_video.inspection.reading import Source
from pro_video.media_info import VideoStream
from pro_video.request_models import Segment
from pro_video.timeline import Timeline

MAX_PAIRS: Final = 12
MAX_OTHERS: Final = 6
_SHARES: Final = (0.5, 0.25, 0.75, 0.125, 0.875, 0.375)
NOISE_MEAN: Final = 3.0
NOISE_PEAK: Final = 8.0
EVEN_SURFACE: Final = 24.0
LIP_NOISE: Final = (3.0, 5.0)
"""Grey levels of the cell that differs most: what is noise without a measure of it, and what is
noise at most. Measured in cells of 8 pixels or more, the largest of 7 moments. Nothing changed: 2
to 4 at CRF 17 or 18, from 160x90 to 1280x720; 4 to 6 at CRF 26. Another mouth in the same head, at
CRF 18 and 26: 60 in a face of half the frame's height, 20 where it is a fifth, 7 to 10 a tenth, 4
to 6 a twentieth."""
LIP_CELL: Final = 8
AREA_CELL: Final = 4
"""Pixels of a cell at least: to see a mouth among noise, and the letters of a text."""
LIP_NOISE_FACTOR: Final = 1.5
FOREIGN_MEAN: Final = 40.0
AREA_MARGIN: Final = 0.05
"""Fraction of the frame by which an erasure may reach past its area: the text goes on, edges are
softened."""
WINDOW_MARGIN: Final = 0.5
"""Seconds by which an erasure may begin earlier or end later than its window."""
SEGMENT_MARGIN: Final = 0.3
_END_MARGIN: Final = 0.1


@dataclass(frozen=True, slots=True)
class AreaChange:
    """What was seen in one erased area: its index in the plan's masks, its type, the difference."""

    mask: int
    type: str
    changed: bool
    peak: float


def check_picture_changed(
    before: Source,
    after: Source,
    plan: InpaintingPlan,
    duration: float,
    *,
    source: VideoStream,
    result: VideoStream,
) -> tuple[AreaChange, ...]:
    """What changed in each erased area that was looked at.

    Args:
        before: the video that was given for text removal.
        after: the result.
        plan: what was asked for; its times are those of ``before``.
        duration: of ``before`` in seconds.
        source: the picture of ``before``.
        result: the picture of ``after``.

    Raises:
        OutputRejected: an area in which everything had to go is as before
            (``output_picture_unchanged``), the picture is not as before where nothing had to change
            (``output_picture_changed``), or the result shows another video
            (``output_picture_foreign``).
    """
    erased = [(i, mask) for i, mask in enumerate(plan.masks) if mask.type != "keep"]
    windows = [(mask.start, min(mask.end, duration)) for _, mask in erased]
    early = near_keyframes(before, source)
    samples = _samples(windows, duration, early)
    spread = _spread([(0.0, max(0.0, duration - _END_MARGIN))], early)
    instants = sorted({*spread, *(instant for taken in samples for instant in taken)})
    shape = _shape(source, result)
    kept = Kept(source, result, shape)
    seen: list[list[Difference]] = [[] for _ in erased]
    whole: list[float] = []
    for moment in moments(before, after, instants, instants, video=source, shape=shape):
        whole.append(_mean(nearest(moment.around, moment.grid)))
        free = _free(plan, moment.instant, shape)
        if free is not None:
            kept.look(moment, free)
        for place, (_, mask) in enumerate(erased):
            if moment.instant in samples[place]:
                seen[place].append(difference(moment.before, moment.after, mask.region))
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
    if kept.changed:
        raise OutputRejected(
            "text inpainting changed the picture where it had to stay as it was, outside the areas "
            "to erase or inside protected ones; the files are kept for a look, run the job again "
            "or ask the provider",
            code="output_picture_changed",
        )
    return changes


def _free(plan: InpaintingPlan, instant: float, shape: Shape) -> bytearray | None:
    """The cells that the plan lets change at a moment; None when it lets all of them.

    Automatic removal (mode 1) may find text anywhere but in what is protected. In mode 2 it is
    undocumented whether a protection holds inside an erasure, so that is not judged.
    """
    if plan.mode == 2:
        return shape.covered(
            (
                mask.region
                for mask in plan.masks
                if mask.type != "keep"
                and mask.start - WINDOW_MARGIN <= instant <= mask.end + WINDOW_MARGIN
            ),
            AREA_MARGIN,
        )
    guarded = [
        mask.region
        for mask in plan.masks
        if mask.start + WINDOW_MARGIN <= instant <= mask.end - WINDOW_MARGIN
    ]
    if not guarded:
        return None
    return bytearray(not inside for inside in shape.within(guarded))


def check_lips_changed(
    before: Source,
    after: Source,
    segments: Sequence[Segment],
    timeline: Timeline,
    *,
    length: float,
    source: VideoStream,
    result: VideoStream,
) -> None:
    """Did lip-sync change any picture inside the segments, and none outside?

    Args:
        before: the source video.
        after: the result.
        segments: of the request.
        timeline: `Timeline.observed` with the result's length.
        length: of the result in seconds.
        source: the picture of ``before``.
        result: the picture of ``after``.

    Raises:
        OutputRejected: no picture inside any segment differs (``output_picture_unchanged``), one
            outside does (``output_picture_changed``), or the result shows another video
            (``output_picture_foreign``).
    """
    ranges = [(segment.start, segment.end) for segment in segments]
    early = near_keyframes(before, source)
    inside = {at for taken in _samples(ranges, timeline.source, early) for at in taken}
    outside = set(_spread(untouched(segments, timeline, length, reach_of(source)), early))
    instants = sorted(inside | outside)
    shown = [timeline.at(instant) for instant in instants]
    shape = _shape(source, result, LIP_CELL)
    kept = Kept(source, result, shape)
    found: list[int] = []
    noise: list[int] = []
    whole: list[float] = []
    for moment in moments(before, after, instants, shown, video=source, shape=shape):
        differing = nearest(moment.around, moment.grid)
        whole.append(_mean(differing))
        (noise if moment.instant in outside else found).append(max(differing))
        if moment.instant in outside:
            kept.look(moment)
    _check_foreign(whole)
    if kept.changed:
        raise OutputRejected(
            "lip-sync changed the picture outside the segments; the files are kept for a look, run "
            "the job again or ask the provider",
            code="output_picture_changed",
        )
    least, most = LIP_NOISE
    limit = min(max(least, LIP_NOISE_FACTOR * max(noise, default=0)), most)
    if found and max(found) <= limit:
        raise OutputRejected(
            "lip-sync changed nothing in the picture of any segment; the files are kept for a "
            "look, choose another model or check that a face is visible",
            code="output_picture_unchanged",
        )


def untouched(
    segments: Sequence[Segment], timeline: Timeline, length: float, reach: float = 0.0
) -> list[tuple[float, float]]:
    """Ranges of the source that a lip-sync leaves alone and that are known to be at
    `Timeline.at` in a result of ``length`` seconds.

    Before the first segment that is certain. After it, only when the result is as long as the
    timeline says; and between segments, only when none of them changed its length.
    """
    if not segments:
        return []
    margin = SEGMENT_MARGIN + reach
    ranges = [(0.0, segments[0].start - margin)]
    if abs(timeline.length - length) <= SAME_LENGTH:
        if not timeline.pieces:
            ranges += [
                (one.end + margin, other.start - margin) for one, other in pairwise(segments)
            ]
        ranges.append((segments[-1].end + margin, timeline.source - _END_MARGIN))
    return [(start, end) for start, end in ranges if start < end]


def _samples(
    ranges: Sequence[tuple[float, float]], duration: float, early: Early
) -> list[tuple[float, ...]]:
    """Up to six moments of each range; ranges beyond the bound get none."""
    last = max(0.0, duration - _END_MARGIN)
    each = max(1, min(len(_SHARES), MAX_PAIRS // max(1, len(ranges))))
    shares = _SHARES[:each]
    apart = min(shares)
    return [
        tuple(
            early(start + (share - apart) * (end - start), min(start + share * (end - start), last))
            for share in shares
        )
        if place * each < MAX_PAIRS
        else ()
        for place, (start, end) in enumerate(ranges)
    ]


def _spread(ranges: Sequence[tuple[float, float]], early: Early) -> list[float]:
    """Moments at nearly even distances of the ranges put together."""
    apart = sum(end - start for start, end in ranges) / MAX_OTHERS
    chosen = []
    for number in range(MAX_OTHERS):
        offset = apart * (number + 0.5)
        for start, end in ranges:
            if offset <= end - start:
                chosen.append(early(max(start, start + offset - apart), start + offset))
                break
            offset -= end - start
    return chosen


def _shape(source: VideoStream, result: VideoStream, cell: int = AREA_CELL) -> Shape:
    return Shape.of((source.width, source.height), (result.width, result.height), cell=cell)


def _mean(levels: bytes) -> float:
    return sum(levels) / len(levels)


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
