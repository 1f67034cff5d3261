"""Starts the worker as soon as the Prefect server answers.

A worker that begins before its server loses its channel for events, and with it the record of its
task runs.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from typing import NoReturn

import httpx

# After this the supervisor begins anew, in seconds.
_PATIENCE = 120.0
_PAUSE = 0.25


def main() -> NoReturn:
    """Entry of ``python -m deployments.local.waiting_worker``; becomes the worker."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pool", default="pro-video")
    options = parser.parse_args()
    health = f"{os.environ['PREFECT_API_URL']}/health"
    deadline = time.monotonic() + _PATIENCE
    with httpx.Client(timeout=5.0, trust_env=False) as client:
        while not answers(client, health):
            if time.monotonic() > deadline:
                sys.exit(f"Prefect does not answer on {health}")
            time.sleep(_PAUSE)
    command = ["worker", "start", "--pool", options.pool, "--type", "pro-video"]
    os.execv(sys.executable, [sys.executable, "-m", "prefect", *command])


def answers(client: httpx.Client, url: str) -> bool:
    """Does ``url`` answer with 200?"""
    try:
        return client.get(url).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False


if __name__ == "__main__":
    main()
