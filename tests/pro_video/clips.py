"""Small media files for the tests of this folder, made with PyAV and numpy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

Picture = npt.NDArray[np.uint8]
RATE = 48000


def moving(index: int, width: int, height: int) -> Picture:
    """A textured picture that drifts by two pixels a frame."""
    rows, columns = np.mgrid[0:height, 0:width]
    grey = 128 + 50 * np.sin((columns + 2 * index) / 9) + 40 * np.sin((rows + index) / 7)
    return np.repeat(grey.astype(np.uint8)[:, :, None], 3, axis=2)


def write_clip(
    path: Path,
    *,
    width: int = 160,
    height: int = 96,
    seconds: float = 2.0,
    fps: int = 25,
    sound: bool = True,
    draw: Callable[[int, int, int], Picture] = moving,
    times: Sequence[int] | None = None,
    rotation: int | None = None,
    faststart: bool = False,
    crf: int = 17,
    gop: int = 12,
    sound_seconds: float | None = None,
) -> Path:
    """An H.264 clip with a tone. ``times`` are timestamps of 1/1000 s instead of an even rate."""
    options = {"movflags": "faststart"} if faststart else {}
    with av.open(str(path), "w", options=options) as out:
        video = out.add_stream("libx264", rate=fps)
        assert isinstance(video, VideoStream)
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        video.codec_context.gop_size = gop
        video.codec_context.options = {"crf": str(crf), "preset": "ultrafast"}
        base = Fraction(1, fps) if times is None else Fraction(1, 1000)
        video.codec_context.time_base = base
        if rotation is not None:
            video.set_display_rotation(rotation)
        audio = out.add_stream("aac", rate=RATE) if sound else None
        stamps = range(round(seconds * fps)) if times is None else times
        for index, stamp in enumerate(stamps):
            frame = VideoFrame.from_ndarray(draw(index, width, height), format="rgb24")
            frame.pts, frame.time_base = stamp, base
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
        if isinstance(audio, AudioStream):
            for block in tone(seconds if sound_seconds is None else sound_seconds):
                out.mux(audio.encode(block))
            out.mux(audio.encode(None))
    return path


def write_sound(path: Path, seconds: float = 1.0, codec: str = "pcm_s16le") -> Path:
    with av.open(str(path), "w") as out:
        audio = out.add_stream(codec, rate=RATE)
        assert isinstance(audio, AudioStream)
        for block in tone(seconds):
            out.mux(audio.encode(block))
        out.mux(audio.encode(None))
    return path


def tone(seconds: float) -> list[AudioFrame]:
    total = round(seconds * RATE)
    samples = (8000 * np.sin(np.arange(total) * 2 * np.pi * 440 / RATE)).astype(np.int16)
    blocks = []
    for start in range(0, total, 1024):
        frame = AudioFrame.from_ndarray(
            samples[None, start : start + 1024], format="s16", layout="mono"
        )
        frame.sample_rate, frame.pts, frame.time_base = RATE, start, Fraction(1, RATE)
        blocks.append(frame)
    return blocks
