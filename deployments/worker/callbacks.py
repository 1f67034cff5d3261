"""Wakes the waiting jobs of this process when the gateway has received a provider's callback.

The gateway does not know which worker runs a job, so it emits a Prefect event that every worker
receives. A missed event loses nothing: a waiting job also polls the provider, only later.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from prefect.events.clients import get_events_subscriber
from prefect.events.filters import EventFilter, EventNameFilter

from pro_video.core.clock import SYSTEM_CLOCK, Clock
from pro_video.core.retrying import Backoff
from tasks.callbacks.event import EVENT, provider_job_of
from tasks.callbacks.wake import WakeSignals, wake_signals

logger = logging.getLogger("prefect.workers.pro_video")

_RECONNECT = Backoff(first=0.5, factor=2.0, longest=30.0, jitter=0.5)
# After a connection that lasted this long the pause is short again.
_GOOD_SECONDS = 60.0


async def listen_for_callbacks(
    signals: WakeSignals = wake_signals,
    *,
    wake_parked: Callable[[str, str], bool] = lambda _, __: False,
    clock: Clock = SYSTEM_CLOCK,
) -> None:
    """Wake the waiting jobs at each event of a provider's callback, until cancelled.

    Args:
        signals: of the waiting jobs.
        wake_parked: wakes a parked job, given the provider and the provider's id of its job.
        clock: source of time for the pauses between connections.
    """
    failures = 0
    while True:
        began = clock.monotonic()
        try:
            await _listen(signals, wake_parked)
        except Exception as error:  # noqa: BLE001 - polling goes on; a listener must never end
            logger.debug("Callbacks are not received at the moment: %s", type(error).__name__)
        failures = 1 if clock.monotonic() - began >= _GOOD_SECONDS else failures + 1
        if failures == 3:
            logger.warning("Prefect's event stream cannot be followed; jobs are polled meanwhile")
        await clock.sleep(_RECONNECT.pause(failures))


async def _listen(signals: WakeSignals, wake_parked: Callable[[str, str], bool]) -> None:
    """Follow one connection to its end."""
    wanted = EventFilter(event=EventNameFilter(name=[EVENT]))
    # Events of the last minute are sent again at the start; each causes one more read.
    subscriber = get_events_subscriber(filter=wanted, reconnection_attempts=0)
    try:
        await subscriber.__aenter__()
        logger.debug("Listening for callbacks")
        async for event in subscriber:
            found = provider_job_of(event.resource.root)
            if found is not None:
                woken = signals.wake(*found) + wake_parked(*found)
                logger.debug("A callback of %s wakes %d jobs here", found[0], woken)
            # Many events at once must not delay the jobs that share this loop.
            await asyncio.sleep(0)
    finally:
        # Also when __aenter__ was cancelled: its connection may be open already.
        await subscriber.__aexit__(None, None, None)
