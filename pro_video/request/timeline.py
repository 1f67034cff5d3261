"""Maps the times of the source to those of the lip-synced result.

Sync.so documents the output length of each sync mode for whole videos. Here it is applied to each
segment: a segment whose audio is longer or shorter may change its length and move everything after
it; the rest keeps its pace. It is not documented whether the vendor does so for every mode, so
`Timeline.observed` decides by the real length of the result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pro_video.media.info import MediaInfo
from pro_video.request.models import AnnotationArea, Segment, SyncMode

if TYPE_CHECKING:
    from pro_video.request.check import JobRequest

_SAME = 0.02
"""Seconds: about half a frame; smaller differences of lengths are ignored."""
_SHORTEST = 0.04
"""Seconds: the length of a frame."""


SAME_LENGTH: Final = 0.1
"""Seconds by which a result may differ from the length that its timeline predicts."""


@dataclass(frozen=True, slots=True)
class RetimedSegment:
    """A segment whose length changes: from ``start`` to ``end`` in the source, ``length`` seconds
    long in the result; seconds. ``mode`` decides what happens inside it."""

    start: float
    end: float
    length: float
    mode: SyncMode = "cut_off"


@dataclass(frozen=True, slots=True)
class Timeline:
    """The map from times of the source to those of the result.

    Attributes:
        source: length of the source in seconds.
        retimed: the segments whose length changes, in order of time.
    """

    source: float
    retimed: tuple[RetimedSegment, ...] = ()

    @property
    def length(self) -> float:
        """Predicted length of the result in seconds."""
        return self.source + sum(each.length - (each.end - each.start) for each in self.retimed)

    def observed(self, seconds: float) -> Timeline:
        """The timeline of a result of that length: this one, or an unchanged one."""
        if abs(seconds - self.length) < abs(seconds - self.source):
            return self
        return Timeline(self.source)

    def explains(self, seconds: float) -> bool:
        """Has a result of that length the predicted one?"""
        return abs(self.length - seconds) <= SAME_LENGTH

    def at(self, seconds: float, *, end: bool = False) -> float:
        """The time in the result of a moment of the source.

        With ``end`` the time of its last showing: loop and bounce repeat pictures.
        """
        shift = 0.0
        for part in self.retimed:
            if seconds < part.start or (end and seconds <= part.start):
                break
            before = part.end - part.start
            if seconds < part.end:
                return part.start + shift + _inside(seconds - part.start, part, before, end)
            shift += part.length - before
        return seconds + shift

    def moved(self, areas: Sequence[AnnotationArea]) -> tuple[AnnotationArea, ...]:
        """The areas with their windows in the time of the result.

        A window inside a part that a shorter audio cut off keeps the length of a frame, because an
        empty one would be refused.
        """
        if not self.retimed:
            return tuple(areas)
        return tuple(area.model_copy(update=self._window(area)) for area in areas)

    def _window(self, area: AnnotationArea) -> dict[str, float | None]:
        start = max(0.0, min(self.at(area.start), self.length - _SHORTEST))
        end = None if area.end is None else max(self.at(area.end, end=True), start + _SHORTEST)
        return {"start": start, "end": end}


def _inside(offset: float, part: RetimedSegment, before: float, end: bool) -> float:
    if part.mode == "remap":
        return offset * part.length / before
    if part.mode in {"loop", "bounce"} and part.length > before:
        return part.length if end else offset
    return min(offset, part.length)


def lip_sync_timeline(
    source: float, segments: Sequence[Segment], audio_seconds: Sequence[float], mode: SyncMode
) -> Timeline:
    """The predicted timeline.

    Args:
        source: length of the video in seconds.
        segments: in any order.
        audio_seconds: the length of audio that each of them uses
            (`audible_seconds`).
        mode: the sync mode of segments without one of their own.
    """
    pieces = []
    played = zip(segments, audio_seconds, strict=True)
    for segment, audio in sorted(played, key=lambda pair: pair[0].start):
        video = segment.end - segment.start
        own = segment.sync_mode or mode
        length = _length(video, audio, own)
        if abs(length - video) > _SAME:
            pieces.append(RetimedSegment(segment.start, segment.end, length, own))
    return Timeline(source, tuple(pieces))


def _length(video: float, audio: float, mode: SyncMode) -> float:
    if mode == "cut_off":
        return min(video, audio)
    if mode == "silence":
        return max(video, audio)
    return audio


def timeline_of(
    request: JobRequest,
    audios: Mapping[str, MediaInfo],
    video: MediaInfo,
    result: MediaInfo | None,
) -> Timeline:
    """The map from the video's time to that of its lip-sync result; the predicted one when the
    result could not be read."""
    heard = [audible_seconds(segment, audios[segment.audio]) for segment in request.segments]
    predicted = lip_sync_timeline(
        video.duration, request.segments, heard, request.lip_sync.sync_mode
    )
    return predicted if result is None else predicted.observed(result.duration)


def audible_seconds(segment: Segment, audio: MediaInfo) -> float:
    """Length of the audio that a segment uses, in seconds: its crop, or the whole."""
    if segment.audio_start is not None and segment.audio_end is not None:
        return segment.audio_end - segment.audio_start
    return audio.audio.duration if audio.audio is not None else 0.0
