import asyncio
import multiprocessing
import os
import signal
import time
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from sandbox.common.media_pool import MediaPool, WorkerDiedError
from tests.sandbox.control import wait_until


def pid() -> int:
    return os.getpid()


def fail(text: str) -> None:
    raise ValueError(text)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_once(marker: Path) -> str:
    if not marker.exists():
        marker.touch()
        die()
    return "lived"


def sleep_long() -> None:
    time.sleep(600)


def alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    # A zombie has ended; only its parent has not asked for it yet.
    return "\nState:\tZ" not in Path(f"/proc/{process}/status").read_text()


async def test_work_errors_and_dead_workers(tmp_path: Path) -> None:
    pool = MediaPool(1)
    try:
        assert await pool.run(pid) != os.getpid()
        with pytest.raises(ValueError, match="of the function"):
            await pool.run(fail, "of the function")
        assert await pool.run(die_once, tmp_path / "marker") == "lived"
        with pytest.raises(WorkerDiedError):
            await pool.run(die)
        assert await pool.run(pid) != os.getpid()
    finally:
        await asyncio.to_thread(pool.close)


async def test_close_does_not_wait_for_the_work() -> None:
    pool = MediaPool(1)
    worker = await pool.run(pid)
    running = asyncio.create_task(pool.run(sleep_long))
    await asyncio.sleep(0)
    started = time.monotonic()
    await asyncio.to_thread(pool.close)
    assert time.monotonic() - started < 10
    with pytest.raises((RuntimeError, asyncio.CancelledError)):
        await running
    wait_until(lambda: not alive(worker))


def host(line: Connection) -> None:
    async def main() -> None:
        pool = MediaPool(1)
        line.send(await pool.run(pid))
        await pool.run(sleep_long)

    asyncio.run(main())


def test_workers_end_with_a_killed_parent() -> None:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=host, args=(theirs,))
    process.start()
    assert ours.poll(30)
    worker = ours.recv()
    process.kill()
    process.join()
    wait_until(lambda: not alive(worker))
