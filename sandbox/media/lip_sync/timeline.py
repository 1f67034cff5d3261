"""Maps times of the result to the source: the effect of `sync_mode` on the timeline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from sandbox.media.errors import MediaError

SyncMode = Literal["bounce", "loop", "cut_off", "silence", "remap"]
SYNC_MODES: tuple[str, ...] = get_args(SyncMode)


@dataclass(frozen=True, slots=True)
class Range:
    """A range of the source whose sound is replaced. All lengths in samples.

    Attributes:
        start, end: of the range in the source.
        audio: length of the replacement.
        mode: a member of SYNC_MODES.
    """

    start: int
    end: int
    audio: int
    mode: str


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of the output. Positions in samples; `segment` is the range's index, or None."""

    source_start: int
    source_end: int
    out_start: int
    out_end: int
    segment: int | None = None
    mode: str = ""

    @property
    def retimed(self) -> bool:
        return self.out_end - self.out_start != self.source_end - self.source_start

    def source_at(self, position: float) -> float:
        """Source position of the picture that is shown at output `position` (both in samples)."""
        length = self.source_end - self.source_start
        offset = position - self.out_start
        if not self.retimed or length <= 0:
            return self.source_start + offset
        if self.mode == "remap":
            offset *= length / (self.out_end - self.out_start)
        elif self.mode == "loop":
            offset %= length
        elif self.mode == "bounce":
            offset %= 2 * length
            offset = min(offset, 2 * length - 1 - offset)
        return self.source_start + min(max(offset, 0), length - 1)


def range_length(range_: Range, tolerance: int) -> int:
    """Length that a range has in the output, in samples.

    bounce, loop and remap give the audio's length, cut_off the shorter of the two, silence the
    longer. A difference within `tolerance` keeps the range as it is.
    Source: Sync.so's table of output lengths for whole videos, applied to the range (assumed).
    """
    if range_.mode not in SYNC_MODES:
        raise MediaError(f"unknown sync_mode {range_.mode!r}; use one of {', '.join(SYNC_MODES)}")
    video = range_.end - range_.start
    if video <= 0 or abs(range_.audio - video) <= tolerance:
        return max(video, 0)
    if range_.mode == "cut_off":
        return min(video, range_.audio)
    if range_.mode == "silence":
        return max(video, range_.audio)
    return range_.audio


def build(ranges: Sequence[Range], total: int, tolerance: int) -> list[Piece]:
    """The output as a row of pieces without gaps; parts outside the ranges keep their length.

    Args:
        ranges: in any order; touching is allowed, a zero length too (it has no effect).
        total: length of the source in samples.
        tolerance: see `range_length`; half a picture, which nobody can see or hear.

    Raises:
        MediaError: ranges overlap, are reversed, begin after the end, or have an unknown mode.
    """
    pieces: list[Piece] = []
    source = out = 0
    for index, item in sorted(enumerate(ranges), key=lambda pair: pair[1].start):
        start, end = item.start, min(item.end, total)
        if item.end < start or start < 0:
            raise MediaError("a segment ends before it starts")
        if start > total:
            raise MediaError("a segment starts after the end of the video")
        if start < source:
            raise MediaError("segments overlap")
        clipped = Range(start, end, item.audio, item.mode)
        length = range_length(clipped, tolerance)
        if start > source:
            pieces.append(Piece(source, start, out, out + start - source))
            out += start - source
        if length > 0 and end > start:
            pieces.append(Piece(start, end, out, out + length, index, item.mode))
            out += length
        source = end
    if source < total:
        pieces.append(Piece(source, total, out, out + total - source))
    return pieces
