"""Runs functions that read foreign media in child processes with limits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from pro_video.core.settings import get_settings
from pro_video.core.stopping import unless_stopped
from pro_video.media.children.messages import ReadingLimits
from pro_video.media.children.pool import Children, shared

P = ParamSpec("P")
T = TypeVar("T")


async def examine(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a function that reads foreign media in a child process with limits.

    The limits are the settings ``reading_…``. Calls are served in order; a stop order or a
    cancellation ends the child at once. May be called from any event loop.

    Args:
        work: a function at the top level of an importable module, with an annotated return type:
            the result is checked against it, because a child that read a hostile file is not
            trusted.
        args, kwargs: of the function. Seekable binary streams, also in lists, tuples and mappings,
            are read through the parent on demand; everything else is pickled. A path may be
            written.

    Raises:
        MediaUnusable: the file exceeded a limit (``media_over_limits``), or ended the reading
            process twice (``media_unreadable``).
        Stopped: the job was cancelled or is handed over.
        Exception: any of the function or of a stream.
    """
    return await examine_with(shared(), work, *args, **kwargs)


async def examine_with(
    children: Children, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs
) -> T:
    """`examine` in the given children."""
    settings = get_settings()
    limits = ReadingLimits(
        memory=settings.reading_memory_mb * 1024 * 1024,
        cpu_seconds=settings.reading_cpu_seconds,
        seconds=settings.reading_seconds,
    )
    call = children.submit(limits, work, args, kwargs)
    try:
        return await unless_stopped(asyncio.wrap_future(call.future))
    finally:
        # No effect on a finished call.
        call.abandon()
