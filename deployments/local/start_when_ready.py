"""Starts a program as soon as the server that it needs answers.

A Prefect server that starts before its database ends with an error; a worker that starts before its
server loses its connection for events, and with it the record of its task runs.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import NoReturn

import httpx

from deployments.local.postgres import Cluster

# After this the supervisor starts it again.
_WAIT_SECONDS = 420.0
_PAUSE = 0.25


def main() -> NoReturn:
    """Entry of ``python -m deployments.local.start_when_ready``; becomes the program."""
    parser = argparse.ArgumentParser(description=__doc__)
    needed = parser.add_mutually_exclusive_group(required=True)
    needed.add_argument("--url", help="answers with 200")
    needed.add_argument("--postgres", type=Path, help="data folder of a server")
    parser.add_argument("module", nargs=argparse.REMAINDER, help="a Python module, its arguments")
    options = parser.parse_args()
    deadline = time.monotonic() + _WAIT_SECONDS
    while not _answers(options.url, options.postgres):
        if time.monotonic() > deadline:
            sys.exit(f"{options.url or options.postgres} does not answer")
        time.sleep(_PAUSE)
    os.execv(sys.executable, [sys.executable, "-P", "-m", *options.module])


def _answers(url: str | None, postgres: Path | None) -> bool:
    if postgres is not None:
        return Cluster(postgres).answers()
    try:
        return httpx.get(str(url), timeout=5.0, trust_env=False).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False


if __name__ == "__main__":
    main()
