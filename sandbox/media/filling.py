"""Filling the masks of one picture after the other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sandbox.media import coons
from sandbox.media.areas import Bitmap, Box, Mask, pixel_box, protected
from sandbox.media.pictures import Picture
from sandbox.media.reading import VideoReader


class Filler:
    """Erases the masks from pictures, in display order."""

    def __init__(self, reader: VideoReader, masks: Sequence[Mask]) -> None:
        self._masks = masks
        self._boxes = [pixel_box(mask.region, reader.width, reader.height) for mask in masks]
        self._changed: set[int] = set()

    @property
    def changed(self) -> int:
        """Number of erase masks that have changed a picture so far."""
        return len(self._changed)

    def apply(self, picture: Picture, time: float) -> None:
        """Erase what is to be erased at `time`, in place."""
        shield = protected(self._masks, time, picture.width, picture.height)
        for index, (mask, box) in enumerate(zip(self._masks, self._boxes, strict=True)):
            if mask.kind == "keep" or not mask.active(time):
                continue
            fills = [coons.fill(plane, part) for plane, part in _parts(picture, box)]
            inside = ~shield[box.halved().slices()] if shield is not None else None
            write(picture, box, fills, inside)
            self._changed.add(index)


def _parts(picture: Picture, box: Box) -> list[tuple[np.ndarray, Box]]:
    return [(picture.y, box), (picture.u, box.halved()), (picture.v, box.halved())]


def write(picture: Picture, box: Box, fills: Sequence[coons.Floats], inside: Bitmap | None) -> None:
    """Put `fills` (one for each plane) into `box`, where the chroma-sized `inside` says so."""
    for index, ((plane, part), values) in enumerate(zip(_parts(picture, box), fills, strict=True)):
        area = plane[part.slices()]
        new = np.clip(np.rint(values), 0, 255).astype(np.uint8)
        if inside is None:
            area[:] = new
            continue
        bitmap = inside if index else inside.repeat(2, axis=0).repeat(2, axis=1)
        np.copyto(area, new, where=bitmap)
