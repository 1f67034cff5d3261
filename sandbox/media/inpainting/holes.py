"""Filling scattered holes from what is around each of them (pull-push pyramid)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sandbox.media.inpainting.masks import Bitmap

Floats = npt.NDArray[np.floating]


def fill_holes(values: Floats, known: Bitmap) -> Floats:
    """Replace the pixels that are not `known` by a smooth continuation of those that are.

    Known pixels come back unchanged. Without any known pixel the result is mid-grey.
    """
    if known.all():
        return values
    if not known.any():
        return np.full(values.shape, 128.0, np.float32)
    filled = _pull_push(values.astype(np.float32), known.astype(np.float32))
    return np.where(known, values, filled)


def _pull_push(values: Floats, weight: Floats) -> Floats:
    height, width = values.shape
    if min(height, width) <= 1 or weight.min() >= 1:
        total = float(weight.sum())
        mean = float((values * weight).sum()) / total if total else 128.0
        return np.where(weight > 0, values, mean).astype(np.float32)
    pad = ((0, height % 2), (0, width % 2))
    wide_values, wide_weight = np.pad(values * weight, pad), np.pad(weight, pad)
    half = (wide_values.shape[0] // 2, 2, wide_values.shape[1] // 2, 2)
    total = wide_weight.reshape(half).sum(axis=(1, 3))
    mean = wide_values.reshape(half).sum(axis=(1, 3)) / np.maximum(total, 1e-6)
    coarse = _pull_push(mean, np.minimum(total, 1.0))
    fine = _double(coarse)[:height, :width]
    result: Floats = values * weight + fine * (1 - weight)
    return result


def _double(plane: Floats) -> Floats:
    """Twice the size, bilinear, samples at the centres of the blocks."""
    rows = np.pad(plane, ((1, 1), (0, 0)), mode="edge")
    tall = np.empty((2 * plane.shape[0], plane.shape[1]), np.float32)
    tall[0::2] = 0.75 * plane + 0.25 * rows[:-2]
    tall[1::2] = 0.75 * plane + 0.25 * rows[2:]
    columns = np.pad(tall, ((0, 0), (1, 1)), mode="edge")
    out = np.empty((tall.shape[0], 2 * plane.shape[1]), np.float32)
    out[:, 0::2] = 0.75 * tall + 0.25 * columns[:, :-2]
    out[:, 1::2] = 0.75 * tall + 0.25 * columns[:, 2:]
    return out


def coarse(bitmap: Bitmap) -> Bitmap:
    """Chroma-sized: set where any of the 2 x 2 pixels is. Both sides have to be even."""
    blocks = bitmap.reshape(bitmap.shape[0] // 2, 2, bitmap.shape[1] // 2, 2)
    out: Bitmap = np.any(blocks, axis=(1, 3))
    return out


def neighbours(bitmap: Bitmap) -> npt.NDArray[np.int64]:
    """For each pixel, how many of the 5 x 5 around it are set."""
    padded = np.pad(bitmap.astype(np.int64), ((3, 2), (3, 2)))
    table = padded.cumsum(axis=0).cumsum(axis=1)
    count: npt.NDArray[np.int64] = table[5:, 5:] - table[:-5, 5:] - table[5:, :-5] + table[:-5, :-5]
    return count


def dilated(bitmap: Bitmap, radius: int) -> Bitmap:
    """Grow by `radius` pixels in all directions (a square)."""
    out = bitmap.copy()
    for step in range(1, radius + 1):
        out[:, step:] |= bitmap[:, :-step]
        out[:, :-step] |= bitmap[:, step:]
    wide = out.copy()
    for step in range(1, radius + 1):
        out[step:] |= wide[:-step]
        out[:-step] |= wide[step:]
    return out
