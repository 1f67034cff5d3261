"""Begin and end of a file's streams, and the usual distance of its pictures.

MP4 and QuickTime index every sample, so libav's times are exact. Other containers state the end
instead of the length, state nothing (live recordings), or leave an estimate to the reader (MP3,
AAC); their packets are counted.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import Any, Final

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.stream import Discard, Disposition
from av.video.stream import VideoStream

Stream = VideoStream | AudioStream

INDEXED: Final = "mov,mp4,m4a,3gp,3g2,mj2"
WINDOW: Final = 96
"""Pictures that are read for their usual distance."""
_WINDOW_BYTES: Final = 16 * 1024 * 1024
_REORDERED: Final = 8
_HELD: Final = 0.5
"""Seconds: a longer picture is held and does not count for the frame rate."""
_UNEVEN: Final = 0.1
_ODD: Final = 0.01
_LONGEST_STEP: Final = 0.1
"""Seconds: assumed least length of the last picture, when pictures are held."""
_LAST_ENTRIES: Final = 64
_NO_LENGTH: Final = 2**31
"""Ticks: a longer packet is an overflow, which libav has after a seek in Vorbis."""
_CLOSE: Final = 0.1
_CLOSE_SAMPLES: Final = 3000
"""Seconds, or samples if longer, that priming and padding of codecs may add to a sound; LAME adds
up to 2,257 samples."""


@dataclass(frozen=True, slots=True)
class Span:
    """The begin and end of a stream on the file's own clock, seconds.

    ``heard`` is the sum of its packets, without jumps of the clock.
    """

    start: float
    end: float
    heard: float = 0.0

    @property
    def length(self) -> float:
        """Seconds."""
        return self.end - self.start


def streams_of(container: InputContainer) -> list[Stream]:
    """Video and audio streams with a clock."""
    streams: list[Stream] = [*container.streams.video, *container.streams.audio]
    return [
        stream
        for stream in streams
        if stream.time_base and not stream.disposition & Disposition.attached_pic
    ]


def stated(stream: Stream) -> Span | None:
    """The stated span of a stream; None without a length, or with index entries after its end."""
    if stream.duration is None or not stream.time_base or stream.duration <= 0:
        return None
    base, start = float(stream.time_base), stream.start_time or 0
    entries = stream.index_entries
    last = entries[max(0, len(entries) - _LAST_ENTRIES) :]
    if any(entry.timestamp > start + stream.duration for entry in last if not entry.is_discard):
        # Edits that repeat a part make a track longer than its media.
        return None
    return Span(start * base, (start + stream.duration) * base, stream.duration * base)


def counted(
    container: InputContainer, *, behind: float | None, step: float = 0.0
) -> dict[int, Span]:
    """The spans of the streams that have packets in the part read.

    Args:
        container: just opened.
        behind: read from the last entry point before that second on; None reads everything.
        step: usual seconds between pictures: the least length of the last one, whatever its packet
            says, unless the pictures are held.

    Raises:
        MediaUnusable: reading exceeded a limit (`open.OUT_OF_BUDGET`).
    """
    streams = streams_of(container)
    for stream in container.streams:
        if stream not in streams:
            stream.discard = Discard.all
    if behind is not None:
        _enter(container, streams, behind)
    # An AVI cannot hold pictures.
    least = step if container.format.name == "avi" else min(step, _LONGEST_STEP)
    tallies = {stream.index: _Tally(stream, least, entire=behind is None) for stream in streams}
    for packet in container.demux(*streams):
        if packet.size:
            tallies[packet.stream.index].add(packet)
    return {index: tally.span() for index, tally in tallies.items() if tally.met}


def _enter(container: InputContainer, streams: Sequence[Stream], behind: float) -> None:
    leading = streams[0] if streams else None
    if leading is None or not leading.time_base:
        return
    try:
        container.seek(int(behind / float(leading.time_base)), stream=leading, backward=True)
    except av.FFmpegError:
        # Without an index the packets are read from the beginning.
        container.seek(0)


class _Tally:
    """Adds up the packets of one stream."""

    def __init__(self, stream: Stream, step: float, *, entire: bool) -> None:
        self._base = float(stream.time_base or 0)
        self._step = step if isinstance(stream, VideoStream) else 0.0
        # The packets at the end do not show the beginning.
        self._known = stream.start_time if entire else stream.start_time or 0
        self._start, self._end, self._heard = math.inf, -math.inf, 0.0
        self.met = False

    def add(self, packet: Packet[Any]) -> None:
        self.met = True
        ticks = packet.duration or 0
        length = max(ticks * self._base if ticks < _NO_LENGTH else 0.0, self._step)
        self._heard += length
        time = packet.dts if packet.pts is None else packet.pts
        if time is not None:
            self._start = min(self._start, time * self._base)
            self._end = max(self._end, time * self._base + length)

    def span(self) -> Span:
        if self._end < self._start:
            return Span(0.0, self._heard, self._heard)
        start = self._start if self._known is None else self._known * self._base
        return Span(start, max(self._end, start), self._heard)


@dataclass(frozen=True, slots=True)
class Pace:
    """The distances of pictures.

    Attributes:
        step: usual seconds from one to the next; 0 for a single picture.
        uneven: the distances differ.
    """

    step: float
    uneven: bool


def pace_of(container: InputContainer, stream: VideoStream) -> Pace:
    """The usual distance of pictures, from the index or from the first packets.

    Held pictures do not count, unless all are held, nor do ticks without a picture.
    """
    base = float(stream.time_base or 0)
    if container.format.name in {INDEXED, "avi"} and len(stream.index_entries) > 1:
        entries = stream.index_entries
        times = [entries[place].timestamp for place in range(min(len(entries), 1000))]
        complete = len(times) == len(entries)
    else:
        times, complete = _first_times(container, stream)
    times = sorted(set(times))
    if container.format.name == "avi":
        # The first picture may include the delay of reordered ones.
        times = times[1:] if len(times) > 2 else times
    if not complete and len(times) > 2 * _REORDERED:
        times = times[:-_REORDERED]
    steps = [later - earlier for earlier, later in pairwise(times)]
    if not steps:
        return Pace(0.0, uneven=False)
    moving = [step for step in steps if step * base <= _HELD] or steps
    usual = statistics.median(moving)
    slack = max(2.0, _UNEVEN * usual)
    odd = sum(abs(step - usual) > slack for step in steps)
    # Some encoders make the first picture longer.
    uneven = max(steps) > 2 * usual + slack or odd > max(1, _ODD * len(steps))
    # The mean over many pictures removes the rounding to ticks.
    return Pace((usual if uneven else statistics.fmean(steps)) * base, uneven)


def _first_times(container: InputContainer, stream: VideoStream) -> tuple[list[int], bool]:
    container.seek(stream.start_time or 0, stream=stream, backward=True)
    times: list[int] = []
    seen = 0
    for packet in islice(container.demux(stream), WINDOW):
        if not packet.size:
            return times, True
        seen += packet.size
        time = packet.dts if packet.pts is None else packet.pts
        if time is not None:
            times.append(time)
        if seen > _WINDOW_BYTES:
            break
    return times, False


def is_close(length: float, other: float, rate: int) -> bool:
    """Do two lengths of a sound, in seconds, differ by priming and padding at most?"""
    return abs(length - other) <= max(_CLOSE, _CLOSE_SAMPLES / rate if rate > 0 else 0.0)


def sound_length(claimed: Span | None, found: Span | None, rate: int, *, clocked: bool) -> float:
    """Seconds of a sound without a picture: as stated, unless the packets disagree.

    Args:
        claimed: stated by the container, if at all.
        found: by the packets, when they were counted.
        rate: samples per second.
        clocked: the times of packets are exact and their lengths rounded, instead of vice versa.
    """
    if found is None:
        return claimed.length if claimed is not None else 0.0
    length = found.length if clocked else found.heard
    return claimed.length if claimed and is_close(claimed.length, length, rate) else length


def whole(spans: Iterable[Span]) -> Span:
    """From the first begin to the last end of the spans."""
    known = list(spans)
    return Span(min(span.start for span in known), max(span.end for span in known))
