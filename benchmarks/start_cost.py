"""What does a job cost in processor time, threads, and rows of Prefect's database?

Starts a local stack, lets it run jobs that only lip-sync, some at a time, and measures the worker
and the Prefect server from the first job's creation to the last one's end. Another checkout is
measured by running its own copy of this file. Usage: ``python -m benchmarks.start_cost``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from deployments.local.stack_process import running_stack
from sandbox.media.sample.make_sample import describe, make_sample

_PROCESSES = ("worker", "prefect")
_WAIT_SECONDS = 900.0
_PAUSE = 1.0
_TICKS = os.sysconf("SC_CLK_TCK")


def processes(stack: Path) -> dict[str, int]:
    """Ids of a stack's processes, by name; the last start counts."""
    log = (stack / "logs" / "supervisord.log").read_text(encoding="utf-8")
    return {
        name: int(pid) for name, pid in re.findall(r"spawned: '(\w[\w-]*)' with pid (\d+)", log)
    }


def usage(pid: int) -> dict[str, float]:
    """A process's seconds of processor time, megabytes, threads and descriptors."""
    folder = Path(f"/proc/{pid}")
    fields = (folder / "stat").read_text(encoding="ascii").rpartition(")")[2].split()
    status = (folder / "status").read_text(encoding="ascii")
    resident = re.search(r"VmRSS:\s+(\d+)", status)
    return {
        "cpu": (int(fields[11]) + int(fields[12])) / _TICKS,
        "megabytes": int(resident[1]) / 1024 if resident else 0.0,
        "threads": int(fields[17]),
        "descriptors": len(list((folder / "fd").iterdir())),
    }


class Load:
    """Jobs that only lip-sync, on a running stack."""

    def __init__(self, client: httpx.AsyncClient, sync_so: str, body: Mapping[str, Any]) -> None:
        self._client = client
        self._sync_so = sync_so
        self._body = body

    async def _ended(self) -> int:
        wanted = {"flow_runs": {"state": {"type": {"any_": ["COMPLETED", "FAILED"]}}}}
        return int((await self._client.post("/flow_runs/count", json=wanted)).json())

    async def run(self, jobs: int, at_once: int) -> list[float]:
        """Create jobs, and wait for their end; the seconds until each was at the provider."""
        found = (await self._client.get("/deployments/name/pro-video/local")).json()["id"]
        free = asyncio.Semaphore(at_once)
        created: dict[str, float] = {}
        accepted: dict[str, float] = {}
        before = await self._ended()

        async def create() -> None:
            parameters = {**self._body, "temperature": secrets.randbelow(10**9) / 10**9}
            async with free:
                answer = await self._client.post(
                    f"/deployments/{found}/create_flow_run", json={"parameters": parameters}
                )
                created[answer.raise_for_status().json()["id"]] = time.monotonic()

        await asyncio.gather(*(create() for _ in range(jobs)))
        until = time.monotonic() + _WAIT_SECONDS
        while await self._ended() < before + jobs:
            if time.monotonic() > until:
                raise TimeoutError("the jobs do not end")
            audit = (await self._client.get(f"{self._sync_so}/_sandbox/audit")).text
            for run in created.keys() - accepted.keys():
                if run in audit:
                    accepted[run] = time.monotonic() - created[run]
            await asyncio.sleep(_PAUSE)
        return list(accepted.values())


async def measure(folder: Path, stack: Mapping[str, Any], options: argparse.Namespace) -> Any:
    """Run the jobs; what one of them cost."""
    sync_so = stack["sync_so"]["base_url"]
    sample = describe(make_sample(folder / "sample", width=160, height=90, seconds=2.0))
    body = {key: sample[key] for key in ("video", "segments")}
    pids = {name: pid for name, pid in processes(folder).items() if name in _PROCESSES}
    peaks = {name: dict.fromkeys(("megabytes", "threads", "descriptors"), 0.0) for name in pids}
    async with httpx.AsyncClient(
        base_url=stack["prefect_api_url"], timeout=120.0, trust_env=False
    ) as client:
        settings = {"seconds_per_job": options.seconds, "media": "copy"}
        (await client.put(f"{sync_so}/_sandbox/settings", json=settings)).raise_for_status()
        load = Load(client, sync_so, body)
        # The first job imports and opens what the others share.
        await load.run(1, 1)
        before = {name: usage(pid) for name, pid in pids.items()}
        began = time.monotonic()

        async def watch() -> None:
            while True:
                for name, pid in pids.items():
                    now = usage(pid)
                    for key in peaks[name]:
                        peaks[name][key] = max(peaks[name][key], now[key] - before[name][key])
                await asyncio.sleep(_PAUSE)

        watching = asyncio.create_task(watch())
        accepted = await load.run(options.jobs, options.at_once)
        took = time.monotonic() - began
        watching.cancel()
    cpu = {name: usage(pid)["cpu"] - before[name]["cpu"] for name, pid in pids.items()}
    return {
        "jobs": options.jobs,
        "at_once": options.at_once,
        "seconds": round(took, 1),
        "accepted_median": round(statistics.median(accepted), 1),
        "accepted_last": round(max(accepted), 1),
        "cpu_per_job": {name: round(seconds / options.jobs, 3) for name, seconds in cpu.items()},
        "most_above_idle": {
            name: {key: round(value, 1) for key, value in of.items()} for name, of in peaks.items()
        },
        "load": round(os.getloadavg()[0], 1),
    }


def main() -> None:
    """Entry of ``python -m benchmarks.start_cost``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=20)
    parser.add_argument("--at-once", type=int, default=4, help="calls to create")
    parser.add_argument("--seconds", type=float, default=5.0, help="that the provider takes")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with running_stack(folder) as stack:
            found = asyncio.run(measure(folder, stack, options))
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
