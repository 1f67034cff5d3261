"""The JSON request for a job: its fields, their bounds, and their names inside the product.

Types, defaults and descriptions are those of the product's models. The OpenAPI document is made
from these models, and :mod:`gateway.jobs.request_mapping` translates by them. A request is not
validated with them but by the product's rules, which find all problems at once.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from flows.parameters import MAX_COST_USD, ON_DOUBT
from gateway.jobs.webhook_config import WebhookBody
from pro_video.judging.verdict import OnDoubt
from pro_video.request import limits
from pro_video.request.models import (
    AnnotationArea,
    InpaintingOptions,
    LipSyncOptions,
    Quality,
    Region,
    Segment,
    Speaker,
    SyncMode,
)

KINDS = {"erasure": "erase", "text": "erase_text", "protection": "protect"}
"""The kinds of annotation areas: names in the request, and in the product."""

LONGEST_REF = 200

Seconds = Annotated[float, Field(ge=0)]
Ref = Annotated[str, Field(min_length=1, max_length=LONGEST_REF)]
# No control characters.
_PRINTABLE = r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]*$"
Label = Annotated[str, Field(max_length=limits.MAX_LABEL, pattern=_PRINTABLE)]
Name = Annotated[str, Field(max_length=limits.MAX_NAME, pattern=_PRINTABLE)]
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


def _product(model: type[BaseModel], name: str, default: Any = ..., **bounds: Any) -> Any:
    """A field that the product's model has as ``name``, with the description there."""
    description = model.model_fields[name].description
    if description is not None:
        description = description.replace("erase_text", "text")
    return Field(default, serialization_alias=name, description=description, **bounds)


class Body(BaseModel):
    """Base: unknown names are refused."""

    model_config = ConfigDict(extra="forbid")


class AudioInput(Body):
    """The audio of a segment: the whole file, or the part between two times."""

    refId: Ref = Field(
        serialization_alias="audio", description="A name in `audios`.", examples=["line-1"]
    )
    startTime: Seconds | None = _product(Segment, "audio_start", None)
    endTime: Seconds | None = _product(Segment, "audio_end", None)


class SegmentBody(Body):
    """A time range of the video, in seconds, and the audio that replaces its speech."""

    startTime: Seconds = _product(Segment, "start", examples=[0])
    endTime: Seconds = _product(Segment, "end", examples=[2.5])
    audioInput: AudioInput
    label: Label | None = _product(Segment, "label", None)
    active_speaker: Speaker = _product(Segment, "active_speaker", Speaker())
    sync_mode: SyncMode | None = _product(Segment, "sync_mode", None)
    temperature: float | None = _product(Segment, "temperature", None, ge=0, le=1)


class RegionBody(Body):
    """A rectangle as fractions of the frame, origin top left."""

    x: float = _product(Region, "x", ge=0, le=1, examples=[0.1])
    y: float = _product(Region, "y", ge=0, le=1, examples=[0.8])
    width: float = _product(Region, "width", ge=limits.MIN_REGION_SIDE, le=1, examples=[0.5])
    height: float = _product(Region, "height", ge=limits.MIN_REGION_SIDE, le=1, examples=[0.1])


class EffectBody(Body):
    """An annotation area: erase everything, erase text, or protect."""

    type: Literal["erasure", "text", "protection"] = Field(
        serialization_alias="kind",
        description="erasure removes everything inside the region, text only the text in it, "
        "protection keeps it as it is.",
    )
    startTime: Seconds | None = _product(AnnotationArea, "start", None)
    endTime: Seconds | None = _product(AnnotationArea, "end", None)
    region: RegionBody


class OptionsBody(LipSyncOptions, InpaintingOptions):
    """Options of the providers, and of the job."""

    quality: Quality = _product(InpaintingOptions, "quality", "basic")
    temperature: float | None = _product(LipSyncOptions, "temperature", None, ge=0, le=1)
    on_doubt: OnDoubt = Field("deliver", description=ON_DOUBT.description)
    max_cost_usd: float | None = Field(
        None, gt=0, description=MAX_COST_USD.description, examples=[2.5]
    )


class JobBody(Body):
    """A request for a job."""

    video: Source
    audios: dict[Ref, Source] = Field(
        min_length=1,
        description="The audio of each refId.",
        examples=[{"line-1": "https://example.com/line-1.wav"}],
    )
    segments_data: list[SegmentBody] = Field(
        min_length=1, description="Time ranges of the video and the audio that replaces each."
    )
    effects: list[EffectBody] | None = Field(
        None,
        max_length=limits.MAX_AREAS,
        description="Annotation areas; left out: lip-sync only. An invalid one refuses the "
        "request.",
    )
    display_name: Name | None = Field(
        None, description="A name for the job.", examples=["Spring spot"]
    )
    options: OptionsBody | None = None
    webhook: WebhookBody | None = None


def product_names(model: type[BaseModel]) -> dict[str, str]:
    """The product's names of a model's fields, where they differ in place or name."""
    fields = model.model_fields.items()
    return {name: field.serialization_alias for name, field in fields if field.serialization_alias}


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

JOB_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"$ref": "#/components/schemas/JobBody"},
                "example": JOB_EXAMPLE,
            }
        },
    }
}
"""The request body of a job in JSON, in OpenAPI's terms."""
