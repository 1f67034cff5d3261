"""Opens media with libav so that a hostile file can neither read much nor open other addresses.

The list of formats is closed. It has no playlists, which make libav open addresses, and no MPEG
transport and program streams, which may add streams anywhere. Bytes, packets and pixels are
bounded. Errors of the source itself (storage, network) pass unchanged.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Final, cast

import av
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from pro_video.core.errors import MediaUnusable
from pro_video.media.children.messages import OVER_LIMITS
from pro_video.media.reading.libav import TOLERANT, UNDECODABLE, frames_of

Source = str | Path | BinaryIO

FORMATS: Final = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,wav,w64,aiff,mp3,ogg,flac,aac"
MAX_PIXELS: Final = 64 * 1000 * 1000
MAX_SIDE: Final = 16384
INDEX_BUDGET: Final = 64 * 1024 * 1024
"""Bytes that may be read of a file's structure; the index of a long video has a few megabytes."""
MOMENTS_BUDGET: Final = 256 * 1024 * 1024
"""Bytes that may be read for moments of a file: some keyframe intervals of a large video."""
MAX_PACKETS: Final = 600
"""Packets read for one frame: more than the usual 250 frames between keyframes."""
OUT_OF_BUDGET: Final = frozenset({"media_absurd", "byte_budget", OVER_LIMITS})
"""Codes of a reading that exceeded a limit, here or in the storage, whatever the file contains."""
_BUFFER: Final = 64 * 1024
_PROBE_BYTES: Final = 1024 * 1024
# More than `probe.MAX_STREAMS`, so that a refusal can name the number.
_MAX_STREAMS: Final = 128


class BoundedReader(io.RawIOBase):
    """A seekable stream that fails after ``budget`` bytes and keeps the first failure.

    libav sometimes replaces an exception of its reader; `failure` keeps the cause.
    """

    def __init__(self, stream: BinaryIO, budget: int = INDEX_BUDGET) -> None:
        super().__init__()
        self._stream = stream
        self._left = budget
        self._budget = budget
        self.failure: Exception | None = None

    @property
    def left(self) -> int:
        """Bytes that may still be read."""
        return self._left

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        if self._left <= 0:
            self.failure = self.failure or MediaUnusable(
                f"the file needs more than {self._budget // 1_000_000} MB of reading to be "
                "understood; write it again as MP4 with its index at the start",
                code="media_absurd",
            )
            raise self.failure
        try:
            data = self._stream.read(self._left if size < 0 else min(size, self._left))
        except Exception as error:
            self.failure = self.failure or error
            raise
        self._left -= len(data)
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        try:
            return self._stream.seek(offset, whence)
        except Exception as error:
            self.failure = self.failure or error
            raise

    def tell(self) -> int:
        return self._stream.tell()

    def read_at(self, offset: int, length: int) -> bytes:
        """Bytes from a position; fewer at the end."""
        self.seek(offset)
        data = b""
        while len(data) < length:
            more = self.read(length - len(data))
            if not more:
                break
            data += more
        return data


@contextmanager
def bounded(source: Source, budget: int = INDEX_BUDGET) -> Iterator[BoundedReader]:
    """A path or a seekable stream as a bounded reader; a path is closed at the end."""
    if isinstance(source, str | Path):
        with Path(source).open("rb") as stream:
            yield BoundedReader(stream, budget)
    else:
        yield BoundedReader(source, budget)


@contextmanager
def within_budget() -> Iterator[None]:
    """Ends the block without an error when reading meets a limit of bytes or packets."""
    try:
        yield
    except MediaUnusable as error:
        if error.code not in OUT_OF_BUDGET:
            raise


@contextmanager
def opened(reader: BoundedReader, what: str = "the file") -> Iterator[InputContainer]:
    """The container in a reader.

    Raises:
        MediaUnusable: libav cannot read it, at opening or later in the block.
    """
    # libav decodes pictures while it opens a file, so the bounds are set here.
    options = {
        "format_whitelist": FORMATS,
        "probesize": str(_PROBE_BYTES),
        "max_pixels": str(MAX_PIXELS),
        "max_streams": str(_MAX_STREAMS),
        "threads": "1",
    }
    try:
        reader.seek(0)
        with av.open(reader, options=options, buffer_size=_BUFFER, **TOLERANT) as container:
            yield container
    except (av.FFmpegError, UnicodeError, IndexError) as error:
        if isinstance(error, MemoryError):
            # The memory is used up, or a damaged size exceeds libav's own limit.
            raise MediaUnusable(
                f"{what} needs more memory to be read than it may take; convert it to MP4 with "
                "H.264, or to WAV, and check that it plays",
                code=OVER_LIMITS,
            ) from error
        # PyAV's demuxer raises IndexError when a damaged file adds a stream.
        raise reader.failure or MediaUnusable(
            f"{what} is not a video or audio file that can be read; convert it to MP4 (H.264) or "
            "WAV and check that it plays",
            code="media_unreadable",
        ) from error
    if reader.failure is not None:
        raise reader.failure


def picture_stream(container: InputContainer) -> VideoStream | None:
    """The first stream of moving pictures (no cover art), its decoder bounded.

    Raises:
        MediaUnusable: an absurd size, or an unknown codec.
    """
    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic:
            return _bound(stream)
    return None


def _bound(stream: VideoStream) -> VideoStream:
    """One thread, and no frame above the limits."""
    # PyAV types it as always there; it is None where libav has no decoder.
    context = cast("VideoCodecContext | None", stream.codec_context)
    if context is None:
        raise MediaUnusable(
            "the picture has an unknown codec; convert it to MP4 with H.264",
            code="media_undecodable",
        )
    if max(context.width, context.height) > MAX_SIDE or context.width * context.height > MAX_PIXELS:
        raise MediaUnusable(
            f"the picture claims {context.width}x{context.height} pixels, which is absurd; "
            "convert it to at most 4096x2160",
            code="media_absurd",
        )
    if not context.is_open:
        context.options = {"max_pixels": str(MAX_PIXELS)}
        context.thread_count = 1
    return stream


def origin(container: InputContainer, stream: VideoStream) -> int:
    """The time of the first picture in units of the stream's time base: second 0 of a request.

    The container may be anywhere in the file afterwards.
    """
    if container.format.name != "avi":
        return stream.start_time or 0
    # An AVI has no times; libav's include the delay of reordered frames.
    container.seek(0, stream=stream)
    for packet in islice(container.demux(stream), MAX_PACKETS):
        shown = [frame.pts for frame in frames_of(packet) if frame.pts is not None]
        if shown:
            return int(shown[0])
    return stream.start_time or 0


def frames_at(
    container: InputContainer,
    stream: VideoStream,
    instants: Sequence[float],
    *,
    strict: bool = False,
) -> Iterator[VideoFrame | None]:
    """The frame shown at each of the instants (seconds from the first frame, in order).

    Each keyframe interval is decoded at most once, and at most `MAX_PACKETS` packets for one
    instant. None where nothing decodes or that bound is reached; the last frame past the end.
    Damaged packets are skipped, as in players; with ``strict`` they raise libav's error.
    """
    time_base, start = stream.time_base, origin(container, stream)
    packets: Iterator[Packet[VideoStream]] = iter(())
    shown: VideoFrame | None = None
    ahead: list[VideoFrame] = []
    for seconds in instants:
        target = start + max(0, int(seconds / float(time_base))) if time_base else 0
        if shown is None or shown.pts is None or _keyframe_between(stream, shown.pts, target):
            container.seek(target, stream=stream, backward=True)
            packets, ahead, shown = container.demux(stream), [], None
        reached = False
        for _ in range(MAX_PACKETS):
            while ahead and (shown is None or (ahead[0].pts or 0) <= target):
                shown = ahead.pop(0)
            packet = None if ahead else next(packets, None)
            if packet is None:
                reached = True
                break
            try:
                decoded = packet.decode()
            except UNDECODABLE as error:
                if strict or isinstance(error, MemoryError):
                    raise
                continue
            ahead.extend(frame for frame in decoded if frame.pts is not None)
        yield shown if reached else None


def _keyframe_between(stream: VideoStream, shown: int, target: int) -> bool:
    """Is there a keyframe between the shown frame and the target?"""
    entries = stream.index_entries
    position = entries.search_timestamp(target, backward=True)
    return position < 0 or entries[position].timestamp > shown
