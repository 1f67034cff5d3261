"""Functions that tests run in the processes that read media."""

from __future__ import annotations

import os
import signal
import socket
import struct
import sys
import time
from pathlib import Path
from typing import BinaryIO

from pro_video.core.errors import FieldProblem, MediaUnusable, RequestRefused, StorageUnavailable
from pro_video.media.info import AudioStream, MediaInfo


def echo(value: list[int], *, info: MediaInfo | None = None) -> tuple[list[int], MediaInfo | None]:
    return value, info


def sound() -> AudioStream:
    return AudioStream(codec="aac", sample_rate=48000, channels=2, duration=float("inf"))


def picture() -> bytes:
    return bytes(range(256))


def pid() -> int:
    """Of the parent, which reads nothing."""
    return os.getppid()


def remember(value: int) -> int:
    """The value of an earlier call in this process."""
    left = _left[-1] if _left else 0
    _left.append(value)
    return left


_left: list[int] = []


def surroundings() -> tuple[list[str], list[str]]:
    return list(os.environ), list(sys.modules)


def ends(streams: dict[str, list[BinaryIO]], length: int) -> list[bytes]:
    """The first and the last bytes of each stream, and where its end is."""
    found = []
    for stream in streams["streams"]:
        first = stream.read(length)
        end = stream.seek(0, os.SEEK_END)
        stream.seek(-length, os.SEEK_END)
        found += [first, stream.read(), str(end).encode()]
    return found


def everything(stream: BinaryIO, piece: int) -> int:
    total = 0
    while data := stream.read(piece):
        total += len(data)
    return total


def read_anyway(stream: BinaryIO) -> str:
    try:
        stream.read(10)
    except (MediaUnusable, StorageUnavailable) as error:
        return f"{type(error).__name__} {error.code}"
    return ""


def refuse(kind: str) -> None:
    if kind == "media":
        raise MediaUnusable("too odd", code="media_odd", stage="upload", request_id="r")
    if kind == "request":
        raise RequestRefused([FieldProblem("video", "is odd", "odd"), FieldProblem("audio", "too")])
    if kind == "storage":
        raise StorageUnavailable("slow down", retry_after=2.5)
    if kind == "own":
        raise Own("an error of the function's own")
    raise ValueError("a mistake")


class Own(Exception):
    pass


def take_memory(megabytes: int) -> int:
    return len(bytearray(megabytes * 1024 * 1024))


def take_time() -> None:
    while True:
        pass


def sleep(note: Path | None = None) -> None:
    if note is not None:
        note.write_text(str(os.getpid()), encoding="ascii")
    while True:
        time.sleep(60)


def die(note: Path, *, times: int) -> str:
    """Be killed so many times, then return."""
    deaths = len(note.read_text(encoding="ascii")) if note.exists() else 0
    if deaths < times:
        note.write_text("x" * (deaths + 1), encoding="ascii")
        os.kill(os.getpid(), signal.SIGSEGV)
    return "alive"


def write(path: str | Path) -> int:
    return Path(path).write_bytes(b"0123456789")


def open_many(path: str) -> int:
    return len([Path(path).open("rb") for _ in range(1000)])


def say(kind: str) -> int:
    """Send an answer that no honest process sends, as malicious code in a file could."""
    answers = {
        "pickle": b"cos\nsystem\n(S'true'\ntR.",
        "type": b'["text"]',
        "class": b'{"kind": "FieldProblem", "ours": true, "message": "", "told": "", "stream": null'
        b', "known": {}}',
        "json": b"{",
        "kind": b"",
        "length": b"",
        "more": b"[1]",
    }
    head = {"class": b"x", "json": b"x", "kind": b"?"}.get(kind, b"v")
    length = 2**32 - 1 if kind == "length" else len(answers[kind])
    message = struct.pack("!cI", head, length) + answers[kind]
    connection = socket.socket(fileno=int(sys.argv[1]))
    connection.sendall(2 * message if kind == "more" else message)
    os._exit(0)
