"""One key, one paid generation."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from sandbox.common.media_pool import MediaPool
from tests.sandbox.sync_so.conftest import Links, Media
from tests.sandbox.sync_so.vendor import Vendor, running, whole_clip


@pytest.mark.parametrize("key", ["", "a b", "k" * 129, "ключ", "a/b"])
def test_a_malformed_key_is_refused(strict: Vendor, key: str) -> None:
    answer = strict.http.post("/v2/generate", json={}, headers=[(b"Idempotency-Key", key.encode())])
    assert answer.status_code == 400
    assert answer.json()["errorCode"] == "INVALID_IDEMPOTENCY_KEY"


def test_two_headers_are_refused(strict: Vendor) -> None:
    answer = strict.http.post(
        "/v2/generate", json={}, headers=[("Idempotency-Key", "a"), ("Idempotency-Key", "a")]
    )
    assert answer.json()["errorCode"] == "INVALID_IDEMPOTENCY_KEY"


def test_replay_conflict_and_a_key_that_was_not_consumed(vendor: Vendor, links: Links) -> None:
    body = whole_clip(links.video, links.audio, outputFileName="a")
    assert vendor.create({**body, "model": "nope"}, "k" * 128).status_code == 400
    first = vendor.accepted(body, "k" * 128)
    vendor.until(first, "COMPLETED")
    replay = vendor.create(body, "k" * 128)
    assert (replay.status_code, replay.json()["id"]) == (201, first)
    assert replay.json()["status"] == "COMPLETED"
    conflict = vendor.create({**body, "outputFileName": "b"}, "k" * 128)
    assert (conflict.status_code, conflict.json()["errorCode"]) == (409, "IDEMPOTENCY_CONFLICT")
    assert vendor.create(body, "K" * 128).json()["id"] != first
    audit = vendor.audit()
    assert (audit["accepted"], audit["replayed"], audit["idempotency_conflicts"]) == (2, 1, 1)
    assert audit["jobs"][0]["idempotency_key"] == "k" * 128


@pytest.mark.parametrize("mode", ["block", "conflict"])
def test_concurrent_duplicates_make_one_generation(vendor: Vendor, links: Links, mode: str) -> None:
    vendor.settings(accept_seconds=0.3, duplicate_in_flight=mode)
    body = whole_clip(links.video, links.audio)
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: vendor.create(body, "same"), range(6)))
    made = {answer.json()["id"] for answer in answers if answer.status_code == 201}
    refused = {answer.json()["errorCode"] for answer in answers if answer.status_code != 201}
    assert len(made) == 1
    assert refused <= ({"IDEMPOTENCY_IN_PROGRESS"} if mode == "conflict" else set())
    assert vendor.audit()["accepted"] == 1


@pytest.mark.parametrize(
    ("fault", "accepted", "with_id"),
    [
        ({"when": "before"}, 0, False),
        ({"when": "after"}, 1, True),
        ({"when": "after", "with_id": False}, 1, False),
    ],
)
def test_an_unknown_outcome_is_settled_by_the_same_key(
    vendor: Vendor, links: Links, fault: dict[str, object], accepted: int, with_id: bool
) -> None:
    vendor.faults({"call": "create", "kind": "idempotency_unknown", **fault})
    body = whole_clip(links.video, links.audio)
    unknown = vendor.create(body, "k")
    assert unknown.status_code == 503
    assert unknown.json()["errorCode"] == "IDEMPOTENCY_OUTCOME_UNKNOWN"
    assert vendor.audit()["accepted"] == accepted
    settled = vendor.accepted(body, "k")
    assert unknown.json().get("generationId") == (settled if with_id else None)
    assert vendor.audit()["accepted"] == 1


def test_another_code_about_the_key_can_be_asked_for(vendor: Vendor, links: Links) -> None:
    error = {"status": 409, "code": "IDEMPOTENCY_KEY_EXPIRED", "when": "after", "with_id": False}
    vendor.faults({"call": "create", "kind": "idempotency_unknown", **error})
    answer = vendor.create(whole_clip(links.video, links.audio), "k")
    assert answer.status_code == 409
    assert answer.json()["errorCode"] == "IDEMPOTENCY_KEY_EXPIRED"
    assert vendor.audit()["accepted"] == 1


def test_a_lost_answer_is_found_again(vendor: Vendor, links: Links) -> None:
    body = whole_clip(links.video, links.audio, outputFileName="lost")
    vendor.faults(
        {
            "call": "create",
            "kind": "drop_connection",
            "when": "after",
            "match": {"reference": "lost"},
        }
    )
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        vendor.create(body, "k")
    lost = vendor.audit()["jobs"][0]
    assert lost["reference"] == "lost"
    assert vendor.accepted(body, "k") == lost["id"]


def test_a_legacy_server_makes_a_duplicate(vendor: Vendor, links: Links) -> None:
    vendor.settings(idempotency="legacy")
    body = whole_clip(links.video, links.audio)
    assert vendor.accepted(body, "k") != vendor.accepted(body, "k")
    assert vendor.accepted(body, "not a key")
    assert vendor.audit()["accepted"] == 3


def test_the_key_holds_over_a_restart_and_a_time(
    tmp_path: Path, media: Media, pool: MediaPool
) -> None:
    with running(tmp_path, pool=pool) as vendor:
        vendor.settings(seconds_per_job=0, media="copy")
        body = whole_clip(
            vendor.upload(media.clip, "video/mp4"), vendor.upload(media.tone, "audio/wav")
        )
        first = vendor.accepted(body, "k")
    with running(tmp_path, pool=pool) as vendor:
        assert vendor.accepted(body, "k") == first
        vendor.settings(idempotency_hours=0)
        vendor.accepted(body, "short")
        assert vendor.accepted(body, "short") != first
        assert vendor.audit()["accepted"] == 3


def test_multipart_shares_the_keys(vendor: Vendor, media: Media) -> None:
    files = {
        "video": ("clip.mp4", media.clip.read_bytes(), "video/mp4"),
        "audio": ("a.wav", media.tone.read_bytes(), "audio/wav"),
    }
    data = {"model": "lipsync-2", "options": '{"sync_mode": "cut_off"}', "outputFileName": "m"}

    def send(**more: str) -> httpx.Response:
        return vendor.http.post(
            "/v2/generate", data={**data, **more}, files=files, headers={"Idempotency-Key": "k"}
        )

    first = send()
    assert first.status_code == 201, first.text
    assert first.json()["options"] == {"sync_mode": "cut_off"}
    assert [item["type"] for item in first.json()["input"]] == ["video", "audio"]
    assert send().json()["id"] == first.json()["id"]
    assert send(outputFileName="n").status_code == 409
    assert send(options="{").status_code == 400
    vendor.until(first.json()["id"], "COMPLETED")
