"""Checks the sound of a result: its source's where that stays, the new audio's elsewhere.

Levels over time are compared, at a few stretches. Measured on speech (LibriVox, a webcam,
synthetic) and music, encoded again as AAC at 24 and 32 kbit/s, normalised, compressed, denoised,
0.15 s late: the likeness of a stretch of 3 s to the same sound is 0.76 to 1, that of a shorter one
0.62 at least; unrelated sounds have 0.24 in the middle and more than 0.7 in one case of twenty. The
loudest moment of a sound that was kept is never quieter than its source's by more than 7 dB.

Where levels are not alike, the lowest sounds are compared as waves. Measured on the same, also as
Opus at 20 kbit/s, with an echo, in the band of a telephone and faster by 0.02 %, in stretches of
0.6, 1, 2 and 3 s: 0.42 to 1 for the same sound; for unrelated ones 0.15, 0.12, 0.10 and 0.08 in the
middle, and 0.35, 0.26, 0.15 and 0.13 at most.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from pro_video.judging.findings import Finding, when
from pro_video.judging.picture.moments import within_budget
from pro_video.judging.sound.loudness import (
    BIN,
    Stretch,
    likeness,
    likenesses,
    listening,
    wave_likeness,
)
from pro_video.judging.sound.stretches import LENGTH, SHORTEST, places_of, whole
from pro_video.media.reading.open import Source
from pro_video.request.models import Segment
from pro_video.request.timeline import Timeline

MAX_LINES: Final = 4
SLACK: Final = 0.4
"""Seconds by which a result may sound earlier or later than its source."""
NEAR: Final = 0.1
"""Seconds beside a segment that may have its sound too."""
SEARCHED: Final = 1.2
"""Seconds in which a sound that is too early or too late is looked for."""
LATE: Final = 0.2
"""Seconds from which it is: people notice sound that is 45 ms early or 125 ms late (ITU-R BT.1359),
encoders shift it by up to 65 ms, and the measure has steps of 40 ms."""
_LATE_APART: Final = 0.12
_LATE_LIKENESS: Final = 0.8
_LATE_BETTER: Final = 0.15
AUDIBLE: Final = 0.01
"""Level from which a source surely sounds: -40 dB."""
SILENT: Final = 0.0005
"""Level below which a result surely does not: -66 dB."""
MUTED: Final = 0.4
"""Seconds of sound that have to be missing."""
QUIETER: Final = 15.0
"""dB by which a sound was made quieter; bringing a loud master to -14 LUFS takes 8."""
SAME: Final = 0.9
OTHER: Final = 0.5
FOREIGN: Final = 0.8
FOREIGN_WAVE: Final = 0.35
"""Likeness of levels and of waves of another sound, at most."""
SAME_LENGTH: Final = 0.1
"""Seconds by which a result is as long as its timeline says."""
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
        if seconds >= SHORTEST:
            shown = timeline.at(segment.start)
            found.append(Line(index, segment.start, shown, segment.audio_start or 0.0, seconds))
    return found


@dataclass(frozen=True, slots=True)
class Heard:
    """One stretch of the result, and what should be heard there.

    Attributes:
        start: seconds of the result at which it should begin.
        wanted: the sound that should be heard.
        wide: the result from `SEARCHED` seconds earlier, or from its beginning, to as much later.
        lead: seconds of ``wide`` before ``start``.
        line: the segment that it belongs to; None outside of the segments.
        before: in a segment, the sound of the source.
    """

    start: float
    wanted: Stretch
    wide: Stretch
    lead: float
    line: Line | None = None
    before: Stretch | None = None

    @property
    def length(self) -> float:
        """Seconds that are compared."""
        return len(self.wanted.levels) * BIN

    @property
    def near(self) -> Stretch:
        """The result around where the sound should be."""
        return self.wide.part(self.lead - SLACK, self.lead + self.length + SLACK)

    @property
    def audible(self) -> list[int]:
        """The levels of ``wanted`` that surely sound."""
        return [place for place, level in enumerate(self.wanted.levels) if level >= AUDIBLE]

    @property
    def muted(self) -> float:
        """Seconds of them at which the result is silent, with `SLACK` before and after."""
        slack, lead = round(SLACK / BIN), round(self.lead / BIN)
        around = (
            self.wide.levels[max(0, lead + place - slack) : lead + place + slack + 1]
            for place in self.audible
        )
        return sum(bool(levels) and max(levels) < SILENT for levels in around) * BIN

    @property
    def lively(self) -> bool:
        """Can both be recognised?"""
        return self.wanted.lively and self.wide.lively

    @property
    def quieter(self) -> float:
        """By how many dB it is quieter; 0 where that cannot be told."""
        loudest = self.near.loudest
        if self.wanted.loudest < AUDIBLE or loudest < SILENT:
            return 0.0
        return 20 * math.log10(self.wanted.loudest / loudest)

    @property
    def late(self) -> float | None:
        """Seconds by which it is heard too late, below 0 too early; None where it is not found."""
        if not self.lively or self.length < _SHORTEST_RECOGNISED:
            return None
        if len(self.wide.levels) <= len(self.wanted.levels):
            return None
        found = likenesses(self.wanted, self.wide)
        best = max(range(len(found)), key=found.__getitem__)
        there = min(max(round(self.lead / BIN), 0), len(found) - 1)
        if found[best] < _LATE_LIKENESS:
            return None
        late = best * BIN - self.lead
        if abs(late) >= LATE and found[best] - found[there] < _LATE_BETTER:
            return None
        return late


def check_sound(
    before: Source,
    after: Source,
    *,
    kept: Sequence[tuple[float, float]],
    at: Callable[[float], float] = lambda seconds: seconds,
    compared: Sequence[tuple[Line, Source]] = (),
    length: float,
) -> list[Finding]:
    """The findings about the sound of a result.

    Args:
        before, after: source and result.
        kept: seconds of the source in which its sound has to stay.
        at: when a moment of the source is in the result.
        compared: segments, each with its audio.
        length: of the result in seconds.

    Raises:
        MediaUnusable: one of the files cannot be read.
    """
    heard = _heard(before, after, kept, at, compared)
    sounding = [each for each in heard if each.audible]
    silent = all(each.muted >= (len(each.audible) - 0.5) * BIN for each in sounding)
    if sounding and silent and _silent_throughout(after, length):
        return [
            Finding(
                "output_no_sound",
                "The result is silent throughout, and its source or the new audio is not.",
                unusable=True,
                start=0.0,
                end=length,
                confidence=0.95,
            )
        ]
    late = _late(heard)
    # Late sound leaves a silence of as much before it.
    longest = MUTED + (0.0 if late is None else abs(late[1]))
    muted = [each for each in sounding if each.muted >= min(longest, len(each.audible) * BIN)]
    outside = [each for each in heard if each.line is None and each not in muted]
    return [
        *_muted(muted),
        *_quieter(heard),
        *(_foreign(outside) if late is None else [late[0]]),
        *(found for each in heard if each not in muted for found in _unchanged(each)),
    ]


def _silent_throughout(after: Source, length: float) -> bool:
    levels = _listen(after, whole(length))
    return bool(levels) and max(stretch.loudest for stretch in levels) < SILENT


def _heard(
    before: Source,
    after: Source,
    kept: Sequence[tuple[float, float]],
    at: Callable[[float], float],
    compared: Sequence[tuple[Line, Source]],
) -> list[Heard]:
    """All stretches, as far as the bounds on reading go; each file is opened once."""
    places = places_of(kept)
    lines = [line for line, _ in compared]
    starts = [*(at(start) for start, _ in places), *(line.shown for line in lines)]
    lengths = [*(length for _, length in places), *(line.length for line in lines)]
    old = _listen(before, [*places, *((line.start, line.length) for line in lines)])
    firsts = [max(0.0, start - SEARCHED) for start in starts]
    new = _listen(
        after,
        [
            (first, start - first + length + SEARCHED)
            for first, start, length in zip(firsts, starts, lengths, strict=True)
        ],
    )
    given = [_listen(audio, [(line.audio_start, line.length)]) for line, audio in compared]
    heard = [
        Heard(start, one, wide, start - first)
        for start, one, wide, first in zip(starts, old[: len(places)], new, firsts, strict=False)
    ]
    for place, (line, said) in enumerate(zip(lines, given, strict=True), len(places)):
        if said and place < len(new):
            source = old[place] if place < len(old) else None
            lead = starts[place] - firsts[place]
            heard.append(Heard(starts[place], said[0], new[place], lead, line, source))
    return heard


def _muted(muted: Sequence[Heard]) -> Iterator[Finding]:
    """Silence where something should be heard: outside of the segments, and in each segment."""
    outside = [each for each in muted if each.line is None]
    if outside:
        start, end = outside[0].start, outside[-1].start + outside[-1].length
        yield Finding(
            "output_sound_muted",
            f"The result is silent {when(start, end)}, where its source is not.",
            start=start,
            end=end,
            confidence=0.95,
        )
    for each in muted:
        if each.line is not None:
            yield Finding(
                "output_sound_muted",
                f"The result is silent in segments[{each.line.segment}], whose audio is not.",
                start=each.start,
                end=each.start + each.length,
                confidence=0.95,
            )


def _quieter(heard: Sequence[Heard]) -> Iterator[Finding]:
    found = [each for each in heard if each.quieter > QUIETER]
    if found:
        most = max(each.quieter for each in found)
        start, end = _range(found)
        yield Finding(
            "output_sound_quieter",
            f"The sound is up to {most:.0f} dB quieter than it was {when(start, end)}.",
            start=start,
            end=end,
            confidence=0.8,
        )


def _late(heard: Sequence[Heard]) -> tuple[Finding, float] | None:
    """Is all that can be recognised late, or early, by the same seconds? And by how many?"""
    found = [(each, late) for each in heard if (late := each.late) is not None]
    lates = [late for _, late in found]
    if not lates or abs(statistics.median(lates)) < LATE or max(lates) - min(lates) > _LATE_APART:
        return None
    by = statistics.median(lates)
    start, end = _range(each for each, _ in found)
    fact = (
        f"The sound comes {abs(by):.1f} s too {'late' if by > 0 else 'early'} for the picture "
        f"{when(start, end)}."
    )
    confidence = 0.7 if len(found) == 1 else 0.9
    return Finding("output_sound_late", fact, start=start, end=end, confidence=confidence), by


def _foreign(outside: Sequence[Heard]) -> Iterator[Finding]:
    found = [
        each
        for each in outside
        if each.audible
        and each.wanted.lively
        and each.near.lively
        and likeness(each.wanted, each.near) < FOREIGN
        and wave_likeness(each.wanted, each.wide, each.lead, SLACK) < FOREIGN_WAVE
    ]
    if found:
        start, end = _range(found)
        yield Finding(
            "output_sound_foreign",
            f"The sound {when(start, end)} is not the one of the source.",
            start=start,
            end=end,
            confidence=0.8,
        )


def _unchanged(heard: Heard) -> Iterator[Finding]:
    """Does a segment have the sound of the source, for certain, and not that of its audio?"""
    source, line = heard.before, heard.line
    if source is None or line is None:
        return
    if not (source.lively and heard.wanted.lively):
        return
    if min(len(source.levels), len(heard.wanted.levels)) * BIN < _SHORTEST_RECOGNISED:
        return
    near = heard.near
    if likeness(source, near) >= SAME and likeness(heard.wanted, near) < OTHER:
        yield Finding(
            "output_sound_unchanged",
            f"The sound in segments[{line.segment}] is the one of the source, not of its audio.",
            start=heard.start,
            end=heard.start + heard.length,
            confidence=0.9,
        )


def _range(heard: Iterable[Heard]) -> tuple[float, float]:
    places = [(each.start, each.start + each.length) for each in heard]
    return min(start for start, _ in places), max(end for _, end in places)


def _listen(source: Source, places: Sequence[tuple[float, float]]) -> list[Stretch]:
    """The stretches as far as the bound on reading goes; none of a file without sound."""
    found: list[Stretch] = []
    with within_budget(), listening(source, "the sound") as listener:
        if listener is not None and places:
            for start, length in places:
                found.append(listener.stretch(start, length))
    return found
