"""The visible sign of a lip-synced picture: a coloured edge and a mouth that follows the sound.

This stands in for a lip-sync model. Both signs are drawn in place, are the same for the same input,
and leave the rest of the picture alone, above all its lower part, where subtitles are.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sandbox.media.files.pictures import Picture

EDGE_COLOUR = (150, 60, 50)
"""Y, U, V of the edge: a clear green-cyan that real footage hardly has at its border."""
LIP_COLOUR = (95, 118, 190)
GAP_COLOUR = (28, 128, 140)
EDGE_FRACTION = 1 / 90
"""Thickness of the edge as a fraction of the height, at least 2 pixels."""
EDGE_REACH = 0.6
"""The edge runs along the top and down the sides to this fraction of the height."""
MOUTH = (0.5, 0.52, 0.11, 0.10)
"""Centre x and y, width and height of the mouth's rectangle, as fractions of the frame."""


def edge_size(height: int) -> int:
    """Thickness of the edge in pixels; even, so that chroma samples belong to it wholly."""
    return max(2, round(height * EDGE_FRACTION / 2) * 2)


def mouth_box(
    width: int, height: int, face: tuple[int, int] | None = None
) -> tuple[int, int, int, int]:
    """The mouth's rectangle in pixels: left, top, right, bottom; even. A face is its middle."""
    centre_x, centre_y, box_width, box_height = MOUTH
    if face is not None:
        centre_x, centre_y = face[0] / width, face[1] / height
    half_x = max(2, round(width * box_width / 4) * 2)
    half_y = max(2, round(height * box_height / 4) * 2)
    x, y = round(width * centre_x / 2) * 2, round(height * centre_y / 2) * 2
    return max(0, x - half_x), max(0, y - half_y), min(width, x + half_x), min(height, y + half_y)


def _blend(area: npt.NDArray[np.uint8], value: int, weight: npt.NDArray[np.floating]) -> None:
    area[:] = np.rint(area + (value - area.astype(np.float32)) * weight).astype(np.uint8)


def draw(picture: Picture, loudness: float, face: tuple[int, int] | None = None) -> None:
    """Mark `picture`; `loudness` from 0 (closed mouth) to 1 (wide open).

    `face` is the middle of the mouth in pixels; None for the usual place.
    """
    edge = edge_size(picture.height)
    reach = int(picture.height * EDGE_REACH) & ~1
    for plane, value, shift in zip(picture.planes(), EDGE_COLOUR, (0, 1, 1), strict=True):
        size = edge >> shift
        plane[:size] = value
        plane[: reach >> shift, :size] = value
        plane[: reach >> shift, -size:] = value
    left, top, right, bottom = mouth_box(picture.width, picture.height, face)
    for index, plane in enumerate(picture.planes()):
        shift = 1 if index else 0
        area = plane[top >> shift : bottom >> shift, left >> shift : right >> shift]
        rows = np.linspace(-1, 1, area.shape[0], dtype=np.float32)[:, None]
        columns = np.linspace(-1, 1, area.shape[1], dtype=np.float32)[None, :]
        arch = np.sqrt(np.clip(1 - columns**2, 0, 1))
        opening = 0.75 * min(max(loudness, 0.0), 1.0) * arch
        # Half-wave of a sine: the upper lip's bow.
        bow = 0.08 * np.sin(np.pi * np.abs(columns)) * arch
        lips = np.clip((opening + 0.22 * arch + bow - np.abs(rows)) * 8, 0, 1)
        gap = np.clip((opening - np.abs(rows)) * 8, 0, 1)
        _blend(area, LIP_COLOUR[index], lips)
        _blend(area, GAP_COLOUR[index], gap)
