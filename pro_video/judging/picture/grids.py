"""Pictures as small grids of mean lightness, and the differences that other frames do not explain.

A cell is a few pixels wide, so that the noise of encoding, scaling and grain averages out. An
encoder may still show a picture a few frames early or late, moved by less than a cell, blurred or
mixed from two frames. All of these stay between the darkest and the lightest value of the
neighbourhood in the frames around. An added or removed object does not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import repeat
from math import ceil
from operator import sub
from typing import Final

from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Interpolation, VideoReformatter

from pro_video.judging.picture.pictures import Box
from pro_video.media.reading.orientation import Orientation

MOST_CELLS: Final = 96


@dataclass(frozen=True, slots=True)
class Shape:
    """Columns and rows of a grid."""

    columns: int
    rows: int

    @classmethod
    def of(cls, *sizes: tuple[int, int], cell: int) -> Shape:
        """For the smallest of pictures of these widths and heights: cells of ``cell`` pixels or
        more, at most 96 of them on the longer side."""
        width, height = min(sizes)
        cells = max(1, min(MOST_CELLS, max(width, height) // cell))
        scale = cells / max(width, height)
        return cls(max(3, round(width * scale)), max(3, round(height * scale)))

    def covered(self, boxes: Iterable[Box], margin: float) -> bytearray:
        """1 for each cell that one of the boxes, grown by ``margin`` of the frame, touches."""
        marks = bytearray(self.columns * self.rows)
        for left, top, right, bottom in boxes:
            first = max(0, int((left - margin) * self.columns))
            last = min(self.columns, int((right + margin) * self.columns) + 1)
            for row in range(
                max(0, int((top - margin) * self.rows)),
                min(self.rows, int((bottom + margin) * self.rows) + 1),
            ):
                start = row * self.columns
                marks[start + first : start + last] = b"\1" * max(0, last - first)
        return marks

    def within(self, boxes: Iterable[Box]) -> bytearray:
        """1 for each cell that is inside one of the boxes with all its neighbours."""
        marks = bytearray(self.columns * self.rows)
        for left, top, right, bottom in boxes:
            first, last = ceil(left * self.columns) + 1, int(right * self.columns) - 1
            for row in range(ceil(top * self.rows) + 1, int(bottom * self.rows) - 1):
                start = row * self.columns
                marks[start + first : start + last] = b"\1" * max(0, last - first)
        return marks


class Gridder:
    """Makes grids of one shape from the frames of one file.

    Args:
        shape: of the grids.
        view: the covered shares of the displayed frame's width and height, in the middle.
    """

    def __init__(self, shape: Shape, view: tuple[float, float] = (1.0, 1.0)) -> None:
        self._shape = shape
        self._whole = Shape(round(shape.columns / view[0]), round(shape.rows / view[1]))
        self._scaler = VideoReformatter()

    def __call__(self, frame: VideoFrame) -> bytes:
        """The mean lightness of each cell, 0 to 255, row by row, as displayed."""
        orientation = Orientation.of(frame)
        columns, rows = orientation.size(self._whole.columns, self._whole.rows)
        small = self._scaler.reformat(
            frame,
            width=columns,
            height=rows,
            format="gray",
            interpolation=Interpolation.AREA,
            dst_color_range=ColorRange.JPEG,
        )
        plane = small.planes[0]
        data = bytes(plane)
        lines = [data[row * plane.line_size :][:columns] for row in range(rows)]
        shown = orientation.upright(lines)
        if self._whole == self._shape:
            return b"".join(shown)
        left = (self._whole.columns - self._shape.columns) // 2
        top = (self._whole.rows - self._shape.rows) // 2
        return b"".join(
            line[left : left + self._shape.columns] for line in shown[top : top + self._shape.rows]
        )


def unexplained(before: Sequence[bytes], after: bytes, shape: Shape, enough: int = 0) -> bytes:
    """For each cell the grey levels by which a picture differs from all frames of its source.

    The larger of two differences: of ``after`` from the range of the frames ``before`` in the cell
    and its eight neighbours (something was added), and of each frame ``before`` from that range of
    ``after`` (something was removed).

    Args:
        before: one frame or more, in order of time.
        after: the picture.
        shape: of all of them.
        enough: levels up to this may be returned too high, which saves time.
    """
    darkest, lightest = _around(after, shape, min), _around(after, shape, max)
    first = before[len(before) // 2]
    taken = _outside(first, darkest, lightest)
    put = _outside(after, _around(first, shape, min), _around(first, shape, max))
    if max(put) > enough and len(before) > 1:
        low, high = bytes(map(min, *before)), bytes(map(max, *before))
        put = _outside(after, _around(low, shape, min), _around(high, shape, max))
    for grid in before:
        if max(taken) <= enough:
            break
        taken = bytes(map(min, taken, _outside(grid, darkest, lightest)))
    return bytes(map(max, put, taken))


def apart(one: bytes, other: bytes) -> bytes:
    """The difference of two grids in each cell."""
    return bytes(map(abs, map(sub, one, other)))


def halve(grid: bytes, shape: Shape) -> bytes:
    """The mean of each two by two cells, without a last odd row or column."""
    columns = shape.columns // 2 * 2
    rows = [grid[row * shape.columns :][:columns] for row in range(shape.rows // 2 * 2)]
    return b"".join(
        bytes((sum(four) + 2) // 4 for four in zip(a[::2], a[1::2], b[::2], b[1::2], strict=True))
        for a, b in zip(rows[::2], rows[1::2], strict=True)
    )


def contrast(grid: bytes, shape: Shape) -> bytes:
    """The lightest minus the darkest of each cell and its neighbours."""
    return bytes(map(sub, _around(grid, shape, max), _around(grid, shape, min)))


def joined(one: bytearray, other: bytearray | None) -> bytearray:
    """1 for each cell that is marked in one of two grids."""
    return one if other is None else bytearray(map(max, one, other))


def _outside(values: bytes, low: bytes, high: bytes) -> bytes:
    """By how much each value is below ``low`` or above ``high``."""
    return bytes(map(max, repeat(0), map(sub, values, high), map(sub, low, values)))


def _around(grid: bytes, shape: Shape, choose: Callable[..., int]) -> bytes:
    """The least or greatest value of each cell and its neighbours."""
    columns, rows = shape.columns, shape.rows
    lines = []
    for row in range(rows):
        line = grid[row * columns : (row + 1) * columns]
        lines.append(bytes(map(choose, line[:1] + line[:-1], line, line[1:] + line[-1:])))
    return b"".join(
        bytes(map(choose, lines[max(0, row - 1)], lines[row], lines[min(rows - 1, row + 1)]))
        for row in range(rows)
    )
