"""Makes a started stack usable: bucket, blocks, deployments; then says that it is ready."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import sys
import time
from pathlib import Path

import httpx
from botocore.exceptions import BotoCoreError, ClientError
from prefect import get_client

from deployments.connection import ConnectionSettings
from deployments.local.stack import BUCKET, DEFAULT_PORT_BASE, REGION, Stack, open_stack
from deployments.local.stack import port_base_from_environment as port_base
from deployments.local.waiting_worker import answers
from deployments.register import register
from pro_video.storage import make_client

logger = logging.getLogger("pro_video.setup")

# A cold start of the Prefect server on a slow machine, with its database made anew, in seconds.
_PATIENCE = 180.0
_PAUSE = 0.25


class NotReady(Exception):
    """A part of the stack did not come up in time."""


def wait_for_answers(stack: Stack, deadline: float) -> None:
    """Wait until every server answers.

    Raises:
        NotReady: naming the one that does not.
    """
    health = {
        "Prefect": f"{stack.prefect_api_url}/health",
        "Sync.so": f"{stack.url('Sync.so')}/_sandbox/audit",
        "GhostCut": f"{stack.url('GhostCut')}/_sandbox/audit",
    }
    with httpx.Client(timeout=5.0, trust_env=False) as client:
        for name, url in health.items():
            while not answers(client, url):
                if time.monotonic() > deadline:
                    raise NotReady(f"{name} does not answer on {url}")
                time.sleep(_PAUSE)


def wait_for_gateway(stack: Stack, deadline: float) -> None:
    """Wait until the gateway says that it reaches Prefect and S3.

    Raises:
        NotReady: it does not.
    """
    with httpx.Client(timeout=5.0, trust_env=False) as client:
        while not answers(client, f"{stack.url('Gateway')}/readyz"):
            if time.monotonic() > deadline:
                raise NotReady("the gateway does not become ready")
            time.sleep(_PAUSE)


def ensure_bucket(stack: Stack, deadline: float) -> None:
    """Make the bucket; one that exists stays as it is."""
    s3 = make_client(
        endpoint_url=stack.url("S3"),
        region=REGION,
        access_key=stack.keys.s3_access_key,
        secret_key=stack.keys.s3_secret_key,
    )
    while True:
        try:
            s3.create_bucket(Bucket=BUCKET)
            break
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") == "BucketAlreadyOwnedByYou":
                break
            raise
        except BotoCoreError as error:
            if time.monotonic() > deadline:
                raise NotReady(f"S3 does not answer: {type(error).__name__}") from None
            time.sleep(_PAUSE)
    s3.close()


async def wait_for_worker(deadline: float) -> None:
    """Wait until a worker of the pool has said that it is there.

    Raises:
        NotReady: none did.
    """
    async with get_client() as client:
        while True:
            workers = await client.read_workers_for_work_pool("pro-video", limit=50, offset=0)
            if any(worker.status == "ONLINE" for worker in workers):
                return
            if time.monotonic() > deadline:
                raise NotReady("no worker came up")
            await asyncio.sleep(_PAUSE)


def write_description(stack: Stack) -> None:
    """Write ``stack.json``, whole or not at all; its readers need the keys in it."""
    temporary = stack.folder / ".stack.json"
    temporary.touch(mode=0o600)
    temporary.write_text(json.dumps(stack.describe(), indent=2) + "\n", encoding="utf-8")
    temporary.replace(stack.description_file)


def main() -> int:
    """Entry of ``python -m deployments.local.setup``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(message)s", force=True)
    logger.setLevel(logging.INFO)
    stack = open_stack(options.folder, port_base() or DEFAULT_PORT_BASE)
    deadline = time.monotonic() + _PATIENCE
    try:
        wait_for_answers(stack, deadline)
        ensure_bucket(stack, deadline)
        asyncio.run(register(ConnectionSettings()))
        asyncio.run(wait_for_worker(deadline))
        wait_for_gateway(stack, deadline)
    except NotReady as error:
        logger.error("The stack is not ready: %s", error)
        return 1
    write_description(stack)
    logger.info("Pro Video is ready.")
    logger.info("  Prefect UI   %s", stack.url("Prefect"))
    logger.info("  HTTP API     %s/docs", stack.url("Gateway"))
    logger.info("  for the CLI  export PREFECT_API_URL=%s", stack.prefect_api_url)
    logger.info("  addresses    %s", stack.description_file)
    return 0


if __name__ == "__main__":
    sys.exit(main())
