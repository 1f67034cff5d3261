"""Reading video: streamed pictures in display orientation, and pictures by time.

Time 0 is the container's start time, so that sound and picture of one file share a clock.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Self

import av
from av.container import InputContainer
from av.stream import Disposition

from sandbox.media.errors import MediaError
from sandbox.media.files.pictures import Picture, from_frame, orientation

TOLERANT: dict[str, Any] = (
    {"metadata_errors": "replace"} if int(av.__version__.split(".")[0]) < 19 else {}
)
"""Options of `av.open` with which no file is refused for the text encoding of its metadata. From
PyAV 19 on none is, and the option is gone."""

MAX_SIDE = 8192
"""Larger pictures are refused: one of them would take a hundred megabytes."""

WINDOW_BYTES = 64 << 20
"""Decoded pictures that `PicturesByTime` keeps, which is what makes backward reading cheap."""


@contextmanager
def media_errors(path: Path) -> Iterator[None]:
    """Turn what the media library raises about `path` into MediaError."""
    try:
        yield
    except (av.FFmpegError, OSError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise MediaError(f"{path.name} cannot be read as media: {reason}") from error


def open_container(path: Path) -> InputContainer:
    """Open a file for reading. Raises MediaError when it is no media file."""
    with media_errors(path):
        container: InputContainer = av.open(str(path), "r", **TOLERANT)
        return container


def container_start(container: InputContainer) -> float:
    """Start of the presentation in seconds, on the clock of the streams' timestamps."""
    # PyAV gives None for a container that does not know it, against its own annotation.
    start: int | None = container.start_time
    return start / av.time_base if start is not None else 0.0


def container_length(container: InputContainer) -> float:
    """Seconds that the presentation lasts, counted where the container does not tell."""
    if not container.duration:
        return _counted_length(Path(container.name))
    # Matroska states its end, libav's other demuxers the length.
    begin = container_start(container) if "matroska" in container.format.name else 0.0
    return max(0.0, container.duration / av.time_base - begin)


def _counted_length(path: Path) -> float:
    """Seconds from the begin to the end of the last packet, as of a live recording."""
    with open_container(path) as container:
        begin = end = container_start(container)
        for packet in container.demux():
            if packet.pts is not None:
                end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
    return end - begin


@dataclass(frozen=True, slots=True)
class TimedPicture:
    """A picture and when it is shown: `time` in seconds, `pts` in the stream's time base.

    `key` tells a picture that was coded without reference to others.
    """

    time: float
    pts: int
    picture: Picture
    key: bool = False


class VideoReader:
    """The first video stream of a file.

    Attributes:
        width, height: of the pictures that come out, displayed and even, in pixels.
        mirrored, turns: what a player does with a stored picture, see `orientation`.
        fps: average frame rate.
        duration: of the video stream in seconds, as the container tells it.
        time_base: seconds per unit of `TimedPicture.pts`.
        has_audio: whether the file has sound.
    """

    def __init__(self, path: Path, *, max_short_side: int | None = None) -> None:
        """Open `path`; with `max_short_side` larger pictures are scaled down, never up.

        Raises:
            MediaError: the file is no media, has no picture, or does not decode.
        """
        self.path = path
        self._open()
        try:
            self._prepare(max_short_side)
        except BaseException:
            self._container.close()
            raise

    def _open(self) -> None:
        self._container = open_container(self.path)
        streams = [
            stream
            for stream in self._container.streams.video
            if not stream.disposition & Disposition.attached_pic
        ]
        if not streams:
            self._container.close()
            raise MediaError(f"{self.path.name} has no video stream")
        self._stream = streams[0]
        self._stream.thread_type = "AUTO"
        self._stream.codec_context.thread_count = 2

    def _prepare(self, max_short_side: int | None) -> None:
        self.has_audio = bool(self._container.streams.audio)
        self.origin = container_start(self._container)
        if not self._stream.time_base:
            raise MediaError(f"{self.path.name} has a video stream without a time base")
        self.time_base: Fraction = self._stream.time_base
        rate = self._stream.average_rate or self._stream.guessed_rate
        self.fps = Fraction(rate) if rate and 1 <= rate <= 240 else Fraction(25)
        if max(self._stream.codec_context.width, self._stream.codec_context.height) > MAX_SIDE:
            raise MediaError(f"{self.path.name} has pictures larger than {MAX_SIDE} pixels")
        self._size: tuple[int, int] | None = None
        first = next(self._decode(), None)
        if first is None:
            raise MediaError(f"{self.path.name} has a video stream without a decodable picture")
        self.mirrored, self.turns = orientation(first)
        turned = self.turns % 2 == 1
        width, height = (first.height, first.width) if turned else (first.width, first.height)
        if min(width, height) < 2:
            raise MediaError(f"{self.path.name} has pictures of {width}x{height} pixels")
        short = min(width, height)
        if max_short_side is not None and short > max_short_side:
            scale = max_short_side / short
            width = max(2, round(width * scale / 2) * 2)
            height = max(2, round(height * scale / 2) * 2)
            self._size = (width, height)
        self.width, self.height = width & ~1, height & ~1
        sar = self._stream.sample_aspect_ratio
        self.sample_aspect = (1 / sar if turned else sar) if sar else None
        self.colour = {
            "color_range": int(first.color_range),
            "color_primaries": int(first.color_primaries),
            "color_trc": int(first.color_trc),
            "colorspace": int(first.colorspace),
        }
        if first.format.name != "yuv420p":
            self.colour["color_range"] = 1  # converted to limited range
        self.duration = self._measure()

    def _measure(self) -> float:
        if self._stream.duration:
            start = self._stream.start_time or 0
            return float((start + self._stream.duration) * self.time_base) - self.origin
        stated = container_length(self._container)
        if stated:
            return stated
        end = 0.0
        with media_errors(self.path):
            self._reopen()
            for packet in self._container.demux(self._stream):
                if packet.pts is not None:
                    length = (packet.duration or 0) * self.time_base or 1 / self.fps
                    end = max(end, float(packet.pts * self.time_base + length) - self.origin)
        return end

    def _decode(self) -> Iterator[av.VideoFrame]:
        with media_errors(self.path):
            yield from self._container.decode(self._stream)

    def _reopen(self) -> None:
        self._container.close()
        self._open()

    def pictures(self, start: float = 0.0) -> Iterator[TimedPicture]:
        """Pictures in display order from the one shown at `start` seconds (or earlier) on.

        Only one iteration at a time: a second call moves the first one's position.
        """
        frames = self._frames(start)
        last: int | None = None
        step = max(1, round(1 / self.fps / self.time_base))
        for frame in frames:
            pts = frame.pts if frame.pts is not None else (0 if last is None else last + step)
            if last is not None and pts <= last:
                continue
            last = pts
            time = float(pts * self.time_base) - self.origin
            yield TimedPicture(time, pts, from_frame(frame, self._size), frame.key_frame)

    def _frames(self, start: float) -> Iterator[av.VideoFrame]:
        if start > 0:
            with media_errors(self.path):
                target = int((start + self.origin) / self.time_base)
                self._container.seek(target, stream=self._stream, backward=True)
            first = next(frames := self._decode(), None)
            if first is not None and first.pts is not None and first.pts <= target:
                yield first
                yield from frames
                return
            # Some containers overshoot (no index, or a seek before the first key picture).
        self._reopen()
        yield from self._decode()

    def close(self) -> None:
        self._container.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class PicturesByTime:
    """Pictures of a video by time, in any order, with a bounded number of them in memory.

    Reading forward decodes each picture once. Reading backward decodes in blocks as large as the
    memory bound allows, so it costs a few decodes for each picture and not a group of pictures.
    """

    def __init__(self, reader: VideoReader, window_bytes: int = WINDOW_BYTES) -> None:
        self._reader = reader
        count = window_bytes * 2 // (reader.width * reader.height * 3)
        self._window: deque[TimedPicture] = deque(maxlen=max(8, min(count, 128)))
        self._stream: Iterator[TimedPicture] | None = None
        self._ended = False

    def at(self, time: float) -> TimedPicture:
        """The picture on show at `time` seconds: the last one that began by then.

        Before the first picture it is the first, after the end the last.
        """
        step = float(1 / self._reader.fps)
        if self._stream is None or self._window[-1].time + 4.0 < time:
            self._restart(time)
        if time < self._window[0].time:
            # A block that ends at the wanted picture: the next wish is likely the one before.
            self._restart(time - step * ((self._window.maxlen or 8) - 2))
        while self._window[-1].time <= time and not self._ended:
            self._advance()
        index = bisect_right([item.time for item in self._window], time + 1e-6) - 1
        return self._window[max(index, 0)]

    def _restart(self, time: float) -> None:
        self._window.clear()
        self._stream = self._reader.pictures(max(time, 0.0))
        self._ended = False
        self._advance()
        if not self._window:
            raise MediaError(f"{self._reader.path.name} has no decodable picture")

    def _advance(self) -> None:
        item = next(self._stream, None) if self._stream is not None else None
        if item is None:
            self._ended = True
        else:
            self._window.append(item)
