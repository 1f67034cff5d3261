"""A request for a job, in the words of the product, and as the API's JSON.

Nothing is checked here: the API's rules find all problems of a request at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal, TypedDict

from pro_video.request.models import (
    AreaKind,
    Language,
    LipSyncModel,
    Quality,
    Resolution,
    SpeakerMethod,
    SyncMode,
)

OnDoubt = Literal["deliver", "hold"]

_KINDS: Final[dict[AreaKind, str]] = {
    "erase": "erasure",
    "erase_text": "text",
    "protect": "protection",
}


class Speaker(TypedDict, total=False):
    """The face whose mouth moves: a point, or a box for the whole video, as fractions of the frame;
    ``at`` is the time of the point in seconds."""

    method: SpeakerMethod
    x: float
    y: float
    width: float
    height: float
    at: float


@dataclass(frozen=True)
class Segment:
    """A time range of the video, in seconds, and the audio that replaces its speech.

    Attributes:
        audio: a local file, or ``upload:<id>``, ``s3://…`` or ``https://…``.
        audio_start, audio_end: the part of the audio to use, in seconds; None: all of it.
        active_speaker, sync_mode, temperature: of this segment; None: those of the job.
    """

    start: float
    end: float
    audio: str | Path
    audio_start: float | None = None
    audio_end: float | None = None
    label: str | None = None
    active_speaker: Speaker | None = None
    sync_mode: SyncMode | None = None
    temperature: float | None = None


@dataclass(frozen=True)
class Region:
    """A rectangle as fractions (0 to 1) of the displayed frame, origin at the top left."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Area:
    """An annotation area; times in seconds, None: from the beginning, to the end."""

    kind: AreaKind
    region: Region
    start: float | None = None
    end: float | None = None


class Options(TypedDict, total=False):
    """Options of the providers and of the job; those left out have the API's defaults."""

    model: LipSyncModel
    sync_mode: SyncMode
    temperature: float
    active_speaker: Speaker
    occlusion_detection: bool
    language: Language
    resolution: Resolution
    quality: Quality
    on_doubt: OnDoubt
    max_cost_usd: float


class Webhook(TypedDict, total=False):
    """The receiver of a job's messages: ``url``, and optionally ``events`` and ``secret``."""

    url: str
    events: list[str]
    secret: str


@dataclass(frozen=True)
class JobRequest:
    """A request for a job; ``video`` as the audio of a :class:`Segment`."""

    video: str | Path
    segments: Sequence[Segment]
    areas: Sequence[Area] = ()
    display_name: str | None = None
    options: Options = field(default_factory=Options)
    webhook: Webhook | None = None

    @property
    def files(self) -> list[Path]:
        """The local files, each once."""
        sources = [self.video, *(segment.audio for segment in self.segments)]
        return list(dict.fromkeys(source for source in sources if isinstance(source, Path)))

    def with_sources(self, source_of: Callable[[Path], str]) -> JobRequest:
        """The same request with other names for its local files."""

        def named(source: str | Path) -> str:
            return source_of(source) if isinstance(source, Path) else source

        segments = [replace(each, audio=named(each.audio)) for each in self.segments]
        return replace(self, video=named(self.video), segments=segments)

    def json(self) -> dict[str, Any]:
        """The body of the API's request; local files have to be uploaded before."""
        audios = list(dict.fromkeys(str(segment.audio) for segment in self.segments))
        refs = {audio: f"audio-{number}" for number, audio in enumerate(audios, 1)}
        return _without_none(
            {
                "video": str(self.video),
                "audios": {ref: audio for audio, ref in refs.items()},
                "segments_data": [_segment(each, refs[str(each.audio)]) for each in self.segments],
                "effects": [_effect(area) for area in self.areas] or None,
                "display_name": self.display_name,
                "options": dict(self.options) or None,
                "webhook": self.webhook,
            }
        )


def _segment(segment: Segment, ref: str) -> dict[str, Any]:
    audio = {"refId": ref, "startTime": segment.audio_start, "endTime": segment.audio_end}
    return _without_none(
        {
            "startTime": segment.start,
            "endTime": segment.end,
            "audioInput": _without_none(audio),
            "label": segment.label,
            "active_speaker": segment.active_speaker,
            "sync_mode": segment.sync_mode,
            "temperature": segment.temperature,
        }
    )


def _effect(area: Area) -> dict[str, Any]:
    return _without_none(
        {
            "type": _KINDS[area.kind],
            "startTime": area.start,
            "endTime": area.end,
            "region": vars(area.region),
        }
    )


def _without_none(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
