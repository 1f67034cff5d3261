"""Burned-in text: rendered once, blended into the planes of each picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from sandbox.media.files.pictures import Picture

Region = tuple[float, float, float, float]


@dataclass(frozen=True)
class Overlay:
    """An image with transparency at an even position of the frame: x0, y0, x1, y1 in pixels."""

    box: tuple[int, int, int, int]
    planes: tuple[npt.NDArray[np.floating], ...]
    alphas: tuple[npt.NDArray[np.floating], ...]

    def draw(self, picture: Picture, strength: float = 1.0) -> None:
        """Blend into `picture`, in place; `strength` from 0 to 1 fades the whole overlay."""
        x0, y0, x1, y1 = self.box
        for index, plane in enumerate(picture.planes()):
            shift = 1 if index else 0
            area = plane[y0 >> shift : y1 >> shift, x0 >> shift : x1 >> shift]
            alpha = self.alphas[index] * strength
            area[:] = np.rint(area + (self.planes[index] - area) * alpha).astype(np.uint8)

    def region(self, width: int, height: int) -> Region:
        """The box as fractions of a frame of width x height."""
        x0, y0, x1, y1 = self.box
        return x0 / width, y0 / height, x1 / width, y1 / height


def yuv(
    red: npt.NDArray[np.floating], green: npt.NDArray[np.floating], blue: npt.NDArray[np.floating]
) -> tuple[npt.NDArray[np.floating], ...]:
    """BT.601 limited range from full-range RGB, which players assume for this picture size."""
    return (
        16 + 0.257 * red + 0.504 * green + 0.098 * blue,
        128 - 0.148 * red - 0.291 * green + 0.439 * blue,
        128 + 0.439 * red - 0.368 * green - 0.071 * blue,
    )


def halve(plane: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """Mean of each 2 x 2 block."""
    height, width = plane.shape
    blocks = plane.reshape(height // 2, 2, width // 2, 2)
    halved: npt.NDArray[np.floating] = blocks.mean(axis=(1, 3))
    return halved


def from_image(image: Image.Image, left: int, top: int) -> Overlay:
    """An overlay from an RGBA image with even sides at an even position."""
    pixels = np.asarray(image, np.float32)
    alpha = pixels[..., 3] / 255
    y, u, v = yuv(pixels[..., 0], pixels[..., 1], pixels[..., 2])
    half = halve(alpha)
    weight = np.maximum(half, 1e-6)
    width, height = image.size
    return Overlay(
        (left, top, left + width, top + height),
        (y, halve(u * alpha) / weight, halve(v * alpha) / weight),
        (alpha, half, half),
    )


def text(
    words: str,
    *,
    centre: tuple[float, float],
    size: int,
    frame: tuple[int, int],
    fill: tuple[int, int, int, int] = (255, 255, 255, 255),
    outline: tuple[int, int, int, int] = (10, 10, 12, 255),
    stroke: int | None = None,
    plate: tuple[int, int, int, int] | None = None,
) -> Overlay:
    """Text with an outline, or on a rounded plate.

    Args:
        words: the text; newlines are kept.
        centre: of the text as fractions of the frame.
        size: of the font in pixels.
        frame: width and height in pixels.
        fill, outline, plate: RGBA.
        stroke: outline thickness in pixels; None fits it to the size.
    """
    font = ImageFont.load_default(size)
    thick = max(1, size // 12) if stroke is None else stroke
    measure = ImageDraw.Draw(Image.new("RGBA", (8, 8)))
    bounds = measure.multiline_textbbox((0, 0), words, font, stroke_width=thick, align="center")
    margin = size // 2 if plate else 2
    width = (round(bounds[2] - bounds[0]) + 2 * margin + 3) & ~1
    height = (round(bounds[3] - bounds[1]) + 2 * margin + 3) & ~1
    width, height = min(width, frame[0] & ~1), min(height, frame[1] & ~1)
    image = Image.new("RGBA", (width, height), (*(plate or outline)[:3], 0))
    draw = ImageDraw.Draw(image)
    if plate:
        draw.rounded_rectangle((0, 0, width - 1, height - 1), radius=height // 4, fill=plate)
    draw.multiline_text(
        (width / 2 - (bounds[0] + bounds[2]) / 2, height / 2 - (bounds[1] + bounds[3]) / 2),
        words,
        fill,
        font,
        stroke_width=thick,
        stroke_fill=outline,
        align="center",
    )
    left = round(centre[0] * frame[0] - width / 2) & ~1
    top = round(centre[1] * frame[1] - height / 2) & ~1
    left = min(max(0, left), (frame[0] - width) & ~1)
    top = min(max(0, top), (frame[1] - height) & ~1)
    return from_image(image, left, top)
