"""Delivers one message: tries, records the response, and reschedules the run for the next try.

The record in the bucket holds the state of the delivery, and no process keeps any between two
tries. A run whose next try is far away is given back to Prefect with the time of that try, so that
a thousand receivers that are unreachable for a day cost one row each.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import weakref
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, TypeVar
from urllib.parse import urlsplit
from uuid import UUID

import httpx
from prefect import get_client
from prefect.client.schemas.objects import State
from prefect.exceptions import ObjectNotFound
from prefect.states import AwaitingRetry, Cancelled, Completed, Failed

from pro_video.core.clock import SYSTEM_CLOCK, Clock
from pro_video.core.errors import TransientError
from pro_video.core.retrying import Backoff, spread
from pro_video.core.settings import get_settings
from pro_video.core.stopping import Stopped, StopReason, current_stop
from pro_video.core.waiting import pause
from pro_video.net.gate import Gate
from pro_video.s3.storage import Storage
from pro_video.webhooks.post import PostResult, post
from pro_video.webhooks.records import Delivery, Try, WebhookTarget, delivery_key, gone_key
from pro_video.webhooks.signing import signed_headers
from tasks.connections.connections import connections
from tasks.connections.run_history import end_status
from tasks.webhooks.announce import read_delivery, read_target

logger = logging.getLogger("prefect.pro_video.webhooks")

T = TypeVar("T")

# Seconds for the whole exchange with a receiver.
_TRY_SECONDS = 20.0
# Longest pause within a run, in seconds; for a longer one the run is rescheduled.
_SLEPT = 40.0
_JITTER = 0.2
# A receiver that hangs must not take all threads.
_AT_ONCE_PER_HOST = 4
# The job announces its end just before the last state of its run is written.
_SETTLE_SECONDS = 15.0
_SETTLE_PAUSE = 0.3
# Usual age limit of a status at the gateway, in seconds.
_STATUS_AGE = 1.5
_STORAGE_BACKOFF = Backoff(first=2.0, longest=60.0, tries=12)

_hosts: weakref.WeakValueDictionary[tuple[int, str], asyncio.Semaphore] = (
    weakref.WeakValueDictionary()
)


async def run_delivery(job_id: str, webhook_id: str) -> State[Any]:
    """The body of the delivery's flow.

    Returns:
        The state of the flow run: final, or ``AwaitingRetry`` at the time of the next try.

    Raises:
        ProVideoError: the bucket refuses, or stayed unreachable.
    """
    storage = (await connections()).storage
    gate = Gate(
        allow_private=get_settings().allow_private_addresses,
        connect_timeout=10.0,
        read_timeout=10.0,
    )
    try:
        return await deliver(storage, job_id, webhook_id, gate=gate, settled=_settled)
    except Stopped as stopped:
        if stopped.reason is StopReason.HANDOVER:
            return AwaitingRetry(message="Handed over by a worker that stops")
        return Cancelled(message="The delivery was cancelled")


async def deliver(
    storage: Storage,
    job_id: str,
    webhook_id: str,
    *,
    gate: Gate,
    settled: Callable[[str, Clock], Awaitable[None]],
    clock: Clock = SYSTEM_CLOCK,
) -> State[Any]:
    """Go on with a delivery until it ends, or until its next try is far away.

    Args:
        storage: the bucket.
        job_id: the job of the message.
        webhook_id: the message.
        gate: decides about the receiver's address.
        settled: waits, before the first try, for the final state of the job's run.
        clock: source of time.

    Raises:
        ProVideoError: the bucket refuses, or stayed unreachable.
        Stopped: the run was cancelled or is handed over.
    """
    record = await _patiently(clock, lambda: read_delivery(storage, job_id, webhook_id))
    target = await _patiently(clock, lambda: read_target(storage, job_id))
    if record is None or target is None:
        return Failed(
            message="The record of this message is gone from the bucket; it cannot be delivered"
        )
    if record.state == "failed":
        # A retry of a run that has given up makes one more try.
        record = record.model_copy(update={"state": "pending", "next_try_at": None})
    if not record.tries and record.type != "job.stage":
        await settled(job_id, clock)
    while record.state == "pending":
        if await _patiently(clock, lambda: storage.head(gone_key(job_id))) is not None:
            record = record.model_copy(update={"state": "gone", "next_try_at": None})
        else:
            seconds = _until_due(record, clock)
            if seconds > _SLEPT:
                return AwaitingRetry(
                    message=_shown(record), scheduled_time=record.next_try_at or _now(clock)
                )
            await pause(seconds, clock=clock, stop=current_stop())
            record = await _try_once(storage, record, target, clock, gate)
        await _keep(storage, record, clock)
    if record.state == "delivered":
        return Completed(message=_shown(record))
    return Failed(message=_shown(record))


async def _settled(job_id: str, clock: Clock) -> None:
    """Wait for the final state of the job's run, because the receiver may read the job at once."""
    until = clock.monotonic() + _SETTLE_SECONDS
    try:
        async with get_client() as client:
            while clock.monotonic() < until:
                state = (await client.read_flow_run(UUID(job_id))).state
                if state is None or end_status(state.type, _now(clock) - state.timestamp):
                    # Until then the gateway may still answer with an older status.
                    await pause(_STATUS_AGE, clock=clock, stop=current_stop())
                    return
                await pause(_SETTLE_PAUSE, clock=clock, stop=current_stop())
    except (httpx.HTTPError, ObjectNotFound) as error:
        logger.debug("The job's state is not known: %s", type(error).__name__)


async def _try_once(
    storage: Storage, record: Delivery, target: WebhookTarget, clock: Clock, gate: Gate
) -> Delivery:
    body = await _patiently(clock, lambda: _body(storage, record))
    headers = signed_headers(
        [target.secret.get_secret_value()], record.webhook_id, int(clock.time()), body
    )
    async with _slot(target.url):
        at, began = _now(clock), clock.monotonic()
        answer = await post(target.url, headers, body, gate=gate, seconds=_TRY_SECONDS)
    made = Try(
        at=at,
        seconds=round(clock.monotonic() - began, 3),
        status=answer.status,
        problem=answer.problem,
    )
    logger.info(
        "%s of %s: try %d, HTTP %s",
        record.type,
        record.job_id,
        len(record.tries) + 1,
        answer.status,
    )
    if answer.delivered or answer.gone:
        state = "delivered" if answer.delivered else "gone"
        if answer.gone:
            await _patiently(clock, lambda: _mark_gone(storage, record.job_id))
        return record.model_copy(
            update={"tries": (*record.tries, made), "state": state, "next_try_at": None}
        )
    return record.after(made, pause=_next_pause(record, answer))


def _next_pause(record: Delivery, answer: PostResult) -> float | None:
    made = len(record.tries) + 1
    if made >= len(record.delays):
        return None
    own = spread(record.delays[made], _JITTER, random.random)
    return max(own, answer.retry_after or 0.0)


async def _body(storage: Storage, record: Delivery) -> bytes:
    """The message; each try signs new links, which are stored nowhere."""
    life = get_settings().link_hours * 3600
    data = dict(record.data)
    for kind in ("output", "fallback", "rejected"):
        key = data.get(f"{kind}_key")
        if isinstance(key, str):
            data[f"{kind}_url"] = await storage.presign(key, life)
    message = {
        "type": record.type,
        "timestamp": record.timestamp.isoformat(),
        "job_id": record.job_id,
        "data": data,
    }
    return json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode()


async def _mark_gone(storage: Storage, job_id: str) -> None:
    await storage.put_bytes(gone_key(job_id), b"gone", content_type="text/plain")


async def _keep(storage: Storage, record: Delivery, clock: Clock) -> None:
    content = record.model_dump_json().encode()
    key = delivery_key(record.job_id, record.webhook_id)
    await _patiently(
        clock, lambda: storage.put_bytes(key, content, content_type="application/json")
    )


async def _patiently(clock: Clock, call: Callable[[], Awaitable[T]]) -> T:
    """Repeat a call of the bucket while it does not answer."""
    failures = 0
    while True:
        try:
            return await call()
        except TransientError as error:
            failures += 1
            if failures >= _STORAGE_BACKOFF.tries:
                raise
            seconds = _STORAGE_BACKOFF.pause(failures, error.retry_after)
        await pause(seconds, clock=clock, stop=current_stop())


def _slot(url: str) -> asyncio.Semaphore:
    key = (id(asyncio.get_running_loop()), urlsplit(url).netloc)
    slot = _hosts.get(key)
    if slot is None:
        slot = asyncio.Semaphore(_AT_ONCE_PER_HOST)
        _hosts[key] = slot
    return slot


def _until_due(record: Delivery, clock: Clock) -> float:
    if record.next_try_at is None:
        return 0.0
    return max(0.0, record.next_try_at.timestamp() - clock.time())


def _now(clock: Clock) -> datetime:
    return datetime.fromtimestamp(clock.time(), UTC)


def _shown(record: Delivery) -> str:
    tries = len(record.tries)
    last = record.tries[-1] if record.tries else None
    outcome = (
        "no try yet" if last is None else f"HTTP {last.status}" if last.status else last.problem
    )
    if record.state == "delivered":
        return f"Delivered in try {tries} ({outcome})"
    if record.state == "gone":
        return "The receiver says that its address is gone (HTTP 410)"
    if record.state == "failed":
        return f"Given up after {tries} tries; the last: {outcome}. Retry this run to try once more"
    return f"Waiting for try {tries + 1} of {len(record.delays)}; the last: {outcome}"
