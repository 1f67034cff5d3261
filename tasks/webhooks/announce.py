"""Announces the events of a job to the receiver that its owner named.

Announcing writes the message's record into the bucket and starts one delivery run for it. Both
happen at most once for each message, although several processes may announce it: the job at its
end, and :mod:`tasks.webhooks.watch` for a job whose process did not get that far. The delivery is a
flow run of its own (:mod:`tasks.deliver_webhook`), so that no job waits for a receiver.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import httpx
from prefect import get_client
from prefect.exceptions import ObjectNotFound
from prefect.runtime import deployment, flow_run
from pydantic import SecretStr

from pro_video.core.errors import ProVideoError
from pro_video.core.progress import Stage
from pro_video.records import JobResult
from pro_video.s3.storage import Storage
from pro_video.webhooks.records import (
    Delivery,
    EventType,
    WebhookTarget,
    delivery_key,
    gone_key,
    shown_address,
    target_key,
    webhook_id,
)
from pro_video.webhooks.signing import new_secret
from tasks.connections.connections import connections
from tasks.connections.prefect_queries import read_history

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient

logger = logging.getLogger("prefect.pro_video.webhooks")

TAG: Final = "pro-video-webhook"
"""Tag of the flow runs of jobs with a receiver; others cost no look-up."""

DELIVERY_FLOW: Final = "webhook-delivery"
DEFAULT_DEPLOYMENT: Final = "local"

# Seconds for an announcement at a job's end; the watch makes up for one that takes longer.
_PATIENCE = 20.0
UNREACHABLE = (ProVideoError, httpx.HTTPError, ObjectNotFound, TimeoutError)
"""Exceptions of :func:`announce_event` after which another try may succeed."""


async def keep_target(
    storage: Storage,
    job_id: str,
    *,
    url: str,
    events: Iterable[EventType],
    secret: str | None = None,
) -> str:
    """Keep the receiver of a job's messages, and return the secret that signs them.

    The first receiver stays: a second call for the same job changes nothing and returns the secret
    that was kept.

    Args:
        storage: the bucket.
        job_id: the job.
        url: the receiver; the caller has checked its address.
        events: the types of messages to send.
        secret: ``whsec_…`` from the owner; None makes a new one.

    Raises:
        ValueError: the secret has a wrong form.
        ProVideoError: the bucket cannot be used.
    """
    target = WebhookTarget(
        url=url, events=tuple(dict.fromkeys(events)), secret=SecretStr(secret or new_secret())
    )
    await storage.put_bytes(
        target_key(job_id),
        target.model_dump_json().encode(),
        content_type="application/json",
        if_absent=True,
    )
    kept = await read_target(storage, job_id)
    return (kept or target).secret.get_secret_value()


async def read_target(storage: Storage, job_id: str) -> WebhookTarget | None:
    """The receiver of a job's messages; None when it has none."""
    raw = await storage.get_bytes(target_key(job_id))
    return None if raw is None else WebhookTarget.model_validate_json(raw)


async def announce(result: JobResult) -> None:
    """Announce the end of the running job; called at the end of its flow.

    It never fails the job: the watch announces an end that cannot be announced now.
    """
    if TAG not in (flow_run.tags or ()):
        return
    type_: EventType = f"job.{result.status}"  # type: ignore[assignment]
    await _announce_running(result.job_id, type_, end_data(result), result.completed_at)


async def announce_stage(job_id: str, stage: Stage, percent: float) -> None:
    """Announce that the running job has entered a stage; called by the writer of its progress."""
    if TAG not in (flow_run.tags or ()) or stage is Stage.COMPLETED:
        return
    data = {
        "status": "processing",
        "stage": stage.label,
        "message": stage.value.message,
        "progress": int(percent),
    }
    await _announce_running(job_id, "job.stage", data, datetime.now(UTC), stage)


def end_data(result: JobResult) -> dict[str, Any]:
    """The data of a message about an end; the delivery adds the links."""
    error = result.error
    data: dict[str, Any] = {
        "status": result.status,
        "message": result.message,
        "output_key": result.output_key,
        **result.findings.model_dump(mode="json"),
        "error": None
        if error is None
        else {**error.model_dump(mode="json"), "code": error.code or error.kind},
    }
    if result.status == "completed":
        data["progress"] = 100
    return data


async def announce_event(
    client: PrefectClient,
    storage: Storage,
    job_id: str,
    type_: EventType,
    data: dict[str, Any],
    timestamp: datetime,
    *,
    round_: int,
    stage: Stage | None = None,
    deployment_name: str = DEFAULT_DEPLOYMENT,
) -> Delivery | None:
    """Write a message's record and start its delivery, each once among all processes.

    Args:
        client: a client of Prefect.
        storage: the bucket.
        job_id: the job of the message.
        type_: type of the message.
        data: its data, without links.
        timestamp: time of the event.
        round_: see :func:`pro_video.webhooks.records.webhook_id`.
        stage: the stage of a ``job.stage`` message.
        deployment_name: the delivery flow's deployment that the job's workers run.

    Returns:
        The record in the bucket; None when no receiver wants this type.

    Raises:
        ProVideoError, httpx.HTTPError, ObjectNotFound: not announced; another try may succeed.
    """
    target = await read_target(storage, job_id)
    if target is None or type_ not in target.events:
        return None
    if await storage.head(gone_key(job_id)) is not None:
        return None
    message_id = webhook_id(job_id, type_, round_, stage)
    record = Delivery(
        webhook_id=message_id,
        job_id=job_id,
        type=type_,
        timestamp=timestamp,
        data=data,
        target=shown_address(target.url),
        next_try_at=timestamp,
    )
    await storage.put_bytes(
        delivery_key(job_id, message_id),
        record.model_dump_json().encode(),
        content_type="application/json",
        if_absent=True,
    )
    kept = await read_delivery(storage, job_id, message_id) or record
    if kept.state == "pending":
        found = await client.read_deployment_by_name(f"{DELIVERY_FLOW}/{deployment_name}")
        await client.create_flow_run_from_deployment(
            found.id,
            name=f"{type_} {job_id}",
            parameters={"job_id": job_id, "webhook_id": message_id},
            idempotency_key=message_id,
        )
    return kept


async def round_of(client: PrefectClient, job_id: str) -> int:
    """Number of a job's round, from 1; each retry by a user begins another."""
    return 1 + (await read_history(client, job_id)).retries


async def read_delivery(storage: Storage, job_id: str, message_id: str) -> Delivery | None:
    """A delivery's record; None when there is none."""
    raw = await storage.get_bytes(delivery_key(job_id, message_id))
    return None if raw is None else Delivery.model_validate_json(raw)


async def _announce_running(
    job_id: str,
    type_: EventType,
    data: dict[str, Any],
    timestamp: datetime,
    stage: Stage | None = None,
) -> None:
    try:
        async with asyncio.timeout(_PATIENCE), get_client() as client:
            await announce_event(
                client,
                (await connections()).storage,
                job_id,
                type_,
                data,
                timestamp,
                round_=await round_of(client, job_id),
                stage=stage,
                deployment_name=deployment.name or DEFAULT_DEPLOYMENT,
            )
    except UNREACHABLE as error:
        logger.warning("Could not announce %s of %s: %s", type_, job_id, type(error).__name__)
