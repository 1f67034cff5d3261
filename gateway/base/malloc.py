"""Makes glibc return free memory; other C libraries are left alone."""

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
    """Return large buffers at once, and keep one heap for all threads.

    By default the parts of uploads end up in one heap per thread, and glibc raises the size from
    which it maps memory separately with each large buffer that is freed. Call this before other
    threads start.
    """
    _call("mallopt", _M_ARENA_MAX, 1)
    _call("mallopt", _M_MMAP_THRESHOLD, _LARGE)
    # A lower threshold would return and take memory with each read from the network.
    _call("mallopt", _M_TRIM_THRESHOLD, _KEPT)


def trim() -> None:
    """Collect garbage and return free memory: boto3's description of S3 leaves some MB of it."""
    gc.collect()
    _call("malloc_trim", 0)


def _call(name: str, *arguments: int) -> None:
    try:
        function = getattr(ctypes.CDLL(None), name)
    except (AttributeError, OSError, TypeError):
        return
    function(*arguments)
