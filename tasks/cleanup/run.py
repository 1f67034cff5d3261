"""The body of the cleanup's flow."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from prefect import get_client
from prefect.client.schemas.objects import State
from prefect.states import AwaitingRetry, Cancelled, Completed, Failed

from pro_video.core.errors import ProVideoError
from pro_video.core.stopping import Stopped, StopReason
from tasks.cleanup.plan import Wish
from tasks.cleanup.remove import clean_up
from tasks.cleanup.summary import Summary
from tasks.connections.connections import connections


async def run_cleanup(wish: Wish, *, now: datetime) -> State[Any]:
    """Clean up, and show what went; also what went before an error or a stop.

    Returns:
        The final state of the flow run, or ``AwaitingRetry`` when its worker stops.

    Raises:
        httpx.HTTPError: Prefect does not answer.
    """
    summary = Summary(wish.dry_run)
    state: State[Any]
    try:
        async with get_client() as client:
            storage = (await connections()).storage
            await clean_up(client, storage, wish, summary, now=now)
        state = Completed(message=summary.message)
    except ProVideoError as error:
        state = Failed(message=f"{error.message} {summary.message}")
    except Stopped as stopped:
        if stopped.reason is StopReason.HANDOVER:
            return AwaitingRetry(message="Handed over by a worker that stops")
        state = Cancelled(message=f"Cancelled. {summary.message}")
    await summary.show()
    return state
