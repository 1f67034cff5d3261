"""Finds changes of the picture outside the areas and outside the segments.

The measure is `grids.unexplained`, after a difference of lightness was undone (`comparison`).
Measured on a talking head (1080x720, 30 frames a second), an animation with moving camera
(1280x720, 25) and a synthetic pan (640x360 and 160x90, 25), six moments each: the largest value of
any cell, and the share of cells above 30 levels.

    H.264 again at CRF 17 / 28 / 32 / 38 (ultrafast)    1 / 7 / 10 / 8      0
    at CRF 32, two thirds of the width, a frame late    14                  0
    1 or 2 frames late; at 24, 30, 15 frames a second   7                   0
    every fifth frame missing                           5                   0
    with grain of 6 levels; gamma 0.9                   9 / 11              0
    blurred by 1 pixel (at a width of 160)              15 (30)             0
    full range taken for limited range                  24                  0
    a black or white block of 1 to 2 % of the frame     37 to 195           0.13 to 1.7 %
    a band of 14 % of the frame filled from its border  13 to 135           0 to 5.6 %
    the same with the axes swapped                      37 to 130           0.6 to 6.3 %
    the whole frame filled from its border              54 to 162           12 to 56 %
    the whole frame blurred by 5 % of its width         32 to 165           0.06 to 3.7 %
    the frame mirrored                                  45 to 227           0.6 to 62 %

A change without contrast to its surroundings is not found, and does no harm.

An added mark stands still while the picture moves. So the mean of all moments is compared too:
noise and movement blur in it, and even a faint mark stays sharp.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from pro_video.judging.findings import Finding, when, where
from pro_video.judging.picture.comparison import Comparison
from pro_video.judging.picture.grids import Shape, apart, contrast, unexplained
from pro_video.judging.picture.pictures import Box
from pro_video.judging.picture.similarity import steps

UNEXPLAINED: Final = 30
"""Grey levels by which a cell differs for certain."""
UNEXPLAINED_RETONED: Final = 50
"""The same for another dynamic range: tone mapping depends on the place."""
CHANGED_SHARE: Final = 0.0025
"""Least share of a changed picture that differs for certain."""
CHANGED_CELLS: Final = 3
CHANGED_MOMENTS: Final = 2
"""A single moment may be a flash, a cut or a damaged frame."""
MARK: Final = "output_mark_added"
MARK_LEVEL: Final = 8
MARK_LEVEL_RETONED: Final = 50
MARK_CELLS: Final = 2
MARK_STRENGTH: Final = 30
"""Least grey levels of a mark in the mean of all moments: of a cell, of a cell under another
dynamic range, and of all its cells together."""
MARK_FACTOR: Final = 5.0
_USUAL: Final = 0.8
_EVEN_RANGE: Final = 4
MARK_MOMENTS: Final = 3
MARK_STEADY: Final = 0.75
"""Least share of the moments that show a mark."""
MARK_MOST: Final = 0.25
"""Largest share of the frame that a mark covers."""
MARK_DETAIL: Final = 0.95
"""A mark adds detail to its place; an erasure removes detail."""
MOST_MARKS: Final = 3
BORDER: Final = 0.02
"""Encoders pad and crop borders to whole blocks."""
_LEAST_JUDGED: Final = 0.02
_LETTERS_APART: Final = 2
_MIDDLE: Final = (0.25, 0.75)


@dataclass(frozen=True, slots=True)
class Cluster:
    """Neighbouring cells, and the box around them in cells: left, top, right, bottom."""

    cells: tuple[int, ...]
    box: tuple[int, int, int, int]

    def region(self, shape: Shape) -> Box:
        """The box as fractions of the frame."""
        left, top, right, bottom = self.box
        return (left / shape.columns, top / shape.rows, right / shape.columns, bottom / shape.rows)


def border_of(shape: Shape) -> bytearray:
    """1 for each cell at the border of the frame, which encoders may change."""
    edge = BORDER
    return shape.covered(
        ((0, 0, 1, edge), (0, 1 - edge, 1, 1), (0, 0, edge, 1), (1 - edge, 0, 1, 1)), 0
    )


def changes_outside(
    comparisons: Sequence[Comparison], shape: Shape, length: float, stage: str, *, retoned: bool
) -> list[Finding]:
    """Certain changes, in more than one moment, of parts that have to stay as they are.

    Args:
        comparisons: moments in which part of the picture has to stay, in order.
        shape: of their grids.
        length: of the result in seconds.
        stage: names the work in messages.
        retoned: has the result another dynamic range than its source?
    """
    limit = UNEXPLAINED_RETONED if retoned else UNEXPLAINED
    seen: list[tuple[Comparison, list[int]]] = []
    judged = 0
    for comparison in comparisons:
        if comparison.free.count(0) < max(_LEAST_JUDGED * len(comparison.free), CHANGED_CELLS):
            continue
        judged += 1
        levels = unexplained(comparison.around, comparison.grid, shape, limit)
        cells = [
            cell
            for cell, (level, passed) in enumerate(zip(levels, comparison.free, strict=True))
            if level > limit and not passed
        ]
        if len(cells) >= max(CHANGED_CELLS, CHANGED_SHARE * len(comparison.free)):
            seen.append((comparison, cells))
    if len(seen) < CHANGED_MOMENTS:
        return []
    throughout = len(seen) == judged
    start = 0.0 if throughout else seen[0][0].shown
    end = length if throughout else seen[-1][0].shown
    region = cluster_of({cell for _, cells in seen for cell in cells}, shape).region(shape)
    return [
        Finding(
            "output_picture_changed",
            f"The {stage} changed the picture {where(region)} {when(start, end)}, where nothing "
            "was to change.",
            start=start,
            end=end,
            region=region,
            confidence=min(0.99, 0.6 + 0.4 * len(seen) / judged),
        )
    ]


def marks_added(
    comparisons: Sequence[Comparison],
    shape: Shape,
    length: float,
    *,
    retoned: bool = False,
    anything_else: bool = False,
) -> list[Finding]:
    """Still marks in the result that its source does not have: a watermark, or an erasure at the
    wrong place.

    Args:
        comparisons: moments in which part of the picture has to stay, in order.
        shape: of their grids.
        length: of the result in seconds.
        retoned: has the result another dynamic range than its source?
        anything_else: may the picture change for another reason? Then only marks near an edge of
            the frame count.
    """
    if len(comparisons) < MARK_MOMENTS:
        return []
    free = bytes(map(max, *(each.free for each in comparisons)))
    before, after = (
        _mean([each.nearest for each in comparisons]),
        _mean([each.grid for each in comparisons]),
    )
    least = MARK_LEVEL_RETONED if retoned else MARK_LEVEL
    differing = _differing(before, after, free, shape, least)
    found: list[tuple[int, Finding]] = []
    for cluster in clusters(set(differing), shape):
        region = cluster.region(shape)
        strength = sum(differing[cell] for cell in cluster.cells)
        if len(cluster.cells) < MARK_CELLS or strength < MARK_STRENGTH:
            continue
        if _area(region) > MARK_MOST:
            continue
        if anything_else and not _near_edge(region):
            continue
        steady = _steady(comparisons, cluster, before, after)
        if steady < MARK_STEADY:
            continue
        drawn = _detail(after, cluster, shape) >= MARK_DETAIL * _detail(before, cluster, shape)
        finding = Finding(
            MARK if drawn else "output_picture_changed",
            f"A mark that the source does not have stands {where(region)} of the picture from 0.0 "
            f"to {length:.1f} s: perhaps a vendor's watermark."
            if drawn
            else f"The picture is smoother than its source {where(region)} from 0.0 to "
            f"{length:.1f} s, where nothing was to change.",
            start=0.0,
            end=length,
            region=region,
            confidence=0.95 * steady * (0.8 if anything_else else 1),
        )
        found.append((len(cluster.cells), finding))
    found.sort(key=lambda each: each[0], reverse=True)
    return [finding for _, finding in found[:MOST_MARKS]]


def _differing(
    before: bytes, after: bytes, free: bytes, shape: Shape, least: int
) -> dict[int, int]:
    """The cells that differ by more than encoding explains, and by how many levels.

    Blurred, sharpened or slightly moved pictures differ more in places of more contrast. The usual
    difference relative to the contrast is measured in the same two pictures.
    """
    off = apart(before, after)
    ranges = contrast(before, shape)
    shares = sorted(
        level / (_EVEN_RANGE + reach)
        for level, reach, passed in zip(off, ranges, free, strict=True)
        if not passed
    )
    if not shares:
        return {}
    most = MARK_FACTOR * shares[int(_USUAL * len(shares))]
    return {
        cell: level
        for cell, (level, reach, passed) in enumerate(zip(off, ranges, free, strict=True))
        if not passed and level >= max(least, most * (_EVEN_RANGE + reach))
    }


def clusters(marked: set[int], shape: Shape) -> Iterator[Cluster]:
    """Groups of cells that are near each other, like the letters of a word."""
    reach = _LETTERS_APART
    left = set(marked)
    while left:
        group = [left.pop()]
        for cell in group:
            row, column = divmod(cell, shape.columns)
            near = {
                (row + down) * shape.columns + column + across
                for down in range(-reach, reach + 1)
                for across in range(-reach, reach + 1)
                if 0 <= column + across < shape.columns
            } & left
            left -= near
            group.extend(near)
        yield cluster_of(set(group), shape)


def cluster_of(cells: set[int], shape: Shape) -> Cluster:
    """These cells as one cluster."""
    rows = [cell // shape.columns for cell in cells]
    columns = [cell % shape.columns for cell in cells]
    return Cluster(tuple(sorted(cells)), (min(columns), min(rows), max(columns) + 1, max(rows) + 1))


def _mean(grids: Sequence[bytes]) -> bytes:
    count = len(grids)
    return bytes((sum(levels) + count // 2) // count for levels in zip(*grids, strict=True))


def _steady(
    comparisons: Sequence[Comparison], cluster: Cluster, before: bytes, after: bytes
) -> float:
    """The share of the moments that show at least half of the mean difference.

    A light mark adds less to a light background, and a dark one less to a dark background.
    """
    lighter = [after[cell] >= before[cell] for cell in cluster.cells]
    added, room = [], []
    for comparison in comparisons:
        places = [(comparison.nearest[cell], comparison.grid[cell]) for cell in cluster.cells]
        signed = zip(lighter, places, strict=True)
        added.append(sum(new - old if light else old - new for light, (old, new) in signed))
        signed = zip(lighter, places, strict=True)
        room.append(sum(255 - old if light else old for light, (old, _) in signed))
    least = sum(added) / max(1, sum(room)) / 2
    return sum(more >= least * most for more, most in zip(added, room, strict=True)) / len(
        comparisons
    )


def _detail(grid: bytes, cluster: Cluster, shape: Shape) -> float:
    """The detail of a grid in the box around a cluster and its neighbours."""
    left, top, right, bottom = cluster.box
    left, top = max(0, left - 1), max(0, top - 1)
    right, bottom = min(shape.columns, right + 1), min(shape.rows, bottom + 1)
    part = b"".join(
        grid[row * shape.columns + left : row * shape.columns + right] for row in range(top, bottom)
    )
    return sum(map(abs, steps(part, Shape(right - left, bottom - top))))


def _area(region: Box) -> float:
    left, top, right, bottom = region
    return (right - left) * (bottom - top)


def _near_edge(region: Box) -> bool:
    first, last = _MIDDLE
    left, top, right, bottom = region
    return right <= first or left >= last or bottom <= first or top >= last
