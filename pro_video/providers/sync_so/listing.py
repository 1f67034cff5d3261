"""Sync.so's list of an account's generations, newest first, a page at a time."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime
from typing import Final

from pro_video.core.errors import ServiceUnavailable
from pro_video.net.http_session import HttpResponse, NoResponse
from pro_video.providers.sync_so.models import PROVIDER, Generation
from pro_video.providers.vendor_time import SKEW, VendorTime

PAGE: Final = 100
"""Generations on one page of the list; the API's maximum."""


def read_page(response: HttpResponse | NoResponse) -> list[Generation] | None:
    """The generations of one page; None for another response."""
    rows = (
        response.json() if isinstance(response, HttpResponse) and response.status == 200 else None
    )
    if not isinstance(rows, list):
        return None
    found = []
    for row in rows:
        # A malformed row cannot be ours, and must not hide the others.
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
    """All generations created since a time, and some older ones.

    Args:
        since: on this machine's clock, with a time zone.
        page_after: reads the page after a generation's id; None is the first page.
        clock: the vendor's time, known from the first page on.
        max_pages: pages to read.

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
        oldest = clock.earliest(since) - SKEW
        if last is None or (last.created_at is not None and last.created_at < oldest):
            return
        if not fresh:
            # The server ignores the cursor; a list shorter than a page is complete.
            if len(page) < PAGE:
                return
            break
        cursor = last.id
    raise ServiceUnavailable(
        "Sync.so's list could not be read back to the time of the submit.",
        provider=PROVIDER,
        code="incomplete_list",
    )
