import json
from pathlib import Path

import pytest

from sandbox.common.server import start_app
from sandbox.ghostcut import create_app
from tests.sandbox.control import wait_until
from tests.sandbox.ghostcut.vendor import Receiver, Vendor, sign


def test_success_and_failure_are_announced(vendor: Vendor, receiver: Receiver) -> None:
    work = vendor.submit(callback=receiver.url)
    wait_until(lambda: receiver.received)
    signature, raw = receiver.received[0]
    assert signature == sign(raw, vendor.secret)
    assert json.loads(raw) == vendor.row(work)
    vendor.faults({"call": "job", "kind": "failed", "status": 20})
    vendor.submit(callback=receiver.url)
    row = wait_until(lambda: receiver.rows()[1:])[0]
    assert (row["processStatus"], row["paidPoint"], "videoUrl" in row) == (20, 0.0, False)
    assert len(receiver.received) == 2


def test_each_work_of_a_batch_calls_back(vendor: Vendor, receiver: Receiver) -> None:
    vendor.submit(urls=[vendor.source + "?a", vendor.source + "?b"], callback=receiver.url)
    wait_until(lambda: len(receiver.received) == 2)
    assert len({row["id"] for row in receiver.rows()}) == 2


def test_only_a_200_with_content_confirms(vendor: Vendor, receiver: Receiver) -> None:
    receiver.script = [(500, b"no"), (204, b""), (200, b""), (302, b"x"), (200, b"ok")]
    vendor.settings(time_scale=0.0001)
    vendor.submit(callback=receiver.url)
    wait_until(lambda: vendor.jobs()[0]["callbacks_delivered"] == 1)
    assert len(receiver.received) == vendor.jobs()[0]["callback_attempts"] == 5
    assert len({raw for _, raw in receiver.received}) == 1


def test_repeats_end_with_the_window(vendor: Vendor, receiver: Receiver) -> None:
    receiver.script = [(500, b"no")] * 1000
    vendor.settings(time_scale=0.0001, callback_window_hours=1.0)
    vendor.submit(callback=receiver.url)
    wait_until(lambda: vendor.jobs()[0]["callback_attempts"] >= 1)
    attempts = wait_until(lambda: settled(vendor))
    assert 1 <= attempts <= 3
    assert vendor.jobs()[0]["callbacks_delivered"] == 0


def settled(vendor: Vendor) -> int:
    job = vendor.jobs()[0]
    return int(job["callback_attempts"]) if job["callbacks_pending"] == 0 else 0


def test_faults(vendor: Vendor, receiver: Receiver) -> None:
    vendor.faults(
        {"call": "callback", "kind": "drop", "match": {"reference": "dropped"}},
        {"call": "callback", "kind": "duplicate", "copies": 3, "match": {"reference": "twins"}},
        {"call": "callback", "kind": "delay", "seconds": 1.2, "match": {"reference": "late"}},
        {"call": "callback", "kind": "wrong_signature", "match": {"reference": "forged"}},
    )
    for name in ("dropped", "late", "twins", "forged", "plain"):
        vendor.ended(vendor.submit(names=[name], callback=receiver.url))
    wait_until(lambda: len(receiver.received) == 6)
    names = [row["name"] for row in receiver.rows()]
    assert sorted(names) == ["forged", "late", "plain", "twins", "twins", "twins"]
    assert names[-1] == "late"
    for (signature, raw), name in zip(receiver.received, names, strict=True):
        assert (signature == sign(raw, vendor.secret)) is (name != "forged")
    assert vendor.ended(vendor.submit())["processStatus"] == 1


def test_a_rerun_calls_back_with_its_new_result(vendor: Vendor, receiver: Receiver) -> None:
    work = vendor.submit(callback=receiver.url)
    vendor.ended(work)
    vendor.body("/work/video/inpaint/redo", {"id": work})
    vendor.ended(work)
    wait_until(lambda: len(receiver.received) == 2)
    assert len({row["videoUrl"] for row in receiver.rows()}) == 2
    assert {row["id"] for row in receiver.rows()} == {work}


def test_private_receivers_can_be_refused(vendor: Vendor, receiver: Receiver) -> None:
    vendor.settings(allow_private=False, time_scale=0.0)
    vendor.submit(callback=receiver.url)
    wait_until(lambda: vendor.jobs()[0]["callback_attempts"] == 1)
    assert receiver.received == []


def test_a_pending_callback_survives_a_restart(
    tmp_path: Path, source_url: str, receiver: Receiver
) -> None:
    receiver.script = [(503, b"")]
    with start_app(create_app(data_dir=tmp_path, app_key="k", app_secret="s")) as server:
        vendor = Vendor(server.url, "k", "s", "http://127.0.0.1:9/dead.mp4")
        with vendor.http:
            vendor.settings(seconds_per_job=0.0, time_scale=0.0005)
            vendor.submit(callback=receiver.url)
            wait_until(lambda: vendor.jobs()[0]["callback_attempts"] == 1)
    with start_app(create_app(data_dir=tmp_path, app_key="k", app_secret="s")):
        wait_until(lambda: len(receiver.received) == 2)
    assert [row["processStatus"] for row in receiver.rows()] == [3, 3]


def test_an_unexpected_error_is_one_failed_delivery(
    vendor: Vendor,
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    bodies = iter([None, "told"])

    def sign_later(body: bytes, secret: str) -> str:
        if next(bodies) is None:
            raise KeyError("unexpected")
        return sign(body, secret)

    monkeypatch.setattr("sandbox.ghostcut.work.callbacks.sign", sign_later)
    vendor.settings(time_scale=0.0001)
    vendor.submit(callback=receiver.url)
    wait_until(lambda: vendor.jobs()[0]["callbacks_delivered"] == 1)
    assert (len(receiver.received), vendor.jobs()[0]["callback_attempts"]) == (1, 2)
    assert "KeyError: 'unexpected'" in caplog.text
