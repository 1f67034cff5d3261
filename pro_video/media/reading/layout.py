"""The outer structure of a media file, compared with its size.

libav opens a cut file and reports the length of the whole one, and silently adapts the length of a
cut WAV. The outer sizes alone prove nothing: streams have placeholders for them, and forms, cameras
and proxies leave bytes after the last box. A file is cut off when media is missing. So a size
beyond the end makes `pro_video.media.probe.probe` check the media, and is refused at once only
where no media can exist without it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from pro_video.core.file_types import (
    AIFF,
    HEAD_BYTES,
    OGG,
    TEXTS,
    UNKNOWN,
    W64,
    Kind,
    kind_of,
    tag_length,
)
from pro_video.media.reading.sample_claims import MAX_SEGMENT_INDEX, Claims

ReadAt = Callable[[int, int], bytes]
"""(offset, length) to bytes; fewer at the end of the file."""

MAX_BOXES: Final = 4096
"""Boxes of the outer structure, two per fragment: over an hour in fragments of two seconds."""
MAX_INDEX: Final = 48 * 1024 * 1024
_INDEXES: Final = frozenset(
    b"moov moof trak mdia minf stbl traf edts udta dinf wave mvex tref ilst ipro iprp meta cmov "
    b"stsd stsz stz2 trun".split()
)
"""Boxes in which libav reads tables of samples, outside their standard places too (the table of
parsers in libavformat/mov.c)."""

_BOXES: Final = frozenset({b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"styp"})
_ESSENTIAL: Final = frozenset({b"ftyp", b"moov", b"moof"})
"""Boxes without which some media cannot be found."""
_MAX_CHUNKS: Final = 64
_COUNTED_HEADER: Final = 0.05
"""Seconds of sound whose bytes are more than any header has."""
_PLACEHOLDER: Final = 1_000_000_000
_W64_SOUND: Final = b"data\xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a"
_W64_PLACEHOLDER: Final = 1 << 60
_PLACEHOLDER_SECONDS: Final = 600.0
"""Programs that write a WAV to a stream put 0, 0xFFFFFFFF, 0x7FFFFFFF, 0x7FFFF000 or 2000000000 for
its bytes. Larger numbers of bytes or seconds are such placeholders."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Facts of the outer structure.

    Attributes:
        container: mp4, mov, webm, mkv, wav, avi, aiff, w64, ogg, or None for others.
        code: of the problem, None without one.
        problem: completes "the file …", None without one.
        advice: what to do about it.
        promised: bytes that the sizes promise, when they are more than the file has.
        stated: the header states the length: a plain WAV with true sizes, or a FLAC.
        frames: of sound, by the header of an MP3; 0 when unknown.
    """

    container: str | None = None
    code: str | None = None
    problem: str | None = None
    promised: int | None = None
    stated: bool = False
    frames: int = 0
    advice: str = "check that it plays and upload it again"


def inspect(read_at: ReadAt, size: int) -> Layout:
    """Inspect the outer structure of a file of ``size`` bytes."""
    if size <= 0:
        return Layout(None, "media_empty", "is empty")
    head = read_at(0, HEAD_BYTES)
    if head[4:8] in _BOXES:
        layout = _inspect_boxes(read_at, size, head)
        kind = kind_of(head)
        return layout if layout.problem is not None or kind.readable else _refused(kind)
    if head[:4] == b"\x1a\x45\xdf\xa3":
        return _inspect_ebml(head, size)
    if head[:4] in {b"RIFF", b"RIFX", b"RF64", b"BW64"} and head[8:12] == b"WAVE":
        return _inspect_wav(read_at, size, head)
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        length = int.from_bytes(head[4:8], "little") + 8
        return Layout("avi", promised=length if length > size + 1 else None)
    kind = kind_of(head)
    if kind is not UNKNOWN and not kind.readable:
        return _refused(kind)
    if kind in _SOUNDS:
        return _SOUNDS[kind](read_at, size, head)
    # libav also takes files for MP4 that begin with a box of another name.
    layout = _inspect_boxes(read_at, size, head)
    return layout if layout.code == "media_absurd" else _inspect_sound(head, read_at)


def _refused(kind: Kind) -> Layout:
    if kind in TEXTS:
        problem, advice = "not a media file", "give the address of the file itself"
    else:
        problem, advice = "which is not read", "convert it to MP4 (H.264), or sound to WAV"
    return Layout(None, "media_not_media", f"is {kind.name}, {problem}", advice=advice)


def _inspect_sound(head: bytes, read_at: ReadAt) -> Layout:
    """The length that an MP3 (Xing, Info, VBRI) or a FLAC states."""
    start = tag_length(head)
    first = read_at(start, 1024)
    if first[:4] == b"fLaC":
        # 36 bits of the stream information.
        return Layout(stated=int.from_bytes(first[21:26], "big") & 0xFFFFFFFFF > 0)
    if first[36:40] == b"VBRI":
        return Layout(frames=int.from_bytes(first[50:54], "big"))
    place = max(first.find(b"Xing", 0, 64), first.find(b"Info", 0, 64))
    if place > 0 and first[place + 7 : place + 8] and first[place + 7] & 1:
        return Layout(frames=int.from_bytes(first[place + 8 : place + 12], "big"))
    return Layout()


def _inspect_aiff(_read_at: ReadAt, size: int, head: bytes) -> Layout:
    """libav uses the stated number of samples; a size beyond the end makes them be counted."""
    end = 8 + int.from_bytes(head[4:8], "big")
    return Layout("aiff", promised=end if size + 1 < end < _PLACEHOLDER else None)


def _inspect_w64(_read_at: ReadAt, size: int, head: bytes) -> Layout:
    place = head.find(_W64_SOUND)
    end = place + int.from_bytes(head[place + 16 : place + 24], "little")
    if place > 0 and size + 8 < end < _W64_PLACEHOLDER:
        return Layout("w64", "media_truncated", cut(end, size))
    return Layout("w64")


def _inspect_ogg(read_at: ReadAt, size: int, _head: bytes) -> Layout:
    """The last page has a table of its segments."""
    first = max(0, size - HEAD_BYTES)
    tail = read_at(first, HEAD_BYTES)
    page = tail.rfind(b"OggS")
    table = page + 27
    pieces = tail[table : table + tail[table - 1]] if 0 < table <= len(tail) else b""
    end = first + table + len(pieces) + sum(pieces)
    return Layout("ogg", "media_truncated", cut(end, size)) if end > size else Layout("ogg")


_SOUNDS: Final = {AIFF: _inspect_aiff, W64: _inspect_w64, OGG: _inspect_ogg}


def _inspect_boxes(read_at: ReadAt, size: int, head: bytes) -> Layout:
    container = "mov" if head[4:8] != b"ftyp" or head[8:12] == b"qt  " else "mp4"
    offset, has_index, claims = 0, False, Claims(read_at)
    for _ in range(MAX_BOXES):
        if offset >= size:
            break
        header = read_at(offset, 16)
        if len(header) < 8:
            # A few bytes of padding after the last box are harmless.
            break
        length, name = int.from_bytes(header[:4], "big"), header[4:8]
        if length == 1:
            length = int.from_bytes(header[8:16], "big")
        elif length == 0:
            length = size - offset
        if length < 8:
            break
        if name in {b"free", b"hoov"} and header[12:16] in {b"mvhd", b"cmov"}:
            # libav takes it for the index: tools hide a replaced index in this way.
            name = b"moov"
        has_index = has_index or name == b"moov"
        if name in _INDEXES and length > MAX_INDEX:
            return _absurd(container, f"has an index of {length} bytes")
        if offset + length > size:
            if name in _ESSENTIAL or not has_index:
                return Layout(container, "media_truncated", cut(offset + length, size))
            # The last box is larger than the file, or junk follows; the index shows whether a
            # sample is missing.
            break
        if name == b"sidx":
            claims.segment_index += length
        if claims.segment_index > MAX_SEGMENT_INDEX:
            return _absurd(container, f"has segment indexes of {claims.segment_index} bytes")
        if name in _INDEXES:
            samples = claims.add(offset, length)
            if claims.compressed:
                return Layout(
                    container, "media_absurd", "has a compressed index, which is not read"
                )
            if samples:
                return _absurd(container, f"claims {samples} frames")
        offset += length
    else:
        return Layout(
            container,
            "media_absurd",
            f"consists of more than {MAX_BOXES} pieces; write it again (remux) without fragments",
        )
    if not has_index:
        return Layout(
            container, "media_truncated", "has no index (moov): its recording or upload was cut off"
        )
    return Layout(container)


def _absurd(container: str, claim: str) -> Layout:
    return Layout(container, "media_absurd", f"{claim}, which is absurd")


def _inspect_ebml(head: bytes, size: int) -> Layout:
    length, position = _vint(head, 4)
    container = "webm" if b"webm" in head else "mkv"
    segment = position + (length or 0)
    if length is None or head[segment : segment + 4] != b"\x18\x53\x80\x67":
        return Layout(container)
    length, position = _vint(head, segment + 4)
    promised = None if length is None or position + length <= size else position + length
    return Layout(container, promised=promised)


def _vint(data: bytes, position: int) -> tuple[int | None, int]:
    """An EBML length and the position after it; None for the unknown length of a live recording."""
    if position >= len(data) or data[position] == 0:
        return None, position
    width = 9 - data[position].bit_length()
    mask = (1 << (7 * width)) - 1
    value = int.from_bytes(data[position : position + width], "big") & mask
    return (None if value == mask else value), position + width


def _inspect_wav(read_at: ReadAt, size: int, head: bytes) -> Layout:
    """The chunks of a WAV up to its sound."""
    order: Literal["big", "little"] = "big" if head[:4] == b"RIFX" else "little"
    riff, rate, large = int.from_bytes(head[4:8], order) + 8, 0, 0
    offset = 12
    for _ in range(_MAX_CHUNKS):
        chunk = read_at(offset, 24)
        name, length = chunk[:4], int.from_bytes(chunk[4:8], order)
        start = offset + 8
        if name == b"fmt ":
            rate = int.from_bytes(chunk[16:20], order)
        elif name == b"ds64":
            large = int.from_bytes(chunk[16:24], order)
        elif name == b"data":
            length = large if length == 0xFFFFFFFF and large else length
            # The last padding byte may be missing.
            whole = start + length <= size + 1
            # Some programs count the header as sound.
            missing = start + length - size > rate * _COUNTED_HEADER
            if missing and not whole and not _is_placeholder(length, rate):
                return Layout("wav", "media_truncated", cut(start + length, size))
            plain = head[:4] == b"RIFF" and whole and length > 0
            return Layout("wav", stated=plain and start + length <= riff + 1 <= size + 2)
        offset = start + length + length % 2
        if len(chunk) < 8 or offset >= size:
            break
    if riff > size + 1 and not _is_placeholder(riff, rate):
        return Layout("wav", "media_truncated", cut(riff, size))
    return Layout("wav")


def _is_placeholder(length: int, rate: int) -> bool:
    return length >= _PLACEHOLDER or 0 < rate * _PLACEHOLDER_SECONDS < length


def cut(promised: int, size: int) -> str:
    """Completes "the file …" for one of ``size`` bytes that promises more."""
    return f"was cut off: it has {size} bytes and its structure promises {promised}"
