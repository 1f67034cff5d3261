"""The schema of the editor's form in the OpenAPI document, derived from the JSON request's."""

from __future__ import annotations

from typing import Any

from gateway.jobs.request_models import JOB_EXAMPLE

REFERENCE = "#/components/schemas/{model}"
"""The OpenAPI document's path of its schemas."""

_JSON_FIELDS = ("segments_data", "effects", "options", "webhook")
_FILE = {"type": "string", "format": "binary", "minLength": 1}
_FILES = {
    "file": {**_FILE, "description": "The video."},
    "audio_files": {
        "type": "array",
        "items": _FILE,
        "minItems": 1,
        "description": "The i-th file belongs to the i-th distinct refId, in the order in which "
        "the segments first name them.",
    },
}
# Of a request's parts, the webhook alone is as strict in the form.
_TOLERANT = ("SegmentBody", "AudioInput", "EffectBody", "RegionBody", "OptionsBody")

FORM_BODY: dict[str, Any] = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {"$ref": REFERENCE.format(model="Form")},
            "encoding": {name: {"contentType": "application/json"} for name in _JSON_FIELDS},
            "example": {
                name: JOB_EXAMPLE[name] for name in ("segments_data", "effects", "display_name")
            },
        }
    },
}
"""The request body of the form, in OpenAPI's terms."""


def form_schemas(schemas: dict[str, Any]) -> dict[str, Any]:
    """The schema ``Form``, and those of its parts, by name.

    The form ignores unknown names, and optional texts may be empty.

    Args:
        schemas: those of :class:`gateway.jobs.request_models.JobBody` and its parts, by name.
    """
    names = {name: f"Form{name.removesuffix('Body')}" for name in _TOLERANT}
    references = {
        REFERENCE.format(model=name): REFERENCE.format(model=new) for name, new in names.items()
    }

    def renamed(schema: Any) -> Any:
        if isinstance(schema, dict):
            return {name: renamed(value) for name, value in schema.items()}
        if isinstance(schema, list):
            return [renamed(value) for value in schema]
        return references.get(schema, schema) if isinstance(schema, str) else schema

    found: dict[str, Any] = {
        new: {**renamed(schemas[name]), "title": new, "additionalProperties": True}
        for name, new in names.items()
    }
    found["FormAudioInput"]["properties"]["refId"]["description"] = (
        "The i-th distinct refId, in the order of the segments, belongs to the i-th of audio_files."
    )
    texts = renamed(schemas["JobBody"]["properties"])
    for optional in ("effects", "options", "webhook"):
        texts[optional]["anyOf"].insert(1, {"type": "string", "maxLength": 0})
    # A text of a form is never null.
    text, _ = texts["display_name"].pop("anyOf")
    texts["display_name"] |= {**text, "default": ""}
    fields = ("segments_data", "effects", "display_name", "options", "webhook")
    found["Form"] = {
        "type": "object",
        "title": "Form",
        "description": "Files, and texts. JSON that was encoded twice is understood too.",
        "properties": {**_FILES, **{name: texts[name] for name in fields}},
        "required": [*_FILES, "segments_data"],
        "additionalProperties": True,
    }
    return found
