"""Begin and end of a file's streams, and the usual distance of its pictures.

MP4 and QuickTime index every sample, so libav's account of them is exact. Other containers state
the end instead of the length, state nothing (live recordings), or leave an estimate from the first
bytes to the reader (MP3, AAC); there the packets are counted.
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
"""Pictures whose times tell how far apart they usually are."""
_WINDOW_BYTES: Final = 16 * 1024 * 1024
_REORDERED: Final = 8
_HELD: Final = 0.5
"""Seconds: a picture that stands longer is held, and says nothing about the frame rate."""
_UNEVEN: Final = 0.1
_ODD: Final = 0.01
_LONGEST_STEP: Final = 0.1
"""Seconds: nobody knows how long the last one of held pictures is shown; so long at least."""
_LAST_ENTRIES: Final = 64
_NO_LENGTH: Final = 2**31
"""Ticks: a longer packet is an overflow, as libav has them after a jump into Vorbis."""
_CLOSE: Final = 0.1
_CLOSE_SAMPLES: Final = 3000
"""Seconds, and samples where these take longer, that priming and padding of codecs add to the
packets of a sound; LAME adds up to 2,257 samples."""


@dataclass(frozen=True, slots=True)
class Span:
    """Where a stream is in the file's own clock, in seconds.

    ``heard`` is the sum of its packets, which jumps of the clock leave alone.
    """

    start: float
    end: float
    heard: float = 0.0

    @property
    def length(self) -> float:
        """Seconds."""
        return self.end - self.start


def streams_of(container: InputContainer) -> list[Stream]:
    """Pictures and sounds that have a clock."""
    streams: list[Stream] = [*container.streams.video, *container.streams.audio]
    return [
        stream
        for stream in streams
        if stream.time_base and not stream.disposition & Disposition.attached_pic
    ]


def stated(stream: Stream) -> Span | None:
    """The span that the container states for a stream; None without a length, and where its index
    goes on."""
    if stream.duration is None or not stream.time_base or stream.duration <= 0:
        return None
    base, start = float(stream.time_base), stream.start_time or 0
    entries = stream.index_entries
    last = entries[max(0, len(entries) - _LAST_ENTRIES) :]
    if any(entry.timestamp > start + stream.duration for entry in last if not entry.is_discard):
        # Edits that show a part twice make a track longer than its media.
        return None
    return Span(start * base, (start + stream.duration) * base, stream.duration * base)


def counted(
    container: InputContainer, *, behind: float | None, step: float = 0.0
) -> dict[int, Span]:
    """The spans of the streams by their packets, those that were met.

    Args:
        container: just opened.
        behind: read from the last place before that second on, where the container can be entered;
            None reads everything.
        step: seconds from one picture to the next, usually, which the last one lasts at least,
            whatever its packet says; unless the pictures are held.

    Raises:
        MediaUnusable: reading took too much (`reading.OUT_OF_BUDGET`).
    """
    streams = streams_of(container)
    for stream in container.streams:
        if stream not in streams:
            stream.discard = Discard.all
    if behind is not None:
        _enter(container, streams, behind)
    # An AVI holds no picture: it shows one after the other.
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
        # No index to enter by: the packets are read from the beginning.
        container.seek(0)


class _Tally:
    """Adds up the packets of one stream."""

    def __init__(self, stream: Stream, step: float, *, entire: bool) -> None:
        self._base = float(stream.time_base or 0)
        self._step = step if isinstance(stream, VideoStream) else 0.0
        # The end of a file alone does not show its beginning.
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
        step: seconds from one to the next, usually; 0 when only one is known.
        uneven: the distances differ.
    """

    step: float
    uneven: bool


def pace_of(container: InputContainer, stream: VideoStream) -> Pace:
    """The usual distance of pictures, from the index or from the first packets.

    Held pictures do not count, unless all are held. Ticks of a container without a picture do not
    count either.
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
        # Its first picture may stand for the delay of reordered ones.
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
    # A first picture that is longer is a habit of encoders.
    uneven = max(steps) > 2 * usual + slack or odd > max(1, _ODD * len(steps))
    # Timestamps are rounded to ticks; over many pictures that averages out.
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
    """Do two lengths of a sound, in seconds, differ by no more than priming and padding?"""
    return abs(length - other) <= max(_CLOSE, _CLOSE_SAMPLES / rate if rate > 0 else 0.0)


def sound_length(claimed: Span | None, found: Span | None, rate: int, *, clocked: bool) -> float:
    """Seconds of a sound without a picture: as stated, unless the packets say otherwise.

    Args:
        claimed: the container's statement, if any.
        found: the packets, when they were counted.
        rate: samples per second.
        clocked: the times of packets are exact and their lengths are rounded, not the other way
            round.
    """
    if found is None:
        return claimed.length if claimed is not None else 0.0
    length = found.length if clocked else found.heard
    return claimed.length if claimed and is_close(claimed.length, length, rate) else length


def whole(spans: Iterable[Span]) -> Span:
    """From the first beginning to the last end of one span or more."""
    known = list(spans)
    return Span(min(span.start for span in known), max(span.end for span in known))
