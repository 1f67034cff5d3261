from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from pro_video.core.errors import RequestRefused
from pro_video.providers.sync_so.models import (
    AudioInput,
    Generation,
    SegmentInput,
    build_generation_request,
    expected_seconds,
    planted,
)

ARGUMENTS: dict[str, Any] = {
    "video_url": "https://s3.example/jobs/j/video.mp4?X-Amz-Signature=c4n4ry",
    "audios": [AudioInput("line-1", "https://s3.example/a1"), AudioInput("line-2", "https://s/a2")],
    "segments": [
        SegmentInput(4.0, 6.5, "line-2", 0.0, 2.5),
        SegmentInput(0.1 + 0.2, 2, "line-1"),
        SegmentInput(8, 9, "line-1"),
    ],
    "model": "lipsync-2",
    "sync_mode": "cut_off",
    "temperature": 0.5,
    "output_file_name": "lp1-job-1",
    "webhook_url": "https://hooks.example/s?ref=lp1-job-1",
}


def test_the_body_is_the_documented_one() -> None:
    body = build_generation_request(**ARGUMENTS)
    assert json.loads(body) == {
        "model": "lipsync-2",
        "input": [
            {"type": "video", "url": "https://s3.example/jobs/j/video.mp4?X-Amz-Signature=c4n4ry"},
            {"type": "audio", "url": "https://s3.example/a1", "refId": "line-1"},
            {"type": "audio", "url": "https://s/a2", "refId": "line-2"},
        ],
        "options": {"sync_mode": "cut_off", "temperature": 0.5},
        "segments": [
            {"startTime": 0.3, "endTime": 2, "audioInput": {"refId": "line-1"}},
            {
                "startTime": 4,
                "endTime": 6.5,
                "audioInput": {"refId": "line-2", "startTime": 0, "endTime": 2.5},
            },
            {"startTime": 8, "endTime": 9, "audioInput": {"refId": "line-1"}},
        ],
        "outputFileName": "lp1-job-1",
        "webhookUrl": "https://hooks.example/s?ref=lp1-job-1",
    }


def test_the_bytes_depend_on_the_arguments_alone() -> None:
    body = build_generation_request(**ARGUMENTS)
    again = ARGUMENTS | {"segments": list(reversed(ARGUMENTS["segments"])), "temperature": 0.50}
    assert build_generation_request(**again) == body
    assert b'"startTime":0.3,' in body
    assert build_generation_request(**ARGUMENTS | {"temperature": 0.6}) != body


def test_one_audio_for_the_whole_video_needs_no_reference() -> None:
    body = build_generation_request(
        **ARGUMENTS | {"segments": [], "audios": ARGUMENTS["audios"][:1], "webhook_url": None}
    )
    parsed = json.loads(body)
    assert parsed["input"][1] == {"type": "audio", "url": "https://s3.example/a1"}
    assert parsed["options"]["sync_mode"] == "cut_off"
    assert {"segments", "webhookUrl"}.isdisjoint(parsed)


@pytest.mark.parametrize(
    ("model", "sent"),
    [("lipsync-2", True), ("lipsync-2-pro", True), ("sync-3", False), ("react-1", False)],
)
def test_the_temperature_goes_to_models_that_use_it(model: str, sent: bool) -> None:
    options = json.loads(build_generation_request(**ARGUMENTS | {"model": model}))["options"]
    assert ("temperature" in options) is sent


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"sync_mode": "stretch"}, "sync_mode"),
        ({"model": ""}, "model"),
        ({"temperature": 1.5}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"output_file_name": "a b"}, "output_file_name"),
        ({"output_file_name": "a.mp4"}, "output_file_name"),
        ({"output_file_name": ""}, "output_file_name"),
        ({"output_file_name": "a" * 256}, "output_file_name"),
        ({"output_file_name": "a\n"}, "output_file_name"),
        ({"video_url": ""}, "video_url"),
        ({"audios": []}, "audios"),
        ({"audios": [AudioInput("line-1", "u"), AudioInput("line-1", "v")]}, "audios"),
        ({"segments": []}, "segments"),
        ({"segments": [SegmentInput(1, 2, "line-9")]}, "segments[0].ref_id"),
        ({"segments": [SegmentInput(2, 2, "line-1")]}, "segments[0]"),
        ({"segments": [SegmentInput(-1, 2, "line-1")]}, "segments[0]"),
        ({"segments": [SegmentInput(0, float("inf"), "line-1")]}, "segments[0]"),
        ({"segments": [SegmentInput(float("nan"), 2, "line-1")]}, "segments[0]"),
        (
            {"segments": [SegmentInput(1, 3, "line-1"), SegmentInput(2.9, 4, "line-2")]},
            "segments[1]",
        ),
        ({"segments": [SegmentInput(1, 2, "line-1", audio_start=1)]}, "segments[0]"),
        ({"segments": [SegmentInput(1, 2, "line-1", 2, 1)]}, "segments[0]"),
    ],
)
def test_broken_arguments_are_named(change: dict[str, Any], field: str) -> None:
    with pytest.raises(RequestRefused) as caught:
        build_generation_request(**ARGUMENTS | change)
    assert field in [problem.field for problem in caught.value.problems]
    assert "c4n4ry" not in str(caught.value)


def test_a_whole_generation_is_read() -> None:
    generation = Generation.from_json(
        {
            "id": "6533643b-aceb-4c40-967e-d9ba9baac39e",
            "createdAt": "2026-01-01T00:00:00.000Z",
            "status": "COMPLETED",
            "model": "lipsync-2",
            "input": [{"type": "video", "url": "https://v"}, {"type": "audio", "assetId": "a"}, 3],
            "outputUrl": "https://o?token=c4n4ry",
            "segmentOutputUrl": "https://p?token=c4n4ry",
            "outputDuration": 4,
            "webhookUrl": "https://w?ref=c4n4ry",
            "outputFileName": "name",
            "progress_percent": 55.5,
            "someday": {"new": 1},
        }
    )
    assert generation.created_at == datetime(2026, 1, 1, tzinfo=UTC)
    assert generation.input_urls == ("https://v",)
    assert generation.output_url == "https://o?token=c4n4ry"
    assert generation.output_duration == 4.0
    assert generation.progress == pytest.approx(0.555)
    assert "c4n4ry" not in repr(generation)
    assert "c4n4ry" not in json.dumps(generation.summary())


@pytest.mark.parametrize("filler", [None, "", {}, [], "absent"])
def test_fillers_of_absent_members_are_nothing(filler: object) -> None:
    names = (
        "createdAt",
        "input",
        "outputUrl",
        "outputDuration",
        "error",
        "errorCode",
        "webhookUrl",
    )
    extra = {} if filler == "absent" else dict.fromkeys(names, filler)
    generation = Generation.from_json({"id": "g", "status": "pending", **extra})
    assert generation == Generation(id="g", status="PENDING")


@pytest.mark.parametrize("name", ["errorCode", "error_code"])
def test_both_spellings_of_the_error_code(name: str) -> None:
    generation = Generation.from_json({"id": "g", "status": "FAILED", name: "x"})
    assert generation.error_code == "x"


@pytest.mark.parametrize("data", [None, [], "x", {}, {"id": "g"}, {"status": "FAILED"}, {"id": 1}])
def test_what_is_no_generation_is_refused(data: object) -> None:
    with pytest.raises(ValueError, match="a generation"):
        Generation.from_json(data)


@pytest.mark.parametrize(
    ("member", "value", "found"),
    [
        ("webhook_url", "https://h/s?ref=job-0001-1&x=y", True),
        ("webhook_url", "https://h/s?ref=job-0001-12", False),
        ("webhook_url", "https://h/s/job-0001-1", True),
        ("output_file_name", "job-0001-1", True),
        ("output_file_name", "job-0001-11", False),
        ("input_urls", ("https://s3/b/jobs/job-0001-1/video.mp4?sig=1",), True),
        ("input_urls", ("https://s3/b/jobs%2Fjob-0001-1%2Fvideo.mp4",), True),
        ("input_urls", ("https://s3/b/other?x=job-0001-1",), False),
        ("input_urls", ("https://s3/b/jobs/job-0001-1-2/video.mp4",), False),
        ("model", "job-0001-1", False),
    ],
)
def test_a_planted_token_is_found(member: str, value: Any, found: bool) -> None:
    generation = Generation(id="g", status="PENDING", **{member: value})
    assert planted("job-0001-1")(generation) is found


def test_a_token_that_others_may_hold_is_refused() -> None:
    with pytest.raises(ValueError, match="8 characters"):
        planted("job")


@pytest.mark.parametrize(
    ("model", "clip", "least", "most"),
    [
        # The vendor's table of processing times.
        ("lipsync-1.9.0-beta", 30, 30, 80),
        ("lipsync-1.9.0-beta", 120, 120, 240),
        ("lipsync-2", 30, 60, 180),
        ("lipsync-2", 120, 240, 480),
        ("lipsync-2-pro", 30, 120, 300),
        ("lipsync-2-pro", 120, 360, 720),
        ("sync-3", 30, 600, 900),
        ("sync-3", 120, 2700, 3300),
        ("react-1", 30, 60, 120),
        ("a-new-one", 30, 600, 900),
    ],
)
def test_expected_time(model: str, clip: float, least: float, most: float) -> None:
    assert least <= expected_seconds(model, clip) <= most
