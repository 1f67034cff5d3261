"""A user's request as immutable models. Times are seconds, regions are fractions of the frame.

The models refuse wrong types only. Rules with limits, several fields or several list entries are in
the modules ``rules_…``, so that one error names all problems of a request. So numbers may be NaN or
infinite here. The Prefect UI builds its form from the JSON schema of the models.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

SpeakerMethod = Literal["default", "automatic", "point", "box"]
AreaKind = Literal["erase", "erase_text", "protect"]
LipSyncModel = Literal["sync-3", "lipsync-2-pro", "lipsync-2", "lipsync-1.9.0-beta", "react-1"]
SyncMode = Literal["cut_off", "remap", "silence", "loop", "bounce"]
Language = Literal["all", "zh", "en", "ja", "ko", "ar"]
Resolution = Literal["480p", "720p", "1080p"]
Quality = Literal["basic", "lite", "pro", "pro_large", "pro_full"]

# Strict: "1.5" and true are not numbers.
Number = Annotated[float, Field(strict=True)]


class RequestModel(BaseModel):
    """Base of the models: immutable, without unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Speaker(RequestModel):
    """The face whose mouth moves, where several are in the picture."""

    method: SpeakerMethod = Field(
        "default",
        title="Method",
        description="default leaves it to the model, automatic lets Sync.so find the active "
        "speaker, point names a point of the face in one frame, box a rectangle around it for the "
        "whole video.",
    )
    x: Number | None = Field(
        None,
        title="X",
        description="The point, or the box's left edge, as a fraction of the frame's width.",
    )
    y: Number | None = Field(
        None,
        title="Y",
        description="The point, or the box's top edge, as a fraction of the frame's height.",
    )
    width: Number | None = Field(
        None, title="Width", description="Width of the box, as a fraction of the frame's width."
    )
    height: Number | None = Field(
        None, title="Height", description="Height of the box, as a fraction of the frame's height."
    )
    at: Number | None = Field(
        None,
        title="At",
        description="When the point lies in the face, in seconds of the video; left out means the "
        "middle of the segment, or of the first one.",
    )


class Segment(RequestModel):
    """A time range of the video and the audio that replaces its speech."""

    start: Number = Field(
        title="Start", description="Where the segment begins in the video, in seconds."
    )
    end: Number = Field(
        title="End",
        description="Where the segment ends in the video, in seconds, at least 0.3 s later.",
    )
    audio: str = Field(
        title="Audio",
        description="The replacement audio: s3://bucket/key, an https:// link to the file, or an "
        "absolute path where the worker allows local files.",
    )
    audio_start: Number | None = Field(
        None,
        title="Audio start",
        description="Where to begin in the audio, in seconds. Give it together with the audio end, "
        "or leave both out to use the whole audio.",
    )
    audio_end: Number | None = Field(
        None,
        title="Audio end",
        description="Where to stop in the audio, in seconds. Goes together with the audio start.",
    )
    label: str | None = Field(
        None, title="Label", description="A name for this segment, up to 80 characters."
    )
    active_speaker: Speaker = Field(
        Speaker(),
        title="Active speaker",
        description="Who speaks in this segment; default means the speaker of the whole job.",
    )
    sync_mode: SyncMode | None = Field(
        None, title="Sync mode", description="Of this segment; left out means that of the job."
    )
    temperature: Number | None = Field(
        None, title="Temperature", description="Of this segment; left out means that of the job."
    )

    @property
    def overrides(self) -> dict[str, object]:
        """The options that this segment has for itself, as JSON data."""
        names = {"active_speaker", "sync_mode", "temperature"}
        return self.model_dump(mode="json", include=names, exclude_defaults=True)


class Region(RequestModel):
    """A rectangle as fractions (0 to 1) of the displayed frame, origin at the top left."""

    x: Number = Field(title="X", description="Left edge, as a fraction of the frame's width.")
    y: Number = Field(title="Y", description="Top edge, as a fraction of the frame's height.")
    width: Number = Field(title="Width", description="Width, as a fraction of the frame's width.")
    height: Number = Field(
        title="Height", description="Height, as a fraction of the frame's height."
    )

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom as fractions inside the frame, rounded to six digits."""
        left, top = max(0.0, self.x), max(0.0, self.y)
        right, bottom = min(1.0, self.x + self.width), min(1.0, self.y + self.height)
        return round(left, 6), round(top, 6), round(right, 6), round(bottom, 6)

    @property
    def area(self) -> float:
        """Share of the frame, 0 to 1."""
        left, top, right, bottom = self.box
        return (right - left) * (bottom - top)


class AnnotationArea(RequestModel):
    """A rectangle in which something is erased, or which stays as it is, during a time range."""

    kind: AreaKind = Field(
        title="Kind",
        description="erase removes everything inside the region, erase_text only the text in it, "
        "protect keeps it as it is.",
    )
    region: Region = Field(title="Region of the frame", description="Where in the frame.")
    start: Number = Field(
        0.0, title="Start", description="From when on, in seconds of the video; 0 is its beginning."
    )
    end: Number | None = Field(
        None,
        title="End",
        description="Until when, in seconds of the video; left out means until its end.",
    )


class LipSyncOptions(RequestModel):
    """Options of the lip-sync at Sync.so."""

    model: LipSyncModel = Field(
        "lipsync-2",
        title="Model",
        description="Sync.so's model. lipsync-2 is the general one, lipsync-2-pro has more detail, "
        "sync-3 is the newest and slowest, react-1 takes videos up to 15 s.",
    )
    sync_mode: SyncMode = Field(
        "cut_off",
        title="Sync mode",
        description="Handling of an audio that is longer or shorter than its segment. cut_off "
        "keeps the video's timing; remap changes the speed of the picture to fit the audio.",
    )
    temperature: Number | None = Field(
        None,
        title="Temperature",
        description="Expressiveness of the mouth, 0 to 1 (Sync.so's default is 0.5); only for "
        "lipsync-2 and lipsync-2-pro.",
    )
    active_speaker: Speaker = Field(
        Speaker(),
        title="Active speaker",
        description="Who speaks, where several faces are in the picture; a segment may differ.",
    )
    occlusion_detection: bool = Field(
        False,
        title="Occlusion detection",
        description="Keep hands and objects in front of the mouth; slower. sync-3 does it by "
        "itself, and react-1 ignores it.",
    )


class InpaintingOptions(RequestModel):
    """Options of the text removal at GhostCut."""

    language: Language = Field(
        "all",
        title="Text language",
        description="Language of the text to find. The qualities other than basic take only all.",
    )
    resolution: Resolution = Field(
        "1080p",
        title="Resolution",
        description="Largest resolution of the result. GhostCut scales down to it, never up, and "
        "1080p is its maximum.",
    )
    quality: Quality = Field(
        "basic",
        title="Quality",
        description="basic takes areas of every kind; lite up to 10 erase_text areas; pro one of "
        "less than 20 % of the frame; pro_large one of less than 40 %; pro_full one that is the "
        "whole frame.",
    )
