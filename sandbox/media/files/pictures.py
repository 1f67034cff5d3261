"""Decoded pictures as three writable 8-bit planes (4:2:0), in display orientation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import av
import numpy as np
import numpy.typing as npt
from av.sidedata.sidedata import SideData, Type

Plane = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture. `y` is height x width, `u` and `v` are half of that in both directions."""

    y: Plane
    u: Plane
    v: Plane

    @property
    def width(self) -> int:
        return int(self.y.shape[1])

    @property
    def height(self) -> int:
        return int(self.y.shape[0])

    def planes(self) -> tuple[Plane, Plane, Plane]:
        return self.y, self.u, self.v

    def copy(self) -> Picture:
        return Picture(self.y.copy(), self.u.copy(), self.v.copy())


def orientation(frame: av.VideoFrame) -> tuple[bool, int]:
    """Display of the frame by a player: first mirrored left to right or not, then turned
    counterclockwise by a number of right angles."""
    # PyAV never frees a frame whose side data was read, so a tiny copy is read instead.
    copy = frame.reformat(width=8, height=8, format="gray", interpolation="POINT")
    try:
        matrix = cast("Mapping[Type, SideData]", copy.side_data)[Type.DISPLAYMATRIX]
    except KeyError:
        return False, 0
    except ValueError:
        # Side data of a type that PyAV does not know hides all of a frame's side data.
        return False, round(frame.rotation / 90) % 4
    values = np.frombuffer(bytes(matrix), np.int32).astype(float)
    across, down = values[0:2], values[3:5]
    mirrored = bool(across[0] * down[1] < across[1] * down[0])
    if mirrored:
        across = -across
    angle = np.arctan2(down[0] - across[1], across[0] + down[1])
    return mirrored, round(float(angle) / (np.pi / 2)) % 4


def from_frame(frame: av.VideoFrame, size: tuple[int, int] | None = None) -> Picture:
    """Copy a decoded frame into planes, mirrored and turned as its metadata asks.

    Other pixel formats (10 bit, 4:2:2, RGB, full-range JPEG) are converted to limited-range
    yuv420p. An odd last row or column is dropped, because 4:2:0 cannot hold it.

    Args:
        frame: the decoded frame.
        size: width and height to scale to, in display orientation; None keeps the size.
    """
    mirrored, turns = orientation(frame)
    if size is not None and turns % 2:
        size = (size[1], size[0])
    if frame.format.name != "yuv420p" or size is not None:
        width, height = size or (frame.width, frame.height)
        frame = frame.reformat(
            width=width, height=height, format="yuv420p", interpolation="BICUBIC"
        )
    width, height = frame.width & ~1, frame.height & ~1
    planes = []
    for index, plane in enumerate(frame.planes[:3]):
        shift = 1 if index else 0
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
        part = rows[: height >> shift, : width >> shift]
        planes.append(np.rot90(part[:, ::-1] if mirrored else part, turns).copy())
    return Picture(*planes)


def to_frame(picture: Picture) -> av.VideoFrame:
    """Copy planes into a frame for the encoder."""
    frame = av.VideoFrame(picture.width, picture.height, "yuv420p")
    for plane, values in zip(frame.planes, picture.planes(), strict=True):
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
        rows[: values.shape[0], : values.shape[1]] = values
    return frame
