"""Mask rectangles in pixels, and which of their samples may change."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sandbox.media.errors import MediaError

Bitmap = npt.NDArray[np.bool_]
KINDS = ("remove", "remove_only_ocr", "keep")
TIME_SLACK = 1e-3
"""Seconds by which a picture's time may miss a window's edge, so that decimals do not decide."""


@dataclass(frozen=True)
class Mask:
    """A rectangle with a task and a time window.

    Attributes:
        kind: `remove` fills all of it, `remove_only_ocr` the text inside, `keep` protects it.
        start, end: window in seconds; a picture belongs to it when start <= time < end.
        region: x0, y0, x1, y1 as fractions of the displayed frame, origin top left.
    """

    kind: str
    start: float
    end: float
    region: tuple[float, float, float, float]

    def check(self) -> None:
        """Raises MediaError when the mask cannot be meant."""
        x0, y0, x1, y1 = self.region
        if self.kind not in KINDS:
            raise MediaError(f"unknown mask kind {self.kind!r}; use one of {', '.join(KINDS)}")
        if not all(math.isfinite(value) for value in self.region):
            raise MediaError("a mask region has a coordinate that is no number")
        if not (-1e-9 <= x0 < x1 <= 1 + 1e-9 and -1e-9 <= y0 < y1 <= 1 + 1e-9):
            raise MediaError("a mask region has no area or leaves the frame")
        if math.isnan(self.start) or math.isnan(self.end) or self.end < self.start:
            raise MediaError("a mask window ends before it starts")

    def active(self, time: float) -> bool:
        return self.start - TIME_SLACK <= time < self.end - TIME_SLACK


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels, right and bottom exclusive; all even."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def height(self) -> int:
        return self.bottom - self.top

    def halved(self) -> Box:
        """The same rectangle on a chroma plane."""
        return Box(self.left // 2, self.top // 2, self.right // 2, self.bottom // 2)

    def slices(self) -> tuple[slice, slice]:
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def grown(self, x: int, y: int, width: int, height: int) -> Box:
        """Larger by x and y pixels on each side, within a frame of width x height."""
        return Box(
            max(0, self.left - x),
            max(0, self.top - y),
            min(width, self.right + x),
            min(height, self.bottom + y),
        )


def pixel_box(region: tuple[float, float, float, float], width: int, height: int) -> Box:
    """The region's pixels, rounded outwards to even positions.

    Even, because a chroma sample stands for 2 x 2 pixels and would leak over an odd edge.
    """

    def low(value: float, size: int) -> int:
        return min(max(0, math.floor((value * size + 1e-3) / 2) * 2), size - 2)

    def high(value: float, size: int) -> int:
        return min(max(2, math.ceil((value * size - 1e-3) / 2) * 2), size)

    x0, y0, x1, y1 = region
    left, top = low(x0, width), low(y0, height)
    return Box(left, top, max(high(x1, width), left + 2), max(high(y1, height), top + 2))


def protected(masks: Sequence[Mask], time: float, width: int, height: int) -> Bitmap | None:
    """Chroma-sized bitmap of what `keep` masks protect at `time`; None when nothing is."""
    boxes = [
        pixel_box(mask.region, width, height).halved()
        for mask in masks
        if mask.kind == "keep" and mask.active(time)
    ]
    if not boxes:
        return None
    bitmap = np.zeros((height // 2, width // 2), np.bool_)
    for box in boxes:
        bitmap[box.slices()] = True
    return bitmap
