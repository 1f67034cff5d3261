"""The turning and mirroring of a stored picture by a player.

Containers and codecs carry a display matrix (`tkhd` of MP4, the projection of Matroska, the display
orientation of H.264 and HEVC). Turns and mirrors of it count, to the nearest right angle; scaling
and perspective do not, as in players.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, cast

from av.sidedata.sidedata import SideData, Type
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation

_MATRIX: Final = struct.Struct("=9i")
_TINY: Final = 8
# libav turns a picture counterclockwise by "cclock"; a rotation of 270 degrees is one clockwise.
_TURNS: Final = {
    90: (("transpose", "cclock"),),
    180: (("hflip", ""), ("vflip", "")),
    270: (("transpose", "clock"),),
}


@dataclass(frozen=True, slots=True)
class Orientation:
    """The mirroring and turning of a stored picture, in this order.

    Attributes:
        mirrored: first, left and right change places.
        rotation: then it is turned counterclockwise by 0, 90, 180 or 270 degrees.
    """

    mirrored: bool = False
    rotation: int = 0

    @classmethod
    def of(cls, frame: VideoFrame) -> Orientation:
        """The orientation that a decoded frame asks for."""
        # PyAV never frees a frame whose side data was read, so a tiny copy is read instead.
        copy = frame.reformat(
            width=_TINY, height=_TINY, format="gray", interpolation=Interpolation.POINT
        )
        try:
            # Typed as a mapping of one other kind of side data.
            matrix = cast("Mapping[Type, SideData]", copy.side_data)[Type.DISPLAYMATRIX]
        except KeyError:
            return cls()
        except ValueError:
            # PyAV names no side data of a frame that has some of a type newer than itself.
            return cls(rotation=round(frame.rotation / 90) % 4 * 90)
        a, b, _, c, d, *_ = _MATRIX.unpack(bytes(matrix)[: _MATRIX.size])
        return cls.from_matrix(a, b, c, d)

    @classmethod
    def from_matrix(cls, a: float, b: float, c: float, d: float) -> Orientation:
        """From the matrix that moves the point (x, y) to (ax + cy, bx + dy), y pointing down."""
        area = a * d - b * c
        if area == 0:
            return cls()
        if area < 0:
            a, b = -a, -b
        turns = round(math.degrees(math.atan2(c - b, a + d)) / 90) % 4
        return cls(area < 0, turns * 90)

    @property
    def sideways(self) -> bool:
        """Do width and height change places?"""
        return self.rotation % 180 != 0

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Displayed width and height of a stored picture."""
        return (height, width) if self.sideways else (width, height)

    @property
    def filters(self) -> tuple[tuple[str, str], ...]:
        """libav's filters, with their arguments, that make the displayed picture."""
        mirror = (("hflip", ""),) if self.mirrored else ()
        return mirror + _TURNS.get(self.rotation, ())

    def upright(self, lines: list[bytes]) -> list[bytes]:
        """The displayed rows of a picture of one byte a pixel, from its stored rows."""
        if self.mirrored:
            lines = [line[::-1] for line in lines]
        if self.rotation == 90:
            return [bytes(row) for row in zip(*lines, strict=True)][::-1]
        if self.rotation == 180:
            return [line[::-1] for line in reversed(lines)]
        if self.rotation == 270:
            return [bytes(row) for row in zip(*reversed(lines), strict=True)]
        return lines
