"""Direct uploads: presigned parts, completion, and the removal of incomplete ones."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from gateway.app.services import open_services
from gateway.base.settings import GatewaySettings
from gateway.bucket.bucket import Bucket
from gateway.prefect_client.runs import Runs
from gateway.uploads.orphan_uploads import OrphanUploads
from gateway.uploads.sweeper import Sweeper
from tests.gateway.gateways import (
    BUCKET,
    FORM,
    JOBS,
    UPLOADS,
    Gateway,
    Upstream,
    form,
    json_job,
    key_of,
)

MIB = 1024 * 1024


def put(url: str, data: bytes) -> httpx.Response:
    return httpx.put(url, content=data, trust_env=False, timeout=30)


def test_upload_in_parts_then_job(gateway: Gateway, upstream: Upstream) -> None:
    data = bytes(range(256)) * (20 * MIB // 256)
    with gateway.client() as client:
        answer = client.post(UPLOADS, json={"filename": "../../clip.MP4", "size": len(data)})
        assert answer.status_code == 201, answer.text
        upload = answer.json()
        assert [part["size"] for part in upload["parts"]] == [16 * MIB, 4 * MIB]
        first, second = upload["parts"]
        # A link takes exactly the bytes that were promised.
        assert put(first["url"], b"short").status_code == 403
        assert put(first["url"], data[: 16 * MIB]).status_code == 200

        early = client.post(upload["complete_url"])
        assert (early.status_code, early.json()["code"]) == (409, "upload_incomplete")
        job = json_job(video=upload["source"])
        answer = client.post(JOBS, json=job)
        assert answer.json()["errors"][0]["code"] == "upload_incomplete"

        resumed = client.get(upload["abort_url"]).json()
        assert [part["number"] for part in resumed["parts"]] == [2]
        assert put(second["url"], data[16 * MIB :]).status_code == 200
        for _ in range(2):
            answer = client.post(upload["complete_url"])
            assert answer.status_code == 200, answer.text
            assert (answer.json()["status"], answer.json()["parts"]) == ("complete", [])

        answer = client.post(JOBS, json=job)
        assert answer.status_code == 201, answer.text
        run = upstream.run(answer.json()["job_id"])
        assert f"upload:{upload['upload_id']}" in run["tags"]
        assert upstream.content(key_of(run["parameters"]["video"])) == data
        assert key_of(run["parameters"]["video"]).endswith("/file.mp4")


def test_abort_leaves_nothing(gateway: Gateway, upstream: Upstream) -> None:
    with gateway.client() as client:
        upload = client.post(UPLOADS, json={"filename": "a.wav", "size": 10}).json()
        prefix = f"uploads/local/{upload['upload_id']}/"
        assert upstream.unfinished(prefix)
        assert put(upload["parts"][0]["url"], b"0123456789").status_code == 200
        assert client.delete(upload["abort_url"]).status_code == 204
        assert not upstream.unfinished(prefix)
        assert not upstream.keys(prefix)
        assert client.get(upload["abort_url"]).status_code == 404
        assert client.post(upload["complete_url"]).status_code == 404
        assert client.delete(upload["abort_url"]).status_code == 404


def test_uploads_of_others(owned: Gateway, tokens: dict[str, str]) -> None:
    with owned.client(tokens["anna"]) as anna, owned.client(tokens["ben"]) as ben:
        upload = anna.post(UPLOADS, json={"filename": "a.mp4", "size": 1}).json()
        put(upload["parts"][0]["url"], b"x")
        assert anna.post(upload["complete_url"]).status_code == 200
        assert ben.get(upload["abort_url"]).status_code == 404
        assert ben.post(upload["complete_url"]).status_code == 404
        assert ben.delete(upload["abort_url"]).status_code == 404
        job = json_job(video=upload["source"])
        assert ben.post(JOBS, json=job).json()["errors"][0]["code"] == "upload_not_found"
        assert anna.post(JOBS, json=job).status_code == 201


def test_idempotency(gateway: Gateway, upstream: Upstream) -> None:
    key = {"Idempotency-Key": uuid.uuid4().hex}
    body = {"filename": "a.mp4", "size": 100}
    with gateway.client() as client:
        first = client.post(UPLOADS, json=body, headers=key)
        second = client.post(UPLOADS, json=body, headers=key)
        assert (first.status_code, second.status_code) == (201, 200)
        upload_id = first.json()["upload_id"]
        assert second.json()["upload_id"] == upload_id
        other = client.post(UPLOADS, json={**body, "size": 101}, headers=key)
        assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
        assert len(upstream.unfinished(f"uploads/local/{upload_id}/")) == 1


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"filename": "a.mp4"}, 422, "size"),
        ({"filename": "", "size": 1}, 422, "filename"),
        ({"filename": "a.mp4", "size": 0}, 422, "size"),
        ({"filename": "a.mp4", "size": "1"}, 422, "size"),
        ({"filename": "a.mp4", "size": 1, "x": 1}, 422, "x"),
        ({"filename": "a.mp4", "size": 2**60}, 413, None),
    ],
)
def test_wrong_requests(
    gateway: Gateway, body: dict[str, object], status: int, field: str | None
) -> None:
    with gateway.client() as client:
        answer = client.post(UPLOADS, json=body)
    assert answer.status_code == status, answer.text
    if field is not None:
        assert [error["field"] for error in answer.json()["errors"]] == [field]


def test_open_uploads_are_bounded(
    start_gateway: Callable[..., Gateway], upstream: Upstream
) -> None:
    with start_gateway(open_uploads=1).client() as client:
        client.post(UPLOADS, json={"filename": "a.mp4", "size": 1})
        answer = client.post(UPLOADS, json={"filename": "a.mp4", "size": 1})
        assert (answer.status_code, answer.json()["code"]) == (429, "too_many_uploads")
        assert "Retry-After" in answer.headers


def test_sweep(start_gateway: Callable[..., Gateway], upstream: Upstream) -> None:
    """Expired uploads are removed, unless an unfinished job uses them."""
    settings = GatewaySettings(upload_hours=1, upload_keep_hours=10, open_uploads=1000)
    ids = []
    with start_gateway(open_uploads=1000).client() as client:
        for completed in (False, True, True):
            upload = client.post(UPLOADS, json={"filename": "a.mp4", "size": 1}).json()
            ids.append(upload["upload_id"])
            if completed:
                put(upload["parts"][0]["url"], b"x")
                client.post(upload["complete_url"])
        job = client.post(JOBS, json=json_job(video=f"upload:{ids[2]}")).json()["job_id"]

    def left() -> list[bool]:
        return [bool(upstream.keys(f"uploads/local/{one}/")) for one in ids]

    async def swept_after(hours: float) -> None:
        async with open_services(settings) as services:
            await services[Sweeper].sweep(datetime.now(UTC) + timedelta(hours=hours))

    asyncio.run(swept_after(0.5))
    assert left() == [True, True, True]
    asyncio.run(swept_after(2))
    assert left() == [False, True, True]
    assert not upstream.unfinished(f"uploads/local/{ids[0]}/")
    asyncio.run(swept_after(11))
    assert left() == [False, False, True]
    upstream.set_state(job, "COMPLETED", "Completed")
    asyncio.run(swept_after(11))
    assert left() == [False, False, False]


def test_orphans_are_removed_unless_a_job_uses_them(
    start_gateway: Callable[..., Gateway], upstream: Upstream
) -> None:
    with start_gateway().client() as client:
        view = client.post(FORM, **form()).json()
    used = upstream.run(view["job_id"])["parameters"]["video"].split("/", 3)[3].rpartition("/")[0]
    unused = f"uploads/local/{uuid.uuid4().hex}"
    upstream.s3.put_object(Bucket=BUCKET, Key=f"{unused}/video.mp4", Body=b"v")
    now = 0.0
    orphans = OrphanUploads(lambda: now)
    for prefix in (used, unused):
        orphans.add(f"{prefix}/")

    async def remaining() -> list[str]:
        settings = GatewaySettings()
        async with open_services(settings) as services:
            sweeper = Sweeper(settings, services[Bucket], services[Runs], orphans)
            await sweeper.remove_orphans()
        return orphans.older_than(0)

    # A job may still come of it.
    assert len(asyncio.run(remaining())) == 2
    assert upstream.keys(unused)
    now = 60.0
    assert asyncio.run(remaining()) == []
    assert not upstream.keys(unused)
    assert upstream.keys(used)
