"""Faults on demand: what goes wrong at the next calls of an operation.

The queue is that of the other emulators, `sandbox.common.faults`. `call` is an operation's name in
snake case or "any"; `match` compares "bucket", "key" and "method". README.md has
what each kind does.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Mapping

from sandbox.common.faults import ANY_CALL, Fault
from sandbox.common.http_faults import MAX_DELAY
from sandbox.s3.errors import S3Error
from sandbox.s3.messages.body import Disconnected
from sandbox.s3.router import OPERATIONS

KINDS = frozenset(
    {
        "500", "503_slow_down", "error", "delay", "drop_connection", "lost_answer", "truncate",
        "slow", "corrupt", "ignore_range", "ignore_condition", "no_checksum", "pretend",
        "200_error",
    }
)  # fmt: skip
KNOWN: Mapping[str, Collection[str]] = dict.fromkeys(
    [ANY_CALL, *(name for name, _ in OPERATIONS.values())], KINDS
)
"""Every call that can be made to fail, with the kinds that it understands."""


def error_of(fault: Fault) -> S3Error:
    """The S3 error of the kinds that answer with one."""
    if fault.kind == "503_slow_down":
        return S3Error("SlowDown")
    return S3Error(fault.text("code", "InternalError"))


class Pace:
    """Slows a stream of bytes down to `bytes_per_second` of a fault."""

    def __init__(self, fault: Fault) -> None:
        self.rate = max(fault.number("bytes_per_second", 65536), 1.0)
        self._start = time.monotonic()
        self._moved = 0

    async def __call__(self, count: int) -> None:
        """Waits until `count` further bytes may have moved."""
        self._moved += count
        ahead = self._moved / self.rate - (time.monotonic() - self._start)
        await asyncio.sleep(min(max(ahead, 0.0), MAX_DELAY))


class Cut:
    """Ends the connection once `limit` bytes of a body were read."""

    def __init__(self, limit: int) -> None:
        self._left = limit

    async def __call__(self, count: int) -> None:
        """Counts the bytes; raises Disconnected at the limit."""
        self._left -= count
        if self._left <= 0:
            raise Disconnected
