"""Maps the times of the source to those of the lip-synced result.

Sync.so documents the output length of each sync mode for whole videos; here it is applied to each
segment: the rest keeps its pace, a segment whose audio is longer or shorter may change its
length and move everything after it. Whether the vendor does so for every mode is not documented, so
`Timeline.observed` decides by the length that the result really has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from pro_video.request.models import AnnotationArea, Segment, SyncMode

_SAME = 0.02
"""Seconds: about half a frame. A smaller difference of lengths changes nothing."""
_SHORTEST = 0.04


@dataclass(frozen=True, slots=True)
class Piece:
    """A segment, seconds: ``start`` to ``end`` in the source is ``length`` long in the result."""

    start: float
    end: float
    length: float


@dataclass(frozen=True, slots=True)
class Timeline:
    """The map from times of the source to those of the result.

    Attributes:
        source: length of the source in seconds.
        pieces: the segments in order of time.
        mode: the sync mode, which decides what happens inside them.
    """

    source: float
    pieces: tuple[Piece, ...] = field(default=())
    mode: SyncMode = "cut_off"

    @property
    def length(self) -> float:
        """Predicted length of the result in seconds."""
        return self.source + sum(piece.length - (piece.end - piece.start) for piece in self.pieces)

    def observed(self, seconds: float) -> Timeline:
        """The timeline that explains a result of that length: this one, or an unchanged one."""
        if abs(seconds - self.length) < abs(seconds - self.source):
            return self
        return Timeline(self.source)

    def at(self, seconds: float, *, end: bool = False) -> float:
        """The time in the result of a moment of the source.

        With ``end`` it is when it was shown for the last time: loop and bounce repeat pictures.
        """
        shift = 0.0
        for piece in self.pieces:
            if seconds < piece.start or (end and seconds <= piece.start):
                break
            before = piece.end - piece.start
            if seconds < piece.end:
                return piece.start + shift + self._inside(seconds - piece.start, piece, before, end)
            shift += piece.length - before
        return seconds + shift

    def _inside(self, offset: float, piece: Piece, before: float, end: bool) -> float:
        if self.mode == "remap":
            return offset * piece.length / before
        if self.mode in {"loop", "bounce"} and piece.length > before:
            return piece.length if end else offset
        return min(offset, piece.length)

    def moved(self, areas: Sequence[AnnotationArea]) -> tuple[AnnotationArea, ...]:
        """The areas with their windows in the time of the result.

        A window inside a part that a shorter audio cut off keeps the length of a frame, so that
        lip-sync never turns a sound area into one that is refused.
        """
        if not self.pieces:
            return tuple(areas)
        return tuple(area.model_copy(update=self._window(area)) for area in areas)

    def _window(self, area: AnnotationArea) -> dict[str, float | None]:
        start = max(0.0, min(self.at(area.start), self.length - _SHORTEST))
        end = None if area.end is None else max(self.at(area.end, end=True), start + _SHORTEST)
        return {"start": start, "end": end}


def lip_sync_timeline(
    source: float, segments: Sequence[Segment], audio_seconds: Sequence[float], mode: SyncMode
) -> Timeline:
    """The predicted timeline.

    Args:
        source: length of the video in seconds.
        segments: in any order.
        audio_seconds: the length of audio that each of them uses
            (`request_media.audible_seconds`).
        mode: the sync mode of all of them.
    """
    pieces = []
    played = zip(segments, audio_seconds, strict=True)
    for segment, audio in sorted(played, key=lambda pair: pair[0].start):
        video = segment.end - segment.start
        length = _length(video, audio, mode)
        if abs(length - video) > _SAME:
            pieces.append(Piece(segment.start, segment.end, length))
    return Timeline(source, tuple(pieces), mode)


def _length(video: float, audio: float, mode: SyncMode) -> float:
    if mode == "cut_off":
        return min(video, audio)
    if mode == "silence":
        return max(video, audio)
    return audio
