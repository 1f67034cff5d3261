"""Small media files for tests, made with PyAV and numpy."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.packet import Packet
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
    movflags: str = "",
    pixel_aspect: Fraction | None = None,
) -> Path:
    """An H.264 clip with a tone. ``times`` are timestamps of 1/1000 s instead of an even rate."""
    movflags = "faststart" if faststart else movflags
    options = {"movflags": movflags} if movflags else {}
    with av.open(str(path), "w", options=options) as out:
        video = out.add_stream("libx264", rate=fps)
        assert isinstance(video, VideoStream)
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        video.codec_context.gop_size = gop
        video.codec_context.options = {"crf": str(crf), "preset": "ultrafast"}
        base = Fraction(1, fps) if times is None else Fraction(1, 1000)
        video.codec_context.time_base = base
        if pixel_aspect is not None:
            video.codec_context.sample_aspect_ratio = pixel_aspect
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


def sound_frames(sound: npt.NDArray[np.float32]) -> list[AudioFrame]:
    """Mono frames of 960 samples at 48 kHz."""
    made = []
    for start in range(0, len(sound), 960):
        block = sound[None, start : start + 960]
        frame = AudioFrame.from_ndarray(block, format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE, start, Fraction(1, RATE)
        made.append(frame)
    return made


def encode_sound(
    path: Path,
    codec: str,
    frames: Sequence[AudioFrame],
    *,
    layout: str = "mono",
    rate: int = RATE,
    quality: int | None = None,
    options: dict[str, str] | None = None,
) -> Path:
    """A sound by itself; with a quality its bit rate varies."""
    with av.open(str(path), "w", options=options or {}) as out:
        stream = out.add_stream(codec, rate=rate)
        assert isinstance(stream, AudioStream)
        stream.layout = layout
        if quality is not None:
            stream.codec_context.flags |= 1 << 1
            stream.codec_context.global_quality = quality
        form = AudioResampler(format=stream.codec_context.format or "s16", layout=layout, rate=rate)
        for frame in [*frames, None]:
            for even in form.resample(frame):
                out.mux(stream.encode(even))
        out.mux(stream.encode(None))
    return path


class Counting(io.BytesIO):
    """Counts reads and their bytes."""

    bytes_read = 0
    reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.bytes_read += len(data)
        self.reads += 1
        return data


def write_large(path: Path, frames: int, *, faststart: bool) -> Path:
    """A long clip of one noisy picture, repeated: large, and encoded only once."""
    encoder = av.CodecContext.create("mjpeg", "w")
    noise = np.random.default_rng(1).integers(0, 255, (480, 640, 3), dtype=np.uint8)
    encoder.width, encoder.height, encoder.pix_fmt = 640, 480, "yuvj420p"
    encoder.time_base = Fraction(1, 25)
    encoder.qmin = encoder.qmax = 2
    picture = VideoFrame.from_ndarray(noise, format="rgb24").reformat(format="yuvj420p")
    picture.pts, picture.time_base = 0, Fraction(1, 25)
    data = b"".join(bytes(packet) for packet in encoder.encode(picture))
    options = {"movflags": "faststart"} if faststart else {}
    with av.open(str(path), "w", format="mov", options=options) as out:
        stream = out.add_stream("mjpeg", rate=25)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = 640, 480, "yuvj420p"
        for index in range(frames):
            packet = Packet(data)
            packet.stream = stream
            packet.pts = packet.dts = index
            packet.time_base = Fraction(1, 25)
            packet.is_keyframe = True
            out.mux(packet)
    return path
