"""Counts the samples that the index of an MP4 or MOV file claims, before libav allocates them.

A few numbers can claim billions of samples. libav unpacks an index into some thirty bytes a sample,
so a file of four kilobytes could fill the machine's memory.

The samples are counted in two ways. The walk follows the standard nesting of boxes and counts by
track. The scan counts at every occurrence of a table's name, because libav also reads tables
outside their standard places. Tables that only the scan finds count too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

ReadAt = Callable[[int, int], bytes]

MAX_SAMPLES: Final = 2_000_000
"""Samples of one track or fragment: nine hours of 60 frames per second, unpacked 70 MB."""
MAX_ALL_SAMPLES: Final = 2 * MAX_SAMPLES
"""Of all tracks and fragments of a file together: pictures and sound of the same length."""
MAX_EDITED: Final = 10 * MAX_SAMPLES
"""Samples times edits of a track: libav lists each sample once per edit."""
MAX_SEGMENT_INDEX: Final = 1024 * 1024
"""Bytes of all segment indexes (sidx): more than one full one. libav inserts each entry in time
linear in the others."""
_MAX_BOXES: Final = 4096
_MAX_DEPTH: Final = 10
_HOLDERS: Final = frozenset({b"moov", b"trak", b"mdia", b"minf", b"stbl", b"moof", b"traf"})
_TABLES: Final = {b"stsz": 12, b"stz2": 12, b"trun": 8}
"""Tables that claim samples, and the offset of their number from the name."""
_COMPRESSED: Final = (b"cmov", b"cmvd")
_EDIT: Final = 12
"""Least bytes of an edit."""
_SEGMENT_INDEX: Final = 65_535 * 12
"""Bytes of a full segment index."""
_CHUNK: Final = 1024 * 1024
_OVERLAP: Final = 16


class _Track:
    """The samples that the boxes of one track or fragment claim."""

    def __init__(self) -> None:
        self.samples = 0
        self.kinds: set[bytes] = set()
        self.even_ticks = False

    @property
    def entries(self) -> int:
        """Index entries that libav makes; a thousand sound samples of one tick share one."""
        packed = self.even_ticks and self.kinds == {b"soun"}
        return self.samples // 1000 if packed else self.samples


class _Walk:
    """A walk over nested boxes, with a bound on their number and depth.

    Attributes:
        seen: samples that the visited tables claim.
        entries: index entries of all tracks and fragments.
        most: those of the largest one.
    """

    def __init__(self, read_at: ReadAt) -> None:
        self._read_at = read_at
        self._left = _MAX_BOXES
        self.seen = self.entries = self.most = 0

    def run(self, offset: int, end: int) -> None:
        track = _Track()
        self._range(offset, end, track, _MAX_DEPTH)
        self._close(track)

    def _close(self, track: _Track) -> None:
        self.entries += track.entries
        self.most = max(self.most, track.entries)

    def _range(self, offset: int, end: int, track: _Track, depth: int) -> None:
        while offset + 8 <= end and self._left > 0:
            self._left -= 1
            header = self._read_at(offset, 24)
            length, name = int.from_bytes(header[:4], "big"), header[4:8]
            start = offset + 8
            if length == 1:
                length, start = int.from_bytes(header[8:16], "big"), offset + 16
            length = length or end - offset
            if length < 8:
                break
            if name in _HOLDERS and depth:
                inner = _Track() if name in (b"trak", b"traf") else track
                self._range(start, min(offset + length, end), inner, depth - 1)
                if inner is not track:
                    self._close(inner)
            elif name in _TABLES:
                samples = _claim(header, 4)
                track.samples += samples
                self.seen += samples
            elif name == b"hdlr" and header[16:20] in (b"vide", b"soun"):
                track.kinds.add(header[16:20])
            elif name == b"stts":
                track.even_ticks = length == 24 and header[20:24] == b"\x00\x00\x00\x01"
            offset += length


def _claim(data: bytes, position: int) -> int:
    """The number of samples of the table whose name is at a position."""
    place = position + _TABLES[data[position : position + 4]]
    return int.from_bytes(data[place : place + 4], "big")


def _places(name: bytes, data: bytes) -> Iterator[int]:
    """The positions of a name in a chunk of a file."""
    position = data.find(name)
    while 0 <= position < _CHUNK:
        yield position
        position = data.find(name, position + 1)


class Claims:
    """The samples that the boxes of a file's outer structure claim.

    Attributes:
        compressed: there is a compressed index, which libav would unpack unchecked.
        segment_index: bytes of segment indexes; a misplaced one inside the index counts as full.
    """

    def __init__(self, read_at: ReadAt) -> None:
        self._read_at = read_at
        self._entries = self._edits = 0
        self.compressed = False
        self.segment_index = 0

    def add(self, offset: int, length: int) -> int:
        """The number of samples when it is too large; 0 otherwise.

        Args:
            offset: begin of a box with an index or a part of one.
            length: its bytes, header included.
        """
        walk = _Walk(self._read_at)
        walk.run(offset, offset + length)
        astray = max(0, self._scan(offset, length) - walk.seen)
        self._entries += walk.entries + astray
        most = max(walk.most, astray)
        if most > MAX_SAMPLES:
            return most
        if most * self._edits > MAX_EDITED:
            return most * self._edits
        return self._entries if self._entries > MAX_ALL_SAMPLES else 0

    def _scan(self, offset: int, length: int) -> int:
        """The samples that all tables of a range claim, wherever they are."""
        total = 0
        for start in range(offset, offset + length, _CHUNK):
            data = self._read_at(start, min(_CHUNK + _OVERLAP, offset + length - start))
            self.compressed = self.compressed or any(name in data for name in _COMPRESSED)
            self.segment_index += sum(_SEGMENT_INDEX for _ in _places(b"sidx", data))
            for place in _places(b"elst", data):
                edits = int.from_bytes(data[place + 8 : place + 12], "big")
                self._edits = max(self._edits, min(edits, length // _EDIT))
            for name in _TABLES:
                total += sum(_claim(data, place) for place in _places(name, data))
        return total
