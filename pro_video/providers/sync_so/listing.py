"""Sync.so's list of an account's generations, newest first, a page at a time."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime, timedelta
from typing import Final

from pro_video.core.errors import ServiceUnavailable
from pro_video.net.exchange import Answer, NoAnswer
from pro_video.providers.sync_so.models import PROVIDER, Generation
from pro_video.providers.vendor_time import VendorTime

PAGE: Final = 100
"""Generations on one page of the list; the API's maximum."""

_SKEW: Final = timedelta(minutes=10)


def read_page(answer: Answer | NoAnswer) -> list[Generation] | None:
    """The generations of one page; None when the answer is no list."""
    rows = answer.json() if isinstance(answer, Answer) and answer.status == 200 else None
    if not isinstance(rows, list):
        return None
    found = []
    for row in rows:
        # A row that is no generation cannot be ours, and must not hide the others.
        with contextlib.suppress(ValueError):
            found.append(Generation.from_json(row))
    return found


async def back_to(
    since: datetime,
    page_after: Callable[[str | None], Awaitable[list[Generation]]],
    *,
    clock: VendorTime,
    max_pages: int,
) -> AsyncIterator[Generation]:
    """All generations that were created since a time, and some older ones.

    Args:
        since: on this machine's clock, with a time zone.
        page_after: reads the page behind a generation, by its id; None is the first page.
        clock: the vendor's time, which may be known only once a page was read.
        max_pages: pages to look through.

    Raises:
        ServiceUnavailable: the list could not be read back to that time.
    """
    seen: set[str] = set()
    cursor: str | None = None
    for _ in range(max_pages):
        page = await page_after(cursor)
        fresh = [each for each in page if each.id not in seen]
        for generation in fresh:
            seen.add(generation.id)
            yield generation
        last = page[-1] if page else None
        # The page itself told the vendor's time.
        oldest = clock.earliest(since) - _SKEW
        if last is None or (last.created_at is not None and last.created_at < oldest):
            return
        if not fresh:
            # The server does not page: a list shorter than a page is all there is.
            if len(page) < PAGE:
                return
            break
        cursor = last.id
    raise ServiceUnavailable(
        "Sync.so's list could not be read back to the time of the submit.",
        provider=PROVIDER,
        code="incomplete_list",
    )
