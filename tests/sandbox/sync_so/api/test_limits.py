"""Both kinds of 429, by switch and by fault."""

from tests.sandbox.sync_so.conftest import Links
from tests.sandbox.sync_so.vendor import Vendor, whole_clip


def test_concurrency_of_a_plan(vendor: Vendor, links: Links) -> None:
    vendor.settings(plan="creator")
    vendor.faults({"call": "job", "kind": "failed", "times": 3})
    vendor.settings(seconds_per_job=1)
    body = whole_clip(links.video, links.audio)
    ids = [vendor.accepted(body) for _ in range(3)]
    refused = vendor.create(body, "k")
    assert refused.status_code == 429
    body_of_429 = refused.json()
    assert body_of_429["errorCode"] == "concurrency_limit_reached"
    assert (body_of_429["activeGenerations"], body_of_429["concurrencyLimit"]) == (3, 3)
    assert body_of_429["retryAfterSeconds"] > 0
    assert "retry-after" not in refused.headers
    for id in ids:
        vendor.until(id, "FAILED")
    vendor.accepted(body, "k")
    vendor.settings(concurrency_limit=1, retry_after_header=True)
    assert vendor.create(body).headers["retry-after"] == "10"
    assert vendor.audit()["accepted"] == 4


def test_rates(vendor: Vendor, links: Links) -> None:
    body = whole_clip(links.video, links.audio)
    vendor.settings(creates_per_minute=1, reads_per_minute=2)
    id = vendor.accepted(body)
    refused = vendor.create(body)
    assert refused.status_code == 429
    assert refused.json()["errorCode"] == "rate_limit_exceeded"
    assert [vendor.http.get(f"/v2/generate/{id}").status_code for _ in range(3)] == [200, 200, 429]
    vendor.settings(rate_limit_error_code=False)
    assert "errorCode" not in vendor.create(body).json()


def test_faults(vendor: Vendor, links: Links) -> None:
    vendor.faults(
        {"call": "create", "kind": "429_concurrency", "retry_after": 3, "limit": 6},
        {"call": "create", "kind": "429_rate", "retry_after": 2},
        {"call": "status", "kind": "429_rate"},
    )
    body = whole_clip(links.video, links.audio)
    first, second = vendor.create(body), vendor.create(body)
    assert first.json()["errorCode"] == "concurrency_limit_reached"
    assert (first.json()["retryAfterSeconds"], first.json()["concurrencyLimit"]) == (3, 6)
    assert second.json()["errorCode"] == "rate_limit_exceeded"
    assert second.headers["retry-after"] == "2"
    id = vendor.accepted(body)
    assert vendor.http.get(f"/v2/generate/{id}").status_code == 429
    assert vendor.audit()["accepted"] == 1


def test_a_plan_caps_the_length(vendor: Vendor, links: Links) -> None:
    vendor.settings(plan="free", media_errors="sync")
    assert vendor.create(whole_clip(links.video, links.audio)).status_code == 201
