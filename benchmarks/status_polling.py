"""How fast statuses are read when many clients poll: through the gateway, and called through to
Prefect by each client.

    python -m benchmarks.status_polling --gateway http://127.0.0.1:4204 \
        --prefect http://127.0.0.1:4200/api --clients 1000 --jobs 100 --seconds 10

Makes the jobs itself (on a stack whose worker does not run, so that they only wait) and cancels
them at the end.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import sys
import time
from collections import Counter
from dataclasses import dataclass, field

import httpx

_JOB = {
    "video": "https://example.com/clip.mp4",
    "audios": {"a": "https://example.com/a.wav"},
    "segments_data": [{"startTime": 0, "endTime": 1.5, "audioInput": {"refId": "a"}}],
}


@dataclass
class Tally:
    """What the clients of one round saw."""

    latencies: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)

    def report(self, name: str, seconds: float) -> dict[str, object]:
        ordered = sorted(self.latencies) or [float("nan")]

        def quantile(share: float) -> float:
            return round(1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))], 1)

        return {
            "through": name,
            "requests_per_second": round(len(self.latencies) / seconds, 1),
            "p50_ms": quantile(0.5),
            "p99_ms": quantile(0.99),
            "errors": dict(self.errors),
        }


async def _poll(
    client: httpx.AsyncClient, paths: list[str], first: int, until: float, tally: Tally
) -> None:
    for path in itertools.islice(itertools.cycle(paths), first % len(paths), None):
        began = time.monotonic()
        if began >= until:
            return
        try:
            answer = await client.get(path)
        except httpx.HTTPError as error:
            tally.errors[type(error).__name__] += 1
            continue
        if answer.status_code == httpx.codes.OK:
            tally.latencies.append(time.monotonic() - began)
        else:
            tally.errors[str(answer.status_code)] += 1


async def _round(
    base_url: str, paths: list[str], clients: int, seconds: float, headers: dict[str, str]
) -> Tally:
    tally = Tally()
    limits = httpx.Limits(max_connections=clients, max_keepalive_connections=clients)
    async with httpx.AsyncClient(
        base_url=base_url, headers=headers, limits=limits, timeout=60, trust_env=False
    ) as client:
        until = time.monotonic() + seconds
        await asyncio.gather(
            *(_poll(client, paths, number, until, tally) for number in range(clients))
        )
    return tally


async def measure(options: argparse.Namespace) -> list[dict[str, object]]:
    """Both rounds, one after the other."""
    headers = {"Authorization": f"Bearer {options.token}"} if options.token else {}
    async with httpx.AsyncClient(
        base_url=options.gateway, headers=headers, timeout=60, trust_env=False
    ) as client:
        ids = []
        for _ in range(options.jobs):
            answer = await client.post("/api/v1/jobs", json=_JOB)
            answer.raise_for_status()
            ids.append(answer.json()["job_id"])
        status = [f"/api/v1/video-editors/pro-job/{one}/status" for one in ids]
        through = await _round(options.gateway, status, options.clients, options.seconds, headers)
        runs = [f"/flow_runs/{one}" for one in ids]
        plain = await _round(options.prefect, runs, options.clients, options.seconds, {})
        for one in ids:
            await client.post(f"/api/v1/jobs/{one}/cancel")
    return [
        through.report("gateway", options.seconds),
        plain.report("prefect", options.seconds),
    ]


def main() -> int:
    """Entry of ``python -m benchmarks.status_polling``; one JSON object per round."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gateway", default="http://127.0.0.1:4204")
    parser.add_argument("--prefect", default="http://127.0.0.1:4200/api")
    parser.add_argument("--token", default="")
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--jobs", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=5.0)
    for result in asyncio.run(measure(parser.parse_args())):
        sys.stdout.write(json.dumps(result) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
