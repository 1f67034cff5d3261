"""When is there an overlay? From the count of edges that stay at one place of the screen.

The edges of an overlay stand still while it shows, and come and go abruptly with it. The count of
standing edges in a rectangle is therefore low without and high with the overlay, whatever the
picture behind does, as long as that does not jump itself (a cut starts a new shot).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from sandbox.media.areas import Bitmap
from sandbox.media.pictures import Plane

EDGE = 36
"""Luma step over two pixels that counts as an edge; film grain and soft texture stay below."""
SETTLE_SECONDS = 0.2
"""An edge that stays this long at its place stands still; so overlays last longer than this."""

Counts = npt.NDArray[np.floating]


def edges(plane: Plane) -> Bitmap:
    """Pixels at steep luma steps in either direction."""
    values = plane.astype(np.int16)
    found = np.zeros(plane.shape, np.bool_)
    found[:, 1:-1] |= np.abs(values[:, 2:] - values[:, :-2]) > EDGE
    found[1:-1, :] |= np.abs(values[2:, :] - values[:-2, :]) > EDGE
    return found


@dataclass
class EdgeCounter:
    """Counts standing edges of one rectangle over time.

    Attributes:
        lag: pictures in SETTLE_SECONDS.
        standing: for each picture, edges that are also there `lag` pictures before or after.
        changed: for each picture, edge pixels that differ from the picture before.
    """

    lag: int
    standing: list[int] = field(default_factory=list)
    changed: list[int] = field(default_factory=list)
    _recent: deque[Bitmap] = field(default_factory=deque)

    def add(self, plane: Plane, ignore: Bitmap | None) -> None:
        """Count the next picture's rectangle, without the pixels of `ignore`."""
        found = edges(plane)
        if ignore is not None:
            found &= ~ignore
        count = 0
        if len(self._recent) == self.lag:
            count = int(np.count_nonzero(found & self._recent.popleft()))
            earlier = len(self.standing) - self.lag
            self.standing[earlier] = max(self.standing[earlier], count)
        last = self._recent[-1] if self._recent else found
        self.changed.append(int(np.count_nonzero(found ^ last)))
        self.standing.append(count)
        self._recent.append(found)

    def cut(self) -> None:
        """A new shot begins with the next picture: nothing stands across a cut."""
        self._recent.clear()


def showing(standing: Counts, area: int) -> Bitmap | None:
    """For each picture of a shot, whether the overlay shows.

    Args:
        standing: counts of one shot.
        area: of the rectangle in pixels.

    Returns:
        None when the counts do not fall into two clear levels with abrupt changes between them:
        there is always an overlay, or never, and counts cannot tell which.
    """
    if len(standing) < 4:
        return None
    split = _otsu(standing)
    low, high = standing[standing <= split], standing[standing > split]
    if not len(low) or not len(high):
        return None
    base = float(np.median(low))
    step = float(np.median(high)) - base
    spread = 1.4826 * float(np.median(np.abs(low - base)))
    if step < max(0.002 * area, 12.0, 0.2 * (base + step), 5 * spread):
        return None
    shown = standing > base + max(0.12 * step, 4 * spread, 6.0)
    reach = 6
    for index in np.flatnonzero(shown[1:] != shown[:-1]):
        before = standing[max(0, index - reach) : index + 1]
        after = standing[index + 1 : index + 1 + reach]
        if abs(float(after.max()) - float(before.min())) < 0.1 * step and (
            abs(float(before.max()) - float(after.min())) < 0.1 * step
        ):
            return None
    return shown


def _otsu(values: Counts) -> float:
    """The threshold that separates two groups best."""
    ordered = np.sort(values)
    count = len(ordered)
    total = np.cumsum(ordered)
    left = np.arange(1, count)
    mean_left = total[:-1] / left
    mean_right = (total[-1] - total[:-1]) / (count - left)
    between = left * (count - left) * (mean_left - mean_right) ** 2
    best = int(np.argmax(between))
    return float((ordered[best] + ordered[best + 1]) / 2)


def runs(flags: Bitmap, *, shortest: int, bridge: int) -> list[tuple[int, int]]:
    """Stretches [first, last] of True; gaps up to `bridge` are closed, then short ones dropped."""
    found: list[tuple[int, int]] = []
    for index in np.flatnonzero(flags):
        here = int(index)
        if found and here - found[-1][1] <= bridge + 1:
            found[-1] = (found[-1][0], here)
        else:
            found.append((here, here))
    return [run for run in found if run[1] - run[0] + 1 >= shortest]
