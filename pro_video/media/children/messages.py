"""The protocol between a process and its children that read media.

A message is one byte for its kind, the length of the rest, and the rest. The parent's messages are
trusted and pickled. A child's are not trusted: JSON that is checked against the return type of the
function, or an error by its name.
"""

from __future__ import annotations

import builtins
import io
import json
import pickle
import select
import socket
import struct
import time
import typing
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from pydantic import ConfigDict, TypeAdapter

from pro_video.core import errors
from pro_video.core.errors import FieldProblem, ProVideoError

OVER_LIMITS: Final = "media_over_limits"
"""Code of a reading that exceeded a limit, whatever the file contains."""

CALL: Final = b"c"
DATA: Final = b"d"
FAILURE: Final = b"f"
READY: Final = b"y"
READ: Final = b"r"
END: Final = b"e"
RESULT: Final = b"v"
RAISED: Final = b"x"
OVER_MEMORY: Final = b"m"
STATUS: Final = struct.Struct("!i")
"""The exit code of one call's process, as of `os.waitstatus_to_exitcode`."""

MOST_ANSWERED: Final = 16 * 1024 * 1024
"""Bytes of a result; the largest are previews of some hundred kilobytes."""
MOST_READ: Final = 1024 * 1024
"""Bytes of a stream in one message."""
_MOST_ASKED: Final = 16 * 1024 * 1024
_LONGEST_TEXT: Final = 10_000

_HEAD = struct.Struct("!cI")
PLACE = struct.Struct("!HQI")
"""A read: number of the stream, position, bytes."""


@dataclass(frozen=True)
class ReadingLimits:
    """Limits of one call: bytes of memory, seconds of processor time, seconds."""

    memory: int
    cpu_seconds: int
    seconds: float


class Channel:
    """One side of the socket between a process and its child.

    Args:
        connection: the socket; it becomes non-blocking.
        ended: becomes readable when the other side ends.
    """

    def __init__(self, connection: socket.socket, ended: socket.socket | None = None) -> None:
        connection.setblocking(False)
        self._socket = connection
        self._ended = ended
        self.deadline: float | None = None
        """Time of the TimeoutError on the monotonic clock."""

    def send(self, kind: bytes, *parts: bytes | bytearray) -> None:
        """Send a message.

        Raises:
            OSError: the other side is gone or too slow.
        """
        for part in (_HEAD.pack(kind, sum(map(len, parts))), *parts):
            view = memoryview(part)
            while view:
                self._wait(select.POLLOUT)
                view = view[self._socket.send(view) :]

    def receive(self, most: int = _MOST_ASKED) -> tuple[bytes, bytearray]:
        """The next message.

        Raises:
            OSError: the other side is gone or too slow, or the message is too long.
        """
        kind, length = _HEAD.unpack(self._exactly(_HEAD.size))
        if length > most:
            raise ConnectionAbortedError(f"a message of {length} bytes")
        return kind, self._exactly(length)

    def has_more(self) -> bool:
        """Is a message waiting?"""
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return bool(poll.poll(0))

    def _exactly(self, length: int) -> bytearray:
        data = bytearray(length)
        view, got = memoryview(data), 0
        while got < length:
            self._wait(select.POLLIN)
            more = self._socket.recv_into(view[got:])
            if not more:
                raise ConnectionResetError("the other side is gone")
            got += more
        return data

    def _wait(self, event: int) -> None:
        poll = select.poll()
        poll.register(self._socket, event)
        if self._ended is not None:
            poll.register(self._ended, select.POLLIN)
        left = None
        if self.deadline is not None:
            left = max(0.0, self.deadline - time.monotonic()) * 1000
        ready = [number for number, _ in poll.poll(left)]
        if not ready:
            raise TimeoutError
        if self._socket.fileno() not in ready:
            raise ConnectionResetError("the other side has ended")


def is_stream(value: object) -> bool:
    """Is it read through the channel instead of being pickled?"""
    return isinstance(value, io.IOBase) or (hasattr(value, "read") and hasattr(value, "seek"))


def pack_call(
    limits: ReadingLimits, work: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[bytes, list[Any]]:
    """A call as bytes, and the streams in it.

    Raises:
        ValueError: a child cannot import the function, or its return type is not annotated.
    """
    if work.__qualname__ != work.__name__ or work.__module__ == "__main__":
        raise ValueError(f"{work.__module__}.{work.__qualname__} is not a module's function")
    result_type(work)
    streams: list[Any] = []
    writes = False

    class Pickler(pickle.Pickler):
        def persistent_id(self, value: Any) -> int | None:
            nonlocal writes
            writes = writes or isinstance(value, Path)
            if not is_stream(value):
                return None
            known = (place for place, other in enumerate(streams) if other is value)
            place = next(known, len(streams))
            if place == len(streams):
                streams.append(value)
            return place

    buffer = io.BytesIO()
    Pickler(buffer).dump((limits, work.__name__, args, kwargs))
    positions = [stream.tell() for stream in streams]
    return pickle.dumps((work.__module__, positions, writes, buffer.getvalue())), streams


@lru_cache(maxsize=256)
def result_type(work: Callable[..., Any]) -> TypeAdapter[Any]:
    """The annotated return type of a function, to pack and check its result."""
    returned = typing.get_type_hints(work)["return"]
    config = ConfigDict(
        ser_json_bytes="base64", val_json_bytes="base64", ser_json_inf_nan="constants"
    )
    # In a tuple, because the type may have its own configuration.
    return TypeAdapter(tuple[returned], config=config)  # type: ignore[valid-type]


def pack_error(error: Exception, trace: str, stream: int | None) -> bytes:
    """An error of a function as bytes.

    Args:
        error: the exception.
        trace: its traceback, for developers.
        stream: the stream that raised it, if any.
    """
    known: dict[str, Any] = {
        name: value
        for name, value in vars(error).items()
        if value is None or isinstance(value, str | float | int)
    }
    if isinstance(error, errors.RequestRefused):
        known["problems"] = [
            [getattr(each, f.name) for f in fields(each)] for each in error.problems
        ]
    described = {
        "kind": type(error).__name__,
        "ours": type(error).__module__ == errors.__name__,
        "message": str(error)[:_LONGEST_TEXT],
        "trace": trace[-_LONGEST_TEXT:],
        "stream": stream,
        "known": known,
    }
    return json.dumps(described).encode()


def pack_failure(error: Exception) -> bytes:
    """An error of a stream as bytes, for the function that reads it."""
    try:
        return pickle.dumps(error)
    except (pickle.PicklingError, TypeError, AttributeError):
        return pickle.dumps(OSError(f"{type(error).__name__}: {error}"))


def unpack_error(data: bytearray, failures: dict[int, Exception]) -> Exception:
    """The error in a child's message; that of a stream as it was raised here.

    Raises:
        ValueError, KeyError, TypeError: malformed.
    """
    described = json.loads(data)
    if described["stream"] in failures:
        return failures[described["stream"]]
    kind, message = str(described["kind"]), str(described["message"])
    if described["ours"]:
        found = getattr(errors, kind, None)
        if not (isinstance(found, type) and issubclass(found, ProVideoError)):
            raise ValueError(f"no error is named {kind[:100]}")
        known = {"message": message, **described["known"]}
        if "problems" in known:
            known["problems"] = tuple(FieldProblem(*map(str, each)) for each in known["problems"])
        return errors.rebuilt(found, message, known)
    found = getattr(builtins, kind, None)
    if isinstance(found, type) and issubclass(found, Exception):
        try:
            error = found(message)
        except TypeError:
            error = RuntimeError(f"{kind}: {message}")
    else:
        error = RuntimeError(f"{kind}: {message}")
    error.add_note(f"In the process that reads media:\n{described['trace']}")
    return error
