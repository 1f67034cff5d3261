"""The JSON request for a job, as the OpenAPI document describes it.

The body is not validated with this model but by the product's own rules, which name every problem
at once; a test holds both together.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from gateway.jobs.request_mapping import LONGEST_REF
from gateway.jobs.webhook_config import WebhookBody
from pro_video.judging.verdict import OnDoubt
from pro_video.request import limits
from pro_video.request.models import Language, LipSyncModel, Quality, Resolution, SyncMode

Seconds = Annotated[float, Field(ge=0)]
Source = Annotated[
    str,
    Field(
        min_length=1,
        max_length=limits.MAX_SOURCE,
        pattern=r"^\s*([uU]pload:|[sS]3://|[hH][tT][tT][pP][sS]?://)",
        description="upload:<id>, an s3:// address of one of your uploads or jobs, or an https:// "
        "link to the file.",
        examples=["upload:4f0c8a52f6a04a5e8f6d1f4e3a0b9c7d"],
    ),
]
# No control characters.
PRINTABLE = r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]*$"


class Body(BaseModel):
    """Base: unknown names are refused."""

    model_config = ConfigDict(extra="forbid")


class AudioInput(Body):
    """The audio of a segment: a piece of it, or the whole without times."""

    refId: str = Field(
        min_length=1, max_length=LONGEST_REF, description="A name in `audios`.", examples=["line-1"]
    )
    startTime: Seconds | None = None
    endTime: Seconds | None = None


class SegmentBody(Body):
    """A time range of the video, in seconds, and the audio that replaces its speech."""

    startTime: Seconds = Field(examples=[0])
    endTime: Seconds = Field(examples=[2.5])
    audioInput: AudioInput
    label: str | None = Field(None, max_length=limits.MAX_LABEL, pattern=PRINTABLE)


class RegionBody(Body):
    """A rectangle as fractions of the frame, origin top left."""

    x: float = Field(ge=0, le=1, examples=[0.1])
    y: float = Field(ge=0, le=1, examples=[0.8])
    width: float = Field(ge=limits.MIN_REGION_SIDE, le=1, examples=[0.5])
    height: float = Field(ge=limits.MIN_REGION_SIDE, le=1, examples=[0.1])


class EffectBody(Body):
    """An annotation area: erase everything, erase text, or protect."""

    type: Literal["erasure", "text", "protection"]
    startTime: Seconds | None = Field(None, description="In seconds; left out: from the start.")
    endTime: Seconds | None = Field(None, description="In seconds; left out: to the end.")
    region: RegionBody


class OptionsBody(Body):
    """Options of the providers, and of the job."""

    model: LipSyncModel = "lipsync-2"
    sync_mode: SyncMode = "cut_off"
    temperature: float | None = Field(None, ge=0, le=1)
    language: Language = "all"
    resolution: Resolution = "1080p"
    quality: Quality = "basic"
    on_doubt: OnDoubt = Field(
        "deliver",
        description="Handling of a result in which a check finds something unexpected: deliver it "
        "with warnings, or hold the job before more is paid.",
    )


class JobBody(Body):
    """A request for a job."""

    video: Source
    audios: dict[Annotated[str, Field(min_length=1, max_length=LONGEST_REF)], Source] = Field(
        min_length=1,
        description="The audio of each refId.",
        examples=[{"line-1": "https://example.com/line-1.wav"}],
    )
    segments_data: list[SegmentBody] = Field(min_length=1)
    effects: list[EffectBody] | None = Field(None, max_length=limits.MAX_AREAS)
    display_name: str | None = Field(
        None, max_length=limits.MAX_NAME, pattern=PRINTABLE, examples=["Spring spot"]
    )
    options: OptionsBody | None = None
    webhook: WebhookBody | None = None


JOB_EXAMPLE = {
    "video": "upload:4f0c8a52f6a04a5e8f6d1f4e3a0b9c7d",
    "audios": {"line-1": "https://example.com/line-1.wav"},
    "segments_data": [{"startTime": 0, "endTime": 2.5, "audioInput": {"refId": "line-1"}}],
    "effects": [
        {
            "type": "erasure",
            "startTime": 0,
            "endTime": 2.5,
            "region": {"x": 0.1, "y": 0.8, "width": 0.5, "height": 0.1},
        }
    ],
    "display_name": "Spring spot",
}
