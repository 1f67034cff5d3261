"""The orientation in which a player shows a stored picture.

Containers and codecs carry a display matrix (`tkhd` of MP4, the projection of Matroska, the display
orientation of H.264 and HEVC). Its turns, to the nearest right angle, and mirrors count; scaling
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
        mirrored: left and right change places.
        rotation: degrees counterclockwise: 0, 90, 180 or 270.
    """

    mirrored: bool = False
    rotation: int = 0

    @classmethod
    def of(cls, frame: VideoFrame) -> Orientation:
        """The orientation of a decoded frame."""
        # PyAV leaks a frame whose side data was read, so a tiny copy is read instead.
        copy = frame.reformat(
            width=_TINY, height=_TINY, format="gray", interpolation=Interpolation.POINT
        )
        try:
            # PyAV types it as a mapping of another kind of side data.
            matrix = cast("Mapping[Type, SideData]", copy.side_data)[Type.DISPLAYMATRIX]
        except KeyError:
            return cls()
        except ValueError:
            # PyAV raises for a frame with side data of a newer type.
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
