"""What the first bytes of a media file promise, compared with its size.

libav opens a file that was cut off and reports the length of the whole one, and adapts the length
of a cut WAV in silence. The outer structure of the common containers says where the file has to
end, and reading it takes a few small reads.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pro_video.inspection.index import Claims

ReadAt = Callable[[int, int], bytes]
"""(offset, length) to bytes; fewer at the end of the file."""

MAX_BOXES: Final = 4096
"""Boxes of the outer structure, two for each fragment: over an hour in fragments of two seconds."""
MAX_INDEX: Final = 48 * 1024 * 1024
_INDEXES: Final = frozenset(
    b"moov moof trak mdia minf stbl traf edts udta dinf wave mvex tref ilst ipro iprp meta cmov "
    b"stsd stsz stz2 trun".split()
)
"""Boxes in which libav looks for tables of samples, also where the standard has no place for them
(the table of parsers in libavformat/mov.c)."""

_BOXES: Final = frozenset({b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"styp"})


@dataclass(frozen=True, slots=True)
class Layout:
    """What the outer structure says.

    Attributes:
        container: mp4, mov, webm, mkv, wav, avi, or None for one that is not looked into here.
        code: name of what is wrong, None when nothing is.
        problem: completes "the file …", None when nothing is wrong.
    """

    container: str | None = None
    code: str | None = None
    problem: str | None = None


def inspect(read_at: ReadAt, size: int) -> Layout:
    """Look at the outer structure of a file of ``size`` bytes."""
    if size <= 0:
        return Layout(None, "media_empty", "is empty")
    head = read_at(0, 64)
    if head[4:8] in _BOXES:
        return _inspect_boxes(read_at, size, head)
    if head[:4] == b"\x1a\x45\xdf\xa3":
        return _inspect_ebml(head, size)
    if head[:4] == b"RIFF" and head[8:12] in {b"WAVE", b"AVI "}:
        return _inspect_riff(head, size)
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:16].lower()
    if text.startswith((b"<!doc", b"<html", b"<?xml", b"<head")):
        return Layout(None, "media_not_media", "is a web page, not a media file")
    if text.startswith((b"#extm3u", b"{", b"[")):
        return Layout(None, "media_not_media", "is a text file or playlist, not a media file")
    # libav also takes a file for MP4 that begins with a box of any other name.
    layout = _inspect_boxes(read_at, size, head)
    return layout if layout.code == "media_absurd" else Layout()


def _inspect_boxes(read_at: ReadAt, size: int, head: bytes) -> Layout:
    container = "mov" if head[4:8] != b"ftyp" or head[8:12] == b"qt  " else "mp4"
    offset, has_index, claims = 0, False, Claims(read_at)
    for _ in range(MAX_BOXES):
        if offset >= size:
            break
        header = read_at(offset, 16)
        if len(header) < 8:
            # A few bytes of padding after the last box do no harm.
            break
        length, name = int.from_bytes(header[:4], "big"), header[4:8]
        if length == 1:
            length = int.from_bytes(header[8:16], "big")
        elif length == 0:
            length = size - offset
        if length < 8:
            break
        if name in {b"free", b"hoov"} and header[12:16] in {b"mvhd", b"cmov"}:
            # libav takes it for the index, as tools hide one that they have replaced.
            name = b"moov"
        has_index = has_index or name == b"moov"
        if name in _INDEXES and length > MAX_INDEX:
            return _absurd(container, f"has an index of {length} bytes")
        if offset + length > size:
            return Layout(container, "media_truncated", _cut(offset + length, size))
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
    if length is not None and position + length > size:
        return Layout(container, "media_truncated", _cut(position + length, size))
    return Layout(container)


def _vint(data: bytes, position: int) -> tuple[int | None, int]:
    """An EBML length and the position after it; None for the unknown length of a live recording."""
    if position >= len(data) or data[position] == 0:
        return None, position
    width = 9 - data[position].bit_length()
    mask = (1 << (7 * width)) - 1
    value = int.from_bytes(data[position : position + width], "big") & mask
    return (None if value == mask else value), position + width


def _inspect_riff(head: bytes, size: int) -> Layout:
    container = "wav" if head[8:12] == b"WAVE" else "avi"
    length = int.from_bytes(head[4:8], "little")
    # Recorders that cannot go back write 0 or the largest value; a last padding byte may miss.
    if 0 < length < 0xFFFFFF00 and length + 8 > size + 1:
        return Layout(container, "media_truncated", _cut(length + 8, size))
    return Layout(container)


def _cut(promised: int, size: int) -> str:
    return f"was cut off: it has {size} bytes and its structure promises {promised}"
