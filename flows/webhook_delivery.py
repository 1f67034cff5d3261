"""The flow that delivers one message about a job to its receiver."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State

from flows.parameters import parameter
from tasks.deliver_webhook import run_delivery


@flow(name="webhook-delivery")
async def webhook_delivery_flow(
    job_id: str = parameter("Job", "Id of the job that the message is about."),
    webhook_id: str = parameter("Message", "Id of the message, as its receiver sees it."),
) -> State[Any]:
    """Send one signed message until its receiver accepts it, with growing pauses over about a day.

    Jobs start these runs. A retry of a run that has given up makes one more try.
    """
    return await run_delivery(job_id, webhook_id)
