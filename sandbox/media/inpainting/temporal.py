"""Filling a rectangle from other pictures of the same shot, in which nothing covers it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sandbox.media.files.pictures import Picture, Plane
from sandbox.media.inpainting import coons
from sandbox.media.inpainting.holes import Floats, fill_holes
from sandbox.media.inpainting.masks import Bitmap, Box
from sandbox.media.inpainting.motion import Shift, moved

MARGIN = 8
"""Pixels around the rectangle that take part, for the seam and for what no picture shows."""
DISAGREEMENT = 14.0
"""Where two references differ by more luma steps than this, only the better one is used."""
SEAM_LIMIT = 10.0
SEAM_STRUCTURE = 25.0
"""A difference at the seam above this is content, not brightness, and is not spread inwards."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A clean picture, where it is usable, its shift, and its distance in pictures."""

    picture: Picture
    usable: Bitmap
    shift: Shift
    distance: int


@dataclass(frozen=True, slots=True)
class Filled:
    """The content of a rectangle in the references.

    Attributes:
        planes: values for each plane of `box` (chroma halved).
        covered: luma-sized; False where no reference shows the place and values are a guess.
    """

    planes: tuple[Floats, Floats, Floats]
    covered: Bitmap


def fill(
    picture: Picture,
    box: Box,
    references: Sequence[Reference],
    *,
    visible: Bitmap | None = None,
) -> Filled:
    """Read `box` of `picture` from the references.

    Args:
        references: at least one.
        visible: pixels of the box that are not covered and tell whether a reference is right
            nearby; it is not used where it is wrong. None when the whole box is covered: then
            slow differences of brightness at its border are spread into it instead.
    """
    wide = box.grown(MARGIN, MARGIN, picture.width, picture.height)
    rows, columns = wide.slices()
    covers = [_coverage(reference, rows, columns) for reference in references]
    weights = [
        cover / ((reference.distance + 2.0) * (reference.shift.error**2 + 9.0))
        for cover, reference in zip(covers, references, strict=True)
    ]
    lumas = [
        moved(item.picture.y, rows, columns, item.shift.dx, item.shift.dy) for item in references
    ]
    if visible is not None:
        seen = np.ones(lumas[0].shape, np.bool_)
        top, left = box.top - wide.top, box.left - wide.left
        seen[top : top + box.height, left : left + box.width] = visible
        shown = picture.y[rows, columns]
        weights = [
            weight * _agrees(shown, luma, seen) for weight, luma in zip(weights, lumas, strict=True)
        ]
    if len(references) == 2:
        _prefer(lumas, weights)
    covered = np.logical_or.reduce([weight > 0 for weight in weights])
    inner = Box(
        box.left - wide.left, box.top - wide.top, box.right - wide.left, box.bottom - wide.top
    )
    planes: list[Floats] = []
    for index, plane in enumerate(picture.planes()):
        chroma = index > 0
        part = wide.halved() if chroma else wide
        hole = inner.halved() if chroma else inner
        if chroma:
            values = [
                moved(
                    item.picture.planes()[index],
                    *part.slices(),
                    item.shift.dx / 2,
                    item.shift.dy / 2,
                )
                for item in references
            ]
            shares = [weight[::2, ::2] for weight in weights]
        else:
            values, shares = lumas, weights
        total = np.maximum(sum(shares), 1e-12)
        mixed = sum(v * s for v, s in zip(values, shares, strict=True)) / total
        known = covered[::2, ::2] if chroma else covered
        current = plane[part.slices()].astype(np.float32)
        if visible is None:
            mixed = mixed + _seam(current, np.where(known, mixed, current), hole)
        frame = np.where(known, mixed, current)
        outside = np.ones(known.shape, np.bool_)
        outside[hole.slices()] = False
        planes.append(fill_holes(frame, known | outside)[hole.slices()])
    return Filled((planes[0], planes[1], planes[2]), covered[inner.slices()])


def _coverage(reference: Reference, rows: slice, columns: slice) -> Floats:
    """1 where the reference has a usable pixel for the place, else 0."""
    height, width = reference.usable.shape
    dx, dy = round(reference.shift.dx), round(reference.shift.dy)
    r = np.arange(rows.start + dy, rows.stop + dy)
    c = np.arange(columns.start + dx, columns.stop + dx)
    inside = ((r >= 0) & (r < height))[:, None] & ((c >= 1) & (c < width - 1))[None, :]
    r, c = np.clip(r, 0, height - 1), np.clip(c, 0, width - 1)
    cover: Floats = (inside & reference.usable[r[:, None], c[None, :]]).astype(np.float32)
    return cover


def _prefer(lumas: Sequence[Floats], weights: list[Floats]) -> None:
    """Where both references cover a place but differ, drop the one of less weight there."""
    difference = np.abs(lumas[0] - lumas[1])
    wide = _box_mean(difference, 2)
    apart = (wide > DISAGREEMENT) & (weights[0] > 0) & (weights[1] > 0)
    first = weights[0] >= weights[1]
    weights[1] = np.where(apart & first, 0, weights[1])
    weights[0] = np.where(apart & ~first, 0, weights[0])


def _agrees(current: Plane, luma: Floats, seen: Bitmap) -> Floats:
    """1 where the visible pixels nearby look alike in both, or where none is visible; else 0."""
    share = _box_mean(seen.astype(np.float32), 6)
    difference = _box_mean(np.where(seen, np.abs(current - luma), 0.0), 6)
    usual = float(np.median((np.abs(current - luma))[seen])) if seen.any() else 0.0
    wrong = (difference > (DISAGREEMENT + usual) * share) & (share > 0.1)
    return np.where(wrong, 0.0, 1.0)


def _box_mean(plane: Floats, radius: int) -> Floats:
    size = 2 * radius + 1
    padded = np.pad(plane, radius + 1, mode="edge")[:-1, :-1]
    table = padded.cumsum(axis=0).cumsum(axis=1)
    total = (
        table[size:, size:] - table[:-size, size:] - table[size:, :-size] + table[:-size, :-size]
    )
    mean: Floats = total / size**2
    return mean


def _seam(current: Floats, mixed: Floats, hole: Box) -> Floats:
    """Correction for the whole area: the border's difference, spread into the hole."""
    difference = current - mixed
    difference = np.where(np.abs(difference) > SEAM_STRUCTURE, 0, difference)
    lines = [
        None if line is None else np.clip(coons.smooth(line, 7), -SEAM_LIMIT, SEAM_LIMIT)
        for line in coons.borders(difference, hole)
    ]
    out = np.zeros(current.shape, np.float32)
    if any(line is not None for line in lines):
        top, bottom, left, right = lines
        out[hole.slices()] = coons.patch(top, bottom, left, right, (hole.height, hole.width))
    return out
