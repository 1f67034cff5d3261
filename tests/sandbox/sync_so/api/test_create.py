"""Refused bodies, each with its status and code; none of them is accepted."""

from typing import Any

import httpx
import pytest

from tests.sandbox.sync_so.conftest import Links
from tests.sandbox.sync_so.vendor import Json, Vendor, one_segment, whole_clip

V = "https://media.example/clip.mp4"
A = "https://media.example/line.wav"
INVALID = "generation_input_validation_failed"
SEGMENTS = "generation_input_segments_invalid"
FACE = "generation_input_face_selection_invalid"


def with_segments(*segments: Json) -> Json:
    return {**one_segment(V, A), "segments": list(segments)}


def segment(start: Any, end: Any, **more: Any) -> Json:
    return {"startTime": start, "endTime": end, "audioInput": {"refId": "line-1"}, **more}


def with_crop(**crop: float) -> Json:
    return with_segments(segment(0, 1, audioInput={"refId": "line-1", **crop}))


def with_speaker(**selection: Any) -> Json:
    return whole_clip(V, A, options={"active_speaker_detection": selection})


def with_inputs(*inputs: Json, **more: Any) -> Json:
    return {"model": "lipsync-2", "input": list(inputs), **more}


VIDEO, AUDIO = {"type": "video", "url": V}, {"type": "audio", "url": A}
NAMED = {**AUDIO, "refId": "line-1"}
UUID = "6533643b-aceb-4c40-967e-d9ba9baac39e"


def text(script: str, **more: Any) -> Json:
    provider = {"name": "elevenlabs", "voiceId": "v", "script": script, **more}
    return {"type": "text", "provider": provider}


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ([], 400, INVALID),
        (with_inputs(VIDEO, AUDIO, model="lipsync-9"), 400, "generation_unsupported_model"),
        (with_inputs(VIDEO), 400, INVALID),
        (with_inputs(AUDIO), 400, INVALID),
        (with_inputs(VIDEO, VIDEO, AUDIO), 400, "generation_input_too_many_visual"),
        (with_inputs(VIDEO, AUDIO, AUDIO), 400, INVALID),
        (with_inputs(VIDEO, {"type": "audio"}), 400, INVALID),
        (with_inputs(VIDEO, {"type": "audio", "url": "ftp://x/y"}), 400, INVALID),
        (with_inputs(VIDEO, {"type": "audio", "assetId": "7"}), 400, "invalid_asset_id_format"),
        (with_inputs(VIDEO, {"type": "audio", "assetId": UUID}), 404, "asset_not_found"),
        (with_inputs({"type": "image", "url": V}, AUDIO), 400, "generation_unsupported_model"),
        (with_inputs(VIDEO, text("x" * 5001)), 400, "generation_text_length_exceeded"),
        (with_inputs(VIDEO, text("hello", stability=2)), 400, INVALID),
        (whole_clip(V, A, options={"activeSpeakerDetection": {}}), 422, INVALID),
        (whole_clip(V, A, options={"sync_mode": "stretch"}), 400, INVALID),
        (whole_clip(V, A, options={"temperature": 1.5}), 400, INVALID),
        (with_speaker(auto_detect=True, coordinates=[]), 400, FACE),
        (whole_clip(V, A, outputFileName="a b"), 400, INVALID),
        (whole_clip(V, A, outputFileName="a" * 256), 400, INVALID),
        (whole_clip(V, A, webhookUrl="http://example.com/hook"), 400, INVALID),
        (whole_clip(V, A, projectId=UUID), 422, "project_not_found"),
        (whole_clip(V, A, dubParams={"targetLang": "de"}), 402, "plan_feature_unavailable"),
        (with_segments(), 400, INVALID),
        (with_segments(segment(1, 0.5)), 400, SEGMENTS),
        (with_segments(segment(-1, 0.5)), 400, INVALID),
        (with_segments(segment("0", 0.5)), 400, INVALID),
        (with_segments(segment(True, 2)), 400, INVALID),
        (with_segments(segment(0, 1), segment(0.9, 2)), 400, SEGMENTS),
        (with_segments(segment(1, 2), segment(0, 1)), 400, SEGMENTS),
        (with_segments(segment(0, 1, label="x")), 400, SEGMENTS),
        (with_segments(segment(0, 1, audioInput={"refId": "line-2"})), 400, SEGMENTS),
        (with_segments(segment(0, 1, audioInput={"refId": ""})), 400, INVALID),
        (with_crop(startTime=0), 400, INVALID),
        (with_crop(startTime=2, endTime=1), 400, "generation_input_trim_invalid"),
        (with_segments(segment(0, 1, optionsOverride={"model_mode": "face"})), 422, INVALID),
        (with_inputs(VIDEO, AUDIO, segments=[segment(0, 1)]), 400, INVALID),
        (with_inputs(VIDEO, NAMED, NAMED, segments=[segment(0, 1)]), 400, INVALID),
    ],
)
def test_refused_bodies(strict: Vendor, body: Any, status: int, code: str) -> None:
    answer = strict.create(body, key="the-key")
    assert (answer.status_code, answer.json().get("errorCode")) == (status, code), answer.text
    assert answer.json()["statusCode"] == status
    assert strict.audit()["accepted"] == 0


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b'{"model": NaN}',
        b"[" * 200_000,
        b"\xff\xfe",
        b'{"model": "lipsync-2", "input": 1}',
    ],
)
def test_bodies_that_are_no_request(strict: Vendor, raw: bytes) -> None:
    answer = strict.http.post("/v2/generate", content=raw)
    assert answer.status_code == 400
    assert answer.json()["errorCode"] == INVALID


def test_both_401_bodies(strict: Vendor) -> None:
    with httpx.Client(base_url=strict.url, trust_env=False) as stranger:
        none = stranger.post("/v2/generate", headers={"Authorization": "Bearer sk-test"})
        wrong = stranger.get("/v2/generations", headers={"x-api-key": "sk-other"})
    assert none.status_code == wrong.status_code == 401
    assert none.json()["message"] == "Either Cookie or x-api-key header must be provided"
    assert wrong.json() == {"message": "Unauthorized", "statusCode": 401}


def test_a_changed_key_is_the_only_one(vendor: Vendor) -> None:
    vendor.settings(api_key="sk-new")
    assert vendor.http.get("/v2/generations").status_code == 401
    changed = vendor.http.get("/v2/generations", headers={"x-api-key": "sk-new"})
    assert changed.status_code == 200
    vendor.settings(api_key="")
    assert vendor.http.get("/v2/generations").status_code == 200


def test_switches_of_the_rules(vendor: Vendor, links: Links) -> None:
    touching = one_segment(links.video, links.audio)
    touching["segments"] = [segment(0, 1, label="first"), segment(1, 1.5)]
    vendor.settings(message_style="array")
    assert isinstance(vendor.create(touching).json()["message"], list)
    vendor.settings(reject_touching_segments=False)
    assert vendor.create(touching).status_code == 400
    vendor.settings(reject_unknown_segment_keys=False)
    vendor.until(vendor.accepted(touching), "COMPLETED")
    overlap = one_segment(links.video, links.audio)
    overlap["segments"] = [segment(0, 1), segment(0.9, 1.5)]
    for delivery, status in (("rejected", "REJECTED"), ("failed", "FAILED")):
        vendor.settings(segment_errors=delivery)
        ended = vendor.until(vendor.accepted(overlap), status)
        assert ended["errorCode"] == SEGMENTS
    assert vendor.audit()["billed"] == 1


def test_members_that_no_rule_names_are_echoed_or_ignored(vendor: Vendor, links: Links) -> None:
    body = one_segment(
        links.video,
        links.audio,
        options={"sync_mode": "cut_off", "temperature": 0.3, "model_mode": "face"},
        outputFileName="job-7_line",
        webhookUrl="https://hooks.example/x?job=7",
        colour="red",
    )
    body["segments"][0]["optionsOverride"] = {"sync_mode": "silence"}
    body["input"][1]["ref_id"] = "line-1"
    made = vendor.create(body).json()
    for name in ("model", "input", "options", "segments", "outputFileName", "webhookUrl"):
        assert made[name] == body[name]
    assert "colour" not in made
    assert made["status"] == "PENDING"
    assert made["createdAt"].endswith("Z")
