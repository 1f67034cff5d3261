"""Differences between the supported versions of PyAV: 18, the newest for Python 3.11, and 19."""

from __future__ import annotations

from typing import Any, Final

import av
from av.packet import Packet

_VERSION: Final = int(av.__version__.split(".")[0])

TOLERANT: Final[dict[str, Any]] = {"metadata_errors": "surrogateescape"} if _VERSION < 19 else {}
"""Options of `av.open` with which no file is refused for the text encoding of its metadata. From
19 on none is, and the option is gone."""

UNDECODABLE: Final = (av.FFmpegError, ValueError)
"""Exceptions of `Packet.decode` for a packet that does not decode. 19 forgets a decoder that could
not be opened, and raises a plain ValueError for the packets that follow."""


def frames_of(packet: Packet[Any]) -> list[Any]:
    """The frames that a packet decodes to; none for a damaged one, as players do.

    Raises:
        MemoryError: the process has no memory for them.
    """
    try:
        return list(packet.decode())
    except MemoryError:
        raise
    except UNDECODABLE:
        return []
