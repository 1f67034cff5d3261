"""Compares one moment of a result with its source: same picture, another one, or the same
mirrored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pro_video.judging.picture.frame_pairs import FramePair
from pro_video.judging.picture.grids import Shape, apart
from pro_video.judging.picture.similarity import shading, similarity, steps, structured
from pro_video.media.reading.orientation import Orientation

SURE: Final = 0.8
"""Similarity from which no other frame of the source is tried."""
SAME: Final = 0.5
"""Similarity of pictures that certainly show the same. Measured with the corpus of
`docs/verdicts.md`: the same picture, tone-mapped, at another size and rate, encoded again at a low
rate: 0.61 to 1; the same, moved by two cells: 0.2 to 0.4; another one: -0.1 to 0.15."""
TONED: Final = 3.0
"""Mean grey levels of difference from which the lightness curve is undone."""
OTHER_WAYS: Final = (
    Orientation(mirrored=True),
    Orientation(rotation=180),
    Orientation(mirrored=True, rotation=180),
)


@dataclass(frozen=True, slots=True)
class Comparison:
    """One moment of a result, compared with its source.

    Attributes:
        instant: seconds of the source.
        shown: seconds of the result.
        source: grid of the frame of the source.
        around: grids of its frames in reach, shaded as the result is.
        nearest: the one most similar to the result's.
        grid: of the result.
        free: 1 for each cell that may change.
        similarity: 1 for the same picture, about 0 for another; None where the source is nearly
            even.
        turned: the best other orientation of the result, and its similarity then.
        off: mean grey levels by which the result is lighter or darker.
    """

    instant: float
    shown: float
    source: bytes
    around: tuple[bytes, ...]
    nearest: bytes
    grid: bytes
    free: bytearray
    similarity: float | None
    turned: tuple[Orientation, float] | None
    off: float


def compare(pair: FramePair, shape: Shape, free: bytearray) -> Comparison:
    """Compare a moment; ``free`` has 1 for each cell that may change."""
    after = steps(pair.grid, shape)
    around = pair.around
    nearest = min(around, key=lambda grid: sum(apart(grid, pair.grid)))
    found = similarity(steps(nearest, shape), after)
    if found < SURE:
        found, nearest = max((similarity(steps(grid, shape), after), grid) for grid in around)
    telling = structured(steps(nearest, shape))
    off = sum(apart(nearest, pair.grid)) / len(nearest)
    if off > TONED and found >= SAME:
        table = shading(nearest, pair.grid, free)
        around = tuple(grid.translate(table) for grid in around)
        nearest = nearest.translate(table)
    return Comparison(
        instant=pair.instant,
        shown=pair.shown,
        source=pair.around[len(pair.around) // 2],
        around=around,
        nearest=nearest,
        grid=pair.grid,
        free=free,
        similarity=found if telling else None,
        turned=_turned(pair.around, after, shape) if telling and found < SAME else None,
        off=off,
    )


def _turned(
    around: Sequence[bytes], after: Sequence[float], shape: Shape
) -> tuple[Orientation, float]:
    """The best of the other ways to show the source's frames."""
    columns = shape.columns
    best = OTHER_WAYS[0], -1.0
    for way in OTHER_WAYS:
        for grid in around:
            rows = [grid[start : start + columns] for start in range(0, len(grid), columns)]
            found = similarity(steps(b"".join(way.upright(rows)), shape), after)
            if found > best[1]:
                best = way, found
    return best
