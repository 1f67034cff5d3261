"""The price of a request, before there is a job."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from sandbox.media.sample.make_sample import Sample, make_sample
from tests.gateway.gateways import BUCKET, EFFECTS, Gateway, Upstream, json_job

ESTIMATES = "/api/v1/estimates"


@pytest.fixture
def client(start_gateway: Callable[..., Gateway]) -> Iterator[httpx.Client]:
    with start_gateway(source_prefixes=[f"s3://{BUCKET}/estimates/"]).client() as client:
        yield client


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    return make_sample(tmp_path_factory.mktemp("tiny"), width=160, height=90, seconds=2.0)


@pytest.fixture
def request_body(upstream: Upstream, tiny: Sample) -> dict[str, Any]:
    """A request on files in the bucket: a segment of half a second."""
    for name, path in (("clip.mp4", tiny.clip), ("line.wav", tiny.line_1)):
        upstream.s3.put_object(Bucket=BUCKET, Key=f"estimates/{name}", Body=path.read_bytes())
    return json_job(
        video=f"s3://{BUCKET}/estimates/clip.mp4",
        audios={"a": f"s3://{BUCKET}/estimates/line.wav"},
        segments_data=[{"startTime": 0.2, "endTime": 0.7, "audioInput": {"refId": "a"}}],
    )


def test_a_price_starts_nothing(
    client: httpx.Client, upstream: Upstream, request_body: dict[str, Any]
) -> None:
    before = upstream.count_runs("local")
    answer = client.post(ESTIMATES, json=request_body | {"effects": EFFECTS})
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert [stage["stage"] for stage in found["stages"]] == ["lip-sync", "inpainting"]
    assert 0 < float(found["low_usd"]) < float(found["high_usd"])
    assert found["within_max_cost"] is None
    assert upstream.count_runs("local") == before


@pytest.mark.parametrize(("limit", "within"), [(0.001, False), (100, True)])
def test_a_limit_is_compared(
    client: httpx.Client, request_body: dict[str, Any], limit: float, within: bool
) -> None:
    answer = client.post(ESTIMATES, json=request_body | {"options": {"max_cost_usd": limit}})
    assert answer.status_code == 200, answer.text
    assert answer.json()["within_max_cost"] is within


def test_all_files_that_cannot_be_used_are_named(
    client: httpx.Client, upstream: Upstream, request_body: dict[str, Any]
) -> None:
    upstream.s3.put_object(Bucket=BUCKET, Key="estimates/clip.mp4", Body=b"This is no video.")
    request_body["audios"]["a"] = "https://example.com/line.wav"
    answer = client.post(ESTIMATES, json=request_body)
    assert answer.status_code == 422, answer.text
    found = {error["field"]: error["code"] for error in answer.json()["errors"]}
    assert found["audios.a"] == "source_not_read"
    assert set(found) == {"video", "audios.a"}


def test_the_rules_of_the_files_hold(client: httpx.Client, request_body: dict[str, Any]) -> None:
    request_body["segments_data"][0] |= {"startTime": 500, "endTime": 501}
    answer = client.post(ESTIMATES, json=request_body)
    assert answer.status_code == 422, answer.text
    assert {error["field"].split(".")[0] for error in answer.json()["errors"]} == {
        "segments_data[0]"
    }
