"""The loudness of a file over time, from short stretches of its sound.

A stretch is decoded from the packet before it; other streams are not even read where the container
allows it. Levels are those of all channels mixed to one.
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
"""Seconds of one level: shorter than a syllable."""
MAX_SECONDS: Final = 12.0
"""Seconds decoded for one stretch at most."""
_MAX_PACKETS: Final = 20_000
_SAMPLES: Final = round(RATE * BIN)
_FULL_SCALE: Final = 32768.0
_FLOOR: Final = 1e-4
WAVE_RATE: Final = 1000
"""Samples of a wave in a second: the fundamental of a voice and of most instruments stays."""
_JOINED: Final = RATE // WAVE_RATE
_LIVELY: Final = 4.0


@dataclass(frozen=True, slots=True)
class Stretch:
    """The loudness of a stretch of time.

    Attributes:
        levels: one for each 0.04 s, as fractions of full scale (RMS).
        wave: the lowest sounds, `WAVE_RATE` samples a second, of any scale.
    """

    levels: tuple[float, ...]
    wave: tuple[int, ...] = ()

    @property
    def loudest(self) -> float:
        """The loudest level; 0 of nothing."""
        return max(self.levels, default=0.0)

    @property
    def mean(self) -> float:
        """RMS of the whole."""
        return math.sqrt(statistics.fmean(level * level for level in self.levels or (0.0,)))

    @property
    def lively(self) -> bool:
        """Does it go up and down, as speech and most music do? Only that can be recognised."""
        return len(self.levels) > 1 and statistics.pstdev(_decibels(self.levels)) > _LIVELY

    def part(self, start: float, end: float) -> Stretch:
        """From ``start`` to ``end``, seconds from the first level; less where there is less."""
        first, last = (max(0, round(at / BIN)) for at in (start, end))
        samples = round(WAVE_RATE * BIN)
        return Stretch(self.levels[first:last], self.wave[first * samples : last * samples])


def likeness(one: Stretch, other: Stretch) -> float:
    """The correlation of two stretches' loudness, -1 to 1, at the best shift."""
    return max(likenesses(one, other), default=0.0)


def likenesses(one: Stretch, other: Stretch) -> list[float]:
    """The same at each shift: the shorter one is laid over the longer one wherever it fits."""
    short, long = sorted((_decibels(one.levels), _decibels(other.levels)), key=len)
    if len(short) < 2:
        return []
    return [
        _correlation(short, long[shift : shift + len(short)])
        for shift in range(len(long) - len(short) + 1)
    ]


def wave_likeness(one: Stretch, other: Stretch, lead: float, slack: float) -> float:
    """How much the wave of one stretch is that of the other, at the best shift: 0 to 1. Slow beside
    `likeness`, and certain of short stretches too.

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


class Listener:
    """Reads stretches of one file's sound; second 0 is when its first picture is shown, or its
    first sample is heard where there is no picture."""

    def __init__(
        self, container: InputContainer, stream: AudioStream, first: float | None = None
    ) -> None:
        self._container = container
        self._stream = stream
        self._first = first

    def stretch(self, start: float, seconds: float) -> Stretch:
        """The levels from ``start`` on, silent before the sound begins, fewer where it ends or
        does not decode."""
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
def listening(source: Source, what: str) -> Iterator[Listener | None]:
    """A listener to the first sound of a file; None when it has none that can be decoded.

    Raises:
        MediaUnusable: the file cannot be read.
    """
    with bounded(source, _SOUND_BUDGET) as reader, opened(reader, what) as container:
        # Typed as always there; a codec context is None where libav has no decoder.
        sound = next((s for s in container.streams.audio if s.codec_context is not None), None)
        picture = None if sound is None else picture_stream(container)
        first = None
        if picture is not None and picture.time_base:
            first = float(origin(container, picture) * picture.time_base)
        for stream in container.streams:
            if stream is not sound:
                stream.discard = Discard.all
        yield None if sound is None else Listener(container, sound, first)


def _rms(samples: array[int]) -> float:
    return math.sqrt(sum(map(mul, samples, samples)) / len(samples)) / _FULL_SCALE
