"""The one way in which the product reads foreign media."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


async def examine(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a function that reads foreign media, without blocking the event loop.

    Args:
        work: a function at the top level of a module.
        args, kwargs: for it; seekable binary streams among them, also in lists, tuples and
            mappings, are read as the function asks for it. All else, and the result, can be
            pickled.

    Raises:
        MediaUnusable: the file could not be read within the limits.
        Exception: what the function raises.
    """
    return await asyncio.to_thread(work, *args, **kwargs)
