"""The requests to Prefect that one job costs its worker."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from prefect import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.states import Pending

from deployments.worker.job_runner import JobRunner
from flows.pro_video import pro_video_flow
from pro_video.core.settings import Settings
from sandbox.media.sample.make_sample import describe, make_sample
from tests.support.jobs import Jobs
from tests.support.stack import LocalStack

# Logs are sent in batches, the runner looks for other runs, and each client introduces itself.
_OF_THE_PROCESS = ("/logs/", "/flow_runs/filter", "/deployments/", "/csrf-token", "/admin/version")


async def test_a_lip_sync_costs_a_bounded_number_of_requests_and_four_task_runs(
    stack: LocalStack, jobs: Jobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: Counter[str] = Counter()
    send = httpx.AsyncClient.send

    async def counted(client: httpx.AsyncClient, request: httpx.Request, **more: Any) -> Any:
        if str(request.url).startswith(stack.api_url):
            path = re.sub(r"[0-9a-f-]{36}", "{id}", request.url.path.removeprefix("/api"))
            if not path.startswith(_OF_THE_PROCESS):
                asked[f"{request.method} {path}"] += 1
        return await send(client, request, **more)

    monkeypatch.setattr(httpx.AsyncClient, "send", counted)
    described = describe(make_sample(tmp_path / "sample", width=160, height=90, seconds=2.0))
    job_id = await asyncio.to_thread(
        jobs.prepare, {key: described[key] for key in ("video", "segments")}
    )
    runner = JobRunner(cancel_poll_seconds=3600)
    runner.start()
    async with get_client() as client:
        # By force, so that the engine does not wait for the time that keeps other workers away.
        await client.set_flow_run_state(UUID(job_id), Pending(), force=True)
        run = await client.read_flow_run(UUID(job_id))
        asked.clear()
        settings = Settings(allow_local_files=True, allow_private_addresses=True, poll_seconds=0.5)
        state = await asyncio.wrap_future(runner.submit(pro_video_flow, run, settings))
        told = Counter(asked)
        tasks = await client.read_task_runs(
            flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run.id]))
        )
    await runner.close(grace_seconds=10)
    assert state.is_completed(), state.message
    names = {each.name.rpartition("-")[0] for each in tasks}
    assert names == {"upload", "lip-sync: submit", "lip-sync: wait", "lip-sync: store"}
    blocks = sum(number for path, number in told.items() if "/block_" in path)
    # The watch of ended runs may read the four blocks beside the job.
    assert blocks <= 8
    assert told.total() - blocks <= 24, told
