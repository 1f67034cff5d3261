"""Mask rectangles: what is asked for, and the pixels that they mean."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sandbox.media.errors import MediaError

Bitmap = npt.NDArray[np.bool_]
Box = tuple[slice, slice]
"""Rows and columns of a luma plane."""
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
        """Whether the picture shown at `time` seconds belongs to the window."""
        return self.start - TIME_SLACK <= time < self.end - TIME_SLACK


def pixel_box(region: tuple[float, float, float, float], width: int, height: int) -> Box:
    """The region's pixels, rounded outwards to even positions.

    Even, because a chroma sample stands for 2 x 2 pixels and would leak over an odd edge.
    """

    def span(low: float, high: float, size: int) -> slice:
        first = min(max(0, math.floor((low * size + 1e-3) / 2) * 2), size - 2)
        last = min(math.ceil((high * size - 1e-3) / 2) * 2, size)
        return slice(first, max(last, first + 2))

    x0, y0, x1, y1 = region
    return span(y0, y1, height), span(x0, x1, width)


def bitmap(masks: Iterable[Mask], width: int, height: int) -> Bitmap:
    """The pixels of a frame that are in any of the masks."""
    pixels = np.zeros((height, width), np.bool_)
    for mask in masks:
        pixels[pixel_box(mask.region, width, height)] = True
    return pixels
