"""Erases masks: covered pixels show what was there last, or continue the pixels around."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence

import cv2
import numpy as np
import numpy.typing as npt

from sandbox.media.files.pictures import Picture
from sandbox.media.files.video_reader import TimedPicture
from sandbox.media.inpainting.detection import Camera, Place, StandingEdges, dilated, moved
from sandbox.media.inpainting.masks import Bitmap, Mask, bitmap, pixel_box

SETTLE_SECONDS = 0.2
"""An edge that stays this long at its place stands; overlays last longer than this."""
FADE = 2
"""Pictures before and after the edges stand in which the overlay may shine through."""
LEAST = 0.004
"""Share of a rectangle that is edges when an overlay shows."""
FINE = 40_000
"""Pixels up to which a place is continued at full size; larger ones are continued coarsely."""
MARGIN = 12
"""Pixels around a rectangle from which it is continued."""

Pixels = npt.NDArray[np.uint8]
"""Height x width x 3: luma and both chromas at the size of the luma."""


class _Area:
    """A rectangle from which overlays go."""

    def __init__(self, mask: Mask, usable: Bitmap, lag: int) -> None:
        """`usable`: pixels of the frame that are not protected."""
        self.mask, self.changed = mask, False
        height, width = usable.shape
        self.box = pixel_box(mask.region, width, height)
        self._watched = ~dilated(~usable, 5)[self.box]
        self._least = max(24, LEAST * self._watched.size)
        self._brush = 2 * max(2, height // 150) + 1
        self._edges = StandingEdges(lag)
        self._found: deque[tuple[int, Bitmap | None]] = deque(maxlen=lag + 2 * FADE + 1)

    def look(self, place: Place, picture: Picture | None) -> None:
        """Take the next picture; None after the last one."""
        edges = None if picture is None else self._edges.add(place, picture.y[self.box])
        if edges is not None and np.count_nonzero(edges & self._watched) < self._least:
            edges = None
        self._found.append((place.shot, edges))

    def overlay(self, shot: int) -> Bitmap | None:
        """The pixels, in blocks of a chroma sample, that an overlay covers; None without one.

        Of a picture of `shot`, `lag` + FADE pictures before the one that was taken last.
        """
        found = [edges for number, edges in self._found if edges is not None and number == shot]
        if not found:
            return None
        if self.mask.kind == "remove":
            return np.ones_like(found[0])
        strokes = dilated(np.logical_or.reduce(found), self._brush)
        height, width = strokes.shape
        blocks = np.asarray(strokes.reshape(height // 2, 2, width // 2, 2).any(axis=(1, 3)))
        return blocks.repeat(2, axis=0).repeat(2, axis=1)


class Eraser:
    """Erases masks from the pictures of a video, in one pass."""

    def __init__(self, masks: Sequence[Mask], width: int, height: int, fps: float) -> None:
        self._size = width, height
        self._lag = min(12, max(3, round(SETTLE_SECONDS * fps)))
        self._keeps = [mask for mask in masks if mask.kind == "keep"]
        self._camera = Camera(~bitmap(masks, *self._size))
        self._usable = ~bitmap(self._keeps, *self._size)
        self._areas = [_Area(m, self._usable, self._lag) for m in masks if m.kind != "keep"]
        self._last = np.zeros((height, width, 3), np.uint8)
        self._known = np.zeros((height, width), np.bool_)
        self._place = Place(-1)

    @property
    def changed(self) -> int:
        """Number of masks that have changed a picture so far."""
        return sum(area.changed for area in self._areas)

    def erased(self, pictures: Iterable[TimedPicture]) -> Iterator[TimedPicture]:
        """The pictures, which have to come in display order, without what the masks erase."""
        waiting: deque[tuple[Place, TimedPicture]] = deque()
        for item in pictures:
            place = self._camera.follow(item.picture.y)
            waiting.append((place, item))
            for area in self._areas:
                area.look(place, item.picture)
            if len(waiting) > self._lag + FADE:
                yield self._erase(*waiting.popleft())
        while waiting:
            for area in self._areas:
                area.look(waiting[0][0], None)
            yield self._erase(*waiting.popleft())

    def _erase(self, place: Place, item: TimedPicture) -> TimedPicture:
        self._follow(place)
        now, hole = _merged(item.picture), np.zeros(self._known.shape, np.bool_)
        protected = bitmap((mask for mask in self._keeps if mask.active(item.time)), *self._size)
        erased: list[tuple[_Area, Bitmap, bool]] = []
        for area in self._areas:
            where, overlay = np.zeros_like(hole), area.overlay(place.shot)
            active = area.mask.active(item.time)
            if overlay is not None:
                where[area.box] = overlay
            elif active and area.mask.kind == "remove":
                where[area.box] = True
            hole |= where
            if active and (where & ~protected).any():
                erased.append((area, where & ~protected, overlay is not None))
        for area, where, seen in erased:
            self._fill(area, item.picture, now, hole, where, seen=seen)
        free = self._usable & ~hole
        cv2.copyTo(now, free.view(np.uint8), self._last)
        self._known |= free
        return item

    def _follow(self, place: Place) -> None:
        """Move what is known with the picture behind, by whole pixels: nothing blurs."""
        before, self._place = self._place, place
        dx, dy = round(place.x) - round(before.x), round(place.y) - round(before.y)
        if before.shot != place.shot:
            self._known[:] = False
        elif dx or dy:
            self._last = moved(self._last, dx, dy)
            self._known = moved(self._known.view(np.uint8), dx, dy) > 0

    def _fill(
        self, area: _Area, picture: Picture, now: Pixels, hole: Bitmap, where: Bitmap, *, seen: bool
    ) -> None:
        """Write the pixels `where` of an area. An overlay that was not seen may show in any
        picture, so none is used."""
        area.changed = True
        rows, columns = (
            slice(max(0, side.start - MARGIN) & ~1, (side.stop + MARGIN) & ~1) for side in area.box
        )
        part, gaps = now[rows, columns].copy(), hole[rows, columns]
        known = gaps & self._known[rows, columns] & seen
        np.copyto(part, self._last[rows, columns], where=known[..., None])
        if (missing := gaps & ~known).any():
            _continue(part, missing, missing | ~self._usable[rows, columns])
        np.copyto(picture.y[rows, columns], part[..., 0], where=where[rows, columns])
        half = slice(rows.start // 2, rows.stop // 2), slice(columns.start // 2, columns.stop // 2)
        for plane, values in ((picture.u, part[::2, ::2, 1]), (picture.v, part[::2, ::2, 2])):
            np.copyto(plane[half], values, where=where[rows, columns][::2, ::2])


def _merged(picture: Picture) -> Pixels:
    size = (picture.width, picture.height)
    chroma = [cv2.resize(p, size, interpolation=cv2.INTER_NEAREST) for p in picture.planes()[1:]]
    return np.asarray(cv2.merge([picture.y, *chroma]), np.uint8)


def _continue(pixels: Pixels, missing: Bitmap, unusable: Bitmap) -> None:
    """Fill the missing pixels, in place, from usable ones around."""
    scale = min(1.0, (FINE / missing.size) ** 0.5)
    small = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    shares = cv2.resize(
        unusable.astype(np.float32), small.shape[1::-1], interpolation=cv2.INTER_AREA
    )
    if shares.all():
        pixels[missing] = 128
        return
    small = cv2.inpaint(small, (shares > 0).astype(np.uint8), 3, cv2.INPAINT_TELEA)
    pixels[missing] = cv2.resize(small, pixels.shape[1::-1])[missing]
