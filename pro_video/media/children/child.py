"""The process that reads media: ``python -m pro_video.media.children.child SOCKET STATUS PARENT``.

Each call runs in a fork of this process, so that no file affects the next. This process has loaded
the libraries and has one thread, so that forking is cheap and safe. The fork sets its limits before
it begins. All processes end with the parent: when its sockets close, and on Linux at once. macOS
has no limit of the address space; only the limits of time hold there.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import io
import os
import pickle
import resource
import signal
import socket
import struct
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

import av  # noqa: F401 - loaded before the limits hold

from pro_video.media.children.messages import (
    END,
    FAILURE,
    OVER_MEMORY,
    PLACE,
    RAISED,
    READ,
    READY,
    RESULT,
    STATUS,
    Channel,
    ReadingLimits,
    pack_error,
    result_type,
)

if TYPE_CHECKING:
    from typing_extensions import Buffer

_MOST_FILES = 64
_NICENESS = 5
# The largest WAV.
_MOST_WRITTEN = 4 * 1024**3
_AHEAD = 64 * 1024
_PR_SET_PDEATHSIG: Final = 1


class ParentStream(io.RawIOBase):
    """A stream of the parent, read through the channel."""

    def __init__(self, channel: Channel, number: int, position: int) -> None:
        super().__init__()
        self._channel = channel
        self._number = number
        self._position = position
        self.failure: Exception | None = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        if whence == os.SEEK_CUR:
            offset += self._position
        elif whence == os.SEEK_END:
            offset += struct.unpack("!Q", self._ask(END, 0, 0))[0]
        if offset < 0:
            raise ValueError("no such position in the stream")
        self._position = offset
        return offset

    def readinto(self, buffer: Buffer, /) -> int:
        with memoryview(buffer) as outer, outer.cast("B") as view:
            data = self._ask(READ, self._position, len(view))
            view[: len(data)] = data
        self._position += len(data)
        return len(data)

    def _ask(self, kind: bytes, offset: int, length: int) -> bytearray:
        self._channel.send(kind, PLACE.pack(self._number, offset, length))
        answered, data = self._channel.receive()
        if answered == FAILURE:
            self.failure = pickle.loads(data)
            raise self.failure
        return data


class _Unpickler(pickle.Unpickler):
    def __init__(self, data: bytes, streams: list[Any]) -> None:
        super().__init__(io.BytesIO(data))
        self._streams = streams

    def persistent_load(self, place: Any) -> Any:
        return self._streams[place]


def _call(channel: Channel, module: str, rest: list[Any]) -> tuple[bytes, bytes]:
    """Run one call; return the message with its result."""
    positions, writes, packed = rest
    raws = [ParentStream(channel, number, place) for number, place in enumerate(positions)]
    try:
        streams = [io.BufferedReader(raw, _AHEAD) for raw in raws]
        limits, name, args, kwargs = _Unpickler(packed, streams).load()
        work = getattr(importlib.import_module(module), name)
        pack = result_type(work)
        _limited(limits, writes=writes)
        return RESULT, pack.dump_json((work(*args, **kwargs),))
    except MemoryError:
        return OVER_MEMORY, b""
    except Exception as error:  # noqa: BLE001 - the parent raises it
        failed = (number for number, raw in enumerate(raws) if raw.failure is error)
        return RAISED, pack_error(error, traceback.format_exc(), next(failed, None))


def _limited(limits: ReadingLimits, *, writes: bool) -> None:
    # SIGXCPU comes at the soft limit.
    _limit(resource.RLIMIT_CPU, limits.cpu_seconds, limits.cpu_seconds + 5)
    _limit(resource.RLIMIT_FSIZE, _MOST_WRITTEN if writes else 0)
    # The loaded libraries do not count.
    _limit(resource.RLIMIT_AS, _address_space() + limits.memory)


def _limit(kind: int, soft: int, hard: int | None = None) -> None:
    most = resource.getrlimit(kind)[1]
    hard = soft if hard is None else hard
    if most != resource.RLIM_INFINITY:
        soft, hard = min(soft, most), min(hard, most)
    # macOS refuses some.
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(kind, (soft, hard))


def _address_space() -> int:
    try:
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[0]
    except OSError:
        return 0
    return int(pages) * resource.getpagesize()


def _end_with(parent: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _answer(channel: Channel, data: bytearray) -> NoReturn:
    """Run a call in the forked process, and end it."""
    status = 1
    try:
        module, *rest = pickle.loads(data)
        channel.send(*_call(channel, module, rest))
        status = 0
    finally:
        os._exit(status)


def main() -> None:
    """Run calls until the parent has ended."""
    connection, control = (socket.socket(fileno=int(number)) for number in sys.argv[1:3])
    _end_with(int(sys.argv[3]))
    os.nice(_NICENESS)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_NOFILE, _MOST_FILES)
    with connection, control:
        channel = Channel(connection)
        channel.send(READY)
        while True:
            try:
                data = channel.receive()[1]
            except ConnectionError:
                return
            # Loaded once, here; the call itself reports a failure.
            with contextlib.suppress(Exception):
                importlib.import_module(pickle.loads(data)[0])
            this = os.getpid()
            child = os.fork()
            if child == 0:
                control.close()
                _end_with(this)
                _answer(channel, data)
            _, status = os.waitpid(child, 0)
            control.sendall(STATUS.pack(os.waitstatus_to_exitcode(status)))


if __name__ == "__main__":
    main()
