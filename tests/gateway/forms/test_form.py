"""The editor's form, as its frontend sends it, and as it should not."""

from __future__ import annotations

import itertools
import json
from typing import Any

import httpx
import pytest

from tests.gateway.gateways import (
    EFFECTS,
    FORM,
    SEGMENTS,
    Gateway,
    Upstream,
    form,
    key_of,
)


@pytest.fixture
def client(gateway: Gateway) -> Any:
    with gateway.client() as client:
        yield client


def problem_fields(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["code"] == "invalid_request"
    return [error["field"] for error in body["errors"]]


def test_form_becomes_job(client: httpx.Client, upstream: Upstream) -> None:
    answer = client.post(FORM, **form())
    assert answer.status_code == 200, answer.text
    created = answer.json()
    assert created["segments_count"] == 3
    assert created["status"] == "processing"
    assert created["sync_generation_id"] is None
    run = upstream.run(created["job_id"])
    parameters = run["parameters"]
    assert {"owner:local", "pro-video-api"} <= set(run["tags"])
    assert upstream.content(key_of(parameters["video"])) == b"v" * 1000
    audios = [segment["audio"] for segment in parameters["segments"]]
    # The i-th file belongs to the i-th distinct refId.
    assert audios[0] == audios[2] != audios[1]
    assert upstream.content(key_of(audios[0])) == b"a" * 100
    assert upstream.content(key_of(audios[1])) == b"b" * 100
    assert parameters["segments"][0]["start"] == 0
    assert parameters["annotation_areas"][0]["kind"] == "erase"
    assert parameters["annotation_areas"][0]["start"] == 0

    view = client.get(created["status_url"]).json()
    assert view["segments_data"] == SEGMENTS
    assert (view["status"], view["progress"], view["output_url"]) == ("processing", 0, None)


def test_parts_in_every_order(client: httpx.Client, upstream: Upstream) -> None:
    parts: list[tuple[str, tuple[Any, ...]]] = [
        ("file", ("clip.mp4", b"video", "video/mp4")),
        ("audio_files", ("1.wav", b"first", "audio/wav")),
        ("segments_data", (None, json.dumps(SEGMENTS[::2]))),
        ("effects", (None, json.dumps(EFFECTS))),
    ]
    for order in itertools.permutations(parts):
        answer = client.post(FORM, files=order)
        assert answer.status_code == 200, answer.text
        parameters = upstream.run(answer.json()["job_id"])["parameters"]
        assert upstream.content(key_of(parameters["video"])) == b"video"
        assert upstream.content(key_of(parameters["segments"][0]["audio"])) == b"first"
        assert len(parameters["annotation_areas"]) == 1


def test_missing_parts_are_named_in_every_order(client: httpx.Client, upstream: Upstream) -> None:
    before = upstream.keys("uploads/")
    parts: dict[str, tuple[Any, ...]] = {
        "file": ("clip.mp4", b"video", "video/mp4"),
        "audio_files": ("1.wav", b"first", "audio/wav"),
        "segments_data": (None, json.dumps(SEGMENTS[::2])),
    }
    for size in range(len(parts)):
        for names in itertools.permutations(parts, size):
            sent = [(name, parts[name]) for name in names] or [("other", (None, "x"))]
            assert set(problem_fields(client.post(FORM, files=sent))) == set(parts) - set(names)
    assert upstream.keys("uploads/") == before


def test_all_problems_at_once_in_the_names_of_the_request(
    client: httpx.Client, upstream: Upstream
) -> None:
    before = upstream.keys("uploads/")
    segments = [
        {"startTime": 0, "endTime": 0, "audioInput": {"refId": "a"}},
        {"startTime": "2", "endTime": 3, "audioInput": {"refId": "b", "startTime": 5}},
    ]
    effects = [
        EFFECTS[0],
        {**EFFECTS[0], "type": "blur"},
        {**EFFECTS[0], "region": {"x": 2, "y": 0, "width": 0.5, "height": 0.1}},
    ]
    answer = client.post(FORM, **form(segments=segments, effects=effects))
    fields = problem_fields(answer)
    assert "segments_data[0].endTime" in fields  # a time of 0 is a time
    assert "segments_data[1].startTime" in fields
    assert "segments_data[1].audioInput.endTime" in fields
    assert "effects[1].type" in fields
    assert any(field.startswith("effects[2].region") for field in fields)
    assert not any(field.startswith("effects[0]") for field in fields)
    assert upstream.keys("uploads/") == before


@pytest.mark.parametrize("text", ["{", "17", '{"type": "erasure"}', '"still text"', "[1]"])
def test_unreadable_effects_refuse_the_request(client: httpx.Client, text: str) -> None:
    whole = form()
    whole["data"]["effects"] = text
    assert any(field.startswith("effects") for field in problem_fields(client.post(FORM, **whole)))


def test_doubly_encoded_texts_are_understood(client: httpx.Client, upstream: Upstream) -> None:
    whole = form()
    whole["data"]["effects"] = json.dumps(json.dumps(EFFECTS))
    whole["data"]["segments_data"] = json.dumps(json.dumps(SEGMENTS))
    answer = client.post(FORM, **whole)
    assert answer.status_code == 200, answer.text
    assert len(upstream.run(answer.json()["job_id"])["parameters"]["annotation_areas"]) == 1


@pytest.mark.parametrize("text", ["", "[]", "null", '"[]"'])
def test_no_effects(client: httpx.Client, upstream: Upstream, text: str) -> None:
    whole = form()
    whole["data"]["effects"] = text
    answer = client.post(FORM, **whole)
    assert answer.status_code == 200, answer.text
    assert upstream.run(answer.json()["job_id"])["parameters"]["annotation_areas"] == []


def test_times_of_zero_win_over_other_names(client: httpx.Client, upstream: Upstream) -> None:
    effect = {**EFFECTS[0], "startTime": 0, "startFrame": 1.5, "id": "x1"}
    late = {name: value for name, value in effect.items() if name not in ("startTime", "endTime")}
    answer = client.post(FORM, **form(effects=[effect, {**late, "endFrame": 2.5}]))
    assert answer.status_code == 200, answer.text
    areas = upstream.run(answer.json()["job_id"])["parameters"]["annotation_areas"]
    assert [(area["start"], area["end"]) for area in areas] == [(0, 2), (1.5, 2.5)]


@pytest.mark.parametrize("audios", [(b"1",), (b"1", b"2", b"3")])
def test_audio_files_must_match_the_refs(client: httpx.Client, audios: tuple[bytes, ...]) -> None:
    assert problem_fields(client.post(FORM, **form(audios=audios))) == ["audio_files"]


@pytest.mark.parametrize(
    "name",
    [
        "../../../etc/passwd.mp4",
        "..\\..\\jobs\\x.mp4",
        "http://[x/clip.mp4",
        "a/b/c.mp4",
        "ctrl\x01\x7f.mp4",
        "line%0d%0abreak.mp4",
        "ünïcode 名.mp4",
        ".mp4",
        "x" * 3000 + ".mp4",
    ],
)
def test_file_names_steer_nothing(client: httpx.Client, upstream: Upstream, name: str) -> None:
    whole = form()
    whole["files"][0] = ("file", (name, b"video", "video/mp4"))
    answer = client.post(FORM, **whole)
    assert answer.status_code == 200, answer.text
    key = key_of(upstream.run(answer.json()["job_id"])["parameters"]["video"])
    prefix, _, last = key.rpartition("/")
    assert prefix.startswith("uploads/local/")
    assert len(prefix.split("/")) == 3
    assert last in ("video.mp4", "video.bin")


def test_empty_file_is_refused_and_leaves_nothing(client: httpx.Client, upstream: Upstream) -> None:
    before = upstream.keys("uploads/")
    assert "file" in problem_fields(client.post(FORM, **form(video=b"")))
    assert "audio_files[1]" in problem_fields(client.post(FORM, **form(audios=(b"1", b""))))
    assert upstream.keys("uploads/") == before


def test_not_a_form(client: httpx.Client) -> None:
    for content_type in (
        "application/json",
        "multipart/form-data",
        "multipart/form-data; boundary=",
    ):
        answer = client.post(FORM, content=b"{}", headers={"Content-Type": content_type})
        assert (answer.status_code, answer.json()["code"]) == (415, "not_a_form")


def test_broken_forms(client: httpx.Client, upstream: Upstream) -> None:
    before = upstream.traces("uploads/")
    headers = {"Content-Type": "multipart/form-data; boundary=xyz"}
    file = b'--xyz\r\nContent-Disposition: form-data; name="file"; filename="a.mp4"\r\n\r\nvideo'
    for body, code in (
        (b"", "form_incomplete"),
        (b"no form at all", "form_malformed"),
        (file, "form_incomplete"),
        (file + b"\r\n--xyz\r\n", "form_incomplete"),
        (b"--xyz\r\n" + b"A: b\r\n" * 1000 + b"\r\n", "form_malformed"),
        (b"--xyz\r\nA: " + b"b" * 100_000 + b"\r\n\r\n", "form_malformed"),
    ):
        answer = client.post(FORM, content=body, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (400, code), body[:100]
    assert upstream.traces("uploads/") == before
