"""A landscape at dusk that the camera pans along: textured, with moving objects and film grain."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sandbox.media.files.pictures import Picture
from sandbox.media.overlays import halve, yuv

Floats = npt.NDArray[np.floating]
GRAIN = 1.5
"""Standard deviation of the film grain in luma steps."""


def cloudy(random: np.random.Generator, height: int, width: int, exponent: float) -> Floats:
    """Noise with a 1/f**exponent amplitude spectrum, mean 0, deviation 1."""
    spectrum = np.fft.rfft2(random.standard_normal((height, width)).astype(np.float32))
    fy = np.fft.fftfreq(height)[:, None]
    fx = np.fft.rfftfreq(width)[None, :]
    radius = np.hypot(fx, fy)
    radius[0, 0] = 1
    field = np.fft.irfft2(spectrum / radius**exponent, s=(height, width))
    normal: Floats = ((field - field.mean()) / field.std()).astype(np.float32)
    return normal


@dataclass(frozen=True)
class Balloon:
    """A moving object: start and speed in pixels, in frame coordinates of the panned canvas."""

    x: float
    y: float
    speed: float
    radius: int
    colour: tuple[int, int, int]
    phase: float


class Scene:
    """Pictures of one camera move, each a pure function of its number."""

    def __init__(self, width: int, height: int, frames: int, *, step: int, seed: int) -> None:
        """`step` is the pan in pixels for each picture; 0 is a fixed camera."""
        self._width, self._height, self._step = width, height, step
        self._random = np.random.default_rng(seed)
        span = (width + step * max(0, frames - 1) + 3) & ~1
        self._canvas = self._paint(span)
        self._grain = [
            np.rint(self._random.standard_normal((height + 16, width + 64)) * GRAIN).astype(
                np.int16
            )
            for _ in range(4)
        ]
        reach = max(span - width, 1)
        self._balloons = [
            Balloon(
                x=self._random.uniform(0.1, 0.9) * width + share * reach,
                y=self._random.uniform(0.22, 0.42) * height,
                speed=self._random.uniform(-0.8, 0.8) * width / 640,
                radius=max(4, round(height * self._random.uniform(0.035, 0.07))),
                colour=colour,
                phase=self._random.uniform(0, 6.28),
            )
            for share, colour in (
                (0.0, (214, 84, 62)),
                (0.3, (240, 178, 66)),
                (0.6, (78, 132, 170)),
                (0.95, (196, 96, 128)),
            )
        ]

    def _paint(self, span: int) -> tuple[Floats, Floats, Floats]:
        height = self._height
        down = np.linspace(0, 1, height, dtype=np.float32)[:, None]
        sky = [
            np.interp(down, (0, 0.35, 0.62), stops).astype(np.float32)
            for stops in ((58, 176, 250), (84, 136, 196), (140, 150, 150))
        ]
        clouds = np.clip(cloudy(self._random, height, span, 1.6), -0.5, 2.5)
        canvas = [
            layer + clouds * gain * (1 - down) * 1.2
            for layer, gain in zip(sky, (20, 16, 13), strict=True)
        ]
        columns = np.arange(span, dtype=np.float32)
        rows = np.arange(height, dtype=np.float32)[:, None]
        texture = cloudy(self._random, height, span, 0.9)
        for base, swing, colour in (
            (0.50, 0.07, (122, 108, 140)),
            (0.60, 0.06, (84, 96, 116)),
            (0.71, 0.05, (66, 94, 82)),
            (0.83, 0.03, (72, 92, 56)),
        ):
            ridge = sum(
                swing
                * height
                / order
                * np.sin(
                    columns * order * 2 * np.pi / (height * 2.6) + self._random.uniform(0, 6.28)
                )
                for order in (1, 2, 3, 5)
            )
            edge = base * height + ridge * 0.6
            cover = np.clip(rows - edge[None, :] + 0.5, 0, 1)
            depth = np.clip((rows - edge[None, :]) / height, 0, 1)
            light = 1 - 0.9 * depth + 0.16 * base * texture
            for index, value in enumerate(colour):
                canvas[index] = canvas[index] * (1 - cover) + value * light * cover
        red, green, blue = (np.clip(layer, 0, 255) for layer in canvas)
        y, u, v = yuv(red, green, blue)
        return y, u, v

    def picture(self, number: int) -> Picture:
        """Picture `number` (from 0)."""
        width, height = self._width, self._height
        left = self._step * number
        y, u, v = (plane[:, left : left + width] for plane in self._canvas)
        luma = y.copy()
        chroma = [halve(u), halve(v)]
        for balloon in self._balloons:
            self._balloon(luma, chroma, balloon, number, left)
        grain = self._grain[number % 4]
        dx, dy = (number * 37) % 64, (number * 11) % 16
        luma += grain[dy : dy + height, dx : dx + width]
        return Picture(*(np.clip(np.rint(p), 0, 255).astype(np.uint8) for p in (luma, *chroma)))

    def _balloon(
        self, luma: Floats, chroma: list[Floats], balloon: Balloon, number: int, left: int
    ) -> None:
        radius = balloon.radius
        x = balloon.x + balloon.speed * number - left
        y = balloon.y + radius * 0.4 * np.sin(number / 18 + balloon.phase)
        colour = yuv(*(np.float32(value) for value in balloon.colour))  # type: ignore[arg-type]
        for index, plane in enumerate((luma, *chroma)):
            scale = 2 if index else 1
            size = radius / scale
            cx, cy = x / scale, y / scale
            top, bottom = round(cy - 2 * size), round(cy + 3 * size)
            first, last = round(cx - 2 * size), round(cx + 2 * size)
            top, first = max(top, 0), max(first, 0)
            area = plane[top : max(bottom, top), first : max(last, first)]
            if not area.size:
                continue
            rows = (np.arange(area.shape[0], dtype=np.float32) + top - cy)[:, None] / size
            columns = (np.arange(area.shape[1], dtype=np.float32) + first - cx)[None, :] / size
            ball = np.clip((1 - np.hypot(columns, rows * 0.86)) * size, 0, 1)
            basket = ((np.abs(columns) < 0.22) & (rows > 1.5) & (rows < 1.95)).astype(np.float32)
            value = float(colour[index])
            if index == 0:
                shade = value * (1.12 - 0.22 * columns - 0.1 * np.cos(columns * 9))
                area[:] = area * (1 - ball) + shade * ball
                area[:] = area * (1 - basket) + 60 * basket
            else:
                area[:] = area * (1 - ball) + value * ball
