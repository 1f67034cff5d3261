"""Translation between two pictures, measured at chosen points.

A shift (dx, dy) means that what `current` shows at (x, y), `reference` shows at (x + dx, y + dy).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sandbox.media.files.pictures import Plane
from sandbox.media.inpainting.masks import Bitmap

MAX_POINTS = 5000
OUTLIER = 40
"""Differences are cut here, so that objects with a motion of their own do not decide."""
MAX_STEPS = 14


@dataclass(frozen=True, slots=True)
class Shift:
    """A shift in pixels and the root of the mean squared (cut) difference that is left."""

    dx: float
    dy: float
    error: float


class Points:
    """Positions at which pictures are compared: a grid over the `allowed` part of the frame."""

    def __init__(self, allowed: Bitmap) -> None:
        self.height, self.width = allowed.shape
        count = int(np.count_nonzero(allowed))
        stride = max(1, int(np.sqrt(count / MAX_POINTS)))
        grid = np.zeros_like(allowed)
        grid[::stride, ::stride] = True
        self.rows, self.columns = (axis.astype(np.int32) for axis in np.nonzero(allowed & grid))

    def __len__(self) -> int:
        return len(self.rows)


class Matcher:
    """Compares one picture with others at the same points."""

    def __init__(self, points: Points, current: Plane) -> None:
        self._points = points
        self._current = current[points.rows, points.columns].astype(np.int16)

    def cost(self, reference: Plane, usable: Bitmap | None, dx: int, dy: int) -> float:
        """Mean squared cut difference; infinite when a quarter of the points has no partner."""
        points = self._points
        rows, columns = points.rows + dy, points.columns + dx
        inside = (rows >= 0) & (rows < points.height) & (columns >= 0) & (columns < points.width)
        rows, columns = rows[inside], columns[inside]
        values = self._current[inside]
        if usable is not None:
            free = usable[rows, columns]
            rows, columns, values = rows[free], columns[free], values[free]
        if len(values) < max(64, len(points) // 4):
            return float("inf")
        difference = np.minimum(np.abs(values - reference[rows, columns]), OUTLIER)
        return float(np.mean(np.square(difference, dtype=np.int32)))

    def search(
        self,
        reference: Plane,
        starts: list[tuple[float, float]],
        usable: Bitmap | None = None,
    ) -> Shift:
        """Descend from each start to the best shift nearby, then below a pixel."""
        known: dict[tuple[int, int], float] = {}

        def cost(dx: int, dy: int) -> float:
            if (dx, dy) not in known:
                known[dx, dy] = self.cost(reference, usable, dx, dy)
            return known[dx, dy]

        best = (0, 0)
        lowest = float("inf")
        for start in starts:
            here = (round(start[0]), round(start[1]))
            for _ in range(MAX_STEPS):
                around = [(here[0] + x, here[1] + y) for y in (-1, 0, 1) for x in (-1, 0, 1)]
                step = min(around, key=lambda shift: (cost(*shift), shift != here))
                if step == here:
                    break
                here = step
            if cost(*here) < lowest:
                best, lowest = here, cost(*here)
        if not np.isfinite(lowest):
            return Shift(*best, float("inf"))
        dx = best[0] + _vertex(cost(best[0] - 1, best[1]), lowest, cost(best[0] + 1, best[1]))
        dy = best[1] + _vertex(cost(best[0], best[1] - 1), lowest, cost(best[0], best[1] + 1))
        return Shift(dx, dy, lowest**0.5)


def _vertex(before: float, middle: float, after: float) -> float:
    """Where a parabola through three neighbours has its lowest point; -0.5 to 0.5."""
    bend = before - 2 * middle + after
    if not np.isfinite(bend) or bend <= 0:
        return 0.0
    return float(np.clip((before - after) / (2 * bend), -0.5, 0.5))


def phase_correlation(one: Plane, two: Plane) -> tuple[float, float]:
    """A whole-pixel shift from `one` to `two` of any size, found in the frequency domain.

    It is a start for `Matcher.search`, not a result: overlays that stand still mislead it.
    """
    a, b = (
        plane[:: max(1, plane.shape[0] // 128), :: max(1, plane.shape[1] // 256)].astype(np.float32)
        for plane in (one, two)
    )
    window = np.hanning(a.shape[0])[:, None] * np.hanning(a.shape[1])[None, :]
    spectrum = np.fft.rfft2((b - b.mean()) * window) * np.conj(
        np.fft.rfft2((a - a.mean()) * window)
    )
    peak = np.fft.irfft2(spectrum / np.maximum(np.abs(spectrum), 1e-6), s=a.shape)
    row, column = np.unravel_index(int(np.argmax(peak)), peak.shape)
    dy = row if row <= a.shape[0] // 2 else row - a.shape[0]
    dx = column if column <= a.shape[1] // 2 else column - a.shape[1]
    return (
        float(dx * max(1, one.shape[1] // 256)),
        float(dy * max(1, one.shape[0] // 128)),
    )


def moved(
    plane: Plane, rows: slice, columns: slice, dx: float, dy: float
) -> npt.NDArray[np.floating]:
    """`plane` sampled at a rectangle shifted by (dx, dy); beyond the frame its edge is repeated.

    A shift within 0.15 of whole pixels is taken as whole: interpolation would only blur.
    """
    height, width = plane.shape
    x, fx = _split(dx)
    y, fy = _split(dy)
    r = np.clip(np.arange(rows.start + y, rows.stop + y + 1), 0, height - 1)
    c = np.clip(np.arange(columns.start + x, columns.stop + x + 1), 0, width - 1)
    part = plane[r[:, None], c[None, :]].astype(np.float32)
    part = part[:, :-1] * (1 - fx) + part[:, 1:] * fx if fx else part[:, :-1]
    result: npt.NDArray[np.floating] = part[:-1] * (1 - fy) + part[1:] * fy if fy else part[:-1]
    return result


def _split(value: float) -> tuple[int, float]:
    whole = round(value)
    if abs(value - whole) < 0.15:
        return whole, 0.0
    floor = int(np.floor(value))
    return floor, value - floor
