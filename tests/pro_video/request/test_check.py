"""Every problem of a request in one answer with its path, and what a sound request becomes."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pro_video.core.errors import FieldProblem, RequestRefused
from pro_video.request.check import JobRequest, check_inpainting_request, check_request
from pro_video.request.models import (
    AnnotationArea,
    InpaintingOptions,
    LipSyncOptions,
    Region,
    Segment,
)
from pro_video.request.problems import problems_from_validation

AUDIO = "s3://bucket/line.wav"
BOX = {"x": 0.1, "y": 0.8, "width": 0.8, "height": 0.15}


def segment(start: Any = 1.0, end: Any = 2.0, **more: Any) -> dict[str, Any]:
    return {"start": start, "end": end, "audio": AUDIO, **more}


def area(kind: Any = "erase_text", region: Any = None, **more: Any) -> dict[str, Any]:
    return {"kind": kind, "region": BOX if region is None else region, **more}


def job(**changes: Any) -> dict[str, Any]:
    return {"video": "https://media.example.com/in.mp4", "segments": [segment()], **changes}


def refused(raw: Any, *, max_segments: int = 10, local: bool = False) -> list[FieldProblem]:
    with pytest.raises(RequestRefused) as caught:
        check_request(raw, max_segments=max_segments, allow_local_files=local)
    return list(caught.value.problems)


def pairs(problems: list[FieldProblem]) -> set[tuple[str, str]]:
    return {(problem.field, problem.code) for problem in problems}


def accepted(raw: Any, *, local: bool = False) -> JobRequest:
    return check_request(raw, max_segments=10, allow_local_files=local)


def test_a_sound_request_is_read_with_its_defaults() -> None:
    request = accepted(job(annotation_areas=[area(start=0, end=4)]))
    assert request.segments == (Segment(start=1.0, end=2.0, audio=AUDIO),)
    assert request.annotation_areas[0].region == Region(**BOX)
    assert request.annotation_areas[0].start == 0.0
    assert request.lip_sync == LipSyncOptions(model="lipsync-2", sync_mode="cut_off")
    assert request.inpainting == InpaintingOptions(quality="basic")


def test_raw_data_models_and_a_mix_give_the_same() -> None:
    raw = job(annotation_areas=[area()], lip_sync={"model": "sync-3"})
    mixed = {
        **raw,
        "segments": [Segment.model_validate(raw["segments"][0])],
        "annotation_areas": (AnnotationArea.model_validate(area()),),
        "lip_sync": LipSyncOptions(model="sync-3"),
    }
    assert accepted(raw) == accepted(mixed) == accepted(accepted(raw))


def test_a_checked_request_survives_json() -> None:
    request = accepted(job(annotation_areas=[area()]))
    assert JobRequest.model_validate_json(request.model_dump_json()) == request


def test_segments_keep_the_users_order_and_audios_have_that_of_time() -> None:
    segments = [
        segment(5, 6, audio="s3://bucket/other.wav"),
        segment(1, 2),
        segment(3, 4, audio="s3://bucket/other.wav"),
    ]
    request = accepted(job(segments=segments))
    assert [s.start for s in request.segments] == [5, 1, 3]
    assert request.audios == (request.segments[1].audio, "s3://bucket/other.wav")


def test_models_are_immutable() -> None:
    request = accepted(job())
    with pytest.raises(ValidationError, match="frozen"):
        request.segments[0].start = 3.0  # type: ignore[misc]


def test_types_and_rules_are_reported_together() -> None:
    problems = refused(
        job(
            video=7,
            colour="red",
            segments=[
                segment(start="1", end=2, audio_start=3),
                segment(4, math.nan),
                7,
                {"start": 6.0, "end": 5.0},
            ],
            annotation_areas=[
                area(region={"x": 0.5, "y": -1, "width": "3", "height": 0}),
                area("blur"),
                area(region=3),
            ],
            lip_sync={"model": "sync-3", "temperature": 3},
            inpainting={"quality": "pro", "language": "zh"},
        ),
        max_segments=3,
    )
    assert pairs(problems) == {
        ("video", "wrong_type"),
        ("colour", "unknown_field"),
        ("segments", "segments_too_many"),
        ("segments[0].start", "wrong_type"),
        ("segments[0].audio_end", "crop_incomplete"),
        ("segments[1].end", "not_finite"),
        ("segments[2]", "wrong_type"),
        ("segments[3].audio", "missing"),
        ("segments[3].end", "range_empty"),
        ("annotation_areas", "areas_tier"),
        ("annotation_areas[0].region.y", "region_outside"),
        ("annotation_areas[0].region.width", "wrong_type"),
        ("annotation_areas[0].region.height", "region_empty"),
        ("annotation_areas[1].kind", "unknown_choice"),
        ("annotation_areas[2].region", "wrong_type"),
        ("lip_sync.temperature", "temperature_range"),
        ("lip_sync.temperature", "option_ignored"),
        ("inpainting.language", "language_tier"),
    }


@pytest.mark.parametrize(
    ("changes", "field", "code"),
    [
        ({"segments": []}, "segments", "segments_missing"),
        ({"segments": None}, "segments", "segments_missing"),
        ({"segments": {"start": 1}}, "segments", "wrong_type"),
        ({"segments": [segment(2, 2)]}, "segments[0].end", "range_empty"),
        ({"segments": [segment(2, 1)]}, "segments[0].end", "range_empty"),
        ({"segments": [segment(-1, 1)]}, "segments[0].start", "negative_time"),
        ({"segments": [segment(math.nan, 1)]}, "segments[0].start", "not_finite"),
        ({"segments": [segment(0, math.inf)]}, "segments[0].end", "not_finite"),
        ({"segments": [segment(0, 10**400)]}, "segments[0].end", "wrong_type"),
        ({"segments": [segment(True, 2)]}, "segments[0].start", "wrong_type"),
        ({"segments": [segment(1, 1.29)]}, "segments[0].end", "segment_too_short"),
        ({"segments": [segment(1, 3), segment(2.9, 4)]}, "segments[1].start", "segments_overlap"),
        ({"segments": [segment(2.9, 4), segment(1, 3)]}, "segments[0].start", "segments_overlap"),
        ({"segments": [segment(0, 9), segment(1, 2)]}, "segments[1].start", "segments_overlap"),
        ({"segments": [segment(1, 1.3), segment(1.3, 3)]}, "segments[0].end", "segment_too_short"),
        ({"segments": [segment(audio_start=1)]}, "segments[0].audio_end", "crop_incomplete"),
        ({"segments": [segment(audio_end=1)]}, "segments[0].audio_start", "crop_incomplete"),
        (
            {"segments": [segment(audio_start=2, audio_end=2)]},
            "segments[0].audio_end",
            "crop_empty",
        ),
        (
            {"segments": [segment(audio_start=-1, audio_end=2)]},
            "segments[0].audio_start",
            "negative_time",
        ),
        (
            {"segments": [segment(audio_start=0, audio_end=math.nan)]},
            "segments[0].audio_end",
            "not_finite",
        ),
        ({"segments": [segment(label="x" * 81)]}, "segments[0].label", "text_too_long"),
        ({"segments": [segment(label="a\nb")]}, "segments[0].label", "text_characters"),
        ({"segments": [segment(refId="a")]}, "segments[0].refId", "unknown_field"),
        ({"display_name": "x" * 201}, "display_name", "text_too_long"),
        ({"display_name": 7}, "display_name", "wrong_type"),
        ({"video": None}, "video", "missing"),
        ({"lip_sync": {"model": "lipsync-3"}}, "lip_sync.model", "unknown_choice"),
        ({"lip_sync": {"sync_mode": "stretch"}}, "lip_sync.sync_mode", "unknown_choice"),
        ({"lip_sync": {"temperature": math.nan}}, "lip_sync.temperature", "temperature_range"),
        ({"lip_sync": {"temperature": -0.1}}, "lip_sync.temperature", "temperature_range"),
        (
            {"lip_sync": {"model": "lipsync-1.9.0-beta", "temperature": 0.5}},
            "lip_sync.temperature",
            "option_ignored",
        ),
        ({"inpainting": {"quality": "pro_full"}}, "inpainting.quality", "areas_missing"),
        ({"inpainting": {"resolution": "4k"}}, "inpainting.resolution", "unknown_choice"),
        ({"annotation_areas": "none"}, "annotation_areas", "wrong_type"),
    ],
)
def test_one_broken_rule_is_one_problem(changes: dict[str, Any], field: str, code: str) -> None:
    assert pairs(refused(job(**changes))) == {(field, code)}


@pytest.mark.parametrize("start", [2, 2.04])
def test_touching_segments_are_taken_unless_they_are_to_be_refused(start: float) -> None:
    raw = job(segments=[segment(start, 3), segment(1, 2)])
    assert [s.end for s in accepted(raw).segments] == [3, 2]
    with pytest.raises(RequestRefused, match="leave a gap of at least that much") as caught:
        check_request(raw, max_segments=10, allow_local_files=False, touching="refuse")
    assert pairs(list(caught.value.problems)) == {("segments[0].start", "segments_touch")}


def test_the_limit_of_segments_is_an_argument() -> None:
    segments = [segment(i * 2, i * 2 + 1) for i in range(4)]
    assert len(accepted(job(segments=segments)).segments) == 4
    problems = refused(job(segments=segments), max_segments=3)
    assert pairs(problems) == {("segments", "segments_too_many")}
    assert "3 are allowed" in problems[0].message


def test_a_gap_of_exactly_the_minimum_is_enough_in_spite_of_floats() -> None:
    # 2.05 - 2.0 is 0.0499999… in floats.
    assert len(accepted(job(segments=[segment(1, 2.0), segment(2.05, 3)])).segments) == 2
    assert accepted(job(segments=[segment(1.1, 1.4)])).segments[0].end == 1.4


def test_a_request_that_is_no_object() -> None:
    assert pairs(refused([1])) >= {("request", "wrong_type"), ("segments", "segments_missing")}


def test_validation_errors_of_models_become_problems() -> None:
    with pytest.raises(ValidationError) as caught:
        JobRequest.model_validate(
            {"video": "s3://b/k", "segments": [{"start": "1", "audio": AUDIO}, segment(zzz=1)]}
        )
    problems = problems_from_validation(caught.value)
    assert pairs(problems) == {
        ("segments[0].start", "wrong_type"),
        ("segments[0].end", "missing"),
        ("segments[1].zzz", "unknown_field"),
    }
    prefixed = problems_from_validation(caught.value, "parameters")
    assert prefixed[0].field == "parameters.segments[0].start"


def test_models_take_what_only_the_check_can_judge_well() -> None:
    odd = Segment(start=math.nan, end=-1, audio="", audio_start=3)
    assert pairs(refused(job(segments=[odd]))) == {
        ("segments[0].start", "not_finite"),
        ("segments[0].end", "negative_time"),
        ("segments[0].audio", "source_missing"),
        ("segments[0].audio_end", "crop_incomplete"),
    }


@pytest.mark.parametrize(
    ("speaker", "problems"),
    [
        ({"method": "point", "x": 0.5}, {("y", "speaker_incomplete")}),
        (
            {"method": "point", "x": 1.5, "y": math.nan},
            {("x", "speaker_outside"), ("y", "speaker_outside")},
        ),
        ({"method": "point", "x": 0, "y": 1, "at": -1}, {("at", "negative_time")}),
        (
            {"method": "box", "x": 0.5, "y": 0.5, "width": 0.6},
            {("width", "speaker_outside"), ("height", "speaker_incomplete")},
        ),
        ({"method": "automatic", "x": 0.5}, {("x", "option_ignored")}),
        (
            {"method": "box", "x": 0, "y": 0, "width": 0, "height": 1},
            {("width", "speaker_outside")},
        ),
        ({"method": "nobody"}, {("method", "unknown_choice")}),
    ],
)
@pytest.mark.parametrize("place", ["lip_sync", "segment"])
def test_a_speaker_has_the_numbers_of_its_method(
    speaker: dict[str, Any], problems: set[tuple[str, str]], place: str
) -> None:
    if place == "segment":
        raw = job(segments=[segment(active_speaker=speaker)])
    else:
        raw = job(lip_sync={"active_speaker": speaker})
    path = "segments[0]" if place == "segment" else "lip_sync"
    expected = {(f"{path}.active_speaker.{field}", code) for field, code in problems}
    assert pairs(refused(raw)) == expected


def test_a_segment_has_options_of_its_own() -> None:
    own = {"sync_mode": "remap", "temperature": 0.7, "active_speaker": {"method": "automatic"}}
    request = check_request(job(segments=[segment(**own)]), max_segments=10, allow_local_files=True)
    assert request.segments[0].overrides == own
    wrong = job(segments=[segment(temperature=2)], lip_sync={"model": "sync-3"})
    assert pairs(refused(wrong)) == {
        ("segments[0].temperature", "temperature_range"),
        ("segments[0].temperature", "option_ignored"),
    }


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["start", "end", "audio", "kind", "region", "x", "width", "model", "quality", "?"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(
    st.dictionaries(
        st.sampled_from(
            ["video", "segments", "annotation_areas", "lip_sync", "inpainting", "display_name"]
        ),
        json_values,
    )
)
def test_any_json_is_accepted_or_refused_with_named_fields(raw: dict[str, Any]) -> None:
    problems: tuple[FieldProblem, ...] = ()
    try:
        request = check_request(raw, max_segments=10, allow_local_files=True)
    except RequestRefused as refusal:
        problems = refusal.problems
    else:
        assert all(math.isfinite(s.end) for s in request.segments)
    assert all(problem.field and problem.message for problem in problems)


def test_an_inpainting_request_checks_source_and_areas_together() -> None:
    with pytest.raises(RequestRefused) as caught:
        check_inpainting_request(
            "in.mp4", [area("erase")], {"quality": "lite"}, allow_local_files=True
        )
    assert pairs(list(caught.value.problems)) == {
        ("video", "source_relative"),
        ("annotation_areas[0].kind", "kind_tier"),
    }
    with pytest.raises(RequestRefused) as caught:
        check_inpainting_request("s3://bucket/in.mp4", [], allow_local_files=False)
    assert pairs(list(caught.value.problems)) == {("annotation_areas", "areas_missing")}
    request = check_inpainting_request(
        "/data/in.mp4", [area()], {"language": "zh"}, allow_local_files=True
    )
    assert request.video == "/data/in.mp4"
    assert (request.annotation_areas[0].kind, request.inpainting.language) == ("erase_text", "zh")
