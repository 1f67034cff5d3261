"""The editor's form, as the OpenAPI document describes it.

As in :mod:`gateway.jobs.request_models`, the product's own rules check what comes; names that are
not listed are ignored, as the editor's first system did.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from gateway.jobs.request_mapping import LONGEST_REF
from gateway.jobs.request_models import (
    JOB_EXAMPLE,
    PRINTABLE,
    AudioInput,
    EffectBody,
    OptionsBody,
    RegionBody,
    SegmentBody,
)
from gateway.jobs.webhook_config import WebhookBody
from pro_video.request import limits

_TOLERANT = ConfigDict(extra="allow")

Empty = Annotated[str, Field(max_length=0)]
"""An optional text field that is there but says nothing."""


class FormAudioInput(AudioInput):
    """The audio of a segment: a piece of it, or the whole without times."""

    model_config = _TOLERANT

    refId: str = Field(
        min_length=1,
        max_length=LONGEST_REF,
        description="The i-th distinct refId, in the order of the segments, belongs to the i-th "
        "of audio_files.",
        examples=["line-1"],
    )


class FormSegment(SegmentBody):
    """A time range of the video, in seconds, and the audio that replaces its speech."""

    model_config = _TOLERANT

    audioInput: FormAudioInput


class FormRegion(RegionBody):
    """A rectangle as fractions of the frame, origin top left."""

    model_config = _TOLERANT


class FormEffect(EffectBody):
    """An annotation area: erase everything, erase text, or protect."""

    model_config = _TOLERANT

    region: FormRegion


class FormOptions(OptionsBody):
    """Options of the providers."""

    model_config = _TOLERANT


class FormTexts(BaseModel):
    """The texts of the form. JSON that was encoded twice is understood too."""

    model_config = _TOLERANT

    segments_data: list[FormSegment] = Field(min_length=1)
    effects: Annotated[list[FormEffect], Field(max_length=limits.MAX_AREAS)] | Empty | None = Field(
        None, description="Annotation areas; an invalid one refuses the request."
    )
    display_name: str = Field(
        "",
        max_length=limits.MAX_NAME,
        pattern=PRINTABLE,
        description="A name for the job.",
        examples=["Spring spot"],
    )
    options: FormOptions | Empty | None = None
    webhook: WebhookBody | Empty | None = None


REFERENCE = "#/components/schemas/{model}"
"""The document's path of its schemas."""

FORM_BODY: dict[str, Any] = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {"$ref": REFERENCE.format(model="Form")},
            "encoding": {
                name: {"contentType": "application/json"}
                for name in ("segments_data", "effects", "options", "webhook")
            },
            "example": {
                name: JOB_EXAMPLE[name] for name in ("segments_data", "effects", "display_name")
            },
        }
    },
}
"""The request body of the form, as OpenAPI says it."""


def form_schema(texts: dict[str, Any]) -> dict[str, Any]:
    """The schema of the whole form.

    Args:
        texts: the schema of :class:`FormTexts`.
    """
    file = {"type": "string", "format": "binary", "minLength": 1}
    files = {
        "file": {**file, "description": "The video."},
        "audio_files": {
            "type": "array",
            "items": file,
            "minItems": 1,
            "description": "The i-th file belongs to the i-th distinct refId, in the order in "
            "which the segments first name them.",
        },
    }
    return {
        **texts,
        "title": "Form",
        "required": [*files, *texts["required"]],
        "properties": {**files, **texts["properties"]},
    }
