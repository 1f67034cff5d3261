"""Runs one job in this process and writes what it asked of Prefect, as a JSON object.

A process of its own, because Prefect keeps the address of its server for the life of one.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections import Counter
from typing import Any
from uuid import UUID

import httpx
from prefect import get_client
from prefect.settings import PREFECT_API_URL
from prefect.states import Pending

from deployments.worker import job_runner
from deployments.worker.job_runner import JobRunner
from flows.pro_video import pro_video_flow
from pro_video.core.settings import Settings

# Logs are sent in batches, the runner looks for other runs, and each client introduces itself.
_OF_THE_PROCESS = ("/logs/", "/flow_runs/filter", "/deployments/", "/csrf-token", "/admin/version")


def count_requests() -> Counter[str]:
    """Count the requests of this process to Prefect from now on, by method and path."""
    asked: Counter[str] = Counter()
    api, send = str(PREFECT_API_URL.value()), httpx.AsyncClient.send

    async def counted(client: httpx.AsyncClient, request: httpx.Request, **more: Any) -> Any:
        url = str(request.url)
        if url.startswith(api):
            path = re.sub(r"[0-9a-f-]{36}", "{id}", request.url.path.removeprefix("/api"))
            if not path.startswith(_OF_THE_PROCESS):
                asked[f"{request.method} {path}"] += 1
        return await send(client, request, **more)

    httpx.AsyncClient.send = counted  # type: ignore[method-assign, assignment]
    return asked


async def run(job_id: UUID) -> dict[str, int]:
    """Run the job, as a worker does that serves no others.

    Raises:
        RuntimeError: it did not complete.
    """
    for other in ("listen_for_callbacks", "watch_ends"):
        setattr(job_runner, other, asyncio.Event().wait)
    asked = count_requests()
    settings = Settings(allow_local_files=True, allow_private_addresses=True, poll_seconds=0.5)
    runner = JobRunner(cancel_poll_seconds=3600)
    runner.start()
    async with get_client() as client:
        # By force, so that the engine does not wait for the time that keeps other workers away.
        await client.set_flow_run_state(job_id, Pending(), force=True)
        flow_run = await client.read_flow_run(job_id)
        asked.clear()
        state = await asyncio.wrap_future(runner.submit(pro_video_flow, flow_run, settings))
        told = dict(asked)
    await runner.close(grace_seconds=10)
    if not state.is_completed():
        raise RuntimeError(f"the job ended as {state.name}: {state.message}")
    return told


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(run(UUID(sys.argv[1])))))
