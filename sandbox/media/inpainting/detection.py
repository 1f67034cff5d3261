"""Detects overlays: edges that stand at one place of the screen while the picture behind moves.

While the camera rests, only edges as strong and as dense as those of text count.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from sandbox.media.files.pictures import Plane
from sandbox.media.inpainting.masks import Bitmap

# The emulators run media in worker processes, as many as they want.
cv2.setNumThreads(1)

EDGE = 40
"""Luma step between neighbours that is an edge before a picture that moves."""
STRONG, OLD = 80, 130
"""The same before a picture that rests, and there of an edge that is as old as the rest."""
DENSE = 0.3
"""Share of the pixels nearby that are edges too."""
CUT = 22.0
"""Mean difference of neighbouring pictures, in luma steps, from which on it is another shot."""
STIR = 1.5
"""Pixels that a picture moves while edges stand, at least."""
RESTING = 0.1
"""Pixels up to which a feature has not moved from one picture to the next."""
ANALYSED_WIDTH = 640


class Place(NamedTuple):
    """Number of a picture's shot, and pixels that the picture has moved in it."""

    shot: int = 0
    x: float = 0.0
    y: float = 0.0


def moved(pixels: npt.NDArray[np.uint8], dx: float, dy: float) -> npt.NDArray[np.uint8]:
    """A picture moved right and down; 0 where nothing is known."""
    matrix = np.array([[1, 0, dx], [0, 1, dy]], np.float32)
    return np.asarray(cv2.warpAffine(pixels, matrix, pixels.shape[1::-1]), np.uint8)


def dilated(pixels: Bitmap, side: int) -> Bitmap:
    """The pixels and those around, in squares of a side."""
    return np.asarray(cv2.dilate(pixels.view(np.uint8), np.ones((side, side)))) > 0


class Camera:
    """Follows the motion of what is behind the overlays."""

    def __init__(self, free: Bitmap) -> None:
        """`free`: pixels outside of all masks; where they are few, all pixels are followed."""
        self._scale = min(1.0, ANALYSED_WIDTH / free.shape[1])
        self._free = self._small((free | (free.mean() < 0.05)).view(np.uint8))
        self._before: Plane | None = None
        self._place = Place()

    def _small(self, plane: Plane) -> Plane:
        return np.asarray(cv2.resize(plane, None, fx=self._scale, fy=self._scale), np.uint8)

    def follow(self, luma: Plane) -> Place:
        """Take the next picture."""
        before, self._before = self._before, self._small(luma)
        if before is not None:
            dx, dy, difference = self._shift(before, self._before)
            shot, x, y = self._place
            cut = difference > CUT
            self._place = Place(shot + 1) if cut else Place(shot, x + dx, y + dy)
        return self._place

    def _shift(self, before: Plane, after: Plane) -> tuple[float, float, float]:
        """Pixels of the picture right and down, and the mean difference that is left."""

        def difference(dx: float, dy: float) -> float:
            inside = moved(self._free, dx, dy) & self._free
            return cv2.mean(cv2.absdiff(moved(before, dx, dy), after), inside)[0]

        still = difference(0.0, 0.0)
        points = cv2.goodFeaturesToTrack(before, 200, 0.01, 8, mask=self._free)
        dx = dy = 0.0
        if points is not None:
            ends, found, _ = cv2.calcOpticalFlowPyrLK(before, after, points, points.copy())
            moves = (ends - points)[found == 1]
            # Text that no mask covers rests, with the clearest features of the picture.
            moves = moves[np.hypot(moves[:, 0], moves[:, 1]) > RESTING]
            if len(moves):
                dx, dy = np.median(moves, axis=0).tolist()
        left = difference(dx, dy)
        # Interpolation alone takes a part of the grain's difference away.
        if not left < 0.75 * still:
            return 0.0, 0.0, still
        return dx / self._scale, dy / self._scale, left


class StandingEdges:
    """The edges of a rectangle that stay at their place for some pictures."""

    def __init__(self, lag: int) -> None:
        """`lag`: distance of the first and the last of these pictures."""
        self._recent: deque[tuple[Place, Plane, Plane]] = deque(maxlen=lag + 1)
        self._old: Bitmap | None = None

    def add(self, place: Place, luma: Plane) -> Bitmap | None:
        """Take the next picture; gives the edges that have stood since `lag` pictures ago.

        None where the shot has too few pictures yet.
        """
        if self._recent and self._recent[-1][0].shot != place.shot:
            self._recent.clear()
            self._old = None
        steps = cv2.morphologyEx(luma, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
        self._recent.append((place, luma, np.asarray(steps, np.uint8)))
        if len(self._recent) < (self._recent.maxlen or 0):
            return None
        chosen = [self._recent[n] for n in (0, len(self._recent) // 2, -1)]
        (first, *_), _, (last, *_) = chosen
        stirs = bool(np.hypot(last.x - first.x, last.y - first.y) > STIR)
        least = np.minimum.reduce([steps for _, _, steps in chosen])
        edges: Bitmap = least > EDGE
        if stirs:
            self._old = None
            edges &= np.ptp([luma for _, luma, _ in chosen], axis=0) < EDGE // 2
        else:
            edges = least > STRONG
            self._old = edges if self._old is None else edges & self._old
            edges = edges & (~dilated(self._old, 3) | (least > OLD))
        side = max(9, luma.shape[0] // 24) | 1
        dense = cv2.blur(edges.astype(np.float32), (side, side)) > DENSE
        return edges & dilated(dense, side)
