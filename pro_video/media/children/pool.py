"""Child processes that read media, and the threads that manage them."""

from __future__ import annotations

import atexit
import contextlib
import os
import queue
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from functools import lru_cache
from pathlib import Path
from typing import Any

from pro_video.core.errors import MediaUnusable, TransientError
from pro_video.core.settings import get_settings
from pro_video.media.children.messages import (
    CALL,
    DATA,
    END,
    FAILURE,
    MOST_ANSWERED,
    MOST_READ,
    OVER_LIMITS,
    OVER_MEMORY,
    PLACE,
    RAISED,
    READ,
    READY,
    RESULT,
    STATUS,
    Channel,
    ReadingLimits,
    pack_call,
    pack_failure,
    result_type,
    unpack_error,
)

_IDLE_SECONDS = 60.0
# Waits for the storage do not count against the file, but they must end too.
_LONGEST_SECONDS = 3600.0
_START_SECONDS = 60.0
_END_SECONDS = 10.0
_TRIES = 2
_CLOSE_SECONDS = 5.0
_ADVICE = "convert it to MP4 with H.264, or to WAV"
# Keeps the BLAS of numpy from starting a thread on each processor.
_ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
_INHERITED = ("PATH", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")


class _Died(Exception):
    """The process of a call ended without a result, with this status."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Child:
    """One child process: a fresh interpreter without this one's environment.

    Raises:
        TransientError: it did not start.
    """

    def __init__(self) -> None:
        try:
            pairs = [socket.socketpair(), socket.socketpair()]
        except OSError as error:
            raise _not_started(error) from error
        (self._socket, theirs), (self._control, their_control) = pairs
        try:
            with theirs, their_control:
                self._process = _started(theirs, their_control)
        except OSError as error:
            self._socket.close()
            self._control.close()
            raise _not_started(error) from error
        channel = Channel(self._socket, self._control)
        channel.deadline = time.monotonic() + _START_SECONDS
        try:
            if channel.receive(0)[0] != READY:
                raise ConnectionAbortedError("it does not become ready")
        except OSError as error:
            self.close()
            raise _not_started(error) from error

    def kill(self) -> None:
        """Kill the process and its call at once; thread-safe."""
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def close(self) -> None:
        """End it and wait for its end."""
        self.kill()
        self._process.wait()
        self._socket.close()
        self._control.close()

    def run(self, call: Call) -> tuple[bytes, bytearray, dict[int, Exception]]:
        """Run a call; return the kind and data of its result, and its streams' errors by number.

        Raises:
            TimeoutError: it took too long.
            _Died: the process of the call ended.
            OSError, struct.error, ValueError: the child is gone, or its message is malformed.
        """
        failures: dict[int, Exception] = {}
        channel = Channel(self._socket, self._control)
        longest = time.monotonic() + _LONGEST_SECONDS
        channel.deadline = time.monotonic() + call.limits.seconds
        try:
            channel.send(CALL, call.data)
            while True:
                kind, data = channel.receive(MOST_ANSWERED)
                if kind not in (READ, END):
                    break
                number, offset, length = PLACE.unpack(data)
                began = time.monotonic()
                try:
                    answer = _read(call.streams[number], kind, offset, min(length, MOST_READ))
                except Exception as error:  # noqa: BLE001 - sent to the child and raised in the caller
                    failures[number] = error
                    kind, answer = FAILURE, pack_failure(error)
                else:
                    kind = DATA
                channel.deadline = min(longest, channel.deadline + time.monotonic() - began)
                channel.send(kind, answer)
        except ConnectionResetError:
            raise _Died(self._status()) from None
        if status := self._status():
            raise _Died(status)
        if channel.has_more():
            raise ValueError("more than one result")
        return kind, data, failures

    def _status(self) -> int:
        """The exit status of a call's process."""
        self._control.settimeout(_END_SECONDS)
        return int(STATUS.unpack(self._control.recv(STATUS.size))[0])


def _started(*theirs: socket.socket) -> subprocess.Popen[bytes]:
    numbers = [each.fileno() for each in theirs]
    return subprocess.Popen(
        [
            # A package of the same name in the working directory is not ours.
            *(sys.executable, "-P", "-m"),
            "pro_video.media.children.child",
            *map(str, [*numbers, os.getpid()]),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        env=_environment(),
        pass_fds=numbers,
        # Ctrl-C in a terminal goes to this process, which then ends its children.
        start_new_session=True,
    )


def _not_started(why: object) -> TransientError:
    return TransientError(
        f"The process that reads media did not start ({why}). Check the worker's log and memory, "
        "then retry this run.",
        code="reading_unavailable",
    )


def _read(stream: Any, kind: bytes, offset: int, length: int) -> bytes:
    if kind == END:
        return struct.pack("!Q", stream.seek(0, os.SEEK_END))
    stream.seek(offset)
    data: bytes = stream.read(length)
    return data


def _environment() -> dict[str, str]:
    """The child's environment: the paths of modules, without secrets."""
    kept = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    places = os.pathsep.join(place or str(Path.cwd()) for place in sys.path)
    return kept | _ENVIRONMENT | {"PYTHONPATH": places}


class Call:
    """One function to run, and the future of its result."""

    def __init__(
        self,
        limits: ReadingLimits,
        work: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        self.limits = limits
        self.work = work
        self.what = str(kwargs.get("what", "the file"))
        self.data, self.streams = pack_call(limits, work, args, kwargs)
        self.future: Future[Any] = Future()
        self._lock = threading.Lock()
        self._abandoned = False
        self._child: Child | None = None

    def abandon(self) -> None:
        """Give the call up: it does not begin, or ends at once."""
        self.future.cancel()
        with self._lock:
            self._abandoned = True
            if self._child is not None:
                self._child.kill()

    def assign(self, child: Child | None) -> None:
        """Note the child that runs the call; None after its end.

        Raises:
            CancelledError: the call was given up.
        """
        with self._lock:
            self._child = child
            if self._abandoned:
                raise CancelledError


class Children:
    """A bounded number of child processes, started on demand and ended after a minute without work.

    Args:
        processes: at the same time; default is the setting ``reading_processes``.
        idle_seconds: life of a child without work.
    """

    def __init__(
        self, processes: int | None = None, *, idle_seconds: float = _IDLE_SECONDS
    ) -> None:
        self._processes = processes
        self._idle_seconds = idle_seconds
        self._calls: queue.SimpleQueue[Call | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._busy: set[Call] = set()
        self._closed = False

    def submit(
        self,
        limits: ReadingLimits,
        work: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Call:
        """Put a call at the end of the queue.

        Raises:
            RuntimeError: closed.
        """
        call = Call(limits, work, args, kwargs)
        with self._lock:
            if self._closed:
                raise RuntimeError("the processes that read media are closed")
            if len(self._threads) < (self._processes or get_settings().reading_processes):
                name = f"pro-video-reading-{len(self._threads)}"
                # One long-lived thread per child: on Linux a child dies with the thread that
                # started it.
                thread = threading.Thread(target=self._serve, name=name, daemon=True)
                self._threads.append(thread)
                thread.start()
            self._calls.put(call)
        return call

    def close(self) -> None:
        """End all children and threads; unfinished calls are cancelled."""
        with self._lock:
            self._closed = True
            threads, busy = list(self._threads), list(self._busy)
        with contextlib.suppress(queue.Empty):
            while True:
                left = self._calls.get_nowait()
                if left is not None:
                    left.abandon()
        for _ in threads:
            self._calls.put(None)
        for call in busy:
            call.abandon()
        for thread in threads:
            thread.join(_CLOSE_SECONDS)

    def _serve(self) -> None:
        child: Child | None = None
        try:
            while True:
                try:
                    call = self._calls.get(timeout=None if child is None else self._idle_seconds)
                except queue.Empty:
                    _close(child)
                    child = None
                    continue
                if call is None:
                    return
                if not call.future.set_running_or_notify_cancel():
                    continue
                with self._lock:
                    self._busy.add(call)
                child = _run(call, child)
                with self._lock:
                    self._busy.discard(call)
        finally:
            _close(child)


def _close(child: Child | None) -> None:
    if child is not None:
        child.close()


def _run(call: Call, child: Child | None) -> Child | None:
    """Run a call in the given child or a new one; return the child if it can take another."""
    for _ in range(_TRIES):
        try:
            call.assign(None)
            child = child or Child()
            call.assign(child)
            kind, data, failures = child.run(call)
            call.assign(None)
            result = _result(call, kind, data, failures)
        except (CancelledError, TransientError) as error:
            _close(child)
            call.future.set_exception(error)
            return None
        except TimeoutError:
            _close(child)
            call.future.set_exception(_over(call, f"{call.limits.seconds:g} s"))
            return None
        except (_Died, OSError, struct.error, ValueError, KeyError, TypeError) as error:
            _close(child)
            child = None
            if isinstance(error, _Died) and error.status == -signal.SIGXCPU:
                call.future.set_exception(_over(call, f"{call.limits.cpu_seconds} s of processor"))
                return None
            # It died, was killed, or sent a malformed message. The file need not be the cause: a
            # system without memory kills any process.
            continue
        if isinstance(result, Exception):
            call.future.set_exception(result)
        else:
            call.future.set_result(result)
        return child
    call.future.set_exception(
        MediaUnusable(
            f"{call.what} cannot be read: the process that read it died twice; {_ADVICE}",
            code="media_unreadable",
        )
    )
    return None


def _result(call: Call, kind: bytes, data: bytearray, failures: dict[int, Exception]) -> Any:
    """The result, or the exception to raise.

    Raises:
        ValueError, KeyError, TypeError: malformed.
    """
    if kind == RESULT:
        return result_type(call.work).validate_json(bytes(data))[0]
    if kind == RAISED:
        return unpack_error(data, failures)
    if kind == OVER_MEMORY:
        return _over(call, f"{call.limits.memory // 1024 // 1024} MB of memory")
    raise ValueError(f"a message of kind {kind!r}")


def _over(call: Call, limit: str) -> MediaUnusable:
    return MediaUnusable(
        f"{call.what} could not be read within {limit}; {_ADVICE}", code=OVER_LIMITS
    )


@lru_cache(maxsize=1)
def shared() -> Children:
    """The children of this process; they end with it."""
    children = Children()
    atexit.register(children.close)
    return children
