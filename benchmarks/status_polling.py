"""Measures status reads of many polling clients: through the gateway, and straight from Prefect,
in the same run.

    python -m benchmarks.status_polling --clients 1000 --jobs 100 --seconds 15

Starts Prefect, S3 and the gateway, but no worker, so that the jobs only wait; makes the jobs; and
prints one JSON object per round and one with the ratios. Two rounds through each way:

- *paced*: every client asks every two seconds, as a page does; the gateway's limits are its
  defaults. A client that still waits for an answer leaves requests out (``not_asked``).
- *at once*: every client asks again as soon as it has its answer, which shows the throughput; the
  gateway's limit of status reads is raised.

The clients are processes of their own on the same machine, so that they take part of the CPU.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import os
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from prefect.settings import PREFECT_API_URL, temporary_settings

from benchmarks.polling_client import Plan, Tally, Target, poll
from deployments.local.initialize import ensure_bucket
from deployments.local.stack import BUCKET, REGION, Stack, free_port_base, open_stack
from deployments.local.stack_process import running_process
from deployments.register import register
from deployments.save_blocks import ConnectionSettings
from gateway.auth.token_store import new_token, save_entries
from gateway.base.settings import GatewaySettings

_START_SECONDS = 180.0
_CONNECT_SECONDS = 5.0
_WARM_UP_SECONDS = 4.0
_EVERY_SECONDS = 2.0
_RAISED_LIMIT = 1_000_000
_JOB = {
    "video": "https://example.com/clip.mp4",
    "audios": {"a": "https://example.com/a.wav"},
    "segments_data": [{"startTime": 0, "endTime": 1.5, "audioInput": {"refId": "a"}}],
}


@dataclass(frozen=True)
class Way:
    """A server that answers for the jobs' statuses."""

    name: str
    url: str
    headers: dict[str, str]
    targets: list[Target]


def wait_for(url: str) -> None:
    """Wait until an address answers 200.

    Raises:
        RuntimeError: not in time.
    """
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(url, timeout=5, trust_env=False).status_code == httpx.codes.OK:
                return
        time.sleep(0.2)
    raise RuntimeError(f"{url} does not answer")


async def prepare(stack: Stack) -> str:
    """Blocks, deployments and one token of the gateway; the token."""
    access = {
        "s3_bucket": BUCKET,
        "s3_region": REGION,
        "s3_endpoint_url": stack.url("S3"),
        "s3_access_key": stack.keys.s3_access_key,
        "s3_secret_key": stack.keys.s3_secret_key,
    }
    await register(ConnectionSettings.model_validate(access))
    token, entry = new_token("benchmark")
    await save_entries(GatewaySettings().token_block, [entry])
    return token


def make_jobs(stack: Stack, headers: dict[str, str], count: int) -> list[str]:
    """Jobs that wait for a worker; their ids."""
    found = []
    with httpx.Client(
        base_url=stack.url("Gateway"), headers=headers, timeout=60, trust_env=False
    ) as client:
        for _ in range(count):
            answer = client.post("/api/v1/jobs", json=_JOB)
            answer.raise_for_status()
            found.append(answer.json()["job_id"])
    return found


def poll_through(
    way: Way, pool: ProcessPoolExecutor, options: argparse.Namespace, every: float | None
) -> dict[str, Any]:
    """One round."""
    plans = [
        Plan(
            url=way.url,
            headers=way.headers,
            targets=way.targets,
            numbers=range(first, options.clients, options.processes),
            clients=options.clients,
            start=time.time() + _CONNECT_SECONDS,
            warm_up=_WARM_UP_SECONDS,
            seconds=options.seconds,
            every=every,
        )
        for first in range(options.processes)
    ]
    tally = Tally()
    for part in pool.map(poll, plans):
        tally.add(part)
    return {
        "through": way.name,
        "clients": options.clients,
        "jobs": options.jobs,
        "asked": "at once" if every is None else f"every {every:g} s",
        **figures(tally, options.seconds),
    }


def figures(tally: Tally, seconds: float) -> dict[str, Any]:
    """The figures of a round: answers per second until the last answer, and latencies."""
    ordered = sorted(tally.latencies)

    def quantile(share: float) -> float | None:
        if not ordered:
            return None
        return round(1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))], 1)

    return {
        "requests": len(tally.latencies),
        "requests_per_second": round(len(tally.latencies) / (seconds + max(tally.late, 0.0)), 1),
        "not_asked": tally.not_asked,
        "p50_ms": quantile(0.5),
        "p99_ms": quantile(0.99),
        "errors": dict(tally.errors),
    }


def ratios(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """How the gateway's rounds compare with Prefect's."""
    by_name = {(one["through"], one["asked"] == "at once"): one for one in rounds}

    def ratio(name: str, at_once: bool, *, more_is_better: bool) -> float | None:
        ours, theirs = by_name["gateway", at_once][name], by_name["prefect", at_once][name]
        if not ours or not theirs:
            return None
        return round(float(ours / theirs if more_is_better else theirs / ours), 1)

    return {
        "gateway_against_prefect": {
            "requests_per_second": ratio("requests_per_second", True, more_is_better=True),
            "p99_at_once": ratio("p99_ms", True, more_is_better=False),
            "p99_paced": ratio("p99_ms", False, more_is_better=False),
        }
    }


def measure(folder: Path, options: argparse.Namespace) -> list[dict[str, Any]]:
    """All rounds, one after the other; each is printed when it is over."""
    stack = open_stack(folder, free_port_base())
    rounds = []
    spawn = multiprocessing.get_context("spawn")
    with contextlib.ExitStack() as exits:
        for name in ("postgres", "prefect", "s3"):
            if name in stack.commands():
                exits.enter_context(running_process(stack, name))
        exits.enter_context(temporary_settings({PREFECT_API_URL: stack.prefect_api_url}))
        pool = exits.enter_context(ProcessPoolExecutor(options.processes, mp_context=spawn))
        # The processes of the clients are there, with all that they import, before a round begins.
        list(pool.map(time.sleep, [1.0] * options.processes))
        wait_for(f"{stack.prefect_api_url}/health")
        wait_for(f"{stack.url('S3')}/_sandbox/health")
        ensure_bucket(stack)
        headers = {"authorization": f"Bearer {asyncio.run(prepare(stack))}"}

        def run(way: Way, every: float | None, **more: object) -> None:
            load = round(os.getloadavg()[0], 1)
            rounds.append({**poll_through(way, pool, options, every), **more, "load": load})
            sys.stdout.write(json.dumps(rounds[-1]) + "\n")
            sys.stdout.flush()

        def gateway() -> Way:
            targets = [
                Target(f"/api/v1/video-editors/pro-job/{one}/status", f'"{one}"'.encode())
                for one in jobs
            ]
            return Way("gateway", stack.url("Gateway"), headers, targets)

        room = {"PRO_VIDEO_GATEWAY_JOBS_IN_FLIGHT": str(max(options.jobs, 100))}
        with running_process(stack, "gateway", room):
            wait_for(f"{stack.url('Gateway')}/readyz")
            jobs = make_jobs(stack, headers, options.jobs)
            run(gateway(), options.every, limits="defaults")
        raised = {
            f"PRO_VIDEO_GATEWAY_{name}": str(_RAISED_LIMIT)
            for name in ("STATUS_READS_PER_SECOND", "STATUS_READ_BURST")
        }
        with running_process(stack, "gateway", raised):
            wait_for(f"{stack.url('Gateway')}/readyz")
            run(gateway(), None, limits=raised)
        runs = [Target(f"/api/flow_runs/{one}", f'"{one}"'.encode()) for one in jobs]
        prefect = Way("prefect", stack.url("Prefect"), {}, runs)
        run(prefect, options.every)
        run(prefect, None)
    return rounds


def main() -> int:
    """Entry of ``python -m benchmarks.status_polling``; 1 when the gateway's clients saw errors."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clients", type=int, default=1000)
    parser.add_argument("--jobs", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=15.0, help="measured time of a round")
    parser.add_argument("--every", type=float, default=_EVERY_SECONDS, help="pace of a client")
    parser.add_argument("--processes", type=int, default=2, help="processes of clients")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        rounds = measure(Path(name), options)
    sys.stdout.write(json.dumps(ratios(rounds)) + "\n")
    return int(any(one["errors"] for one in rounds if one["through"] == "gateway"))


if __name__ == "__main__":
    sys.exit(main())
