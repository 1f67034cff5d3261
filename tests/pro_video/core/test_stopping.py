from __future__ import annotations

import asyncio
import pickle
import threading

import pytest

from pro_video.core.errors import ProVideoError
from pro_video.core.stopping import Stopped, StopReason, StopSignal, current_stop, use_stop


async def test_another_thread_ends_a_wait() -> None:
    signal = StopSignal()
    waiting = [asyncio.create_task(signal.wait()) for _ in range(3)]
    await asyncio.sleep(0)
    thread = threading.Thread(target=signal.set, args=(StopReason.HANDOVER,))
    thread.start()
    assert await asyncio.wait_for(asyncio.gather(*waiting), 5) == [StopReason.HANDOVER] * 3
    thread.join()


def test_waiters_of_several_event_loops_are_all_told() -> None:
    signal = StopSignal()
    started = threading.Barrier(4, timeout=10)
    reasons: list[StopReason] = []

    async def wait() -> None:
        waiter = asyncio.create_task(signal.wait())
        await asyncio.sleep(0)
        await asyncio.to_thread(started.wait)
        reasons.append(await asyncio.wait_for(waiter, 10))

    threads = [threading.Thread(target=lambda: asyncio.run(wait())) for _ in range(3)]
    for thread in threads:
        thread.start()
    started.wait()
    signal.set(StopReason.CANCELLED)
    for thread in threads:
        thread.join(10)
    assert reasons == [StopReason.CANCELLED] * 3


async def test_the_first_reason_holds() -> None:
    signal = StopSignal()
    assert not signal.is_set()
    assert signal.reason is None
    signal.raise_if_set()
    signal.set(StopReason.CANCELLED)
    signal.set(StopReason.HANDOVER)
    assert signal.is_set()
    assert await signal.wait() is StopReason.CANCELLED
    with pytest.raises(Stopped) as caught:
        signal.raise_if_set()
    assert caught.value.reason is StopReason.CANCELLED


def test_a_loop_that_is_gone_does_not_hinder_the_order() -> None:
    signal = StopSignal()
    loop = asyncio.new_event_loop()
    task = loop.create_task(signal.wait())
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    signal.set(StopReason.HANDOVER)
    assert signal.is_set()
    # The task of the closed loop can never run again; ask it to say nothing about that.
    task.cancelled()
    task._log_destroy_pending = False  # type: ignore[attr-defined]


def test_stopped_is_no_error_of_a_job_and_survives_a_pickle() -> None:
    assert not issubclass(Stopped, ProVideoError)
    copy = pickle.loads(pickle.dumps(Stopped(StopReason.HANDOVER)))
    assert copy.reason is StopReason.HANDOVER
    assert str(copy) == "stopped: handover"


async def test_the_current_signal_is_the_one_of_the_block() -> None:
    signal = StopSignal()
    with use_stop(signal):
        assert current_stop() is signal
        assert await asyncio.create_task(_current()) is signal
        inner = StopSignal()
        with use_stop(inner):
            assert current_stop() is inner
        assert current_stop() is signal
    current_stop().set(StopReason.CANCELLED)
    assert not current_stop().is_set()


async def _current() -> StopSignal:
    return current_stop()
