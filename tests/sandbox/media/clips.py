"""Odd videos for tests, written with the media library directly."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

import av
import numpy as np

from sandbox.media.files.pictures import Picture
from sandbox.media.files.video_reader import VideoReader
from sandbox.media.measure import WHOLE, Region, decibel, squared_error
from sandbox.media.sample.speech import speech


@lru_cache(maxsize=10)
def _decoded(path: Path, changed: int) -> tuple[list[float], list[Picture]]:
    with VideoReader(path) as reader:
        items = list(reader.pictures())
    return [item.time for item in items], [item.picture for item in items]


def shown(path: Path, time: float) -> Picture:
    """The picture on show at `time`; a short file is decoded once for all questions."""
    times, pictures = _decoded(path, path.stat().st_mtime_ns)
    return pictures[max(0, bisect_right(times, time + 1e-6) - 1)]


def psnr(
    one: Path,
    two: Path,
    times: Sequence[float],
    region: Region = WHOLE,
    without: Sequence[Region] = (),
) -> float:
    """As `measure.psnr`, for many questions about the same short files."""
    errors = [squared_error(shown(one, t), shown(two, t), region, without) for t in times]
    return decibel(float(np.mean(errors)))


def write_clip(
    path: Path,
    *,
    size: tuple[int, int] = (160, 90),
    frames: int = 50,
    fps: int = 25,
    pts: Sequence[int] | None = None,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    rotate: int = 0,
    channels: int = 2,
    rate: int = 48_000,
    audio_codec: str = "aac",
    options: dict[str, str] | None = None,
) -> Path:
    """A moving gradient; `pts` (ms) makes the frame rate variable; 0 channels mean no sound."""
    width, height = size
    with av.open(str(path), "w") as container:
        video: Any = container.add_stream(codec, rate=fps, options=options or {"crf": "16"})
        video.width, video.height, video.pix_fmt = width, height, pix_fmt
        video.codec_context.time_base = Fraction(1, 1000)
        if rotate:
            video.set_display_rotation(rotate)
        audio: Any = None
        if channels:
            audio = container.add_stream(audio_codec, rate=rate)
            audio.codec_context.layout = {1: "mono", 2: "stereo", 6: "5.1"}[channels]
        columns, rows = np.meshgrid(np.arange(width), np.arange(height))
        for number in range(frames):
            image = np.zeros((height, width, 3), np.uint8)
            image[..., 0] = (columns * 200 // width + number) % 256
            image[..., 1] = rows * 180 // height
            image[rows < height // 4, 2] = 220
            frame = av.VideoFrame.from_ndarray(image, "rgb24").reformat(format=pix_fmt)
            frame.pts = pts[number] if pts else number * 1000 // fps
            frame.time_base = Fraction(1, 1000)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        if audio is not None:
            sound = speech(frames / fps, seed=5, pitch=130.0, rate=rate)
            packed = np.repeat(sound, channels, axis=1).reshape(1, -1)
            block = av.AudioFrame.from_ndarray(packed, "flt", audio.codec_context.layout.name)
            block.sample_rate = rate
            block.pts = 0
            container.mux(audio.encode(block))
            container.mux(audio.encode(None))
    return path
