"""Finds the parts of two pictures with the same content when their shapes differ: bars, crop,
turn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pro_video.judging.picture.comparison import SAME
from pro_video.judging.picture.frame_pairs import (
    WHOLE_FRAMES,
    ComparedParts,
    FramePair,
    Videos,
    frame_pairs,
)
from pro_video.judging.picture.grids import Gridder, Shape, halve
from pro_video.judging.picture.similarity import similarity, steps
from pro_video.media.info import VideoStream
from pro_video.media.reading.orientation import Orientation

SAME_SHAPE: Final = 0.01
NEARLY: Final = 0.05
"""Larger than the effect of sizes made even and of borders filled up to whole blocks."""
ZOOMED: Final = tuple(1 - step / 50 for step in range(1, 19))
"""Shares of width and height that are tried for a zoom or a border."""
SHIFTED: Final = 6
"""Cells of a halved grid that are tried for a move: an eighth of the longer side."""
REFRAMED: Final = 0.45
"""Similarity of the same picture in another framing. Of another one, the best of all framings is
below 0.3 in the corpus of `docs/verdicts.md`."""
_QUARTERS: Final = (Orientation(rotation=90), Orientation(rotation=270))


@dataclass(frozen=True, slots=True)
class Framing:
    """The compared parts of two pictures.

    Attributes:
        parts: the compared parts.
        exact: have whole frames the same content, so that small parts can be compared?
        turned: the result lies on its side against the source.
    """

    parts: ComparedParts = WHOLE_FRAMES
    exact: bool = True
    turned: Orientation | None = None


def find_framing(videos: Videos, shape: Shape, instant: float, shown: float) -> Framing:
    """The best framing: by the shapes, else by one moment.

    Args:
        videos: source and result.
        shape: of the grids.
        instant, shown: a moment in the middle, in seconds of source and result.

    Raises:
        MediaUnusable: one of them cannot be read.
    """
    source, result = videos.source, videos.result
    ratio = _aspect(result) / _aspect(source)
    if min(abs(ratio - 1), abs(_stored(result) / _stored(source) - 1)) <= SAME_SHAPE:
        return Framing()
    if abs(ratio - 1) <= NEARLY:
        return Framing(exact=False)
    part, wider = min(ratio, 1 / ratio), ratio > 1
    bars: ComparedParts = ((1.0, 1.0), (part, 1.0) if wider else (1.0, part))
    cropped: ComparedParts = ((1.0, part) if wider else (part, 1.0), (1.0, 1.0))
    found: list[tuple[float, Framing]] = []
    for parts in (WHOLE_FRAMES, bars, cropped):
        for pair in frame_pairs(videos, [instant], [shown], shape=shape, parts=parts):
            found.append((_most_alike(pair, pair.grid, shape), Framing(parts, exact=False)))
            if parts == WHOLE_FRAMES:
                found += _sideways(pair, shape)
    return max(found, key=lambda each: each[0], default=(0.0, Framing(exact=False)))[1]


def reframed(pair: FramePair, shape: Shape) -> bool:
    """Is the picture the same, but enlarged, made smaller or moved?"""
    before, after = pair.before, pair.after
    for share in ZOOMED:
        part = Gridder(shape, (share, share))
        for inner, outer in ((before, after), (after, before)):
            one, other = part(inner), Gridder(shape)(outer)
            if similarity(steps(one, shape), steps(other, shape)) >= REFRAMED:
                return True
    old, new = (halve(Gridder(shape)(frame), shape) for frame in (before, after))
    small = Shape(shape.columns // 2, shape.rows // 2)
    return any(
        _shifted(old, new, small, across, down) >= REFRAMED
        for across in range(-SHIFTED, SHIFTED + 1)
        for down in range(-SHIFTED, SHIFTED + 1)
    )


def _shifted(old: bytes, new: bytes, shape: Shape, across: int, down: int) -> float:
    """The similarity of the common part when the first is moved by some cells."""
    part = Shape(shape.columns - abs(across), shape.rows - abs(down))
    if min(part.columns, part.rows) < SHIFTED:
        return 0.0
    first = _part(old, shape, part, max(0, -across), max(0, -down))
    second = _part(new, shape, part, max(0, across), max(0, down))
    return similarity(steps(first, part), steps(second, part))


def _part(grid: bytes, shape: Shape, part: Shape, left: int, top: int) -> bytes:
    starts = (row * shape.columns + left for row in range(top, top + part.rows))
    return b"".join(grid[start : start + part.columns] for start in starts)


def _sideways(pair: FramePair, shape: Shape) -> list[tuple[float, Framing]]:
    grid = Gridder(Shape(shape.rows, shape.columns))(pair.after)
    rows = [grid[start : start + shape.rows] for start in range(0, len(grid), shape.rows)]
    found = [(_most_alike(pair, b"".join(way.upright(rows)), shape), way) for way in _QUARTERS]
    return [(most, Framing(exact=False, turned=way)) for most, way in found if most >= SAME]


def _most_alike(pair: FramePair, grid: bytes, shape: Shape) -> float:
    after = steps(grid, shape)
    return max(similarity(steps(old, shape), after) for old in pair.around)


def _aspect(video: VideoStream) -> float:
    return video.width * video.pixel_aspect / video.height


def _stored(video: VideoStream) -> float:
    return video.width / video.height
