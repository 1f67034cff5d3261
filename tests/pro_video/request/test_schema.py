"""The JSON schema that the Prefect UI makes its form from."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from pro_video.request.check import JobRequest
from pro_video.request.models import (
    AnnotationArea,
    InpaintingOptions,
    LipSyncOptions,
    Region,
    Segment,
    Speaker,
)

MODELS = [Speaker, Segment, Region, AnnotationArea, LipSyncOptions, InpaintingOptions, JobRequest]


@pytest.mark.parametrize("model", MODELS)
def test_each_field_has_a_title_and_a_description(model: type[BaseModel]) -> None:
    schema = model.model_json_schema()
    assert schema["description"]
    for name, field in schema["properties"].items():
        assert field.get("title"), name
        assert len(field.get("description", "")) > 10, name


def _nullable(schema: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        branch
        for branch in schema.get("anyOf", [])
        if {"type": "null"} in schema["anyOf"] and branch != {"type": "null"}
    ]


def test_only_plain_values_may_be_null_and_objects_stay_shallow() -> None:
    schema = JobRequest.model_json_schema()
    for name, definition in [("JobRequest", schema), *schema["$defs"].items()]:
        for field, described in definition["properties"].items():
            for branch in _nullable(described):
                assert branch.get("type") in {"number", "string"}, f"{name}.{field}"
    assert set(schema["$defs"]) == {
        "Speaker",
        "Segment",
        "Region",
        "AnnotationArea",
        "LipSyncOptions",
        "InpaintingOptions",
    }


def test_choices_are_in_the_schema_of_their_field() -> None:
    area = AnnotationArea.model_json_schema()["properties"]
    assert area["kind"]["enum"] == ["erase", "erase_text", "protect"]
    lip_sync = LipSyncOptions.model_json_schema()["properties"]
    assert lip_sync["model"]["enum"][:3] == ["sync-3", "lipsync-2-pro", "lipsync-2"]
    assert lip_sync["sync_mode"]["default"] == "cut_off"
    inpainting = InpaintingOptions.model_json_schema()["properties"]
    assert inpainting["quality"]["enum"] == ["basic", "lite", "pro", "pro_large", "pro_full"]
    assert inpainting["resolution"]["default"] == "1080p"
    assert inpainting["language"]["default"] == "all"


def test_what_has_to_be_given() -> None:
    assert Segment.model_json_schema()["required"] == ["start", "end", "audio"]
    assert Region.model_json_schema()["required"] == ["x", "y", "width", "height"]
    assert AnnotationArea.model_json_schema()["required"] == ["kind", "region"]
    assert AnnotationArea.model_json_schema()["properties"]["start"]["default"] == 0.0
