"""The names of a request's fields: as complete as the product's models, and translated back."""

from __future__ import annotations

from typing import get_args

import pytest

from gateway.jobs.request_mapping import request_name
from gateway.jobs.request_models import (
    KINDS,
    AudioInput,
    EffectBody,
    RegionBody,
    SegmentBody,
    product_names,
)
from pro_video.request.models import AnnotationArea, AreaKind, Region, Segment


def test_every_field_of_the_product_has_a_name() -> None:
    assert {
        *product_names(SegmentBody).values(),
        *product_names(AudioInput).values(),
    } == set(Segment.model_fields)
    assert {*product_names(EffectBody).values(), "region"} == set(AnnotationArea.model_fields)
    assert set(product_names(RegionBody).values()) == set(Region.model_fields)
    assert set(KINDS.values()) == set(get_args(AreaKind))
    assert set(KINDS) == set(get_args(EffectBody.model_fields["type"].annotation))


@pytest.mark.parametrize(
    ("product", "request_path"),
    [
        ("segments[1].end", "segments_data[1].endTime"),
        ("segments[0].audio", "segments_data[0].audioInput.refId"),
        ("segments[0].audio_start", "segments_data[0].audioInput.startTime"),
        ("segments[2].label", "segments_data[2].label"),
        ("annotation_areas[3].kind", "effects[3].type"),
        ("annotation_areas[3].region.x", "effects[3].region.x"),
        ("lip_sync.temperature", "options.temperature"),
        ("inpainting.quality", "options.quality"),
        ("display_name", "display_name"),
    ],
)
def test_problems_have_the_names_of_the_request(product: str, request_path: str) -> None:
    assert request_name(product) == request_path
