"""Foreign media are read in child processes; their limits, crashes and false results stay there."""

from __future__ import annotations

import asyncio
import gc
import io
import os
import resource
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pro_video.core import errors
from pro_video.core.errors import MediaUnusable, RequestRefused, StorageUnavailable, TransientError
from pro_video.core.settings import Settings, get_settings, use_settings
from pro_video.core.stopping import Stopped, StopReason, StopSignal, use_stop
from pro_video.media.children.examine import examine, examine_with
from pro_video.media.children.pool import Children
from pro_video.media.info import AudioStream, MediaInfo
from pro_video.media.probe import probe
from tests.support.media import bombs, lying_files, readings

Examine = Callable[..., Awaitable[Any]]


@pytest.fixture(scope="module")
def one_child() -> Iterator[Children]:
    """A single process at a time, so that calls stand in a queue."""
    children = Children(1)
    yield children
    children.close()


def limited(**limits: float) -> Settings:
    return get_settings().model_copy(
        update={f"reading_{name}": most for name, most in limits.items()}
    )


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return (
        not stat.exists() or stat.read_text(encoding="ascii").rpartition(")")[2].split()[0] != "Z"
    )


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - it is another process's doing
            await asyncio.sleep(0.02)


async def test_values_go_and_come_as_they_are() -> None:
    info = MediaInfo("mp4", 1.5, 10, None, AudioStream("aac", 48000, 2, 1.5))
    assert await examine(readings.echo, [1, 2], info=info) == ([1, 2], info)
    assert (await examine(readings.sound)).duration == float("inf")
    assert await examine(readings.picture) == bytes(range(256))


async def test_streams_are_read_where_they_are(tmp_path: Path) -> None:
    path = tmp_path / "numbers"
    path.write_bytes(bytes(range(250)) * 1000)
    memory = io.BytesIO(b"0123456789")
    memory.seek(2)
    with path.open("rb") as file:
        found = await examine(readings.ends, {"streams": [file, memory]}, length=3)
        assert found == [b"\0\1\2", bytes([247, 248, 249]), b"250000", b"234", b"789", b"10"]
        file.seek(0)
        assert await examine(readings.everything, file, piece=100_000) == 250_000
    memory.seek(8)
    again = await examine(readings.ends, {"streams": [memory, memory]}, length=2)
    assert again == [b"89", b"89", b"10", b"", b"89", b"10"]


class Broken(io.BytesIO):
    """A stream whose source fails."""

    def __init__(self, error: Exception) -> None:
        super().__init__(bytes(100))
        self.error = error

    def read(self, size: int | None = -1, /) -> bytes:
        raise self.error


@pytest.mark.parametrize(
    "error",
    [
        StorageUnavailable("S3 is away", retry_after=3.0),
        MediaUnusable("too much", code="byte_budget"),
        OSError(5, "a disk is broken"),
        readings.Own(lambda: "cannot be pickled"),
    ],
)
async def test_an_error_of_a_stream_is_raised_as_it_is(error: Exception) -> None:
    with pytest.raises(type(error)) as raised:
        await examine(readings.everything, Broken(error), 10)
    assert raised.value is error


async def test_the_function_sees_which_error_a_stream_has() -> None:
    error = MediaUnusable("too much", code="byte_budget")
    assert await examine(readings.read_anyway, Broken(error)) == "MediaUnusable byte_budget"


async def test_errors_of_the_function_keep_their_type_and_what_they_tell() -> None:
    with pytest.raises(MediaUnusable, match=r"^too odd$") as odd:
        await examine(readings.refuse, "media")
    assert (odd.value.code, odd.value.stage, odd.value.request_id) == ("media_odd", "upload", "r")
    with pytest.raises(RequestRefused) as refused:
        await examine(readings.refuse, "request")
    assert [str(each) for each in refused.value.problems] == ["video: is odd", "audio: too"]
    with pytest.raises(StorageUnavailable) as away:
        await examine(readings.refuse, "storage")
    assert away.value.retry_after == 2.5
    with pytest.raises(ValueError, match="a mistake") as mistake:
        await examine(readings.refuse, "")
    assert "readings.py" in mistake.value.__notes__[0]
    with pytest.raises(RuntimeError, match="Own: an error of the function's own"):
        await examine(readings.refuse, "own")


async def test_what_no_process_could_do_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="not a module's function"):
        await examine(lambda: None)
    with pytest.raises(KeyError):
        # It does not say what it returns.
        await examine(readings.Own)


@pytest.mark.skipif(sys.platform != "linux", reason="the system knows no such limit")
async def test_memory_has_a_limit() -> None:
    with use_settings(limited(memory_mb=200)):
        assert await examine(readings.take_memory, 100) == 100 * 1024 * 1024
        with pytest.raises(MediaUnusable, match="200 MB") as over:
            await examine(readings.take_memory, 300)
    assert over.value.code == "media_over_limits"


async def test_time_of_a_processor_has_a_limit() -> None:
    with (
        use_settings(limited(cpu_seconds=1)),
        pytest.raises(MediaUnusable, match="within 1 s of processor") as over,
    ):
        await examine(readings.take_time)
    assert over.value.code == "media_over_limits"


async def test_time_has_a_limit() -> None:
    with (
        use_settings(limited(seconds=0.5)),
        pytest.raises(MediaUnusable, match=r"within 0\.5 s") as over,
    ):
        await examine(readings.sleep)
    assert over.value.code == "media_over_limits"


async def test_waiting_for_the_storage_is_not_the_files_time(one_child: Children) -> None:
    class Slow(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            threading.Event().wait(0.7)
            return super().read(size)

    with use_settings(limited(seconds=1.0)):
        # Both blocks and the end take longer than the limit.
        assert await examine_with(one_child, readings.everything, Slow(bytes(100_000)), 65536)


async def test_nothing_is_written_but_to_a_path(tmp_path: Path) -> None:
    path = tmp_path / "sound.wav"
    with pytest.raises(OSError, match="File too large"):
        await examine(readings.write, str(path))
    assert await examine(readings.write, path) == 10
    assert path.read_bytes() == b"0123456789"


async def test_files_that_are_open_have_a_limit(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    with pytest.raises(OSError, match="Too many open files"):
        await examine(readings.open_many, str(path))


async def test_a_process_that_dies_is_replaced(tmp_path: Path) -> None:
    assert await examine(readings.die, tmp_path / "once", times=1) == "alive"
    with pytest.raises(MediaUnusable, match="died twice") as died:
        await examine(readings.die, tmp_path / "often", times=5)
    assert died.value.code == "media_unreadable"
    assert (tmp_path / "often").read_text(encoding="ascii") == "xx"
    assert await examine(readings.echo, [1]) == ([1], None)


@pytest.mark.parametrize("kind", ["pickle", "type", "class", "json", "length", "kind", "more"])
async def test_a_process_that_is_taken_over_is_not_believed(kind: str) -> None:
    with pytest.raises(MediaUnusable) as lied:
        await examine(readings.say, kind)
    assert lied.value.code == "media_unreadable"


async def test_no_secret_is_within_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = ("AWS_SECRET_ACCESS_KEY", "PRO_VIDEO_ANY", "PREFECT_API_URL", "HTTPS_PROXY")
    for name in secrets:
        monkeypatch.setenv(name, "secret")
    children = Children(1)
    try:
        names, modules = await examine_with(children, readings.surroundings)
    finally:
        children.close()
    assert not {*secrets} & {*names}
    assert not [name for name in names if name.startswith(("AWS_", "PREFECT_", "PRO_VIDEO_"))]
    assert not {"prefect", "boto3", "httpx"} & {*modules}


async def test_calls_are_done_one_after_the_other_by_one_process(one_child: Children) -> None:
    ended: list[int] = []

    async def call(number: int) -> int:
        pid = await examine_with(one_child, readings.pid)
        ended.append(number)
        return pid

    pids = await asyncio.gather(*(call(number) for number in range(20)))
    assert len({*pids}) == 1
    assert ended == [*range(20)]


async def test_nothing_of_a_call_is_left_to_the_next_one(one_child: Children) -> None:
    found = [await examine_with(one_child, readings.remember, value) for value in (1, 2, 3)]
    assert found == [0, 0, 0]


async def test_a_process_without_work_ends() -> None:
    children = Children(1, idle_seconds=0.05)
    try:
        pid = await examine_with(children, readings.pid)
        await until(lambda: not alive(pid))
        assert await examine_with(children, readings.pid) != pid
    finally:
        children.close()


@pytest.fixture
async def asleep(one_child: Children, tmp_path: Path) -> AsyncIterator[tuple[Any, int, StopSignal]]:
    """A call that would never end, its process, and its stop signal."""
    note, stop = tmp_path / "pid", StopSignal()
    with use_stop(stop):
        task = asyncio.ensure_future(examine_with(one_child, readings.sleep, note))
    await until(lambda: note.exists() and note.read_text(encoding="ascii") != "")
    yield task, int(note.read_text(encoding="ascii")), stop
    task.cancel()
    await asyncio.wait([task])


async def test_a_cancellation_ends_the_process(one_child: Children, asleep: Any) -> None:
    task, pid, _ = asleep
    waiting = asyncio.ensure_future(examine_with(one_child, readings.refuse, "media"))
    following = asyncio.ensure_future(examine_with(one_child, readings.pid))
    await asyncio.sleep(0)
    waiting.cancel()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await following != pid
    assert not alive(pid)
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_a_stop_order_ends_the_process(asleep: Any) -> None:
    task, pid, stop = asleep
    stop.set(StopReason.HANDOVER)
    with pytest.raises(Stopped):
        await task
    await until(lambda: not alive(pid))


async def test_a_stop_order_of_before_starts_nothing() -> None:
    stop = StopSignal()
    stop.set(StopReason.CANCELLED)
    with use_stop(stop), pytest.raises(Stopped):
        await examine(readings.pid)


async def test_closing_ends_what_runs_and_what_waits(tmp_path: Path) -> None:
    children, note = Children(1), tmp_path / "pid"
    running = asyncio.ensure_future(examine_with(children, readings.sleep, note))
    waiting = asyncio.ensure_future(examine_with(children, readings.pid))
    await until(lambda: note.exists() and note.read_text(encoding="ascii") != "")
    await asyncio.to_thread(children.close)
    await until(lambda: not alive(int(note.read_text(encoding="ascii"))))
    for task in (running, waiting):
        with pytest.raises(asyncio.CancelledError):
            await task
    with pytest.raises(RuntimeError, match="closed"):
        await examine_with(children, readings.pid)


async def test_no_process_stays_behind_a_killed_parent(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    program = (
        "import asyncio, pathlib\n"
        "from pro_video.media.children.examine import examine\n"
        "from tests.support.media import readings\n"
        f"asyncio.run(examine(readings.sleep, pathlib.Path({str(note)!r})))"
    )
    parent = subprocess.Popen([sys.executable, "-c", program])  # noqa: ASYNC220
    try:
        await until(lambda: note.exists() and note.read_text(encoding="ascii") != "")
    finally:
        parent.kill()
        parent.wait()
    await until(lambda: not alive(int(note.read_text(encoding="ascii"))))


async def test_a_process_that_cannot_start_is_not_the_files_fault(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    children = Children(1)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no-python"))
    try:
        with pytest.raises(TransientError) as none:
            await examine_with(children, readings.pid)
        assert none.value.code == "reading_unavailable"
        monkeypatch.setattr(sys, "executable", "/bin/false")
        with pytest.raises(TransientError):
            await examine_with(children, readings.pid)
    finally:
        children.close()


def test_every_event_loop_may_call() -> None:
    def call(number: int) -> Any:
        return asyncio.run(examine(readings.echo, [number]))

    with ThreadPoolExecutor(4) as threads:
        assert [*threads.map(call, range(8))] == [([number], None) for number in range(8)]


@pytest.mark.parametrize("error", sorted(errors.ProVideoError.__subclasses__(), key=str))
async def test_errors_are_rebuilt(error: type[errors.ProVideoError]) -> None:
    for kind in (error, *error.__subclasses__()):
        if kind is not RequestRefused:
            again = errors.rebuilt(kind, "why", {"message": "why", "code": "c"})
            assert type(again) is kind
            assert (str(again), again.code) == ("why", "c")


@pytest.fixture(scope="module")
def warm() -> None:
    """Memory that the first call of this process takes does not count as a file's."""
    asyncio.run(examine(readings.pid))


@pytest.mark.usefixtures("warm")
@pytest.mark.parametrize(
    "make",
    [
        lying_files.png_bomb,
        lying_files.gigapixel_frames,
        bombs.rgba_png_in_mov,
        bombs.many_pngs_in_mov,
        bombs.cover_of_a_song,
        bombs.samples_that_are_not_there,
        bombs.grown_picture,
        bombs.nested_boxes,
    ],
)
async def test_bombs_cost_this_process_nothing(
    make: Callable[[Path], bytes], tmp_path: Path
) -> None:
    path = tmp_path / "bomb"
    path.write_bytes(make(tmp_path))
    gc.collect()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with use_settings(limited(memory_mb=512, cpu_seconds=30)), path.open("rb") as stream:
        try:
            found = await examine(probe, stream, size=path.stat().st_size, what="the bomb")
        except MediaUnusable as error:
            refused = error.message
        else:
            # Its sound is fine, or its first picture; nothing of the rest was taken.
            refused = "" if found.duration < 60 else "the bomb is long"
    assert refused == "" or "the bomb" in refused
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown < 30, f"{grown:.0f} MB"
