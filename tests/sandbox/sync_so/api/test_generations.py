"""Single reads, long-polls, lists, counts, removal, and the two styles of an answer."""

import time
import uuid

from tests.sandbox.sync_so.conftest import Links
from tests.sandbox.sync_so.vendor import Vendor, whole_clip


def test_long_poll_progress_and_alias(vendor: Vendor, links: Links) -> None:
    vendor.settings(seconds_per_job=1.5)
    id = vendor.accepted(whole_clip(links.video, links.audio))
    seen = [0]
    started = time.monotonic()
    while True:
        body = vendor.read(id, include="progress")
        seen.append(body["progress_percent"])
        assert 0 <= body["progress_percent"] <= 100
        if body["status"] == "COMPLETED":
            break
        assert time.monotonic() - started < 20
        waited = vendor.http.get(f"/v2/generations/{id}", params={"wait": "true", "timeout": "1"})
        assert waited.status_code == 200
        assert waited.headers["retry-after"] == "2"
        assert waited.headers["x-sync-wait-mode"] == "long_poll"
        assert waited.headers["x-sync-wait-timeout-seconds"] == "1"
    assert time.monotonic() - started > 1.0
    assert seen == sorted(seen)
    assert seen[-1] == 100
    assert len(set(seen)) > 2


def test_bad_queries(vendor: Vendor, links: Links) -> None:
    id = vendor.accepted(whole_clip(links.video, links.audio))
    for query in (
        "wait=true&timeout=11",
        "timeout=0.5",
        "timeout=nan",
        "wait=true&include=progress",
        "wait=maybe",
        "include=everything",
    ):
        assert vendor.http.get(f"/v2/generate/{id}?{query}").status_code == 400, query


def test_unknown_ids_and_paths(strict: Vendor) -> None:
    missing = strict.http.get(f"/v2/generate/{uuid.uuid4()}")
    assert (missing.status_code, missing.json()["errorCode"]) == (404, "generation_not_found")
    odd = strict.http.get("/v2/generations/7")
    assert (odd.status_code, odd.json()["errorCode"]) == (400, "invalid_generation_id")
    nowhere = strict.http.get("/v3/generate")
    assert (nowhere.status_code, nowhere.json()["error"]) == (404, "Not Found")
    assert strict.http.put("/v2/generate", json={}).status_code == 404


def test_lists_pages_and_counts(vendor: Vendor, links: Links) -> None:
    body = whole_clip(links.video, links.audio)
    ids = [vendor.accepted({**body, "outputFileName": f"n{n}"}) for n in range(5)]
    for id in ids:
        vendor.until(id, "COMPLETED")
    vendor.faults({"call": "job", "kind": "rejected"})
    vendor.until(vendor.accepted(body), "REJECTED")

    def listed(**query: object) -> list[str]:
        answer = vendor.http.get("/v2/generations", params=query)  # type: ignore[arg-type]
        assert answer.status_code == 200, answer.text
        return [item["id"] for item in answer.json()]

    page = listed(limit=2, status="COMPLETED")
    assert page == [ids[4], ids[3]]
    assert listed(limit=2, cursor=page[-1], status="COMPLETED") == [ids[2], ids[1]]
    assert listed(limit=100, cursor=ids[0]) == []
    assert sorted(listed(ids=f"{ids[0]},{ids[3]}")) == sorted([ids[0], ids[3]])
    assert len(listed()) == 6
    assert listed(projectId=str(uuid.uuid4())) == []
    assert vendor.http.get("/v2/generations/count").json() == {"count": 6}
    assert vendor.http.get("/v2/generations/count?status=REJECTED").json() == {"count": 1}
    for query in ("cursor=" + ids[0], "limit=0", "limit=101", "status=DONE", "limit=x"):
        assert vendor.http.get(f"/v2/generations?{query}").status_code == 400


def test_delete(vendor: Vendor, links: Links) -> None:
    vendor.faults({"call": "job", "kind": "stuck"})
    stuck = vendor.accepted(whole_clip(links.video, links.audio))
    refused = vendor.http.delete(f"/v2/generations/{stuck}")
    assert refused.status_code == 409
    assert refused.json()["errorCode"] == "generation_not_deletable_while_processing"
    done = vendor.accepted(whole_clip(links.video, links.audio))
    vendor.until(done, "COMPLETED")
    assert vendor.http.delete(f"/v2/generations/{done}").json()["id"] == done
    assert vendor.http.delete(f"/v2/generations/{done}").status_code == 404
    assert vendor.http.get(f"/v2/generate/{done}").status_code == 404
    audit = vendor.audit()
    assert (audit["accepted"], audit["billed"]) == (2, 1)


def test_styles_of_absent_members_and_of_the_code(vendor: Vendor, links: Links) -> None:
    vendor.faults({"call": "job", "kind": "failed", "code": "generation_pipeline_failed"})
    id = vendor.accepted(whole_clip(links.video, links.audio))
    body = vendor.until(id, "FAILED")
    assert body["errorCode"] == "generation_pipeline_failed"
    assert "error_code" not in body
    assert "outputUrl" not in body
    vendor.settings(error_code_spelling="snake", absent_fields="null")
    body = vendor.read(id)
    assert body["error_code"] == "generation_pipeline_failed"
    assert "errorCode" not in body
    assert body["outputUrl"] is body["options"] is None
    vendor.settings(error_code_spelling="both", absent_fields="empty_object")
    body = vendor.read(id)
    assert body["errorCode"] == body["error_code"]
    assert (body["options"], body["outputUrl"], body["outputDuration"]) == ({}, "", None)


def test_faults_of_a_read(vendor: Vendor, links: Links) -> None:
    id = vendor.accepted(whole_clip(links.video, links.audio))
    vendor.until(id, "COMPLETED")
    vendor.faults(
        {"call": "status", "kind": "unknown_status", "match": {"id": id}},
        {"call": "status", "kind": "extra_fields"},
        {"call": "status", "kind": "502_html", "match": {"id": "nobody"}},
    )
    assert vendor.read(id)["status"] == "CANCELED"
    assert "traceId" in vendor.read(id)
    assert vendor.read(id)["status"] == "COMPLETED"


def test_catalogues_estimates_and_what_is_missing(vendor: Vendor, links: Links) -> None:
    codes = vendor.http.get("/v2/errors", headers={"x-api-key": ""}).json()
    assert len(codes) == 62
    assert set(codes[0]) == {"code", "message", "suggestion"}
    estimate = vendor.http.post(
        "/v2/generations/estimate", json={"model": "lipsync-2-pro", "duration": 3}
    ).json()
    assert estimate == {
        "estimatedFrameCount": 90,
        "estimatedGenerationCost": 0.2997,
        "estimatedCredits": None,
    }
    bad = vendor.http.post("/v2/generate/estimate-cost", json={"model": "lipsync-2"})
    assert bad.status_code == 400
    vendor.settings(estimate_style="object")
    body = whole_clip(links.video, links.audio)
    assert vendor.http.post("/v2/analyze/cost", json=body).json()["estimatedFrameCount"] == 50
    assert vendor.audit()["accepted"] == 0
    batch = vendor.http.get("/v2/batch")
    assert (batch.status_code, batch.json()["errorCode"]) == (403, "batch_plan_required")
    assert vendor.http.get("/v2/organizations/webhook/secret").json()["secret"][:6] == "whsec_"
