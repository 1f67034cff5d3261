"""Filling a rectangle from its border alone: a Coons patch. Smooth, always possible, no memory."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sandbox.media.inpainting.masks import Box

Floats = npt.NDArray[np.floating]
DEPTH = 3
"""Rows and columns outside the rectangle that are averaged into its border: less flicker."""


def smooth(line: Floats, radius: int) -> Floats:
    """Moving average of 2 * radius + 1 values, with the ends repeated."""
    if radius < 1 or len(line) < 2:
        return line
    padded = np.pad(line, radius, mode="edge")
    total = np.cumsum(np.concatenate([[0.0], padded]))
    size = 2 * radius + 1
    averaged: Floats = ((total[size:] - total[:-size]) / size).astype(np.float32)
    return averaged


def patch(
    top: Floats | None,
    bottom: Floats | None,
    left: Floats | None,
    right: Floats | None,
    shape: tuple[int, int],
) -> Floats:
    """Blend four borders into a surface of `shape` that meets each of them.

    A border that is None (the frame ends there) is left out: the surface then only interpolates
    between the others.
    """
    height, width = shape
    down = ((np.arange(height, dtype=np.float32) + 1) / (height + 1))[:, None]
    across = ((np.arange(width, dtype=np.float32) + 1) / (width + 1))[None, :]
    if top is None or bottom is None:
        edge = top if bottom is None else bottom
        vertical = None if edge is None else np.broadcast_to(edge[None, :], shape)
    else:
        vertical = top[None, :] * (1 - down) + bottom[None, :] * down
    if left is None or right is None:
        edge = left if right is None else right
        horizontal = None if edge is None else np.broadcast_to(edge[:, None], shape)
    else:
        horizontal = left[:, None] * (1 - across) + right[:, None] * across
    if vertical is None and horizontal is None:
        return np.full(shape, 128, np.float32)
    if vertical is None or horizontal is None:
        only = horizontal if vertical is None else vertical
        assert only is not None
        return np.array(only, np.float32)
    # Near its own border each surface is right; weigh by closeness to the borders that exist.
    far = np.float32(1e6)
    rows = np.arange(height, dtype=np.float32)[:, None] + 1
    columns = np.arange(width, dtype=np.float32)[None, :] + 1
    near_rows = np.minimum(
        rows if top is not None else far, (height + 1 - rows) if bottom is not None else far
    )
    near_columns = np.minimum(
        columns if left is not None else far, (width + 1 - columns) if right is not None else far
    )
    weight = near_columns**2 / (near_columns**2 + near_rows**2)
    blended: Floats = (vertical * weight + horizontal * (1 - weight)).astype(np.float32)
    return blended


def borders(plane: Floats | npt.NDArray[np.uint8], box: Box) -> list[Floats | None]:
    """Averaged lines just outside `box`: top, bottom, left, right; None at the frame's edge."""
    rows, columns = slice(box.top, box.bottom), slice(box.left, box.right)
    height, width = plane.shape
    strips = (
        (plane[max(0, box.top - DEPTH) : box.top, columns], 0),
        (plane[box.bottom : min(height, box.bottom + DEPTH), columns], 0),
        (plane[rows, max(0, box.left - DEPTH) : box.left], 1),
        (plane[rows, box.right : min(width, box.right + DEPTH)], 1),
    )
    return [
        strip.mean(axis=axis, dtype=np.float32) if strip.shape[axis] else None
        for strip, axis in strips
    ]


def fill(plane: npt.NDArray[np.uint8], box: Box) -> Floats:
    """The rectangle as a continuation of its surroundings. `plane` is only read."""
    top, bottom, left, right = borders(plane, box)
    return patch(top, bottom, left, right, (box.height, box.width))
