"""Checks the picture of a result: changed where it had to, and elsewhere the same video.

A few moments of both videos are compared, at most `MAX_PAIRS` where something had to change and
`MAX_OTHERS` elsewhere, decoded from the keyframes before them. Uncertain cases are not judged: an
unchanged even surface, an unchanged area for text (there may have been none), an erasure that a
protection overlaps, and moments whose time in the result is unknown.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Final

from pro_video.judging.findings import Finding, when
from pro_video.judging.picture.comparison import Comparison, compare
from pro_video.judging.picture.frame_pairs import MomentChooser, Videos, near_keyframes, reach_of
from pro_video.judging.picture.grids import Shape, apart, halve, joined
from pro_video.judging.picture.pictures import Difference, difference
from pro_video.judging.picture.unwanted_changes import BORDER, MARK, border_of
from pro_video.judging.picture.video_pair import VideoPair
from pro_video.providers.ghostcut.models import Mask
from pro_video.providers.ghostcut.plan import InpaintingPlan
from pro_video.request.models import Segment
from pro_video.request.timeline import Timeline

MAX_PAIRS: Final = 12
MAX_OTHERS: Final = 6
_SHARES: Final = (0.5, 0.25, 0.75, 0.125, 0.875, 0.375)
NOISE_MEAN: Final = 3.0
NOISE_PEAK: Final = 8.0
EVEN_SURFACE: Final = 24.0
LIP_NOISE: Final = (3.0, 5.0)
"""Grey levels of the cell that differs most: noise by default, and noise at most. Measured in cells
of 8 pixels or more, the largest of 7 moments. Nothing changed: 2 to 4 at CRF 17 or 18, from 160x90
to 1280x720; 4 to 6 at CRF 26. Another mouth in the same head, at CRF 18 and 26: 60 in a face of
half the frame's height, 20 in one of a fifth, 7 to 10 in one of a tenth, 4 to 6 in one of a
twentieth."""
LIP_CELL: Final = 8
AREA_CELL: Final = 4
"""Smallest cells in pixels: for a mouth among noise, and for the letters of a text."""
LIP_NOISE_FACTOR: Final = 1.5
_HALVED: Final = 1.5
AREA_MARGIN: Final = 0.05
"""Fraction of the frame by which an erasure may reach past its area."""
WINDOW_MARGIN: Final = 0.5
"""Seconds by which an erasure may begin earlier or end later than its window."""
SEGMENT_MARGIN: Final = 0.3
MOST_ERASED: Final = 0.5
"""Share of the frame; a result with more erased may look like another video."""
TONED_AREA: Final = 12.0
"""Mean grey levels by which lightness may differ in a search for unchanged areas."""
_END_MARGIN: Final = 0.1


def check_text_removal_picture(
    videos: Videos, plan: InpaintingPlan, duration: float
) -> list[Finding]:
    """Unwanted and missing changes of the picture by a text removal.

    Args:
        videos: source and result.
        plan: of the text removal; its times are those of the source.
        duration: of the source in seconds.

    Raises:
        MediaUnusable: one of them cannot be read.
    """
    erased = [(i, mask) for i, mask in enumerate(plan.masks) if mask.type != "keep"]
    windows = [(mask.start, min(mask.end, duration)) for _, mask in erased]
    early = near_keyframes(videos.before, videos.source)
    samples = _samples(windows, duration, early)
    spread = _spread([(0.0, max(0.0, duration - _END_MARGIN))], early)
    instants = sorted({*spread, *(instant for taken in samples for instant in taken)})
    compared = VideoPair.of(videos, duration / 2, duration / 2, AREA_CELL)
    seen: list[list[Difference]] = [[] for _ in erased]
    comparisons: list[Comparison] = []
    guarded: list[Comparison] = []
    border = border_of(compared.shape)
    for pair in compared.frame_pairs(instants, instants):
        free = _free(plan, pair.instant, compared.shape)
        comparison = compare(pair, compared.shape, joined(border, free if plan.mode == 2 else None))
        comparisons.append(comparison)
        if free is not None:
            guarded.append(replace(comparison, free=joined(border, free)))
        for place, (_, mask) in enumerate(erased):
            if pair.instant in samples[place] and comparison.off <= TONED_AREA:
                seen[place].append(difference(pair.before, pair.after, mask.region))
    found = (
        compared.mismatch(comparisons) if _share(mask for _, mask in erased) < MOST_ERASED else None
    )
    if found is not None:
        return found
    return [
        *compared.lightness(comparisons),
        *_unchanged_areas(plan, seen, videos.length),
        *compared.unwanted_changes(guarded, comparisons, "text removal"),
    ]


def _unchanged_areas(
    plan: InpaintingPlan, seen: Sequence[Sequence[Difference]], length: float
) -> Iterator[Finding]:
    guards = [mask for mask in plan.masks if mask.type == "keep"]
    erased = [(i, mask) for i, mask in enumerate(plan.masks) if mask.type != "keep"]
    for (index, mask), differences in zip(erased, seen, strict=True):
        # The text may not have been there, and an overlapping protection may win.
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
    """The cells that may change at a moment by the plan; None for all of them.

    Automatic removal (mode 1) may change anything outside the protected areas. In mode 2 it is
    undocumented whether a protection wins over an erasure, so that is not judged.
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


def check_lip_sync_picture(
    videos: Videos, segments: Sequence[Segment], timeline: Timeline
) -> list[Finding]:
    """Pictures that the lip-sync changed outside the segments, or left unchanged inside all of
    them.

    Args:
        videos: source and result.
        segments: of the request.
        timeline: `Timeline.observed` with the result's length.

    Raises:
        MediaUnusable: one of them cannot be read.
    """
    ranges = [(segment.start, segment.end) for segment in segments]
    early = near_keyframes(videos.before, videos.source)
    inside = {at for taken in _samples(ranges, timeline.source, early) for at in taken}
    outside = set(
        _spread(untouched(segments, timeline, videos.length, reach_of(videos.source)), early)
    )
    instants = sorted(inside | outside)
    shown = [timeline.at(instant) for instant in instants]
    middle = timeline.source / 2
    compared = VideoPair.of(videos, middle, timeline.at(middle), AREA_CELL)
    border = border_of(compared.shape)
    comparisons = [
        compare(pair, compared.shape, border) for pair in compared.frame_pairs(instants, shown)
    ]
    found = compared.mismatch(comparisons)
    if found is not None:
        return found
    kept = [each for each in comparisons if each.instant in outside]
    spoken = [each for each in comparisons if each.instant not in outside]
    findings = [
        *compared.lightness(comparisons),
        *compared.unwanted_changes(kept, comparisons, "lip-sync"),
    ]
    marked = [finding.region for finding in findings if finding.region and finding.code == MARK]
    least, most = LIP_NOISE
    skipped = compared.shape.covered(marked, BORDER)
    coarse = Shape.of(*videos.sizes, cell=LIP_CELL)
    halved = compared.shape if compared.shape.columns >= _HALVED * coarse.columns else None
    noise = max((_most_apart(each, skipped, halved) for each in kept), default=0)
    limit = min(max(least, LIP_NOISE_FACTOR * noise), most)
    if spoken and max(_most_apart(each, skipped, halved) for each in spoken) <= limit:
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


def _most_apart(comparison: Comparison, skipped: bytearray, halved: Shape | None) -> int:
    """Grey levels of the cell that differs most from the most similar frame of the source.

    With ``halved``, four cells of that shape are taken for one.
    """
    old, new, passed = comparison.nearest, comparison.grid, bytes(skipped)
    if halved is not None:
        old, new = halve(old, halved), halve(new, halved)
        passed = halve(bytes(255 * mark for mark in passed), halved)
    levels = apart(old, new)
    return max((level for level, mark in zip(levels, passed, strict=True) if not mark), default=0)


def untouched(
    segments: Sequence[Segment], timeline: Timeline, length: float, reach: float = 0.0
) -> list[tuple[float, float]]:
    """Ranges of the source that a lip-sync leaves alone, with a known time (`Timeline.at`) in a
    result of ``length`` seconds.

    The time is certain before the first segment. After it, the result must be as long as the
    timeline predicts; between segments, none of them may change its length.
    """
    if not segments:
        return []
    margin = SEGMENT_MARGIN + reach
    ranges = [(0.0, segments[0].start - margin)]
    if timeline.explains(length):
        if not timeline.retimed:
            ranges += [
                (one.end + margin, other.start - margin) for one, other in pairwise(segments)
            ]
        ranges.append((segments[-1].end + margin, timeline.source - _END_MARGIN))
    return [(start, end) for start, end in ranges if start < end]


def _samples(
    ranges: Sequence[tuple[float, float]], duration: float, early: MomentChooser
) -> list[tuple[float, ...]]:
    """Up to six moments of each range, until the bound is reached."""
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


def _spread(ranges: Sequence[tuple[float, float]], early: MomentChooser) -> list[float]:
    """Moments at nearly even distances over all ranges together."""
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


def _share(masks: Iterable[Mask]) -> float:
    """The largest share of the frame that the masks can cover together."""
    regions = (mask.region for mask in masks)
    return sum((right - left) * (bottom - top) for left, top, right, bottom in regions)


def _unchanged(found: Sequence[Difference]) -> bool:
    telling = [d for d in found if d.contrast > EVEN_SURFACE]
    return bool(telling) and all(d.mean <= NOISE_MEAN and d.peak <= NOISE_PEAK for d in telling)


def _overlapped(mask: Mask, guards: Sequence[Mask]) -> bool:
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
