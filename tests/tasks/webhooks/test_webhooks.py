"""Webhooks to a job's owner: what is sent, when again, and what stays behind."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from prefect.client.schemas.objects import State, StateType
from standardwebhooks import Webhook

from pro_video.core.clock import Clock, VirtualClock
from pro_video.core.job_warning import JobWarning
from pro_video.core.progress import Stage
from pro_video.core.stopping import Stopped, StopReason, StopSignal, use_stop
from pro_video.net.gate import Gate
from pro_video.records import JobError, JobResult
from pro_video.s3.storage import Storage
from pro_video.webhooks.records import (
    END_DELAYS,
    Delivery,
    EventType,
    delivery_key,
    gone_key,
    shown_address,
    target_key,
    webhook_id,
)
from pro_video.webhooks.signing import new_secret
from tasks.deliver_webhook import deliver
from tasks.webhooks.announce import end_data, keep_target, read_delivery, read_target
from tests.support.scripted import Reply
from tests.tasks.webhooks.receiver import Receiver

GATE = Gate(allow_private=True, connect_timeout=2.0, read_timeout=2.0)
NOW = datetime(2026, 1, 1, tzinfo=UTC)


async def at_once(_job: str, _clock: Clock) -> None:
    """A job whose run has ended."""


def new_job() -> str:
    return str(uuid.uuid4())


async def announced(
    storage: Storage,
    url: str,
    *,
    job_id: str | None = None,
    type_: EventType = "job.completed",
    stage: Stage | None = None,
    data: dict[str, Any] | None = None,
) -> tuple[str, str, str]:
    """Job, message and secret of a message whose delivery is about to begin."""
    job_id = job_id or new_job()
    secret = await keep_target(storage, job_id, url=url, events=["job.completed", "job.stage"])
    message = webhook_id(job_id, type_, 1, stage)
    record = Delivery(
        webhook_id=message,
        job_id=job_id,
        type=type_,
        timestamp=NOW,
        data=data or {"status": "completed", "message": "done", "output_key": "jobs/x/out.mp4"},
        target=shown_address(url),
    )
    await storage.put_bytes(delivery_key(job_id, message), record.model_dump_json().encode())
    return job_id, message, secret


async def run_out(
    storage: Storage, job_id: str, message: str, clock: VirtualClock, *, most: int = 40
) -> tuple[State[Any], list[float]]:
    """Runs of the delivery as Prefect would start them, each without a memory of the last; the
    last state and the times between runs."""
    gaps: list[float] = []
    for _ in range(most):
        state = await deliver(storage, job_id, message, gate=GATE, settled=at_once, clock=clock)
        if state.type is not StateType.SCHEDULED:
            return state, gaps
        due = state.state_details.scheduled_time
        assert due is not None
        gaps.append(due.timestamp() - clock.time())
        clock.advance(gaps[-1])
    raise AssertionError("the delivery does not end")


async def test_a_receiver_gets_a_signed_message_with_a_link_that_works(
    storage: Storage, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    caplog.set_level("DEBUG", logger="prefect.pro_video")
    job_id = new_job()
    key = f"jobs/{job_id}/out.mp4"
    await storage.put_bytes(key, b"video")
    data = {"status": "completed", "message": "fertig ✓", "progress": 100, "output_key": key}
    _, message, secret = await announced(storage, receiver.url, job_id=job_id, data=data)
    # Receivers go by their own clock.
    clock = VirtualClock(time.time())
    state = await deliver(storage, job_id, message, gate=GATE, settled=at_once, clock=clock)

    assert state.type is StateType.COMPLETED
    (sent,) = receiver.messages
    assert Webhook(secret).verify(sent.body, sent.headers) == sent.content
    assert sent.headers["webhook-id"] == message
    assert (sent.path, sent.query) == ("/hook", {"token": ["secret-in-query"]})
    assert sent.headers["content-type"] == "application/json"
    content = sent.content
    link = content["data"].pop("output_url")
    assert content == {
        "type": "job.completed",
        "timestamp": NOW.isoformat(),
        "job_id": job_id,
        "data": data,
    }
    async with httpx.AsyncClient(trust_env=False) as client:
        assert (await client.get(link)).content == b"video"
    # The link and the secrets are for the receiver alone.
    raw = await storage.get_bytes(delivery_key(job_id, message), 100_000)
    assert raw is not None
    kept = raw.decode()
    for hidden in ("Signature", "secret-in-query", secret):
        assert hidden not in kept
        assert hidden not in caplog.text
        assert hidden not in (state.message or "")


async def test_tries_grow_apart_over_a_day_with_one_id_and_fresh_signatures(
    storage: Storage, receiver: Receiver
) -> None:
    receiver.answers = [*[500] * (len(END_DELAYS) - 1), 204]
    job_id, message, secret = await announced(storage, receiver.url)
    clock = VirtualClock(NOW.timestamp())
    state, gaps = await run_out(storage, job_id, message, clock)

    assert state.type is StateType.COMPLETED
    assert len(receiver.messages) == len(END_DELAYS)
    assert {one.headers["webhook-id"] for one in receiver.messages} == {message}
    times = [int(one.headers["webhook-timestamp"]) for one in receiver.messages]
    assert times == sorted(times)
    for sent, when in zip(receiver.messages, times, strict=True):
        signed = Webhook(secret).sign(
            message, datetime.fromtimestamp(when, UTC), sent.body.decode()
        )
        assert sent.headers["webhook-signature"] == signed
    # Between distant tries nothing is held in memory.
    assert len(gaps) == sum(delay > 48 for delay in END_DELAYS)
    assert gaps == sorted(gaps)
    assert 0.75 * 86400 < clock.monotonic() < 1.25 * 86400
    record = await read_delivery(storage, job_id, message)
    assert record is not None
    assert record.state == "delivered"
    assert [one.status for one in record.tries] == [500] * (len(END_DELAYS) - 1) + [204]


async def test_a_delivery_is_given_up_in_the_end_and_a_retry_tries_once_more(
    storage: Storage, receiver: Receiver
) -> None:
    receiver.answers = [503] * 100
    job_id, message, _ = await announced(storage, receiver.url)
    clock = VirtualClock(NOW.timestamp())
    state, _ = await run_out(storage, job_id, message, clock)
    assert state.type is StateType.FAILED
    assert "503" in (state.message or "")
    assert len(receiver.messages) == len(END_DELAYS)

    state, _ = await run_out(storage, job_id, message, clock)
    assert state.type is StateType.FAILED
    assert len(receiver.messages) == len(END_DELAYS) + 1
    receiver.answers = []
    state, _ = await run_out(storage, job_id, message, clock)
    assert state.type is StateType.COMPLETED


async def test_a_stage_is_soon_of_no_use(storage: Storage, receiver: Receiver) -> None:
    receiver.answers = [500] * 100
    job_id, message, _ = await announced(
        storage, receiver.url, type_="job.stage", stage=Stage.UPLOADING
    )
    clock = VirtualClock(NOW.timestamp())
    state, _ = await run_out(storage, job_id, message, clock)
    assert state.type is StateType.FAILED
    assert clock.monotonic() < 1800


async def test_a_delivered_message_is_not_sent_again(storage: Storage, receiver: Receiver) -> None:
    job_id, message, _ = await announced(storage, receiver.url)
    clock = VirtualClock(NOW.timestamp())
    for _ in range(3):
        state, _ = await run_out(storage, job_id, message, clock)
        assert state.type is StateType.COMPLETED
    assert len(receiver.messages) == 1


async def test_a_receiver_that_is_gone_hears_nothing_more(
    storage: Storage, receiver: Receiver
) -> None:
    receiver.answers = [410]
    job_id, message, _ = await announced(storage, receiver.url)
    clock = VirtualClock(NOW.timestamp())
    state, _ = await run_out(storage, job_id, message, clock)
    assert state.type is StateType.FAILED
    assert await storage.head(gone_key(job_id)) is not None
    _, second, _ = await announced(
        storage, receiver.url, job_id=job_id, type_="job.stage", stage=Stage.UPLOADING
    )
    state, _ = await run_out(storage, job_id, second, clock)
    assert state.type is StateType.FAILED
    assert len(receiver.messages) == 1
    records = [await read_delivery(storage, job_id, each) for each in (message, second)]
    assert [record.state for record in records if record] == ["gone", "gone"]


async def test_redirects_are_not_followed(storage: Storage, receiver: Receiver) -> None:
    receiver.answers = [Reply(302, headers={"Location": receiver.url}), 200]
    job_id, message, _ = await announced(storage, receiver.url)
    state, _ = await run_out(storage, job_id, message, VirtualClock(NOW.timestamp()))
    assert state.type is StateType.COMPLETED
    record = await read_delivery(storage, job_id, message)
    assert record is not None
    assert [one.status for one in record.tries] == [302, 200]
    assert "redirect" in (record.tries[0].problem or "")


async def test_a_message_links_every_file_that_it_names(
    storage: Storage, receiver: Receiver
) -> None:
    names = ("output", "fallback", "rejected")
    data: dict[str, Any] = {f"{name}_key": f"jobs/x/{name}.mp4" for name in names}
    for key in data.values():
        await storage.put_bytes(key, key.encode())
    job_id, message, _ = await announced(storage, receiver.url, data=data)
    await run_out(storage, job_id, message, VirtualClock(NOW.timestamp()))
    [sent] = receiver.messages
    told = json.loads(sent.body)["data"]
    async with httpx.AsyncClient(trust_env=False) as client:
        for name in names:
            answer = await client.get(told[f"{name}_url"])
            assert answer.text == told[f"{name}_key"] == data[f"{name}_key"]
    record = await read_delivery(storage, job_id, message)
    assert record is not None
    assert record.data == data


async def test_a_receiver_may_ask_for_time_but_not_for_less(
    storage: Storage, receiver: Receiver
) -> None:
    receiver.answers = [
        Reply(429, headers={"Retry-After": "900"}),
        Reply(503, headers={"Retry-After": "0"}),
        200,
    ]
    job_id, message, _ = await announced(storage, receiver.url)
    clock = VirtualClock(NOW.timestamp())
    _, gaps = await run_out(storage, job_id, message, clock)
    assert gaps[0] == pytest.approx(900, abs=30)
    times = [int(one.headers["webhook-timestamp"]) for one in receiver.messages]
    assert times[2] - times[1] >= 20


async def test_broken_connections_are_tries_too(storage: Storage, receiver: Receiver) -> None:
    receiver.answers = [Reply(fault="drop"), Reply(fault="drop"), 200]
    job_id, message, _ = await announced(storage, receiver.url)
    state, _ = await run_out(storage, job_id, message, VirtualClock(NOW.timestamp()))
    assert state.type is StateType.COMPLETED
    record = await read_delivery(storage, job_id, message)
    assert record is not None
    assert [one.status for one in record.tries] == [None, None, 200]
    assert "secret-in-query" not in record.model_dump_json()


async def test_an_endless_answer_is_not_read(storage: Storage, receiver: Receiver) -> None:
    receiver.answers = [Reply(fault="drip")]
    job_id, message, _ = await announced(storage, receiver.url)
    async with asyncio.timeout(10):
        state, _ = await run_out(storage, job_id, message, VirtualClock(NOW.timestamp()))
    assert state.type is StateType.COMPLETED


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:{port}/hook",
        "http://169.254.169.254/latest/meta-data",
        "http://localhost:{port}/hook",
        "ftp://example.com/hook",
    ],
)
async def test_the_gate_holds_for_receivers(storage: Storage, receiver: Receiver, url: str) -> None:
    job_id, message, _ = await announced(storage, url.format(port=httpx.URL(receiver.url).port))
    clock = VirtualClock(NOW.timestamp())
    for _ in range(2):
        state = await deliver(storage, job_id, message, gate=Gate(), settled=at_once, clock=clock)
        clock.advance(3600)
    assert state.type is StateType.SCHEDULED
    assert receiver.messages == []
    record = await read_delivery(storage, job_id, message)
    assert record is not None
    assert all("refused" in (one.problem or "") for one in record.tries)


@pytest.mark.parametrize("reason", list(StopReason))
async def test_a_stop_ends_a_delivery_at_once_and_another_worker_goes_on(
    storage: Storage, receiver: Receiver, reason: StopReason
) -> None:
    receiver.answers = [Reply(fault="hang"), 200]
    job_id, message, _ = await announced(storage, receiver.url)
    signal = StopSignal()
    with use_stop(signal):
        running = asyncio.create_task(deliver(storage, job_id, message, gate=GATE, settled=at_once))
        async with asyncio.timeout(10):
            while not receiver.messages:  # noqa: ASYNC110 - it comes in another task
                await asyncio.sleep(0.01)
        signal.set(reason)
        with pytest.raises(Stopped):
            async with asyncio.timeout(10):
                await running
    state = await deliver(storage, job_id, message, gate=GATE, settled=at_once)
    assert state.type is StateType.COMPLETED
    assert [one.headers["webhook-id"] for one in receiver.messages] == [message] * 2


async def test_the_first_target_stays_and_keeps_its_secret(storage: Storage) -> None:
    job_id, mine = new_job(), new_secret()
    events: Sequence[EventType] = ("job.completed",)
    assert await keep_target(storage, job_id, url="https://a", events=events, secret=mine) == mine
    assert await keep_target(storage, job_id, url="https://b", events=events) == mine
    kept = await read_target(storage, job_id)
    assert kept is not None
    assert kept.url == "https://a"
    assert mine not in repr(kept)
    other = new_job()
    assert await keep_target(storage, other, url="https://a", events=events) != mine
    with pytest.raises(ValueError, match="secret"):
        await keep_target(storage, new_job(), url="https://a", events=events, secret="guess")


def test_ids_are_the_same_for_the_same_news_and_differ_for_other() -> None:
    job_id = new_job()
    ids = [
        webhook_id(job_id, "job.completed", 1),
        webhook_id(job_id, "job.failed", 1),
        webhook_id(job_id, "job.failed", 2),
        *(webhook_id(job_id, "job.stage", 1, stage) for stage in Stage),
    ]
    assert len(set(ids)) == len(ids)
    assert webhook_id(job_id, "job.failed", 2) == ids[2]
    for each in ids:
        # Standard Webhooks signs "id.timestamp.body".
        assert "." not in each
        assert delivery_key(job_id, each).startswith(f"jobs/{job_id}/webhooks/")


def test_a_key_is_made_only_for_messages_of_the_job() -> None:
    for message in ("../../x", "msg_1", "", webhook_id(new_job(), "job.failed", 1)):
        with pytest.raises(ValueError, match="not a message"):
            delivery_key(new_job(), message)


def test_targets_are_kept_apart_from_what_jobs_show() -> None:
    job_id = new_job()
    assert target_key(job_id).startswith(f"results/{job_id}/")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://u:p@example.com:8443/a/b?token=x#y", "https://example.com:8443/a/b"),
        ("http://example.com", "http://example.com"),
    ],
)
def test_addresses_are_shown_without_their_secrets(url: str, shown: str) -> None:
    assert shown_address(url) == shown


def test_the_data_of_an_end_holds_no_links() -> None:
    result = JobResult(
        job_id=new_job(),
        status="failed",
        message="Text inpainting failed: no",
        fallback_key="jobs/x/fallback.mp4",
        fallback_url="https://s3/x?X-Amz-Signature=secret",
        rejected_key="jobs/x/rejected.mp4",
        rejected_url="https://s3/y?X-Amz-Signature=secret",
        warnings=(JobWarning(code="odd", message="It is odd.", stage="inpainting", start=1.5),),
        error=JobError(stage="inpainting processing", kind="JobFailed", message="no", code="7"),
        created_at=NOW,
        completed_at=NOW,
    )
    data = end_data(result)
    assert data["fallback_key"] == "jobs/x/fallback.mp4"
    assert data["rejected_key"] == "jobs/x/rejected.mp4"
    assert data["warnings"] == [each.model_dump(mode="json") for each in result.warnings]
    assert data["error"]["code"] == "7"
    assert "secret" not in str(data)
