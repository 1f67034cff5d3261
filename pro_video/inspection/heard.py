"""Does a result sound as it should: like its source where that stays, like the new audio elsewhere?

Levels over time are compared, at a few stretches. Measured on speech (LibriVox, a webcam,
synthetic) and music, encoded again as AAC at 24 and 32 kbit/s, normalised, compressed, denoised,
0.15 s late: the likeness of a stretch of 3 s to the same sound is 0.76 to 1, that of a shorter one
0.62 at least; unrelated sounds have 0.24 in the middle and more than 0.7 in one case of twenty. The
loudest moment of a sound that was kept is never quieter than its source's by more than 7 dB.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from pro_video.errors import MediaUnusable, OutputRejected
from pro_video.inspection.reading import OUT_OF_BUDGET, Source
from pro_video.inspection.sounds import BIN, Stretch, likeness, listening
from pro_video.request_models import Segment
from pro_video.timeline import Timeline

MAX_STRETCHES: Final = 4
MAX_LINES: Final = 4
LENGTH: Final = 3.0
SLACK: Final = 0.4
"""Seconds by which a result may sound earlier or later than its source."""
AUDIBLE: Final = 0.01
"""Level from which a source surely sounds: -40 dB."""
SILENT: Final = 0.0005
"""Level below which a result surely does not: -66 dB."""
SAME: Final = 0.9
OTHER: Final = 0.5
FOREIGN_MEAN: Final = 0.35
FOREIGN_MOST: Final = 0.6
FOREIGN_STRETCHES: Final = 3
SAME_LENGTH: Final = 0.1
"""Seconds by which a result is as long as its timeline says."""
_SHORTEST: Final = 0.5
_SHORTEST_RECOGNISED: Final = 1.0


@dataclass(frozen=True, slots=True)
class Line:
    """A segment whose sound is compared; seconds.

    Attributes:
        segment: its index.
        start: where it begins in the source.
        shown: where it begins in the result.
        audio_start: where its sound begins in its audio.
        length: how long it is compared.
    """

    segment: int
    start: float
    shown: float
    audio_start: float
    length: float


def lines(
    segments: Sequence[Segment],
    audio_seconds: Sequence[float],
    timeline: Timeline,
    length: float,
) -> list[Line]:
    """The segments to compare, at most `MAX_LINES`, spread over the video.

    Only the first one's place is certain in any result; the others' when the result is as long as
    the timeline says and no segment changed its length.
    """
    certain = abs(timeline.length - length) <= SAME_LENGTH and not timeline.pieces
    known = len(segments) if certain else min(1, len(segments))
    chosen = sorted({known * number // MAX_LINES for number in range(MAX_LINES)}) if known else []
    found = []
    for index in chosen:
        segment = segments[index]
        seconds = min(LENGTH, audio_seconds[index], segment.end - segment.start)
        if seconds >= _SHORTEST:
            shown = timeline.at(segment.start)
            found.append(Line(index, segment.start, shown, segment.audio_start or 0.0, seconds))
    return found


def check_sound_kept(
    before: Source,
    after: Source,
    ranges: Sequence[tuple[float, float]],
    at: Callable[[float], float] = lambda seconds: seconds,
) -> None:
    """Does the result sound like its source in these ranges?

    Args:
        before, after: source and result.
        ranges: seconds of the source in which its sound has to stay.
        at: when a moment of the source is in the result.

    Raises:
        OutputRejected: it is silent where the source is not (``output_sound_muted``), or sounds
            like something else throughout (``output_sound_foreign``).
    """
    places = _places(ranges)
    old = _listen(before, [(start, length) for start, length in places], "the video before")
    new = _listen(after, [(at(start) - SLACK, length + 2 * SLACK) for start, length in places])
    alike = []
    for (start, _), one, other in zip(places, old, new, strict=False):
        if _muted(one, other):
            raise _rejected(
                "output_sound_muted",
                f"is silent at {at(start):.1f} s of the result, where its source is not",
            )
        if one.lively and other.lively:
            alike.append(likeness(one, other))
    if (
        len(alike) >= FOREIGN_STRETCHES
        and max(alike) < FOREIGN_MOST
        and statistics.fmean(alike) < FOREIGN_MEAN
    ):
        raise _rejected("output_sound_foreign", "is not the one of its source")


def check_sound_replaced(
    before: Source, after: Source, compared: Sequence[tuple[Line, Source]]
) -> None:
    """Does the result have the new sound in these segments?

    Args:
        before, after: source and result.
        compared: segments, each with its audio.

    Raises:
        OutputRejected: a segment is silent and its audio is not (``output_sound_muted``), or has
            the sound of the source instead of its audio's (``output_sound_unchanged``).
    """
    chosen = [line for line, _ in compared]
    new = _listen(after, [(line.shown - SLACK, line.length + 2 * SLACK) for line in chosen])
    old = _listen(before, [(line.start, line.length) for line in chosen], "the video before")
    for place, (line, audio) in enumerate(compared):
        if place >= len(new):
            break
        given = _listen(audio, [(line.audio_start, line.length)], "the audio")
        if not given:
            continue
        if _muted(given[0], new[place]):
            raise _rejected(
                "output_sound_muted",
                f"is silent in segments[{line.segment}], whose audio is not",
            )
        if place < len(old) and _is_other(old[place], given[0], new[place]):
            raise _rejected(
                "output_sound_unchanged",
                f"in segments[{line.segment}] is the one of the source, not of its audio",
            )


def _is_other(source: Stretch, given: Stretch, heard: Stretch) -> bool:
    """Is what is heard the source, for certain, and not the audio?"""
    if not (source.lively and given.lively):
        return False
    if min(len(source.levels), len(given.levels)) * BIN < _SHORTEST_RECOGNISED:
        return False
    return likeness(source, heard) >= SAME and likeness(given, heard) < OTHER


def _muted(source: Stretch, heard: Stretch) -> bool:
    return source.loudest >= AUDIBLE and bool(heard.levels) and heard.loudest < SILENT


def _places(ranges: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Start and length of stretches at even distances of the ranges put together."""
    total = sum(end - start for start, end in ranges)
    places = []
    for number in range(MAX_STRETCHES):
        offset = total * (number + 0.5) / MAX_STRETCHES
        for start, end in ranges:
            if offset <= end - start:
                length = min(LENGTH, end - start, total / MAX_STRETCHES)
                first = min(max(start, start + offset - length / 2), end - length)
                if length >= _SHORTEST:
                    places.append((first, length))
                break
            offset -= end - start
    return places


def _listen(
    source: Source, places: Sequence[tuple[float, float]], what: str = "the result"
) -> list[Stretch]:
    """The stretches as far as the bound on reading goes; none of a file without sound."""
    found: list[Stretch] = []
    try:
        with listening(source, what) as listener:
            if listener is not None:
                for start, length in places:
                    found.append(listener.stretch(start, length))
    except MediaUnusable as error:
        if error.code not in OUT_OF_BUDGET:
            raise OutputRejected(
                f"the result's sound cannot be compared: {error.message}",
                code="output_undecodable",
            ) from error
    return found


def _rejected(code: str, fact: str) -> OutputRejected:
    return OutputRejected(
        f"the sound {fact}; the files are kept for a look, run the job again or ask the provider",
        code=code,
    )
