from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from pro_video.core.errors import RequestRefused
from pro_video.providers.ghostcut.models import (
    KEEP,
    MODE_AUTOMATIC,
    MODE_REGIONS,
    OPEN_END,
    REMOVE,
    REMOVE_TEXT,
    Mask,
    Work,
    build_submit_request,
    expected_seconds,
    planted,
)

LOWER = (0.0, 0.56, 1.0, 0.76)
ARGUMENTS: dict[str, Any] = {
    "video_url": "https://s3.example/jobs/j/in.mp4?X-Amz-Signature=c4n4ry",
    "name": "gc1-job-0001-1",
    "masks": [Mask(REMOVE_TEXT, 0, OPEN_END, LOWER)],
    "mode": MODE_REGIONS,
    "language": "all",
    "resolution": "1080p",
    "tier": "basic",
    "callback": "https://hooks.example/g?ref=gc1-job-0001-1",
}


def test_the_body_is_the_documented_one() -> None:
    body = json.loads(build_submit_request(**ARGUMENTS))
    masks = body.pop("videoInpaintMasks")
    assert body == {
        "urls": ["https://s3.example/jobs/j/in.mp4?X-Amz-Signature=c4n4ry"],
        "names": ["gc1-job-0001-1"],
        "resolution": "1080p",
        "needChineseOcclude": 2,
        "videoInpaintLang": "all",
        "callback": "https://hooks.example/g?ref=gc1-job-0001-1",
    }
    # A JSON string of a list, even for one box; corners clockwise from the top left.
    assert isinstance(masks, str)
    assert json.loads(masks) == [
        {
            "type": "remove_only_ocr",
            "start": 0,
            "end": 99999,
            "region": [[0, 0.56], [1, 0.56], [1, 0.76], [0, 0.76]],
        }
    ]


def test_fractions_keep_their_digits() -> None:
    mask = Mask(REMOVE, 1 / 3, 2 / 3, (0.12345, 0.1 + 0.2, 2 / 3, 0.98765))
    body = json.loads(build_submit_request(**ARGUMENTS | {"masks": [mask]}))
    sent = json.loads(body["videoInpaintMasks"])[0]
    assert sent["region"][0] == [0.12345, 0.3]
    assert sent["region"][2] == [0.666667, 0.98765]
    assert (sent["start"], sent["end"]) == (0.333333, 0.666667)


def test_the_bytes_depend_on_the_arguments_alone() -> None:
    body = build_submit_request(**ARGUMENTS)
    same = ARGUMENTS | {"masks": [Mask(REMOVE_TEXT, 0.0, OPEN_END, (0, 0.56, 1, 0.76))]}
    assert build_submit_request(**same) == body
    assert build_submit_request(**ARGUMENTS | {"name": "测试-job"}) != body
    assert "测试".encode() in build_submit_request(**ARGUMENTS | {"name": "测试-job"})


def test_automatic_mode_has_no_masks_but_protected_areas() -> None:
    auto = ARGUMENTS | {"mode": MODE_AUTOMATIC, "callback": None}
    body = json.loads(build_submit_request(**auto | {"masks": []}))
    assert {"videoInpaintMasks", "extraOptions", "callback"}.isdisjoint(body)
    assert body["needChineseOcclude"] == 1
    kept = json.loads(build_submit_request(**auto | {"masks": [Mask(KEEP, 0, 2, LOWER)]}))
    assert json.loads(kept["videoInpaintMasks"])[0]["type"] == "keep"


SMALL = (0.0, 0.8, 0.9, 0.98)


@pytest.mark.parametrize(
    ("tier", "mode", "masks", "model"),
    [
        ("lite", MODE_REGIONS, [Mask(REMOVE_TEXT, 0, OPEN_END, LOWER)] * 10, "advanced_lite"),
        ("pro", MODE_REGIONS, [Mask(REMOVE_TEXT, 0, OPEN_END, SMALL)], "advanced"),
        ("pro_large", MODE_REGIONS, [Mask(REMOVE_TEXT, 0, OPEN_END, LOWER)], "advanced_large_box"),
        ("pro_full", MODE_AUTOMATIC, [], "advanced_full"),
    ],
)
def test_the_tier_is_a_json_string(tier: str, mode: int, masks: list[Mask], model: str) -> None:
    change = {"tier": tier, "mode": mode, "masks": masks}
    options = json.loads(build_submit_request(**ARGUMENTS | change))["extraOptions"]
    assert isinstance(options, str)
    assert json.loads(options) == {"extra_inpaint_config": {"model": model}}


def _region(*region: float) -> dict[str, Any]:
    return {"masks": [Mask(REMOVE, 0, OPEN_END, region)]}  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"video_url": ""}, "video_url"),
        ({"video_url": "https://h/视频.mp4?c4n4ry"}, "video_url"),
        ({"name": ""}, "name"),
        ({"mode": 3}, "mode"),
        ({"language": "de"}, "language"),
        ({"resolution": "4k"}, "resolution"),
        ({"tier": "best"}, "tier"),
        ({"masks": []}, "masks"),
        ({"masks": [Mask(KEEP, 0, OPEN_END, LOWER)]}, "masks"),
        ({"mode": MODE_AUTOMATIC}, "masks"),
        ({"masks": [Mask("erase", 0, OPEN_END, LOWER)]}, "masks[0].type"),  # type: ignore[arg-type]
        ({"masks": [Mask(REMOVE, 2, 1, LOWER)]}, "masks[0]"),
        ({"masks": [Mask(REMOVE, -1, 1, LOWER)]}, "masks[0]"),
        ({"masks": [Mask(REMOVE, 0, float("nan"), LOWER)]}, "masks[0]"),
        ({"masks": [Mask(REMOVE, 0, float("inf"), LOWER)]}, "masks[0]"),
        (_region(0, 0, 1.01, 1), "masks[0].region"),
        (_region(0.5, 0, 0.5, 1), "masks[0].region"),
        (_region(0.6, 0, 0.5, 1), "masks[0].region"),
        (_region(0, float("nan"), 1, 1), "masks[0].region"),
        ({"tier": "lite", "masks": [Mask(REMOVE, 0, OPEN_END, LOWER)]}, "masks[0].type"),
        ({"tier": "lite", "masks": [Mask(REMOVE_TEXT, 0, OPEN_END, LOWER)] * 11}, "masks"),
        ({"tier": "lite", "language": "zh"}, "language"),
        ({"tier": "pro", "masks": [Mask(REMOVE_TEXT, 0, OPEN_END, SMALL)] * 2}, "masks"),
        ({"tier": "pro", "masks": [Mask(REMOVE_TEXT, 0, OPEN_END, LOWER)]}, "masks[0].region"),
        ({"tier": "pro_full"}, "mode"),
    ],
)
def test_broken_arguments_are_named(change: dict[str, Any], field: str) -> None:
    with pytest.raises(RequestRefused) as caught:
        build_submit_request(**ARGUMENTS | change)
    assert field in [problem.field for problem in caught.value.problems]
    assert "c4n4ry" not in str(caught.value)


ROW = {
    "id": 538176634,
    "idProject": 249807732,
    "url": "https://s3/in.mp4?sig=c4n4ry",
    "name": "gc1-job-0001-1",
    "processStatus": 1,
    "processStatusEnum": {"code": 1, "description": "成功", "descriptionEn": "success"},
    "processProgress": 100.0,
    "videoUrl": "https://cdn/out.mp4?sig=c4n4ry",
    "duration": 12.0,
    "fileSize": 12345,
    "paidPoint": 1.0,
    "createTime": 1767225600000,
    "errorDetail": "",
    "someday": [],
}


def test_a_whole_work_is_read() -> None:
    work = Work.from_json(ROW)
    assert (work.id, work.project_id, work.status) == ("538176634", "249807732", 1)
    assert (work.progress, work.duration, work.file_size, work.paid_points) == (1, 12, 12345, 1)
    assert work.created_at == datetime(2026, 1, 1, tzinfo=UTC)
    assert work.description == "success"
    assert work.error_detail is None
    assert "c4n4ry" not in repr(work)
    assert "c4n4ry" not in json.dumps(work.summary())


def test_ids_and_numbers_come_as_texts_too() -> None:
    work = Work.from_json({"id": "521461135", "processStatus": "-1"})
    assert work == Work(id="521461135", status=-1)


@pytest.mark.parametrize("name", ["errorDetail", "error_detail"])
def test_both_spellings_of_the_detail(name: str) -> None:
    assert Work.from_json({"id": 1, name: "x"}).error_detail == "x"


@pytest.mark.parametrize("junk", [None, "", {}, [], True])
def test_junk_in_a_member_is_nothing(junk: object) -> None:
    assert Work.from_json(dict.fromkeys(ROW, junk) | {"id": 1}) == Work(id="1")


@pytest.mark.parametrize("data", [None, [], {}, {"id": None}, {"id": True}, {"id": " "}])
def test_what_is_no_work_is_refused(data: object) -> None:
    with pytest.raises(ValueError, match="a work"):
        Work.from_json(data)


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({"name": "gc1-job-0001-1"}, True),
        ({"name": "gc1-job-0001-11"}, False),
        ({"url": "https://s3/b/jobs/gc1-job-0001-1/in.mp4?x=y"}, True),
        ({"url": "https://s3/b/jobs/gc1-job-0001-12/in.mp4"}, False),
        ({"url": "https://s3/b/in.mp4?ref=gc1-job-0001-1"}, False),
        ({}, False),
    ],
)
def test_a_planted_token_is_found(fields: dict[str, Any], found: bool) -> None:
    assert planted("gc1-job-0001-1")(Work(id="1", **fields)) is found


def test_the_expected_time() -> None:
    assert 120 <= expected_seconds(30) <= 600
