"""How many samples the index of an MP4 or MOV file claims, before libav makes room for them.

A few numbers can claim billions of samples of one size, and libav unpacks such an index into some
thirty bytes a sample: a file of four kilobytes would fill the machine's memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

ReadAt = Callable[[int, int], bytes]

MAX_SAMPLES: Final = 2_000_000
"""Samples of one track or fragment: nine hours of 60 frames per second, unpacked 70 MB."""
_MAX_BOXES: Final = 4096
_HOLDERS: Final = frozenset({b"moov", b"trak", b"mdia", b"minf", b"stbl", b"moof", b"traf"})


class _Track:
    """What the boxes of one track or fragment claim."""

    def __init__(self) -> None:
        self.samples = 0
        self.kinds: set[bytes] = set()
        self.even_ticks = False

    @property
    def entries(self) -> int:
        """Index entries that libav makes; samples of sound that last a tick share one by the
        thousand."""
        packed = self.even_ticks and self.kinds == {b"soun"}
        return self.samples // 1000 if packed else self.samples


class _Walk:
    """A walk over nested boxes, with a bound on their number."""

    def __init__(self, read_at: ReadAt) -> None:
        self._read_at = read_at
        self._left = _MAX_BOXES

    def most(self, offset: int, end: int, track: _Track) -> int:
        """The most entries of any track in a range; what stands outside of one counts to
        ``track``."""
        most = 0
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
            if name in _HOLDERS:
                inner = _Track() if name in (b"trak", b"traf") else track
                most = max(most, self.most(start, min(offset + length, end), inner))
            elif name in (b"stsz", b"stz2"):
                track.samples += int.from_bytes(header[16:20], "big")
            elif name == b"trun":
                track.samples += int.from_bytes(header[12:16], "big")
            elif name == b"hdlr" and header[16:20] in (b"vide", b"soun"):
                track.kinds.add(header[16:20])
            elif name == b"stts":
                track.even_ticks = length == 24 and header[20:24] == b"\x00\x00\x00\x01"
            offset += length
        return max(most, track.entries)


def claimed_samples(read_at: ReadAt, offset: int, length: int) -> int:
    """The most index entries that a track or fragment in a box of the outer structure claims.

    Args:
        read_at: (offset, length) to bytes; fewer at the end of the file.
        offset: where the box begins.
        length: its bytes, header included.
    """
    return _Walk(read_at).most(offset, offset + length, _Track())
