"""Small files that take much memory or time when they are read without limits."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

import av
from av.packet import Packet

from tests.support.media.clips import write_sound
from tests.support.media.lying_files import box, full, still


@lru_cache
def _png(width: int, height: int) -> bytes:
    """A black picture with four channels of 16 bits: 1 MB that unpacks to gigabytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    def packed() -> Iterator[bytes]:
        packer, row = zlib.compressobj(9), bytes(1 + 8 * width)
        yield from (packer.compress(row) for _ in range(height))
        yield packer.flush()

    header = struct.pack(">IIBBBBB", width, height, 16, 6, 0, 0, 0)
    pieces = chunk(b"IHDR", header) + chunk(b"IDAT", b"".join(packed())) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + pieces


def rgba_png_in_mov(folder: Path, side: int = 8_200, streams: int = 1) -> bytes:
    path, picture = folder / "png.mov", _png(side, side)
    with av.open(str(path), "w", format="mov") as container:
        tracks = []
        for _ in range(streams):
            track = container.add_stream("png", rate=25)
            track.width, track.height, track.pix_fmt = 320, 180, "rgba64be"
            tracks.append(track)
        for track in tracks:
            packet = Packet(picture)
            packet.stream, packet.time_base = track, Fraction(1, 25)
            packet.pts = packet.dts = 0
            packet.duration, packet.is_keyframe = 25, True
            container.mux(packet)
    return path.read_bytes()


def many_pngs_in_mov(folder: Path) -> bytes:
    """Each within the limit of pixels, together 1.2 GB."""
    return rgba_png_in_mov(folder, side=1_600, streams=60)


def cover_of_a_song(folder: Path) -> bytes:
    """MP3 with the picture in its ID3 tag."""
    song = write_sound(folder / "song.mp3", codec="libmp3lame").read_bytes()
    picture = b"\0image/png\0\3\0" + _png(8_200, 8_200)

    def synchsafe(number: int) -> bytes:
        return bytes(number >> shift & 0x7F for shift in (21, 14, 7, 0))

    frame = b"APIC" + synchsafe(len(picture)) + b"\0\0" + picture
    return b"ID3\4\0\0" + synchsafe(len(frame)) + frame + song


def samples_that_are_not_there(folder: Path) -> bytes:
    """A table of 2 billion samples of the same size in a few bytes."""
    sound = write_sound(folder / "sound.m4a", codec="aac").read_bytes()
    place = sound.index(b"stsz")
    table = full(b"stsz", struct.pack(">II", 1, 2**31 - 2))
    old = struct.unpack(">I", sound[place - 4 : place])[0]
    return sound[: place - 4] + table.ljust(old, b"\0") + sound[place - 4 + old :]


def grown_picture(folder: Path) -> bytes:
    """MJPEG whose second picture has 1600 times the pixels of the first."""
    small = still(folder / "small.avi", 64, 64).read_bytes()
    frame = small.index(b"\xff\xd8", small.index(b"movi"))
    second = small.index(b"\xff\xd8", frame + 2)
    head = small.index(b"\xff\xc0", second)
    return small[: head + 5] + struct.pack(">HH", 65500, 65500) + small[head + 9 :]


def nested_boxes(folder: Path) -> bytes:
    inner = b""
    for _ in range(20_000):
        inner = struct.pack(">I4s", 8 + len(inner), b"moov") + inner
    return box(b"ftyp", b"isom\0\0\0\0isom") + inner + box(b"mdat", bytes(100))
