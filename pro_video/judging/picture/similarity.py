"""Recognises the same picture under another lightness, and measures the difference of lightness.

Tone mapping, another transfer, another range of values and a gamma change lightness, but keep the
places where it rises and falls. So pictures are recognised by their steps from cell to cell.
Lightness is compared after the curve is undone that explains most of the difference.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from itertools import chain
from operator import mul, sub
from typing import Final

from pro_video.judging.picture.grids import Shape

STRUCTURED: Final = 0.6
"""Mean of the steps, in roots of grey levels, below which a picture is too even to be recognised.
0.6 is noise of two levels."""
_BINS: Final = 32
_LEAST_IN_BIN: Final = 4

# By difference of two levels, from -255 to 255: Python counts negative indexes from the end. Roots
# give faint steps weight beside hard edges, which tone mapping changes most.
_ROOTS: Final = [
    *(math.sqrt(step) for step in range(256)),
    *(-math.sqrt(-step) for step in range(-255, 0)),
]


def steps(grid: bytes, shape: Shape) -> list[float]:
    """The roots of the steps to the right and downwards from each cell."""
    columns = shape.columns
    rows = [grid[start : start + columns] for start in range(0, len(grid), columns)]
    across = (map(sub, row[1:], row) for row in rows)
    down = map(sub, grid[columns:], grid)
    return list(map(_ROOTS.__getitem__, chain(chain.from_iterable(across), down)))


def structured(one: Sequence[float]) -> bool:
    """Has a picture with these steps enough structure to be recognised?"""
    return sum(map(abs, one)) > STRUCTURED * len(one)


def similarity(one: Sequence[float], other: Sequence[float]) -> float:
    """The similarity of two pictures with these steps: 1 the same, about 0 unrelated."""
    power = math.sqrt(sum(map(mul, one, one)) * sum(map(mul, other, other)))
    return sum(map(mul, one, other)) / power if power else 0.0


def shading(before: bytes, after: bytes, passed: bytes | bytearray) -> bytes:
    """The lightness in ``after`` of each of the 256 levels of ``before``: a table that never falls.

    It follows the median cell of each level, so that a painted-over part does not count.

    Args:
        before, after: grids of the same picture.
        passed: 1 for each cell that does not count.
    """
    found: list[list[int]] = [[] for _ in range(_BINS)]
    width = 256 // _BINS
    for old, new, skipped in zip(before, after, passed, strict=True):
        if not skipped:
            found[old // width].append(new)
    points = [
        [place * width + width / 2, statistics.median(levels), len(levels)]
        for place, levels in enumerate(found)
        if len(levels) >= _LEAST_IN_BIN
    ]
    return _table(_rising(points))


def _rising(points: list[list[float]]) -> list[list[float]]:
    """Falling neighbours are merged (pool adjacent violators)."""
    pooled: list[list[float]] = []
    for point in points:
        pooled.append(point)
        while len(pooled) > 1 and pooled[-2][1] > pooled[-1][1]:
            x, y, weight = pooled.pop()
            left = pooled[-1]
            both = left[2] + weight
            pooled[-1] = [
                (left[0] * left[2] + x * weight) / both,
                (left[1] * left[2] + y * weight) / both,
                both,
            ]
    return pooled


def _table(points: list[list[float]]) -> bytes:
    if not points:
        return bytes(range(256))
    table = []
    place = 0
    for level in range(256):
        while place + 1 < len(points) and points[place + 1][0] <= level:
            place += 1
        x, y, _ = points[place]
        if place + 1 < len(points) and level >= x:
            right = points[place + 1]
            y += (right[1] - y) * (level - x) / (right[0] - x)
        else:
            # Outside the known levels the curve goes on with slope 1.
            y += level - x
        table.append(min(255, max(0, round(y))))
    return bytes(table)
