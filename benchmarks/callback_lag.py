"""Measures the time from a provider's end of a generation to the end of the job's wait.

Runs lip-sync jobs on a local stack of its own whose polls are far apart, once with callbacks and,
on request, once without, and prints the time from the emulator's end of each generation to the
end of the job's wait for it. Usage: ``python -m benchmarks.callback_lag --jobs 100 --compare``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import boto3
import httpx
from prefect import get_client
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun
from prefect.deployments import arun_deployment
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from deployments.local.stack import Stack, free_port_base, open_stack, port_base_from_environment
from deployments.local.stack_process import running_stack
from deployments.local.supervisor import run
from pro_video.core.job_names import JobKeys
from sandbox.media.sample.make_sample import describe, make_sample

_PAUSE = 0.5


@dataclass(frozen=True)
class _QuietStack(Stack):
    """A stack whose jobs poll rarely, with or without callbacks."""

    poll_seconds: float = 15.0
    callbacks: bool = True

    def environment(self) -> dict[str, str]:
        changed = super().environment()
        changed["PRO_VIDEO_PORT_BASE"] = str(self.port_base)
        changed["PRO_VIDEO_POLL_SECONDS"] = str(self.poll_seconds)
        if not self.callbacks:
            changed["PRO_VIDEO_PUBLIC_URL"] = ""
        return changed


def quiet_stack(
    folder: Path, poll_seconds: float, callbacks: bool
) -> AbstractContextManager[dict[str, Any]]:
    """Such a stack in a process of its own, stopped at the end; its description."""
    arguments = ["--serve", "--poll", str(poll_seconds), *([] if callbacks else ["--silent"])]
    return running_stack(folder, module="benchmarks.callback_lag", arguments=arguments)


def serve(folder: Path, poll_seconds: float, callbacks: bool) -> int:
    """Be the stack."""
    base = open_stack(folder, port_base_from_environment() or free_port_base())
    stack = _QuietStack(**vars(base), poll_seconds=poll_seconds, callbacks=callbacks)
    return run(stack, output=subprocess.DEVNULL)


async def run_jobs(
    parameters: dict[str, Any], jobs: int, at_once: int, seconds: float
) -> list[FlowRun]:
    """Run the jobs, some at the same time; their flow runs at the end.

    Raises:
        TimeoutError: they did not end in time.
    """
    free = asyncio.Semaphore(at_once)

    async def one(client: PrefectClient) -> FlowRun:
        async with free:
            job = await arun_deployment(
                "pro-video/local", parameters=parameters, timeout=0, as_subflow=False
            )
            # A crashed run is taken up again, or fails at last.
            while job.state is None or not job.state.is_final() or job.state.is_crashed():
                await asyncio.sleep(4 * _PAUSE)
                job = await client.read_flow_run(job.id)
            return job

    async with asyncio.timeout(seconds), get_client() as client:
        return await asyncio.gather(*(one(client) for _ in range(jobs)))


def lags(description: dict[str, Any], jobs: Sequence[FlowRun]) -> list[float]:
    """Seconds from the end of each generation to the end of the job's wait for it."""
    audit = httpx.get(f"{description['sync_so']['base_url']}/_sandbox/audit", trust_env=False)
    ended = {one["id"]: _seconds(one["ended_at"]) for one in audit.json()["jobs"]}
    access = description["s3"]
    s3 = boto3.client(
        "s3",
        endpoint_url=access["endpoint_url"],
        aws_access_key_id=access["access_key"],
        aws_secret_access_key=access["secret_key"],
        region_name=access["region"],
    )
    found = []
    for job in jobs:
        if job.state is None or not job.state.is_completed():
            raise RuntimeError(f"a job ended as {job.state}")
        answer = s3.get_object(Bucket=access["bucket"], Key=JobKeys(str(job.id)).report)
        stage = json.loads(answer["Body"].read())["stages"]["lip-sync"]
        found.append(_seconds(stage["finished_at"]) - ended[stage["provider_job_id"]])
    return found


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def measure(folder: Path, options: argparse.Namespace, *, callbacks: bool) -> None:
    """One run, and a line about it."""
    sample = describe(make_sample(folder / "sample", width=160, height=90, seconds=2.0))
    parameters = {"video": sample["video"], "segments": sample["segments"]}
    name = "on" if callbacks else "off"
    with quiet_stack(folder / f"stack-{name}", options.poll, callbacks) as description:
        url = f"{description['sync_so']['base_url']}/_sandbox/settings"
        httpx.put(url, json={"seconds_per_job": options.seconds}, trust_env=False)
        changed = {
            PREFECT_API_URL: description["prefect_api_url"],
            # Prefect on SQLite is overloaded now and then.
            PREFECT_CLIENT_MAX_RETRIES: 12,
        }
        with temporary_settings(changed):
            limit = 120.0 + 30.0 * options.jobs
            jobs = asyncio.run(run_jobs(parameters, options.jobs, options.at_once, limit))
        found = sorted(lags(description, jobs))
    p95 = found[min(len(found) - 1, int(0.95 * len(found)))]
    sys.stdout.write(
        f"callbacks {name:3}   {len(found)} jobs, polls up to {options.poll:g} s apart: "
        f"median {statistics.median(found):.2f} s, p95 {p95:.2f} s, longest {found[-1]:.2f} s "
        f"(load {os.getloadavg()[1]:.1f})\n"
    )
    sys.stdout.flush()


def main() -> int:
    """Entry of ``python -m benchmarks.callback_lag``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=10)
    parser.add_argument("--at-once", type=int, default=20, help="jobs at the same time")
    parser.add_argument("--poll", type=float, default=15.0, help="longest pause between two polls")
    parser.add_argument("--seconds", type=float, default=12.0, help="time of a generation")
    parser.add_argument("--compare", action="store_true", help="also without callbacks")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--silent", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        return serve(options.folder, options.poll, not options.silent)
    with tempfile.TemporaryDirectory() as name:
        measure(Path(name), options, callbacks=True)
        if options.compare:
            measure(Path(name), options, callbacks=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
