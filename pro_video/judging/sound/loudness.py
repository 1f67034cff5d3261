"""The loudness of a file over time, from short stretches of its sound, and the choice of stretches.

A stretch is decoded from the packet before it; other streams are skipped where the container allows
it. All channels are mixed to one.
"""

from __future__ import annotations

import math
import statistics
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate, islice
from operator import mul
from typing import Final

from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Discard

from pro_video.media.reading.libav import frames_of
from pro_video.media.reading.open import Source, bounded, opened, origin, picture_stream

_SOUND_BUDGET: Final = 128 * 1024 * 1024
RATE: Final = 8000
BIN: Final = 0.04
"""Seconds per level: shorter than a syllable."""
MAX_SECONDS: Final = 12.0
"""Longest decoded stretch, seconds."""
_MAX_PACKETS: Final = 20_000
_SAMPLES: Final = round(RATE * BIN)
_FULL_SCALE: Final = 32768.0
_FLOOR: Final = 1e-4
WAVE_RATE: Final = 1000
"""Samples of a wave per second: enough for the fundamental of a voice and of most instruments."""
_JOINED: Final = RATE // WAVE_RATE
MAX_STRETCHES: Final = 4
LENGTH: Final = 3.0
SHORTEST: Final = 0.5
_WHOLE_LOOKS: Final = 6
_RECOGNISABLE: Final = 4.0


@dataclass(frozen=True, slots=True)
class Stretch:
    """The loudness of a stretch of time.

    Attributes:
        levels: one for each 0.04 s, as fractions of full scale (RMS).
        wave: the low frequencies, `WAVE_RATE` samples a second, of any scale.
    """

    levels: tuple[float, ...]
    wave: tuple[int, ...] = ()

    @property
    def loudest(self) -> float:
        """The loudest level; 0 without levels."""
        return max(self.levels, default=0.0)

    @property
    def recognisable(self) -> bool:
        """Does the loudness vary, as that of speech and most music does?"""
        return len(self.levels) > 1 and statistics.pstdev(_decibels(self.levels)) > _RECOGNISABLE

    def part(self, start: float, end: float) -> Stretch:
        """From ``start`` to ``end``, seconds from the first level; less where there is less."""
        first, last = (max(0, round(at / BIN)) for at in (start, end))
        samples = round(WAVE_RATE * BIN)
        return Stretch(self.levels[first:last], self.wave[first * samples : last * samples])


def similarity(one: Stretch, other: Stretch) -> float:
    """The correlation of the loudness of two stretches, -1 to 1, at the best shift."""
    return max(similarities(one, other), default=0.0)


def similarities(one: Stretch, other: Stretch) -> list[float]:
    """The same at each shift of the shorter one within the longer one."""
    short, long = sorted((_decibels(one.levels), _decibels(other.levels)), key=len)
    if len(short) < 2:
        return []
    return [
        _correlation(short, long[shift : shift + len(short)])
        for shift in range(len(long) - len(short) + 1)
    ]


def wave_similarity(one: Stretch, other: Stretch, lead: float, slack: float) -> float:
    """The correlation of the waves of two stretches at the best shift, 0 to 1. Slower than
    `similarity`, and reliable for short stretches too.

    Args:
        one: the sound to find.
        other: the sound to search.
        lead: seconds of ``other`` at which ``one`` should begin.
        slack: seconds by which it may begin earlier or later, also past the ends of ``other``.
    """
    count, wide = len(one.wave), round(slack * WAVE_RATE)
    if not count:
        return 0.0
    first = round(lead * WAVE_RATE) - wide
    heard = [0] * max(0, -first) + list(other.wave[max(0, first) :])
    heard = (heard + [0] * (count + 2 * wide))[: count + 2 * wide]
    mean = sum(one.wave) / count
    pattern = [sample - mean for sample in one.wave]
    power = sum(map(mul, pattern, pattern))
    sums = list(accumulate(map(mul, heard, heard), initial=0))
    best = 0.0
    for shift in range(2 * wide + 1):
        scale = math.sqrt(power * (sums[shift + count] - sums[shift]))
        if scale:
            best = max(best, abs(sum(map(mul, pattern, heard[shift : shift + count]))) / scale)
    return best


def _decibels(levels: Sequence[float]) -> list[float]:
    return [20 * math.log10(max(level, _FLOOR)) for level in levels]


def _correlation(one: Sequence[float], other: Sequence[float]) -> float:
    if min(one) == max(one) or min(other) == max(other):
        return 0.0
    return statistics.correlation(one, other)


class SoundReader:
    """Reads stretches of one file's sound; second 0 is that of the first picture, or of the first
    sample where there is no picture."""

    def __init__(
        self, container: InputContainer, stream: AudioStream, first: float | None = None
    ) -> None:
        self._container = container
        self._stream = stream
        self._first = first

    def stretch(self, start: float, seconds: float) -> Stretch:
        """The levels from ``start`` on: silent before the sound begins, fewer where it ends or does
        not decode."""
        start, seconds = max(0.0, start), min(seconds, MAX_SECONDS)
        wanted = round(seconds * RATE)
        samples = array("h")
        for block in self._samples(start):
            samples.extend(block)
            if len(samples) >= wanted:
                break
        del samples[wanted:]
        return Stretch(
            tuple(
                _rms(samples[place : place + _SAMPLES])
                for place in range(0, len(samples) - _SAMPLES + 1, _SAMPLES)
            ),
            tuple(map(sum, zip(*[iter(samples)] * _JOINED, strict=False))),
        )

    def _samples(self, start: float) -> Iterator[array[int]]:
        stream = self._stream
        if not stream.time_base:
            return
        base = float(stream.time_base)
        own = (stream.start_time or 0) * base
        first = own if self._first is None else self._first
        # Sound that begins after the picture is silence until then.
        late = own - first - start
        if late > 0:
            yield array("h", bytes(2 * round(min(late, MAX_SECONDS) * RATE)))
            start = own - first
        resampler = AudioResampler(format="s16", layout="mono", rate=RATE)
        self._container.seek(int((first + start) / base), stream=stream, backward=True)
        skip: int | None = None
        for packet in islice(self._container.demux(stream), _MAX_PACKETS):
            for frame in frames_of(packet):
                if skip is None:
                    time = 0.0 if frame.pts is None else frame.pts * base - first
                    skip = round(max(0.0, start - time) * RATE)
                for even in resampler.resample(frame):
                    block = array("h", bytes(even.planes[0])[: 2 * even.samples])
                    dropped, skip = min(skip, len(block)), max(0, skip - len(block))
                    yield block[dropped:]


@contextmanager
def open_sound(source: Source, what: str) -> Iterator[SoundReader | None]:
    """A reader of the first sound of a file; None without one that can be decoded.

    Raises:
        MediaUnusable: the file cannot be read.
    """
    with bounded(source, _SOUND_BUDGET) as reader, opened(reader, what) as container:
        # PyAV types it as always there; it is None where libav has no decoder.
        sound = next((s for s in container.streams.audio if s.codec_context is not None), None)
        picture = None if sound is None else picture_stream(container)
        first = None
        if picture is not None and picture.time_base:
            first = float(origin(container, picture) * picture.time_base)
        for stream in container.streams:
            if stream is not sound:
                stream.discard = Discard.all
        yield None if sound is None else SoundReader(container, sound, first)


def _rms(samples: array[int]) -> float:
    return math.sqrt(sum(map(mul, samples, samples)) / len(samples)) / _FULL_SCALE


def places_of(ranges: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Start and length of stretches: all of short ranges, some of long ones at even distances;
    seconds."""
    total = sum(end - start for start, end in ranges)
    if total <= MAX_STRETCHES * LENGTH and len(ranges) <= MAX_STRETCHES:
        return [place for start, end in ranges for place in _pieces(start, end)]
    places = []
    for number in range(MAX_STRETCHES):
        offset = total * (number + 0.5) / MAX_STRETCHES
        for start, end in ranges:
            if offset <= end - start:
                length = min(LENGTH, end - start, total / MAX_STRETCHES)
                first = min(max(start, start + offset - length / 2), end - length)
                if length >= SHORTEST:
                    places.append((first, length))
                break
            offset -= end - start
    return places


def _pieces(start: float, end: float) -> list[tuple[float, float]]:
    if end - start < SHORTEST:
        return []
    count = math.ceil((end - start) / LENGTH)
    length = (end - start) / count
    return [(start + number * length, length) for number in range(count)]


def throughout(length: float) -> list[tuple[float, float]]:
    """Start and length of stretches: nearly all of a short sound, parts of a long one; seconds."""
    apart = max(MAX_SECONDS, length / _WHOLE_LOOKS)
    return [(place * apart, MAX_SECONDS) for place in range(math.ceil(length / apart))]
