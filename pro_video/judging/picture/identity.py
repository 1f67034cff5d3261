"""Checks that a result shows its source: the same pictures, the right way round, in time."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Final

from pro_video.judging.findings import Finding, when
from pro_video.judging.picture.comparison import SAME, Comparison
from pro_video.judging.picture.grids import apart
from pro_video.media.reading.orientation import Orientation

OTHER: Final = 0.25
"""Similarity below which two pictures have different contents; see `comparison.SAME`."""
TURNED_BY: Final = 0.3
"""By how much more similar the turned or mirrored picture has to be."""
WIDE_REACH: Final = 1.5
"""Seconds around a moment that are searched before a picture counts as foreign."""
SEARCHED: Final = 3
LIGHTER: Final = 24.0
"""Mean grey levels from which a picture counts as lighter or darker. A full range that was taken
for a limited one makes up to 16."""
STOOD: Final = 0.75
STILL: Final = 4
MOVED: Final = 24
"""Grey levels of the cell that differs most between two moments: of a still picture at most, and of
a moving one at least."""
MOVED_SHARE: Final = 0.02
"""Least share of the source's cells that move while its result stands still: more than a line of
text, which may have been erased."""
_LEAST: Final = 2


def mismatch(
    comparisons: Sequence[Comparison],
    search: Callable[[Sequence[Comparison]], list[Comparison]],
    length: float,
) -> Finding | None:
    """The finding that rules out a comparison part by part; None when the contents agree.

    Args:
        comparisons: in order of time.
        search: compares some moments again, with `WIDE_REACH`.
        length: of the result in seconds.
    """
    telling = [each for each in comparisons if each.similarity is not None]
    turned = _turned(telling, length)
    if turned is not None:
        return turned
    still = _still(telling, length)
    others = [each for each in telling if (each.similarity or 0) < OTHER]
    if not others or len(others) < min(_LEAST, len(telling)):
        return still
    again = search(others[:: max(1, len(others) // SEARCHED)][:SEARCHED])
    elsewhere = any((each.similarity or 0) >= OTHER for each in again)
    if len(others) == len(telling) and not elsewhere:
        return _foreign(length)
    return still or _other_times(others, elsewhere)


def lightness_change(comparisons: Sequence[Comparison], length: float) -> list[Finding]:
    """The finding of a whole picture that is lighter or darker than its source's."""
    telling = [each for each in comparisons if each.similarity is not None]
    off = statistics.median(each.off for each in telling) if telling else 0.0
    if off <= LIGHTER:
        return []
    mean = statistics.fmean(
        statistics.fmean(each.grid) - statistics.fmean(each.source) for each in telling
    )
    return [
        Finding(
            "output_lightness",
            f"The whole picture is {'lighter' if mean > 0 else 'darker'} than its source, by about "
            f"{off:.0f} of 255 grey levels.",
            start=0.0,
            end=length,
            region=(0, 0, 1, 1),
            confidence=0.9,
        )
    ]


def _turned(telling: Sequence[Comparison], length: float) -> Finding | None:
    ways = [
        each.turned[0]
        for each in telling
        if each.turned is not None
        and each.turned[1] >= SAME
        and each.turned[1] >= (each.similarity or 0) + TURNED_BY
    ]
    if len(ways) * 2 <= len(telling):
        return None
    return orientation_finding(max(set(ways), key=ways.count), length, len(ways) / len(telling))


def orientation_finding(way: Orientation, length: float, confidence: float) -> Finding:
    """The finding of a result that is turned or mirrored against its source."""
    name = {
        (True, 0): "mirrored: left and right have changed places",
        (False, 180): "upside down",
        (True, 180): "mirrored: top and bottom have changed places",
    }.get((way.mirrored, way.rotation), "lying on its side")
    return Finding(
        "output_orientation",
        f"The whole picture is {name}.",
        start=0.0,
        end=length,
        region=(0, 0, 1, 1),
        confidence=0.95 * confidence,
    )


def reframed_finding(length: float) -> Finding:
    """The finding of a result whose whole picture is enlarged, made smaller or moved."""
    return Finding(
        "output_picture_changed",
        "The result shows its source in another framing: enlarged, made smaller or moved.",
        start=0.0,
        end=length,
        region=(0, 0, 1, 1),
        confidence=0.8,
    )


def _still(telling: Sequence[Comparison], length: float) -> Finding | None:
    """The finding of one picture throughout, or for some moments, while the source moves."""
    pairs = list(pairwise(telling))
    # Encoders sharpen the first pictures of a still video step by step.
    stood = [max(apart(a.grid, b.grid)) <= STILL for a, b in pairs]
    moved = [_moved(a, b) if still else 0 for still, (a, b) in zip(stood, pairs, strict=True)]
    if len(pairs) < _LEAST:
        return None
    throughout = sum(stood) >= STOOD * len(pairs) and 2 * sum(map(bool, moved)) > sum(stood)
    if throughout:
        return _still_finding(0.0, length, 0.95)
    least = MOVED_SHARE * len(telling[0].grid)
    held = [count >= least for count in moved]
    for first in range(len(pairs)):
        last = first
        while last < len(pairs) and held[last]:
            last += 1
        if last - first >= _LEAST:
            return _still_finding(telling[first].shown, telling[last].shown, 0.8)
    return None


def _moved(one: Comparison, other: Comparison) -> int:
    """The number of cells that have to stay as they are and that move in the source."""
    levels = apart(one.source, other.source)
    free = map(max, one.free, other.free)
    return sum(level > MOVED and not passed for level, passed in zip(levels, free, strict=True))


def _still_finding(start: float, end: float, confidence: float) -> Finding:
    return Finding(
        "output_picture_still",
        f"The result shows one still picture {when(start, end)}, where its source moves.",
        start=start,
        end=end,
        region=(0, 0, 1, 1),
        confidence=confidence,
    )


def _foreign(length: float) -> Finding:
    return Finding(
        "output_picture_foreign",
        "The result shows nothing of its source in any of the compared moments.",
        unusable=True,
        start=0.0,
        end=length,
        region=(0, 0, 1, 1),
        confidence=0.95,
    )


def _other_times(others: Sequence[Comparison], elsewhere: bool) -> Finding:
    start, end = others[0].shown, others[-1].shown
    if elsewhere:
        code = "output_picture_late"
        fact = f"The result shows its source's pictures too early or too late {when(start, end)}."
    else:
        code = "output_picture_changed"
        fact = f"The result shows other pictures than its source {when(start, end)}."
    return Finding(code, fact, start=start, end=end, region=(0, 0, 1, 1), confidence=0.8)
