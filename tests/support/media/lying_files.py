"""Small files with false claims about their size or kind, made from valid ones."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from pathlib import Path

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from tests.support.media.clips import write_clip, write_sound


def box(name: bytes, *content: bytes) -> bytes:
    """A box of an MP4 file."""
    data = b"".join(content)
    return struct.pack(">I", 8 + len(data)) + name + data


def full(name: bytes, *content: bytes) -> bytes:
    """A box with version and flags of zero."""
    return box(name, bytes(4), *content)


def mp4(
    samples: int,
    *,
    chunks: int = 1,
    width: int = 640,
    height: int = 480,
    timed: int | None = None,
    fragment: int = 0,
) -> bytes:
    """An MP4 of one MJPEG track whose index has a few numbers for any number of samples.

    Args:
        samples: in the index.
        timed: those of them that have a time.
        fragment: samples of a fragment behind it.
    """
    matrix = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
    entry = box(
        b"jpeg",
        bytes(6) + struct.pack(">H", 1) + bytes(16),
        struct.pack(">HHIIIH", width, height, 0x480000, 0x480000, 0, 1),
        bytes(32) + struct.pack(">Hh", 24, -1),
    )
    table = box(
        b"stbl",
        full(b"stsd", struct.pack(">I", 1), entry),
        full(b"stts", struct.pack(">III", 1, samples if timed is None else timed, 1)),
        full(b"stsc", struct.pack(">IIII", 1, 1, samples // chunks, 1)),
        full(b"stsz", struct.pack(">II", 1, samples)),
        full(b"stco", struct.pack(">I", chunks), struct.pack(">I", 64) * chunks),
    )
    media = box(
        b"mdia",
        full(b"mdhd", struct.pack(">IIIIHH", 0, 0, 1000, samples, 0x55C4, 0)),
        full(b"hdlr", bytes(4) + b"vide" + bytes(13)),
        box(b"minf", full(b"vmhd", bytes(8)), table),
    )
    head = full(
        b"tkhd",
        struct.pack(">IIIII", 0, 0, 1, 0, samples) + bytes(16) + matrix,
        struct.pack(">II", width << 16, height << 16),
    )
    movie = full(
        b"mvhd",
        struct.pack(">IIIIIH", 0, 0, 1000, samples, 0x10000, 0x100),
        bytes(10) + matrix + bytes(28),
    )
    extends = full(b"trex", struct.pack(">IIIII", 1, 1, 1, 1, 0))
    movie = box(b"moov", movie, box(b"trak", head, media), box(b"mvex", extends))
    run = full(b"trun", struct.pack(">I", fragment))
    part = box(b"moof", full(b"mfhd", bytes(4)), box(b"traf", full(b"tfhd", b"\0\0\0\1"), run))
    content = box(b"mdat", bytes(4096))
    return box(b"ftyp", b"isom", bytes(4), b"isom") + content + movie + (part if fragment else b"")


def packed_zeros() -> bytes:
    """A zip archive of a hundred megabytes of zeros."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("video.mp4", bytes(100_000_000))
    return out.getvalue()


def still(path: Path, width: int, height: int, codec: str = "mjpeg", frames: int = 25) -> Path:
    """A clip of a grey picture of any size, one encoded frame after the other."""
    pixels = {"mjpeg": "yuvj420p", "png": "gray"}[codec]
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=25)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = width, height, pixels
        grey = np.full((height, width), 128, np.uint8)
        for index in range(frames):
            frame = VideoFrame.from_ndarray(grey, format="gray").reformat(format=pixels)
            frame.pts = index
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def gigapixel_frames(folder: Path) -> bytes:
    """A clip of 64x64 by its header, with JPEG frames of 65500x65500."""
    data = bytearray(still(folder / "jpeg.mov", 64, 64).read_bytes())
    position = -1
    while (position := data.find(b"\xff\xc0\x00\x11\x08", position + 1)) >= 0:
        data[position + 5 : position + 9] = struct.pack(">HH", 65500, 65500)
    return bytes(data)


def png_bomb(folder: Path) -> bytes:
    """A clip of PNG frames that claim 30000x30000, and would unpack to 300 times their size."""
    data = still(folder / "png.mov", 64, 64, "png", frames=2).read_bytes()
    start = data.index(b"\x89PNG")
    header = data[start + 16 : start + 24]
    huge = data.replace(header, struct.pack(">II", 30000, 30000))
    tag = b"IHDR" + huge[start + 16 : start + 29]
    return huge.replace(huge[start + 29 : start + 33], struct.pack(">I", zlib.crc32(tag)))


def matroska_claims(folder: Path) -> bytes:
    """A Matroska file whose codec data claims a quarter of a gigabyte."""
    data = write_clip(folder / "private.mkv", sound=False).read_bytes()
    position = data.index(b"\x63\xa2")
    return data[: position + 2] + b"\x10\x0f\xff\xff" + data[position + 6 :]


def wav_header(folder: Path, offset: int, value: bytes) -> bytes:
    """A WAV file with other bytes at a place of its header."""
    data = write_sound(folder / "header.wav").read_bytes()
    return data[:offset] + value + data[offset + len(value) :]


def song_with_tag(folder: Path) -> bytes:
    """An MP3 behind a tag that claims 256 MB."""
    song = write_sound(folder / "tag.mp3", codec="mp3").read_bytes()
    return b"ID3\x04\x00\x00\x7f\x7f\x7f\x7f" + b"APIC\x7f\x7f\x7f\x7f\x00\x00" + song


def parts(samples: int) -> tuple[bytes, bytes, bytes]:
    """The boxes of :func:`mp4`: type, content, index."""
    data = mp4(samples)
    head, index = struct.unpack(">I", data[:4])[0], data.index(b"moov") - 4
    return data[:head], data[head:index], data[index:]


def edited(samples: int, edits: int) -> bytes:
    """A track whose edit list repeats all of it."""
    data = bytearray(mp4(samples))
    edit = struct.pack(">IiI", 4000, 0, 65536)
    table = box(b"edts", full(b"elst", struct.pack(">I", edits), edit * edits))
    for name in (b"moov", b"trak"):
        start = data.index(name) - 4
        size = int.from_bytes(data[start : start + 4], "big") + len(table)
        data[start : start + 4] = size.to_bytes(4, "big")
    place = data.index(b"trak") + 4
    data[place:place] = table
    return bytes(data)


def segment_indexes(number: int) -> bytes:
    """Indexes of fragments that do not exist, before a track."""
    entry = struct.pack(">III", 1, 1, 0)
    index = full(b"sidx", struct.pack(">IIIIHH", 1, 1000, 0, 0, 0, 65535), entry * 65535)
    data = mp4(50)
    start = int.from_bytes(data[:4], "big")
    return data[:start] + index * number + data[start:]


def hidden(samples: int) -> dict[str, bytes]:
    """Files whose index of so many samples is in unusual places."""
    kind, content, index = parts(samples)
    honest, fragment = mp4(50), mp4(50, fragment=samples)[len(mp4(50)) :]
    track = index[index.index(b"trak") - 4 : index.index(b"mvex") - 4]
    packed = zlib.compress(index)
    compressed = box(
        b"cmov",
        box(b"dcom", b"zlib"),
        box(b"cmvd", struct.pack(">I", len(index)), packed),
    )
    levels = 3000
    nested = b"".join(
        struct.pack(">I", 8 * (levels - level) + len(index)) + b"trak" for level in range(levels)
    )
    return {
        "behind 70 boxes": kind + box(b"free") * 70 + content + index,
        "between 70 boxes": kind + content + box(b"free") * 70 + index,
        "behind 5000 boxes": kind + box(b"free") * 5000 + content + index,
        "behind 5000 inner boxes": kind + content + box(b"moov", box(b"free") * 5000, index[8:]),
        "fragment behind 70 boxes": honest + box(b"free") * 70 + fragment,
        "many tracks": kind + content + box(b"moov", index[8:], track * 40),
        "many fragments": honest + mp4(50, fragment=1_500_000)[len(honest) :] * 40,
        "named hoov": kind + content + index.replace(b"moov", b"hoov", 1),
        "named free": kind + content + index.replace(b"moov", b"free", 1),
        "compressed": kind + content + box(b"moov", index[8:116], compressed),
        "compressed alone": kind + content + compressed,
        "behind an unknown box": box(b"abcd") + content + index,
        "nested deeply": kind + content + nested + index,
    } | {
        f"in {name.decode()}": kind + content + index.replace(b"minf", name, 1)
        for name in (b"edts", b"udta", b"dinf", b"wave", b"mvex", b"tref", b"iprp", b"meta")
    }
