"""Warns when an event loop runs late: each of its jobs then waits for the work of another one."""

from __future__ import annotations

import logging

from pro_video.core.clock import SYSTEM_CLOCK, Clock

logger = logging.getLogger("prefect.workers.pro_video")

_PAUSE = 1.0
_LATE = 1.0
# Between two warnings, in seconds.
_QUIET = 60.0


async def watch_loop(name: str, *, clock: Clock = SYSTEM_CLOCK) -> None:
    """Measure the lag of the running event loop, and warn of one of a second or more, until
    cancelled.

    Args:
        name: of the loop, for the log.
        clock: source of time.
    """
    warned_at = float("-inf")
    while True:
        expected = clock.monotonic() + _PAUSE
        await clock.sleep(_PAUSE)
        now = clock.monotonic()
        if now - expected >= _LATE and now - warned_at >= _QUIET:
            warned_at = now
            logger.warning(
                "The event loop of %s runs %.1f s late. The machine is overloaded, or one job "
                "holds up the others; let fewer run at once, or add a worker.",
                name,
                now - expected,
            )
