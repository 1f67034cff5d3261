"""Makes a started stack usable: bucket, blocks and deployments. Then prints its addresses."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path

import httpx
from botocore.exceptions import BotoCoreError, ClientError

from deployments.local.stack import BUCKET, DEFAULT_PORT_BASE, REGION, Stack, open_stack
from deployments.local.stack import port_base_from_environment as port_base
from pro_video.core.errors import StorageRefused, TransientError
from pro_video.s3.storage import make_client

logger = logging.getLogger("pro_video.initialize")

# A first start of the Prefect server, which makes its database, on a slow machine.
_WAIT_SECONDS = 420.0
_PAUSE_SECONDS = 0.25
# Between two messages about the wait.
_MESSAGE_SECONDS = 5.0
# After this the messages name the folder of the logs.
_LOGS_SECONDS = 40.0
# A process that ended this often does not start.
_MOST_ENDS = 10
_TAIL_LINES = 15

Check = Callable[[], Awaitable[bool]]


class NotReady(Exception):
    """A part of the stack does not answer in time, or ends again and again.

    Attributes:
        process: its name.
    """

    def __init__(self, part: str, process: str) -> None:
        super().__init__(f"{part} does not answer")
        self.process = process


class Startup:
    """Waits for the parts of a stack, and logs which of them are missing."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._begun = time.monotonic()
        self._log = stack.logs / "supervisord.log"
        self._log_begins = self._log.stat().st_size if self._log.exists() else 0
        self._next_message = self._begun + _MESSAGE_SECONDS

    async def until(self, parts: Mapping[str, tuple[str, Check]]) -> None:
        """Wait for parts, by name, each with its process and a check that it answers.

        Raises:
            NotReady: one does not answer.
        """
        left = dict(parts)
        while left:
            for part, (_, answers) in list(left.items()):
                if await answers():
                    del left[part]
            now = time.monotonic()
            late = now - self._begun > _WAIT_SECONDS
            for part, (process, _) in left.items():
                if late or self._ends(process) >= _MOST_ENDS:
                    raise NotReady(part, process)
            if left and now > self._next_message:
                self._next_message = now + _MESSAGE_SECONDS
                place = f"; see {self._stack.logs}" if now - self._begun > _LOGS_SECONDS else ""
                missing = ", ".join(left) + place
                logger.info("  %3.0f s  waiting for %s", now - self._begun, missing)
            if left:
                await asyncio.sleep(_PAUSE_SECONDS)

    def _ends(self, process: str) -> int:
        """The number of times that a process of the stack ended since the wait began."""
        try:
            with self._log.open("rb") as log:
                log.seek(self._log_begins)
                return log.read().count(f" exited: {process} (".encode())
        except FileNotFoundError:
            return 0


async def initialize(stack: Stack) -> None:
    """Wait for every server, and register with Prefect.

    Raises:
        NotReady: one does not answer.
    """
    startup = Startup(stack)
    async with httpx.AsyncClient(timeout=5.0, trust_env=False) as client:

        def at(url: str) -> Check:
            async def answers() -> bool:
                try:
                    return (await client.get(url)).status_code == httpx.codes.OK
                except httpx.HTTPError:
                    return False

            return answers

        parts: dict[str, tuple[str, Check]] = {
            "S3": ("s3", partial(asyncio.to_thread, ensure_bucket, stack)),
            "Sync.so": ("sync-so", at(f"{stack.url('Sync.so')}/_sandbox/audit")),
            "GhostCut": ("ghostcut", at(f"{stack.url('GhostCut')}/_sandbox/audit")),
            **{
                service: (process, at(f"{stack.url(service)}/api/health"))
                for process, service in stack.servers.items()
            },
        }
        if cluster := stack.database.cluster:
            answers = partial(asyncio.to_thread, cluster.answers)
            parts = {"PostgreSQL": ("postgres", answers), **parts}
        await startup.until(parts)
        await _register()
        parts = {
            "the worker": (stack.workers[-1], partial(are_online, len(stack.workers))),
            "the gateway": ("gateway", at(f"{stack.url('Gateway')}/readyz")),
        }
        await startup.until(parts)


async def _register() -> None:
    # Imported late: Prefect takes seconds to import, without any message about the wait.
    from deployments.register import register
    from deployments.save_blocks import ConnectionSettings

    await register(ConnectionSettings())


def ensure_bucket(stack: Stack) -> bool:
    """Create the bucket, unless it exists. False while S3 does not answer."""
    s3 = make_client(
        endpoint_url=stack.url("S3"),
        region=REGION,
        access_key=stack.keys.s3_access_key,
        secret_key=stack.keys.s3_secret_key,
    )
    try:
        s3.create_bucket(Bucket=BUCKET)
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") != "BucketAlreadyOwnedByYou":
            raise
    except BotoCoreError:
        return False
    finally:
        s3.close()
    return True


async def are_online(number: int) -> bool:
    """Are as many workers of the pool online?"""
    from prefect import get_client

    async with get_client() as client:
        workers = await client.read_workers_for_work_pool("pro-video", limit=50, offset=0)
    return sum(worker.status == "ONLINE" for worker in workers) >= number


def write_description(stack: Stack) -> None:
    """Write ``stack.json`` in one step. It holds the sandbox's keys."""
    temporary = stack.folder / ".stack.json"
    temporary.touch(mode=0o600)
    temporary.write_text(json.dumps(stack.describe(), indent=2) + "\n", encoding="utf-8")
    temporary.replace(stack.description_file)


def tail(log: Path) -> str:
    """The last lines of a process's output, indented."""
    text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    return "\n".join(f"    {line}" for line in text.splitlines()[-_TAIL_LINES:])


def main(kind: type[Stack] = Stack) -> int:
    """Entry of ``python -m deployments.local.initialize``.

    Args:
        kind: of the stack.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    options = parser.parse_args()
    logging.basicConfig(level=logging.ERROR, format="%(message)s", force=True)
    logger.setLevel(logging.INFO)
    stack = open_stack(options.folder, port_base() or DEFAULT_PORT_BASE, kind)
    with contextlib.ExitStack() as failed:
        # The supervisor stops, and everything with it.
        failed.callback(os.kill, os.getppid(), signal.SIGTERM)
        try:
            asyncio.run(initialize(stack))
        except NotReady as error:
            log = stack.logs / f"{error.process}.log"
            logger.error("The stack is not ready: %s. The end of %s:\n%s", error, log, tail(log))
            return 1
        except (StorageRefused, TransientError) as error:
            logger.error("The stack is not ready: %s", error.message)
            return 1
        failed.pop_all()
    write_description(stack)
    logger.info("Pro Video is ready.")
    logger.info("  Prefect UI   %s", stack.url("Prefect"))
    logger.info("  HTTP API     %s/docs", stack.url("Gateway"))
    logger.info("  for the CLI  export PREFECT_API_URL=%s", stack.prefect_api_url)
    logger.info("  addresses    %s", stack.description_file)
    logger.info("  logs         %s", stack.logs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
