"""Runs functions that read foreign media in child processes with limits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from pro_video.core.settings import get_settings
from pro_video.core.stopping import unless_stopped
from pro_video.media.children.messages import Limits
from pro_video.media.children.pool import Children, shared

P = ParamSpec("P")
T = TypeVar("T")


async def examine(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a function that reads foreign media in a child process with limits.

    The limits are the settings ``reading_…``. Calls are served in the order in which they came; a
    stop order, or a cancellation, ends the child at once. May be called from any event loop.

    Args:
        work: a function at the top level of a module that can be imported. Its return type is
            annotated: the result is checked against it, because a child that read a hostile file
            is not trusted.
        args, kwargs: for it; seekable binary streams among them, also in lists, tuples and
            mappings, are read as the function asks for it. All else can be pickled. A path among
            them may be written.

    Raises:
        MediaUnusable: the file took too much (``media_over_limits``), or ended the process that
            read it twice (``media_unreadable``).
        Stopped: the job was cancelled or is handed over.
        Exception: any of the function or of a stream.
    """
    return await examine_with(shared(), work, *args, **kwargs)


async def examine_with(
    children: Children, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs
) -> T:
    """Like `examine`, in children of one's own."""
    settings = get_settings()
    limits = Limits(
        memory=settings.reading_memory_mb * 1024 * 1024,
        cpu_seconds=settings.reading_cpu_seconds,
        seconds=settings.reading_seconds,
    )
    call = children.submit(limits, work, args, kwargs)
    try:
        return await unless_stopped(asyncio.wrap_future(call.future))
    finally:
        # Of a call that has ended this does nothing.
        call.abandon()
