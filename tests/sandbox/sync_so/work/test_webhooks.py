"""Webhooks: the signature, one attempt, and what can go wrong with one."""

import hashlib
import hmac
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from queue import Queue

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.common.server import start_app
from sandbox.sync_so.work.webhooks import sign
from tests.sandbox.control import wait_until
from tests.sandbox.sync_so.conftest import Links
from tests.sandbox.sync_so.vendor import Json, Vendor, whole_clip


def test_the_signature_of_a_known_message() -> None:
    body = (
        b'{"id":"6533643b-aceb-4c40-967e-d9ba9baac39e","status":"COMPLETED","createdAt":'
        b'"2026-01-01T00:00:00.000Z","model":"lipsync-2","input":[{"type":"video","url":'
        b'"http://127.0.0.1:9/v.mp4"},{"type":"audio","url":"http://127.0.0.1:9/a.wav","refId"'
        b':"r1"}],"outputUrl":"http://127.0.0.1:9/o.mp4","outputDuration":4.0}'
    )
    assert len(body) == 308
    assert sign("whsec_test_0123456789abcdef", body, 1767225600) == (
        "t=1767225600,v1=b9b9e6378400a68fee23b2bce74de89cd3e9cbd30c04c9726b8175146f962d1e"
    )


@dataclass
class Inbox:
    url: str = ""
    status: int = 200
    messages: "Queue[tuple[str, str, bytes]]" = field(default_factory=Queue)

    def next(self) -> tuple[str, str, bytes]:
        return self.messages.get(timeout=20)


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    inbox = Inbox()

    async def receive(request: Request) -> Response:
        signature = request.headers.get("sync-signature", "")
        inbox.messages.put((signature, request.url.query, await request.body()))
        return Response(status_code=inbox.status)

    with start_app(Starlette(routes=[Route("/hook", receive, methods=["POST"])])) as server:
        inbox.url = server.url + "/hook?job=7"
        yield inbox


def good(vendor: Vendor, signature: str, body: bytes) -> bool:
    secret = vendor.http.get("/v2/organizations/webhook/secret").json()["secret"]
    parts = dict(part.split("=", 1) for part in signature.split(","))
    message = parts["t"].encode() + b"." + body
    wanted = hmac.new(secret.encode(), message, hashlib.sha256).hexdigest()
    return hmac.compare_digest(wanted, parts["v1"])


def create(vendor: Vendor, links: Links, inbox: Inbox) -> Json:
    id = vendor.accepted(whole_clip(links.video, links.audio, webhookUrl=inbox.url))
    return vendor.until(id, "COMPLETED", "FAILED", "REJECTED")


def test_completed_and_failed_are_announced_once(
    vendor: Vendor, links: Links, inbox: Inbox
) -> None:
    inbox.status = 500
    done = create(vendor, links, inbox)
    signature, query, body = inbox.next()
    assert query == "job=7"
    assert good(vendor, signature, body)
    assert not good(vendor, signature, body + b" ")
    message = json.loads(body)
    assert (message["id"], message["status"]) == (done["id"], "COMPLETED")
    assert {"createdAt", "model", "input", "outputUrl", "outputDuration"} <= set(message)
    assert "outputFileName" not in message
    vendor.faults({"call": "job", "kind": "failed"}, {"call": "job", "kind": "rejected"})
    create(vendor, links, inbox)
    message = json.loads(inbox.next()[2])
    assert message["error_code"] == "generation_unknown_error"
    assert "errorCode" not in message
    create(vendor, links, inbox)
    assert inbox.messages.empty()
    assert [job["webhook"] for job in vendor.audit()["jobs"]] == ["500", "500", None]


def test_a_rejection_may_be_announced(vendor: Vendor, links: Links, inbox: Inbox) -> None:
    vendor.settings(webhook_rejected=True)
    vendor.faults({"call": "job", "kind": "rejected"})
    create(vendor, links, inbox)
    assert json.loads(inbox.next()[2])["status"] == "REJECTED"


def test_faults_of_a_webhook(vendor: Vendor, links: Links, inbox: Inbox) -> None:
    vendor.faults(
        {"call": "webhook", "kind": "drop"},
        {"call": "webhook", "kind": "duplicate"},
        {"call": "webhook", "kind": "wrong_signature"},
        {"call": "webhook", "kind": "stale"},
        {"call": "webhook", "kind": "empty_error"},
        {"call": "webhook", "kind": "delay", "seconds": 0.1},
    )
    create(vendor, links, inbox)
    twice = create(vendor, links, inbox)
    messages = [inbox.next(), inbox.next()]
    assert {json.loads(body)["id"] for _, _, body in messages} == {twice["id"]}
    create(vendor, links, inbox)
    signature, _, body = inbox.next()
    assert not good(vendor, signature, body)
    fresh = int(messages[0][0].split(",")[0][2:])
    create(vendor, links, inbox)
    signature, _, body = inbox.next()
    assert good(vendor, signature, body)
    assert int(signature.split(",")[0][2:]) < fresh - 300
    create(vendor, links, inbox)
    assert json.loads(inbox.next()[2])["error_code"] == ""
    create(vendor, links, inbox)
    assert json.loads(inbox.next()[2])["status"] == "COMPLETED"


def test_an_unexpected_error_is_logged(
    vendor: Vendor,
    links: Links,
    inbox: Inbox,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def unexpected(*_: object) -> str:
        raise KeyError("unexpected")

    monkeypatch.setattr("sandbox.sync_so.work.webhooks.sign", unexpected)
    assert create(vendor, links, inbox)["status"] == "COMPLETED"
    wait_until(lambda: "KeyError: 'unexpected'" in caplog.text)
    assert inbox.messages.empty()
