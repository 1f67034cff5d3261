"""The options of ``run``, ``estimate`` and ``check`` that describe a job."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter, Token

from deployments.command_line import notation
from deployments.command_line.notation import Box, Place
from deployments.command_line.output import CommandError
from pro_video.client import JobRequest, Options, Segment, Speaker
from pro_video.client.requests import OnDoubt
from pro_video.request.models import (
    AreaKind,
    Language,
    LipSyncModel,
    Quality,
    Resolution,
    SyncMode,
)


def _each(parse: Callable[[str], Any], metavar: str) -> Parameter:
    """An option that may be given several times, each with one value in the short notation."""

    def convert(_: object, tokens: Sequence[Token]) -> list[Any]:
        return [parse(token.value) for token in tokens]

    return Parameter(converter=convert, n_tokens=1, accepts_keys=False, metavar=metavar)


def _one(parse: Callable[[str], Any], metavar: str) -> Parameter:
    """An option with one value in the short notation."""

    def convert(_: object, tokens: Sequence[Token]) -> Any:
        return parse(tokens[0].value)

    return Parameter(converter=convert, n_tokens=1, accepts_keys=False, metavar=metavar)


_Places = Annotated[list[Place], _each(notation.place, "REGION[@START-END]")]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class RequestOptions:
    """The job."""

    segment: Annotated[list[Segment], _each(notation.segment, "START-END=AUDIO")]
    """A time range and the audio that replaces its speech; may be repeated. A part of the audio:
    1.0-3.5=line.wav@0.2-2.7. Times are seconds, or 1:02.5."""
    erase_text: _Places = field(default_factory=list)
    """Erase the text in a region: 0.1,0.8,0.8,0.15@0-4 as fractions of the frame,
    100,900,1720,120px, subtitles, top-left, top-right, bottom-left, bottom-right, full."""
    erase: _Places = field(default_factory=list)
    """Erase everything in a region."""
    protect: _Places = field(default_factory=list)
    """Keep a region as it is."""
    max_cost: float | None = None
    """Refuse a job that may cost more, in USD."""
    name: str | None = None
    """A name for the job; that of a local video by default."""
    model: LipSyncModel | None = None
    """Sync.so's model."""
    sync_mode: SyncMode | None = None
    """Handling of an audio that is longer or shorter than its segment."""
    temperature: float | None = None
    """Expressiveness of the mouth, 0 to 1."""
    speaker: Annotated[Speaker | None, _one(notation.speaker, "SPEAKER")] = None
    """The face whose mouth moves: automatic, a point of it (0.4,0.3@2.5), or a box around it
    (0.3,0.1,0.2,0.4)."""
    occlusion_detection: bool = False
    """Keep hands and objects in front of the mouth."""
    language: Language | None = None
    """Language of the text to erase."""
    resolution: Resolution | None = None
    """Largest resolution of the text removal's result."""
    quality: Quality | None = None
    """GhostCut's tier."""
    on_doubt: OnDoubt | None = None
    """Deliver a doubtful result with warnings, or hold the job."""

    def request(self, video: str) -> JobRequest:
        """The request for a job.

        Raises:
            CommandError: a file is missing, or pixels are given for a video that is not local or
                cannot be read.
        """
        places: list[tuple[AreaKind, Place]] = [
            *(("erase_text", place) for place in self.erase_text),
            *(("erase", place) for place in self.erase),
            *(("protect", place) for place in self.protect),
        ]
        named = notation.source(video)
        options = {
            "max_cost_usd": self.max_cost,
            "model": self.model,
            "sync_mode": self.sync_mode,
            "temperature": self.temperature,
            "active_speaker": self.speaker,
            "occlusion_detection": self.occlusion_detection or None,
            "language": self.language,
            "resolution": self.resolution,
            "quality": self.quality,
            "on_doubt": self.on_doubt,
        }
        request = JobRequest(
            video=named,
            segments=self.segment,
            # The query of a link may be signed.
            display_name=self.name or (named.name[:200] if isinstance(named, Path) else None),
            options=Options(**{k: v for k, v in options.items() if v is not None}),  # type: ignore[typeddict-item]
        )
        if missing := [str(path) for path in request.files if not path.is_file()]:
            raise CommandError(f"There is no file {', '.join(missing)}.")
        in_pixels = any(isinstance(place.region, Box) for _, place in places)
        frame = _frame(named) if in_pixels else None
        return replace(request, areas=[place.area(kind, frame) for kind, place in places])


def _frame(video: str | Path) -> tuple[int, int]:
    """Width and height of a local video, as displayed."""
    if not isinstance(video, Path):
        raise CommandError("Regions in pixels need a local video; write fractions of the frame.")
    # Imported here: they take long, and few commands need them.
    from pro_video.core.errors import ProVideoError
    from pro_video.media.children.examine import examine
    from pro_video.media.probe import probe_file

    try:
        info = asyncio.run(examine(probe_file, video, what=str(video)))
    except ProVideoError as error:
        raise CommandError(error.message) from None
    if info.video is None:
        raise CommandError(f"{video} has no picture.")
    return info.video.width, info.video.height
