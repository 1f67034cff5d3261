"""A parked job that is cancelled: its end is written without a process of its own."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from prefect import flow, get_client
from prefect.client.schemas.objects import FlowRun, State
from prefect.states import Cancelled, Cancelling, Pending, Running, Scheduled

from pro_video.core.job_names import JobKeys
from pro_video.core.progress import Stage
from pro_video.records import JobResult
from pro_video.s3.storage import Storage
from tasks.run import cancelled
from tasks.run.cancelled import end_cancelled, was_parked
from tasks.run.job_state import JobState

PARKED: State[Any] = Scheduled(name=Stage.INPAINTING_PROCESSING.value.name)
MESSAGE = "Cancelled during: Text inpainting. GhostCut work 7 goes on at the provider."


@flow(name="cancelled")
async def nothing() -> None:
    """Never runs."""


@pytest.mark.parametrize(
    ("states", "parked"),
    [
        ([PARKED, Cancelling()], True),
        # By Prefect at once, when it knows of no process.
        ([PARKED, Cancelled()], True),
        ([PARKED, Pending(), Cancelling()], False),
        ([PARKED, Pending(), Running(), Cancelling()], False),
    ],
)
async def test_only_a_parked_job_is_ended_here(
    prefect_api: str,
    storage: Storage,
    monkeypatch: pytest.MonkeyPatch,
    states: list[State[Any]],
    parked: bool,
) -> None:
    async def here() -> Any:
        return SimpleNamespace(storage=storage)

    monkeypatch.setattr(cancelled, "connections", here)
    async with get_client() as client:

        async def run_in(*entered: State[Any]) -> FlowRun:
            run = await client.create_flow_run(nothing, state=Scheduled())
            for state in entered:
                await client.set_flow_run_state(run.id, state, force=True)
            return await client.read_flow_run(run.id)

        run = await run_in(*states)
        assert await was_parked(client, run) is parked
        if not parked:
            return
        keys = JobKeys(str(run.id))
        kept = JobState(datetime.now(UTC)).result(
            str(run.id), status="cancelled", message=MESSAGE, ended_at=datetime.now(UTC)
        )
        await storage.put_bytes(
            keys.if_cancelled, kept.model_dump_json().encode(), content_type="application/json"
        )
        await end_cancelled(client, run)
        state = (await client.read_flow_run(run.id)).state
    assert state is not None
    assert (state.name, state.message) == ("Cancelled", MESSAGE)
    # The watch of ended runs takes the webhook's data from it.
    raw = await storage.get_bytes(keys.report)
    assert JobResult.of_end(raw, "cancelled", state.message) is not None
