"""Differences between the supported versions of PyAV: 18, the newest for Python 3.11, and 19."""

from __future__ import annotations

from typing import Any, Final

import av
from av.packet import Packet

_VERSION: Final = int(av.__version__.split(".")[0])

TOLERANT: Final[dict[str, Any]] = {"metadata_errors": "surrogateescape"} if _VERSION < 19 else {}
"""Options of `av.open` against refusals for the text encoding of metadata; 19 refuses none, and has
no such option."""

UNDECODABLE: Final = (av.FFmpegError, ValueError)
"""Exceptions of `Packet.decode` for an undecodable packet. After a decoder could not be opened, 19
raises a plain ValueError for the following packets."""


def frames_of(packet: Packet[Any]) -> list[Any]:
    """The frames of a packet; none for a damaged one, as in players.

    Raises:
        MemoryError: the process has no memory for them.
    """
    try:
        return list(packet.decode())
    except MemoryError:
        raise
    except UNDECODABLE:
        return []
