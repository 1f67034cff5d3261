"""Measuring files against each other: PSNR of regions, correlation of sound."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sandbox.media.files.mp4_writer import Samples
from sandbox.media.files.pictures import Picture
from sandbox.media.files.sound_reader import SoundReader
from sandbox.media.files.video_reader import PicturesByTime, VideoReader
from sandbox.media.inpainting.masks import pixel_box

Region = tuple[float, float, float, float]
WHOLE: Region = (0.0, 0.0, 1.0, 1.0)


def pictures_at(path: Path, times: Sequence[float]) -> list[Picture]:
    """The pictures on show at `times` (seconds)."""
    with VideoReader(path) as reader:
        by_time = PicturesByTime(reader)
        return [by_time.at(time).picture for time in times]


def _bitmap(picture: Picture, region: Region, without: Sequence[Region]) -> npt.NDArray[np.bool_]:
    bitmap = np.zeros(picture.y.shape, np.bool_)
    bitmap[pixel_box(region, picture.width, picture.height)] = True
    for hole in without:
        bitmap[pixel_box(hole, picture.width, picture.height)] = False
    return bitmap


def squared_error(
    one: Picture, two: Picture, region: Region = WHOLE, without: Sequence[Region] = ()
) -> float:
    """Mean squared luma difference inside `region` and outside of the regions `without`."""
    bitmap = _bitmap(one, region, without)
    difference = one.y[bitmap].astype(np.float64) - two.y[bitmap]
    return float(np.mean(np.square(difference))) if difference.size else 0.0


def decibel(error: float) -> float:
    """PSNR of a mean squared error of 8-bit samples; infinite for none."""
    return math.inf if error <= 0 else 10 * math.log10(255**2 / error)


def psnr(
    one: Path,
    two: Path,
    times: Sequence[float],
    region: Region = WHOLE,
    without: Sequence[Region] = (),
) -> float:
    """Luma PSNR in dB over the pictures at `times`, of `region` (x0, y0, x1, y1 fractions)."""
    errors = [
        squared_error(a, b, region, without)
        for a, b in zip(pictures_at(one, times), pictures_at(two, times), strict=True)
    ]
    return decibel(float(np.mean(errors)))


def frame_times(path: Path) -> list[float]:
    """The time of each picture in seconds, all of them decoded."""
    with VideoReader(path) as reader:
        return [item.time for item in reader.pictures()]


def audio_samples(path: Path, *, rate: int = 16_000) -> npt.NDArray[np.float32]:
    """All sound of a file, mixed to mono at `rate`. Meant for clips of minutes."""
    reader = SoundReader(path, rate=rate, channels=1)
    blocks: list[Samples] = []
    try:
        while len(block := reader.read(65536)):
            blocks.append(block)
    finally:
        reader.close()
    return np.concatenate(blocks)[:, 0] if blocks else np.zeros(0, np.float32)


def correlation(one: npt.NDArray[np.float32], two: npt.NDArray[np.float32]) -> float:
    """Normalised correlation of two sounds at lag 0, over the length of the shorter; -1 to 1."""
    size = min(len(one), len(two))
    a, b = one[:size].astype(np.float64), two[:size].astype(np.float64)
    norm = math.sqrt(float(a @ a) * float(b @ b))
    return float(a @ b) / norm if norm > 0 else 0.0


def correlation_at(
    path: Path,
    start: float,
    end: float,
    reference: Path,
    *,
    reference_start: float = 0.0,
    rate: int = 16_000,
) -> float:
    """Correlation of `path`'s sound in [start, end) with `reference` from `reference_start` on."""
    first, last = round(start * rate), round(end * rate)
    offset = round(reference_start * rate)
    one = audio_samples(path, rate=rate)[first:last]
    two = audio_samples(reference, rate=rate)[offset : offset + last - first]
    return correlation(one, two)


def best_lag(
    one: npt.NDArray[np.float32], two: npt.NDArray[np.float32], reach: int
) -> tuple[int, float]:
    """The shift of `one` against `two` with the highest correlation, within +-reach samples."""
    inner = two[reach : len(two) - reach]
    scores = [
        (correlation(one[reach + lag : reach + lag + len(inner)], inner), lag)
        for lag in range(-reach, reach + 1)
    ]
    score, lag = max(scores)
    return lag, score
