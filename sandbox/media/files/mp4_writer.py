"""Writing MP4: H.264 picture, AAC sound or copied sound packets, index in front.

The file appears under its name only when it is whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Protocol, Self

import av
import numpy as np
import numpy.typing as npt
from av.audio.stream import AudioStream
from av.video.stream import VideoStream

from sandbox.media.files.pictures import Picture, to_frame

Samples = npt.NDArray[np.float32]
"""Sound, frames x channels, full scale 1.0."""

KEY_FRAME_SECONDS = 2


class PictureFormat(Protocol):
    """The properties that an output takes over from its source; a VideoReader has them."""

    @property
    def width(self) -> int: ...
    @property
    def height(self) -> int: ...
    @property
    def fps(self) -> Fraction: ...
    @property
    def sample_aspect(self) -> Fraction | None: ...
    @property
    def colour(self) -> Mapping[str, int]: ...


@dataclass(frozen=True)
class Format:
    """A picture format of one's own: size in pixels, frame rate, square pixels."""

    width: int
    height: int
    fps: Fraction
    sample_aspect: Fraction | None = None
    colour: Mapping[str, int] = field(default_factory=dict)


class Mp4Writer:
    """One output file. Close it to finish the file; leaving by an exception removes it."""

    def __init__(
        self,
        path: Path,
        *,
        like: PictureFormat,
        time_base: Fraction,
        crf: int,
        copied_audio: AudioStream | None = None,
        rate: int = 0,
        channels: int = 0,
    ) -> None:
        """Open the output.

        Args:
            path: final name of the file.
            like: gives size, frame rate, colour description and pixel shape.
            time_base: of the `pts` given to `picture`.
            crf: constant quality of x264; 17 is visually lossless.
            copied_audio: template of a sound stream whose packets will be muxed as they are.
            rate, channels: encode sound with these; 0 for no encoded sound.
        """
        self._path = path
        self._partial = path.with_name(path.name + ".part")
        self._container = av.open(
            str(self._partial), "w", format="mp4", options={"movflags": "+faststart"}
        )
        self._video = self._add_video(like, time_base, crf)
        self._time_base = time_base
        self._audio: AudioStream | None = None
        self.copied: AudioStream | None = None
        if rate and channels:
            self._audio = self._container.add_stream("aac", rate=rate)
            self._audio.codec_context.layout = "mono" if channels == 1 else "stereo"
            # AAC carries at most 6 bits per sample and channel.
            self._audio.codec_context.bit_rate = min(96_000, 5 * rate) * channels
            self._audio.codec_context.time_base = Fraction(1, rate)
        elif copied_audio is not None:
            self.copied = self._container.add_stream_from_template(copied_audio)
        self._rate = rate
        self._layout = "mono" if channels == 1 else "stereo"
        self.samples = 0

    def _add_video(self, like: PictureFormat, time_base: Fraction, crf: int) -> VideoStream:
        stream = self._container.add_stream(
            "libx264", rate=like.fps, options={"preset": "veryfast", "crf": str(crf)}
        )
        context = stream.codec_context
        context.width, context.height = like.width, like.height
        context.pix_fmt = "yuv420p"
        context.time_base = time_base
        context.gop_size = max(1, round(KEY_FRAME_SECONDS * like.fps))
        context.thread_count = 2
        if like.sample_aspect:
            context.sample_aspect_ratio = like.sample_aspect
        for name, value in like.colour.items():
            setattr(context, name, value)
        stream.time_base = time_base
        return stream

    def picture(self, picture: Picture, pts: int) -> None:
        """Encode a picture; `pts` has to grow from call to call."""
        frame = to_frame(picture)
        frame.pts = pts
        frame.time_base = self._time_base
        self._container.mux(self._video.encode(frame))

    def sound(self, samples: Samples) -> None:
        """Encode sound that follows what was given before."""
        if self._audio is None or not len(samples):
            return
        flat = np.ascontiguousarray(samples, np.float32).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(flat, "flt", self._layout)
        frame.sample_rate = self._rate
        frame.pts = self.samples
        frame.time_base = Fraction(1, self._rate)
        self.samples += len(samples)
        self._container.mux(self._audio.encode(frame))

    def packet(self, packet: av.Packet[AudioStream]) -> None:
        """Mux a packet of the copied sound stream."""
        if self.copied is not None:
            packet.stream = self.copied
            self._container.mux(packet)

    def close(self) -> None:
        """Flush the encoders, write the index, give the file its name."""
        self._container.mux(self._video.encode(None))
        if self._audio is not None:
            self._container.mux(self._audio.encode(None))
        self._container.close()
        self._partial.replace(self._path)

    def abandon(self) -> None:
        """Drop the unfinished file."""
        self._container.close()
        self._partial.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self.abandon()
