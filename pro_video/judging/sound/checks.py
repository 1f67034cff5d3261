"""Checks the sound of a result: the source's outside the segments, the new audio's inside.

Levels over time are compared, in a few stretches. Measured on speech (LibriVox, a webcam,
synthetic) and music, encoded again as AAC at 24 and 32 kbit/s, normalised, compressed, denoised,
0.15 s late: the similarity of a stretch of 3 s to the same sound is 0.76 to 1, that of a shorter
one 0.62 at least; unrelated sounds have 0.24 in the middle and more than 0.7 in one case of twenty.
The loudest moment of a sound that was kept is never quieter than its source's by more than 7 dB.

Where the levels differ, the low frequencies are compared as waves. Measured on the same, also as
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
from pro_video.judging.sound.loudness import (
    BIN,
    LENGTH,
    SHORTEST,
    Stretch,
    open_sound,
    places_of,
    similarities,
    similarity,
    throughout,
    wave_similarity,
)
from pro_video.media.reading.open import Source, within_budget
from pro_video.request.models import Segment
from pro_video.request.timeline import Timeline

MAX_LINES: Final = 4
SLACK: Final = 0.4
"""Seconds by which a result may sound earlier or later than its source."""
NEAR: Final = 0.1
"""Seconds beside a segment that may still have its sound."""
SEARCHED: Final = 1.2
"""Seconds around a stretch that are searched for early or late sound."""
LATE: Final = 0.2
"""Seconds from which sound counts as early or late: people notice 45 ms early or 125 ms late (ITU-R
BT.1359), encoders shift it by up to 65 ms, and the measure has steps of 40 ms."""
_LATE_APART: Final = 0.12
_LATE_SIMILARITY: Final = 0.8
_LATE_BETTER: Final = 0.15
AUDIBLE: Final = 0.01
"""Level from which a source is certainly audible: -40 dB."""
SILENT: Final = 0.0005
"""Level below which a result is certainly silent: -66 dB."""
MUTED: Final = 0.4
"""Least seconds of missing sound."""
QUIETER: Final = 15.0
"""Least dB of a sound that was made quieter; normalising a loud master to -14 LUFS takes 8."""
SAME: Final = 0.9
OTHER: Final = 0.5
FOREIGN: Final = 0.8
FOREIGN_WAVE: Final = 0.35
"""Highest similarity of levels, and of waves, of a foreign sound."""
_SHORTEST_RECOGNISED: Final = 1.0


@dataclass(frozen=True, slots=True)
class SegmentSound:
    """A segment whose sound is compared; seconds.

    Attributes:
        segment: its index.
        start: its start in the source.
        shown: its start in the result.
        audio_start: the start of its sound in its audio.
        length: the compared length.
    """

    segment: int
    start: float
    shown: float
    audio_start: float
    length: float


def segments_to_compare(
    segments: Sequence[Segment], audio_seconds: Sequence[float], timeline: Timeline, length: float
) -> list[SegmentSound]:
    """The segments to compare, at most `MAX_LINES`, spread over the video.

    The time of the first segment is certain in any result. That of the others is certain when the
    result is as long as predicted and no segment changed its length.
    """
    certain = timeline.explains(length) and not timeline.retimed
    known = len(segments) if certain else min(1, len(segments))
    chosen = sorted({known * number // MAX_LINES for number in range(MAX_LINES)}) if known else []
    found = []
    for index in chosen:
        segment = segments[index]
        seconds = min(LENGTH, audio_seconds[index], segment.end - segment.start)
        if seconds >= SHORTEST:
            shown = timeline.at(segment.start)
            found.append(
                SegmentSound(index, segment.start, shown, segment.audio_start or 0.0, seconds)
            )
    return found


@dataclass(frozen=True, slots=True)
class ComparedStretch:
    """One stretch of the result, and the sound expected there.

    Attributes:
        start: its expected start in the result, seconds.
        wanted: the expected sound.
        wide: the result from `SEARCHED` seconds earlier, or from its beginning, to as much later.
        lead: seconds of ``wide`` before ``start``.
        line: its segment; None outside the segments.
        before: the sound of the source inside a segment.
    """

    start: float
    wanted: Stretch
    wide: Stretch
    lead: float
    line: SegmentSound | None = None
    before: Stretch | None = None

    @property
    def length(self) -> float:
        """Compared seconds."""
        return len(self.wanted.levels) * BIN

    @property
    def near(self) -> Stretch:
        """The result around the expected time."""
        return self.wide.part(self.lead - SLACK, self.lead + self.length + SLACK)

    @property
    def audible(self) -> list[int]:
        """The places of the certainly audible levels of ``wanted``."""
        return [place for place, level in enumerate(self.wanted.levels) if level >= AUDIBLE]

    @property
    def muted(self) -> float:
        """Seconds of them in which the result is silent, `SLACK` before and after included."""
        slack, lead = round(SLACK / BIN), round(self.lead / BIN)
        around = (
            self.wide.levels[max(0, lead + place - slack) : lead + place + slack + 1]
            for place in self.audible
        )
        return sum(bool(levels) and max(levels) < SILENT for levels in around) * BIN

    @property
    def recognisable(self) -> bool:
        """Are both recognisable?"""
        return self.wanted.recognisable and self.wide.recognisable

    @property
    def quieter(self) -> float:
        """The dB by which the result is quieter; 0 when unknown."""
        loudest = self.near.loudest
        if self.wanted.loudest < AUDIBLE or loudest < SILENT:
            return 0.0
        return 20 * math.log10(self.wanted.loudest / loudest)

    @property
    def late(self) -> float | None:
        """Seconds by which the sound is late, negative when early; None when it is not found."""
        if not self.recognisable or self.length < _SHORTEST_RECOGNISED:
            return None
        if len(self.wide.levels) <= len(self.wanted.levels):
            return None
        found = similarities(self.wanted, self.wide)
        best = max(range(len(found)), key=found.__getitem__)
        there = min(max(round(self.lead / BIN), 0), len(found) - 1)
        if found[best] < _LATE_SIMILARITY:
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
    compared: Sequence[tuple[SegmentSound, Source]] = (),
    length: float,
) -> list[Finding]:
    """The findings about the sound of a result.

    Args:
        before, after: source and result.
        kept: ranges of the source whose sound has to stay.
        at: from a time of the source to that of the result.
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
    # Late sound leaves a silence of that length before it.
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
    levels = _listen(after, throughout(length))
    return bool(levels) and max(stretch.loudest for stretch in levels) < SILENT


def _heard(
    before: Source,
    after: Source,
    kept: Sequence[tuple[float, float]],
    at: Callable[[float], float],
    compared: Sequence[tuple[SegmentSound, Source]],
) -> list[ComparedStretch]:
    """All stretches up to the bounds on reading; each file is opened once."""
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
        ComparedStretch(start, one, wide, start - first)
        for start, one, wide, first in zip(starts, old[: len(places)], new, firsts, strict=False)
    ]
    for place, (line, said) in enumerate(zip(lines, given, strict=True), len(places)):
        if said and place < len(new):
            source = old[place] if place < len(old) else None
            lead = starts[place] - firsts[place]
            heard.append(ComparedStretch(starts[place], said[0], new[place], lead, line, source))
    return heard


def _muted(muted: Sequence[ComparedStretch]) -> Iterator[Finding]:
    """Unexpected silence outside the segments, and in each segment."""
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


def _quieter(heard: Sequence[ComparedStretch]) -> Iterator[Finding]:
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


def _late(heard: Sequence[ComparedStretch]) -> tuple[Finding, float] | None:
    """The finding that all recognisable sound is late or early by the same seconds, and how
    many."""
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


def _foreign(outside: Sequence[ComparedStretch]) -> Iterator[Finding]:
    found = [
        each
        for each in outside
        if each.audible
        and each.wanted.recognisable
        and each.near.recognisable
        and similarity(each.wanted, each.near) < FOREIGN
        and wave_similarity(each.wanted, each.wide, each.lead, SLACK) < FOREIGN_WAVE
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


def _unchanged(heard: ComparedStretch) -> Iterator[Finding]:
    """The finding that a segment certainly has the sound of the source and not that of its
    audio."""
    source, line = heard.before, heard.line
    if source is None or line is None:
        return
    if not (source.recognisable and heard.wanted.recognisable):
        return
    if min(len(source.levels), len(heard.wanted.levels)) * BIN < _SHORTEST_RECOGNISED:
        return
    near = heard.near
    if similarity(source, near) >= SAME and similarity(heard.wanted, near) < OTHER:
        yield Finding(
            "output_sound_unchanged",
            f"The sound in segments[{line.segment}] is the one of the source, not of its audio.",
            start=heard.start,
            end=heard.start + heard.length,
            confidence=0.9,
        )


def _range(heard: Iterable[ComparedStretch]) -> tuple[float, float]:
    places = [(each.start, each.start + each.length) for each in heard]
    return min(start for start, _ in places), max(end for _, end in places)


def _listen(source: Source, places: Sequence[tuple[float, float]]) -> list[Stretch]:
    """The stretches up to the bound on reading; none of a file without sound."""
    found: list[Stretch] = []
    with within_budget(), open_sound(source, "the sound") as reader:
        if reader is not None and places:
            for start, length in places:
                found.append(reader.stretch(start, length))
    return found
