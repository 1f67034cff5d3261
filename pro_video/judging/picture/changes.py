"""Checks the picture of a result: changed where it had to, and elsewhere the same video.

A few moments of both videos are compared, at most `MAX_PAIRS` where something had to change and
`MAX_OTHERS` elsewhere, decoded from the keyframes before them. Only what is certain is judged: an
unchanged even surface, an unchanged area for text (there may have been none), and an erasure that a
protection overlaps say nothing; nor do moments of which it is not known when the result shows them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Final

from pro_video.judging.findings import Finding, when
from pro_video.judging.picture.grids import Shape, apart, halve, joined
from pro_video.judging.picture.kept import BORDER, MARK, border_of
from pro_video.judging.picture.looks import Look, look
from pro_video.judging.picture.moments import Early, near_keyframes, reach_of
from pro_video.judging.picture.pair import Pair
from pro_video.judging.picture.pictures import Difference, difference
from pro_video.judging.sound.heard import SAME_LENGTH
from pro_video.media.info import VideoStream
from pro_video.media.reading.open import Source
from pro_video.providers.ghostcut.plan import InpaintingPlan, PlannedMask
from pro_video.request.models import Segment
from pro_video.request.timeline import Timeline

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
_HALVED: Final = 1.5
AREA_MARGIN: Final = 0.05
"""Fraction of the frame by which an erasure may reach past its area: the text goes on, edges are
softened."""
WINDOW_MARGIN: Final = 0.5
"""Seconds by which an erasure may begin earlier or end later than its window."""
SEGMENT_MARGIN: Final = 0.3
MOST_ERASED: Final = 0.5
"""Share of the frame; where more is erased, it may look like another video."""
TONED_AREA: Final = 12.0
"""Mean grey levels by which lightness may differ where an unchanged area is looked for."""
_END_MARGIN: Final = 0.1


def check_picture_changed(
    before: Source,
    after: Source,
    plan: InpaintingPlan,
    duration: float,
    *,
    length: float,
    source: VideoStream,
    result: VideoStream,
) -> list[Finding]:
    """Unwanted and missing changes of the picture by a text removal.

    Args:
        before: the video that was given for text removal.
        after: the result.
        plan: of the text removal; its times are those of ``before``.
        duration: of ``before`` in seconds.
        length: of ``after`` in seconds.
        source: the picture of ``before``.
        result: the picture of ``after``.

    Raises:
        MediaUnusable: one of them cannot be read.
    """
    erased = [(i, mask) for i, mask in enumerate(plan.masks) if mask.type != "keep"]
    windows = [(mask.start, min(mask.end, duration)) for _, mask in erased]
    early = near_keyframes(before, source)
    samples = _samples(windows, duration, early)
    spread = _spread([(0.0, max(0.0, duration - _END_MARGIN))], early)
    instants = sorted({*spread, *(instant for taken in samples for instant in taken)})
    pair = Pair.of(before, after, source, result, length, duration / 2, duration / 2, AREA_CELL)
    seen: list[list[Difference]] = [[] for _ in erased]
    looks: list[Look] = []
    guarded: list[Look] = []
    border = border_of(pair.shape)
    for moment in pair.moments(instants, instants):
        free = _free(plan, moment.instant, pair.shape)
        looked = look(moment, pair.shape, joined(border, free if plan.mode == 2 else None))
        looks.append(looked)
        if free is not None:
            guarded.append(replace(looked, free=joined(border, free)))
        for place, (_, mask) in enumerate(erased):
            if moment.instant in samples[place] and looked.off <= TONED_AREA:
                seen[place].append(difference(moment.before, moment.after, mask.region))
    found = pair.unlike(looks) if _share(mask for _, mask in erased) < MOST_ERASED else None
    if found is not None:
        return found
    return [
        *pair.lightness(looks),
        *_unchanged_areas(plan, seen, length),
        *pair.kept(guarded, looks, "text removal"),
    ]


def _unchanged_areas(
    plan: InpaintingPlan, seen: Sequence[Sequence[Difference]], length: float
) -> Iterator[Finding]:
    guards = [mask for mask in plan.masks if mask.type == "keep"]
    erased = [(i, mask) for i, mask in enumerate(plan.masks) if mask.type != "keep"]
    for (index, mask), differences in zip(erased, seen, strict=True):
        # A text may not have been there, and a protection in front of an area may hold.
        if mask.type != "remove" or _overlapped(mask, guards) or not _unchanged(differences):
            continue
        end = min(mask.end, length)
        yield Finding(
            "output_picture_unchanged",
            f"Nothing changed in annotation_areas[{index}] {when(mask.start, end)}, where "
            "everything was to be erased.",
            start=mask.start,
            end=end,
            region=mask.region,
            confidence=0.9,
        )


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
) -> list[Finding]:
    """Did lip-sync change pictures inside the segments, and none outside?

    Args:
        before: the source video.
        after: the result.
        segments: of the request.
        timeline: `Timeline.observed` with the result's length.
        length: of the result in seconds.
        source: the picture of ``before``.
        result: the picture of ``after``.

    Raises:
        MediaUnusable: one of them cannot be read.
    """
    ranges = [(segment.start, segment.end) for segment in segments]
    early = near_keyframes(before, source)
    inside = {at for taken in _samples(ranges, timeline.source, early) for at in taken}
    outside = set(_spread(untouched(segments, timeline, length, reach_of(source)), early))
    instants = sorted(inside | outside)
    shown = [timeline.at(instant) for instant in instants]
    middle = timeline.source / 2
    pair = Pair.of(before, after, source, result, length, middle, timeline.at(middle), AREA_CELL)
    border = border_of(pair.shape)
    looks = [look(moment, pair.shape, border) for moment in pair.moments(instants, shown)]
    found = pair.unlike(looks)
    if found is not None:
        return found
    kept = [look for look in looks if look.instant in outside]
    spoken = [look for look in looks if look.instant not in outside]
    findings = [
        *pair.lightness(looks),
        *pair.kept(kept, looks, "lip-sync"),
    ]
    marked = [finding.region for finding in findings if finding.region and finding.code == MARK]
    least, most = LIP_NOISE
    skipped = pair.shape.covered(marked, BORDER)
    coarse = Shape.of((source.width, source.height), (result.width, result.height), cell=LIP_CELL)
    halved = pair.shape if pair.shape.columns >= _HALVED * coarse.columns else None
    noise = max((_most_apart(look, skipped, halved) for look in kept), default=0)
    limit = min(max(least, LIP_NOISE_FACTOR * noise), most)
    if spoken and max(_most_apart(look, skipped, halved) for look in spoken) <= limit:
        start, end = timeline.at(segments[0].start), timeline.at(segments[-1].end, end=True)
        findings.append(
            Finding(
                "output_picture_unchanged",
                "The lip-sync changed nothing in the picture of any segment: the lips do not move "
                "with the new sound.",
                start=start,
                end=end,
                confidence=0.8,
            )
        )
    return findings


def _most_apart(look: Look, skipped: bytearray, halved: Shape | None) -> int:
    """Grey levels of the cell that differs most from the most similar frame of the source.

    With ``halved``, four cells of that shape are taken for one.
    """
    old, new, passed = look.nearest, look.grid, bytes(skipped)
    if halved is not None:
        old, new = halve(old, halved), halve(new, halved)
        passed = halve(bytes(255 * mark for mark in passed), halved)
    levels = apart(old, new)
    return max((level for level, mark in zip(levels, passed, strict=True) if not mark), default=0)


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


def _share(masks: Iterable[PlannedMask]) -> float:
    """The share of the frame that masks cover together, at most."""
    regions = (mask.region for mask in masks)
    return sum((right - left) * (bottom - top) for left, top, right, bottom in regions)


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
