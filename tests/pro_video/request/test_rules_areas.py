"""Areas: regions, windows, GhostCut's tiers, and the plan they become."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest

from pro_video.core.errors import RequestRefused
from pro_video.providers.ghostcut.models import OPEN_END, Mask
from pro_video.providers.ghostcut.plan import inpainting_plan
from pro_video.request.check import InpaintingRequest, check_inpainting_request
from pro_video.request.models import AnnotationArea, InpaintingOptions

WHOLE = {"x": 0, "y": 0, "width": 1, "height": 1}
SMALL = {"x": 0.1, "y": 0.8, "width": 0.8, "height": 0.15}


def area(kind: str = "erase_text", region: Any = None, **more: Any) -> dict[str, Any]:
    return {"kind": kind, "region": region or SMALL, **more}


def check(areas: Sequence[Any], options: Any = None) -> InpaintingRequest:
    return check_inpainting_request("s3://bucket/in.mp4", areas, options, allow_local_files=False)


def codes(areas: list[Any], **options: Any) -> set[tuple[str, str]]:
    with pytest.raises(RequestRefused) as caught:
        check(areas, options)
    return {(problem.field, problem.code) for problem in caught.value.problems}


@pytest.mark.parametrize(
    ("region", "field", "code"),
    [
        ({"x": -0.1, "y": 0, "width": 0.5, "height": 0.5}, "x", "region_outside"),
        ({"x": 1.1, "y": 0, "width": 0.5, "height": 0.5}, "x", "region_outside"),
        ({"x": 0.6, "y": 0, "width": 0.5, "height": 0.5}, "width", "region_outside"),
        ({"x": 0, "y": 0.6, "width": 0.5, "height": 0.5}, "height", "region_outside"),
        ({"x": 0, "y": 0, "width": 0, "height": 0.5}, "width", "region_empty"),
        ({"x": 0, "y": 0, "width": 0.5, "height": -0.1}, "height", "region_empty"),
        ({"x": 0, "y": 0, "width": 0.0009, "height": 0.5}, "width", "region_empty"),
        ({"x": math.nan, "y": 0, "width": 0.5, "height": 0.5}, "x", "not_finite"),
        ({"x": 0, "y": 0, "width": 0.5, "height": math.nan}, "height", "not_finite"),
        ({"y": 0, "width": 0.5, "height": 0.5}, "x", "missing"),
        ({"x": 0, "y": 0, "width": 0.5, "height": None}, "height", "wrong_type"),
    ],
)
def test_regions_that_are_refused(region: dict[str, Any], field: str, code: str) -> None:
    assert codes([area(region=region)]) == {(f"annotation_areas[0].region.{field}", code)}


def test_pixels_instead_of_fractions_get_told_so() -> None:
    with pytest.raises(RequestRefused, match="not pixels"):
        check([area(region={"x": 100, "y": 200, "width": 300, "height": 40})])


def test_float_dust_is_clamped_and_four_decimals_survive() -> None:
    (checked,) = check(
        [area(region={"x": 0.1, "y": -1e-9, "width": 0.9000000001, "height": 0.12345})]
    ).annotation_areas
    assert checked.region.box == (0.1, 0.0, 1.0, 0.12345)


@pytest.mark.parametrize(
    ("window", "field", "code"),
    [
        ({"start": 2, "end": 2}, "end", "range_empty"),
        ({"start": 2, "end": 0}, "end", "range_empty"),
        ({"start": 0, "end": 0}, "end", "range_empty"),
        ({"start": -1}, "start", "negative_time"),
        ({"start": math.inf}, "start", "not_finite"),
        ({"end": math.nan}, "end", "not_finite"),
        ({"start": None}, "start", "wrong_type"),
    ],
)
def test_windows_that_are_refused(window: dict[str, Any], field: str, code: str) -> None:
    assert codes([area(**window)]) == {(f"annotation_areas[0].{field}", code)}


def test_a_start_of_zero_counts() -> None:
    checked = check([area(start=0, end=4)]).annotation_areas
    assert (checked[0].start, checked[0].end) == (0.0, 4.0)


def test_duplicates_and_areas_that_do_nothing_are_refused() -> None:
    assert codes([area(), area(start=0)]) == {("annotation_areas[1]", "area_duplicate")}
    assert codes([area(), area("protect", WHOLE)]) == {("annotation_areas[0]", "area_protected")}
    assert codes([area("protect", WHOLE)]) == {("annotation_areas[0]", "nothing_to_remove")}
    check([area(start=0, end=4), area("protect", WHOLE, start=2)])
    check([area("protect", WHOLE, end=2)])


def test_too_many_areas() -> None:
    many = [area(start=index, end=index + 1) for index in range(101)]
    assert codes(many) == {("annotation_areas", "areas_too_many")}
    assert len(check(many[:100]).annotation_areas) == 100


def box(width: float, height: float) -> dict[str, float]:
    return {"x": 0, "y": 0, "width": width, "height": height}


@pytest.mark.parametrize(
    ("quality", "areas"),
    [
        ("basic", [area("erase"), area("protect", box(0.1, 0.1)), area()]),
        ("lite", [area(start=index, end=index + 1) for index in range(10)]),
        ("lite", [area(region=WHOLE)]),
        ("pro", [area(region=box(0.5, 0.399))]),
        ("pro_large", [area(region=box(0.5, 0.799))]),
        ("pro_full", [area(region=WHOLE)]),
    ],
)
def test_what_each_tier_takes(quality: str, areas: list[Any]) -> None:
    assert check(areas, {"quality": quality}).inpainting.quality == quality


@pytest.mark.parametrize(
    ("quality", "areas", "expected"),
    [
        ("lite", [area("erase")], ("annotation_areas[0].kind", "kind_tier")),
        ("pro", [area("protect", box(0.1, 0.1))], ("annotation_areas[0].kind", "kind_tier")),
        ("pro_full", [area("erase", WHOLE)], ("annotation_areas[0].kind", "kind_tier")),
        (
            "lite",
            [area(start=index, end=index + 1) for index in range(11)],
            ("annotation_areas", "areas_tier"),
        ),
        ("pro", [area(end=1), area(start=2)], ("annotation_areas", "areas_tier")),
        ("pro", [area(region=box(0.5, 0.4))], ("annotation_areas[0].region", "area_tier")),
        ("pro_large", [area(region=box(0.5, 0.8))], ("annotation_areas[0].region", "area_tier")),
        ("pro_full", [area()], ("annotation_areas[0]", "area_tier")),
        ("pro_full", [area(region=WHOLE, end=3)], ("annotation_areas[0]", "area_tier")),
        ("pro_full", [], ("annotation_areas", "areas_missing")),
    ],
)
def test_what_each_tier_refuses(quality: str, areas: list[Any], expected: tuple[str, str]) -> None:
    assert codes(areas, quality=quality) == {expected}


@pytest.mark.parametrize("quality", ["lite", "pro"])
def test_the_better_tiers_take_all_languages_only(quality: str) -> None:
    small = area(region=box(0.1, 0.1))
    assert codes([small], quality=quality, language="en") == {
        ("inpainting.language", "language_tier")
    }
    assert check([small], {"language": "en"}).inpainting.language == "en"


def plan_of(areas: list[Any], duration: float | None = None, **options: Any) -> Any:
    request = check(areas, options)
    return inpainting_plan(request.annotation_areas, request.inpainting, duration)


def test_the_plan_of_areas_of_each_kind() -> None:
    plan = plan_of(
        [
            area("erase", {"x": 0.12345, "y": 0, "width": 0.1, "height": 0.1}, start=0, end=4),
            area("erase_text", start=3),
            area("protect", box(0.5, 0.05), start=1, end=99),
        ],
        duration=10.0,
        language="ja",
        resolution="720p",
    )
    assert (plan.mode, plan.language, plan.resolution, plan.tier) == (2, "ja", "720p", "basic")
    assert plan.masks == (
        Mask("remove", 0.0, 4.0, (0.12345, 0.0, 0.22345, 0.1)),
        Mask("remove_only_ocr", 3.0, OPEN_END, (0.1, 0.8, 0.9, 0.95)),
        Mask("keep", 1.0, 10.0, (0.0, 0.0, 0.5, 0.05)),
    )


def test_only_protections_mean_automatic_removal_around_them() -> None:
    plan = plan_of([area("protect", start=1, end=2)])
    assert plan.mode == 1
    assert [mask.type for mask in plan.masks] == ["keep"]


def test_pro_full_is_automatic_without_masks() -> None:
    plan = plan_of([area(region=WHOLE)], quality="pro_full")
    assert (plan.mode, plan.tier, plan.masks) == (1, "pro_full", ())


def test_an_end_is_kept_when_the_length_is_unknown() -> None:
    assert plan_of([area(end=70.5)]).masks[0].end == 70.5


def test_no_areas_are_never_widened_to_the_whole_frame() -> None:
    with pytest.raises(ValueError, match="at least one"):
        inpainting_plan((), InpaintingOptions())


def test_a_plan_takes_only_the_kinds_it_knows() -> None:
    kinds = AnnotationArea.model_json_schema()["properties"]["kind"]["enum"]
    plan = plan_of([area(kind, box(0.4 - i / 10, 0.1)) for i, kind in enumerate(kinds)])
    types = [mask.type for mask in plan.masks]
    assert types == ["remove", "remove_only_ocr", "keep"]
