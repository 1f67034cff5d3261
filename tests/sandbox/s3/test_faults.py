"""Faults on demand, and the audit."""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, HTTPClientError

from sandbox.common.server import RunningServer
from tests.sandbox.control import Control
from tests.sandbox.s3.raw import Raw

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


class Rig(Control):
    """A server with a bucket and an object of 1000 bytes, and its control API."""

    def __init__(self, server: RunningServer, client: S3Client, http: httpx.Client) -> None:
        self.raw = Raw(server.url)
        self.client = client
        self.http = http
        client.create_bucket(Bucket="bucket")
        client.put_object(Bucket="bucket", Key="k", Body=bytes(1000))

    def fault(self, call: str, kind: str, **more: Any) -> None:
        self.faults({"call": call, "kind": kind, **more})

    def left(self) -> list[dict[str, Any]]:
        faults: list[dict[str, Any]] = self.http.get("/_sandbox/faults").json()["faults"]
        return faults

    def body(self) -> bytes:
        return self.raw.signed("GET", "/bucket/k").body


@pytest.fixture
def rig(
    serve: Callable[..., RunningServer], connect: Callable[[RunningServer], S3Client]
) -> Iterator[Rig]:
    server = serve()
    with httpx.Client(base_url=server.url, trust_env=False, verify=False) as http:
        yield Rig(server, connect(server), http)


def test_error_answers(rig: Rig) -> None:
    for kind, more, code, status in (
        ("500", {}, "InternalError", 500),
        ("503_slow_down", {}, "SlowDown", 503),
        ("error", {"code": "AccessDenied"}, "AccessDenied", 403),
    ):
        rig.fault("put_object", kind, **more)
        answer = rig.raw.signed("PUT", "/bucket/k", b"new")
        assert (answer.code, answer.status) == (code, status)
        assert rig.body() == bytes(1000)
    assert rig.raw.signed("PUT", "/bucket/k", b"new").status == 200


def test_a_fault_is_meant_for_an_operation_and_its_object(rig: Rig) -> None:
    rig.fault("get_object", "500", times=2, match={"bucket": "bucket", "key": "jobs/*"})
    assert rig.raw.signed("HEAD", "/bucket/jobs/1").status == 404
    statuses = [rig.raw.signed("GET", f"/bucket/{key}").status for key in ("k", "jobs/1", "jobs/2")]
    assert statuses == [200, 500, 500]
    assert rig.left() == []


def test_dropped_connections_do_nothing(rig: Rig) -> None:
    for more in ({}, {"after_bytes": 2000}, {"after_bytes": 10**9}):
        rig.fault("put_object", "drop_connection", **more)
        with pytest.raises((OSError, http.client.HTTPException)):
            rig.raw.signed("PUT", "/bucket/k", b"n" * 5000)
        assert rig.left() == []
        assert rig.body() == bytes(1000)


def test_lost_answers_do_it_all_the_same(rig: Rig) -> None:
    rig.fault("put_object", "lost_answer")
    with pytest.raises((OSError, http.client.HTTPException)):
        rig.raw.signed("PUT", "/bucket/k", b"new")
    assert rig.body() == b"new"


def test_lost_completion_as_boto3_sees_it(rig: Rig) -> None:
    upload = rig.client.create_multipart_upload(Bucket="bucket", Key="big")["UploadId"]
    part = rig.client.upload_part(
        Bucket="bucket", Key="big", UploadId=upload, PartNumber=1, Body=b"part"
    )
    done: Any = {
        "Bucket": "bucket",
        "Key": "big",
        "UploadId": upload,
        "MultipartUpload": {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]},
    }
    rig.fault("complete_multipart_upload", "lost_answer")
    with pytest.raises((HTTPClientError, EndpointConnectionError)):
        rig.client.complete_multipart_upload(**done)
    with pytest.raises(ClientError, match="NoSuchUpload"):
        rig.client.complete_multipart_upload(**done)
    assert rig.client.head_object(Bucket="bucket", Key="big")["ContentLength"] == 4


def test_success_that_is_none(rig: Rig) -> None:
    rig.fault("copy_object", "200_error")
    with pytest.raises(ClientError, match="InternalError"):
        rig.client.copy_object(Bucket="bucket", Key="copy", CopySource="bucket/k")
    assert rig.raw.signed("HEAD", "/bucket/copy").status == 404


def test_spoiled_downloads(rig: Rig) -> None:
    rig.fault("get_object", "truncate", after_bytes=300)
    with pytest.raises(http.client.IncompleteRead) as error:
        rig.body()
    assert len(error.value.partial) == 300
    rig.fault("get_object", "truncate")
    with pytest.raises(http.client.IncompleteRead) as error:
        rig.body()
    assert len(error.value.partial) == 500
    rig.fault("get_object", "corrupt", offset=3)
    assert rig.body() == bytes(3) + b"\x01" + bytes(996)
    rig.fault("get_object", "ignore_range")
    whole = rig.raw.signed("GET", "/bucket/k", headers={"Range": "bytes=0-9"})
    assert (whole.status, len(whole.body)) == (200, 1000)


def test_lies_about_what_was_done(rig: Rig) -> None:
    rig.fault("put_object", "ignore_condition")
    written = rig.raw.signed("PUT", "/bucket/k", b"new", headers={"If-None-Match": "*"})
    assert written.status == 200
    assert rig.body() == b"new"
    again = rig.raw.signed("PUT", "/bucket/k", b"newer", headers={"If-None-Match": "*"})
    assert again.status == 412
    rig.fault("head_object", "no_checksum")
    rig.client.put_object(Bucket="bucket", Key="k", Body=b"x", ChecksumAlgorithm="CRC32")
    heads = [rig.client.head_object(Bucket="bucket", Key="k", ChecksumMode="ENABLED")]
    heads.append(rig.client.head_object(Bucket="bucket", Key="k", ChecksumMode="ENABLED"))
    assert ["ChecksumCRC32" in head for head in heads] == [False, True]
    upload = rig.client.create_multipart_upload(Bucket="bucket", Key="k")["UploadId"]
    rig.fault("abort_multipart_upload", "pretend")
    for left in (1, 0):
        rig.client.abort_multipart_upload(Bucket="bucket", Key="k", UploadId=upload)
        found = rig.client.list_multipart_uploads(Bucket="bucket").get("Uploads", [])
        assert len(found) == left


def test_slow_and_late_answers(rig: Rig) -> None:
    for call, kind, more in (
        ("get_object", "slow", {"bytes_per_second": 5000}),
        ("put_object", "slow", {"bytes_per_second": 5000}),
        ("any", "delay", {"seconds": 0.2}),
    ):
        rig.fault(call, kind, **more)
        started = time.monotonic()
        method = "PUT" if call == "put_object" else "GET"
        body = bytes(1000) if method == "PUT" else None
        assert rig.raw.signed(method, "/bucket/k", body).status == 200
        assert time.monotonic() - started > 0.15


def test_only_known_calls_and_kinds_are_queued(rig: Rig) -> None:
    rig.fault("any", "500", times=None)
    for call, kind in (("fly", "500"), ("any", "strange")):
        body = {"faults": [{"call": call, "kind": kind}]}
        answer = rig.http.put("/_sandbox/faults", json=body)
        assert (answer.status_code, "unknown" in answer.json()["error"]) == (400, True)
    assert len(rig.left()) == 1


def test_the_audit_counts_requests_by_operation(rig: Rig) -> None:
    assert rig.raw.signed("GET", "/bucket/absent").status == 404
    assert rig.audit()["requests"] == {"create_bucket": 1, "put_object": 1, "get_object": 1}
