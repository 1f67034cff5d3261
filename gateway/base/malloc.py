"""Keeps the gateway's memory close to what it uses, where the C library can (glibc)."""

from __future__ import annotations

import ctypes
import gc

# Parameters of mallopt, from glibc's malloc.h.
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8

_LARGE = 1024 * 1024
_KEPT = 2 * 1024 * 1024


def restrain() -> None:
    """Make the C library give large buffers back at once, and keep one heap for all threads.

    Without this the parts of uploads end up in a heap per thread, and glibc raises the size from
    which it maps memory separately with each large buffer that is freed. To be called before there
    are other threads.
    """
    _call("mallopt", _M_ARENA_MAX, 1)
    _call("mallopt", _M_MMAP_THRESHOLD, _LARGE)
    # Otherwise each piece from the network would take memory and give it back.
    _call("mallopt", _M_TRIM_THRESHOLD, _KEPT)


def trim() -> None:
    """Collect garbage and let the C library return free memory.

    Describing S3 to boto3 leaves some MB of free lists behind that nothing later needs.
    """
    gc.collect()
    _call("malloc_trim", 0)


def _call(name: str, *arguments: int) -> None:
    try:
        function = getattr(ctypes.CDLL(None), name)
    except (AttributeError, OSError, TypeError):
        return
    function(*arguments)
