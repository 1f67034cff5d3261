"""Measures the jobs created in a second while others wait, on PostgreSQL and on SQLite.

Starts a local stack per database, lets jobs wait for their provider, and creates further runs of
the deployment several at a time, each call made once. Usage: ``python -m benchmarks.creations``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from deployments.local.database import VARIABLE
from deployments.local.stack_process import running_stack
from sandbox.media.sample.make_sample import describe, make_sample

_WAIT_SECONDS = 600.0
_CALL_SECONDS = 120.0
_PAUSE = 0.5
# Longer than any measurement: these runs never start, and no job ends meanwhile.
_LATER = timedelta(days=1)
_JOB_SECONDS = 3600


async def create(client: httpx.AsyncClient, deployment: str, body: Mapping[str, Any]) -> int | str:
    """Create a run, once; the status of the answer, or the kind of the error."""
    try:
        answer = await client.post(f"/deployments/{deployment}/create_flow_run", json=body)
    except httpx.TransportError as error:
        return type(error).__name__
    return answer.status_code


async def let_jobs_wait(
    client: httpx.AsyncClient, audit: str, deployment: str, jobs: int, body: Mapping[str, Any]
) -> None:
    """Start jobs, and wait until a provider has accepted all of them.

    Raises:
        TimeoutError: it did not.
    """
    deadline = time.monotonic() + _WAIT_SECONDS
    started = accepted = 0
    while accepted < jobs:
        # Again where it was refused, until there are enough.
        if started < jobs and await create(client, deployment, body) == httpx.codes.CREATED:
            started += 1
            continue
        if time.monotonic() > deadline:
            raise TimeoutError(f"{accepted} of {jobs} jobs were accepted")
        await asyncio.sleep(_PAUSE)
        accepted = len((await client.get(audit)).json()["jobs"])


async def measure(
    stack: Mapping[str, Any], parameters: Mapping[str, Any], options: argparse.Namespace
) -> dict[str, Any]:
    """Create runs while jobs wait; how quickly it went, and what was refused."""
    sync_so = stack["sync_so"]["base_url"]
    limits = httpx.Timeout(_CALL_SECONDS)
    async with httpx.AsyncClient(
        base_url=stack["prefect_api_url"], timeout=limits, trust_env=False
    ) as client:
        await client.put(f"{sync_so}/_sandbox/settings", json={"seconds_per_job": _JOB_SECONDS})
        found = await client.get("/deployments/name/pro-video/local")
        deployment = str(found.json()["id"])
        audit = f"{sync_so}/_sandbox/audit"
        body = {"parameters": {**parameters, "reuse_lip_sync": False}}
        await let_jobs_wait(client, audit, deployment, options.jobs, body)
        later = {"type": "SCHEDULED", "state_details": {}}
        later["state_details"] = {"scheduled_time": (datetime.now(UTC) + _LATER).isoformat()}
        free = asyncio.Semaphore(options.at_once)
        seconds: list[float] = []

        async def one() -> int | str:
            async with free:
                began = time.monotonic()
                answer = await create(client, deployment, {**body, "state": later})
                seconds.append(time.monotonic() - began)
                return answer

        began = time.monotonic()
        answers = Counter(await asyncio.gather(*(one() for _ in range(options.creations))))
        took = time.monotonic() - began
    created = answers.pop(httpx.codes.CREATED, 0)
    return {
        "waiting_jobs": options.jobs,
        "at_once": options.at_once,
        "created": created,
        "refused": {str(answer): count for answer, count in answers.items()},
        "per_second": round(created / took, 1),
        "median_seconds": round(statistics.median(seconds), 2),
        "longest_seconds": round(max(seconds), 2),
        "load": round(os.getloadavg()[0], 1),
    }


def main() -> int:
    """Entry of ``python -m benchmarks.creations``; 1 when PostgreSQL refused a creation."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=20, help="that wait meanwhile")
    parser.add_argument("--creations", type=int, default=100)
    parser.add_argument("--at-once", type=int, default=8)
    parser.add_argument("--databases", nargs="+", default=["postgres", "sqlite"])
    options = parser.parse_args()
    rows: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sample = describe(make_sample(folder / "sample", width=160, height=90, seconds=2.0))
        parameters = {key: sample[key] for key in ("video", "segments")}
        for database in options.databases:
            os.environ[VARIABLE] = database
            with running_stack(folder / database) as stack:
                rows[database] = asyncio.run(measure(stack, parameters, options))
            sys.stdout.write(json.dumps({"database": database, **rows[database]}) + "\n")
            sys.stdout.flush()
    return 1 if rows.get("postgres", {}).get("refused") else 0


if __name__ == "__main__":
    sys.exit(main())
