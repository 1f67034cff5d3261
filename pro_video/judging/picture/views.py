"""Finds the parts of two pictures that show the same when their shapes differ: bars, crop, turn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pro_video.judging.picture.grids import Gridder, Shape, halve
from pro_video.judging.picture.likeness import likeness, steps
from pro_video.judging.picture.looks import SAME
from pro_video.judging.picture.moments import WHOLE_FRAMES, Moment, Views, moments
from pro_video.media.info import VideoStream
from pro_video.media.reading.open import Source
from pro_video.media.reading.orientation import Orientation

SAME_SHAPE: Final = 0.01
NEARLY: Final = 0.05
"""Odd sizes made even, and borders filled up to whole blocks, change a shape by less."""
ZOOMED: Final = tuple(1 - step / 50 for step in range(1, 19))
"""Shares of width and height that are tried: how much of a picture a zoom shows, or a border
leaves."""
SHIFTED: Final = 6
"""Cells of a halved grid by which a picture may have moved: an eighth of its longer side."""
REFRAMED: Final = 0.45
"""Likeness of the same picture in another framing. Of another one, the best of all framings is
below 0.3 in the corpus of `docs/verdicts.md`."""
_QUARTERS: Final = (Orientation(rotation=90), Orientation(rotation=270))


@dataclass(frozen=True, slots=True)
class Fit:
    """The parts of two pictures that are compared.

    Attributes:
        views: the parts that are compared.
        exact: do whole frames show the same, so that small parts can be compared?
        turned: the result lies on its side against the source.
    """

    views: Views = WHOLE_FRAMES
    exact: bool = True
    turned: Orientation | None = None


def fit(
    before: Source,
    after: Source,
    *,
    source: VideoStream,
    result: VideoStream,
    shape: Shape,
    instant: float,
    shown: float,
) -> Fit:
    """The best fit, by one moment where the shapes do not tell.

    Args:
        before, after: source and result.
        source, result: their pictures.
        shape: of the grids.
        instant, shown: a moment in the middle, in seconds of source and result.

    Raises:
        MediaUnusable: one of them cannot be read.
    """
    ratio = _aspect(result) / _aspect(source)
    if min(abs(ratio - 1), abs(_stored(result) / _stored(source) - 1)) <= SAME_SHAPE:
        return Fit()
    if abs(ratio - 1) <= NEARLY:
        return Fit(exact=False)
    part, wider = min(ratio, 1 / ratio), ratio > 1
    bars: Views = ((1.0, 1.0), (part, 1.0) if wider else (1.0, part))
    cropped: Views = ((1.0, part) if wider else (part, 1.0), (1.0, 1.0))
    found: list[tuple[float, Fit]] = []
    for views in (WHOLE_FRAMES, bars, cropped):
        for moment in moments(
            before, after, [instant], [shown], video=source, shape=shape, views=views
        ):
            found.append((_most_alike(moment, moment.grid, shape), Fit(views, exact=False)))
            if views == WHOLE_FRAMES:
                found += _sideways(moment, shape)
    return max(found, key=lambda each: each[0], default=(0.0, Fit(exact=False)))[1]


def reframed(moment: Moment, shape: Shape) -> bool:
    """Is the picture the same, enlarged, made smaller or moved?"""
    before, after = moment.before, moment.after
    for share in ZOOMED:
        part = Gridder(shape, (share, share))
        for inner, outer in ((before, after), (after, before)):
            one, other = part(inner), Gridder(shape)(outer)
            if likeness(steps(one, shape), steps(other, shape)) >= REFRAMED:
                return True
    old, new = (halve(Gridder(shape)(frame), shape) for frame in (before, after))
    small = Shape(shape.columns // 2, shape.rows // 2)
    return any(
        _shifted(old, new, small, across, down) >= REFRAMED
        for across in range(-SHIFTED, SHIFTED + 1)
        for down in range(-SHIFTED, SHIFTED + 1)
    )


def _shifted(old: bytes, new: bytes, shape: Shape, across: int, down: int) -> float:
    """The likeness of what both show when the first is moved by some cells."""
    part = Shape(shape.columns - abs(across), shape.rows - abs(down))
    if min(part.columns, part.rows) < SHIFTED:
        return 0.0
    first = _part(old, shape, part, max(0, -across), max(0, -down))
    second = _part(new, shape, part, max(0, across), max(0, down))
    return likeness(steps(first, part), steps(second, part))


def _part(grid: bytes, shape: Shape, part: Shape, left: int, top: int) -> bytes:
    starts = (row * shape.columns + left for row in range(top, top + part.rows))
    return b"".join(grid[start : start + part.columns] for start in starts)


def _sideways(moment: Moment, shape: Shape) -> list[tuple[float, Fit]]:
    grid = Gridder(Shape(shape.rows, shape.columns))(moment.after)
    rows = [grid[start : start + shape.rows] for start in range(0, len(grid), shape.rows)]
    found = [(_most_alike(moment, b"".join(way.upright(rows)), shape), way) for way in _QUARTERS]
    return [(most, Fit(exact=False, turned=way)) for most, way in found if most >= SAME]


def _most_alike(moment: Moment, grid: bytes, shape: Shape) -> float:
    after = steps(grid, shape)
    return max(likeness(steps(old, shape), after) for old in moment.around)


def _aspect(video: VideoStream) -> float:
    return video.width * video.pixel_aspect / video.height


def _stored(video: VideoStream) -> float:
    return video.width / video.height
