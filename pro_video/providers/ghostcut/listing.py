"""GhostCut's list of an account's works, newest first, a page at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import datetime
from typing import Final

from pro_video.core.errors import ServiceUnavailable
from pro_video.providers.ghostcut.models import PROVIDER, Work

PAGE: Final = 200
"""Works on one page of a listing; the API cuts at 2000."""


async def between(
    start: datetime,
    end: datetime,
    rows_of: Callable[[Mapping[str, object]], Awaitable[list[Work]]],
    *,
    max_pages: int,
) -> AsyncIterator[Work]:
    """The works submitted from ``start`` to before ``end``.

    Args:
        start: on the vendor's clock, with a time zone.
        end: likewise.
        rows_of: reads the page of a query.
        max_pages: pages to read.

    Raises:
        ServiceUnavailable: the list could not be read to its end.
    """
    window = {
        "createTimeGreaterThanOrEqualTo": int(start.timestamp() * 1000),
        "createTimeLessThan": int(end.timestamp() * 1000),
        "pageSize": PAGE,
    }
    seen: set[str] = set()
    for number_of_page in range(max_pages):
        rows = await rows_of({**window, "page": number_of_page})
        fresh = [row for row in rows if row.id not in seen]
        for work in fresh:
            seen.add(work.id)
            yield work
        # Only an empty page proves the end; the meaning of ``count`` is not documented.
        if not rows:
            return
        last = rows[-1].created_at
        if last is not None and last < start:
            # Newest first: a server that ignores the window has shown all of it.
            return
        if not fresh:
            # The server ignores the page; a list shorter than a page is complete.
            if len(rows) != PAGE:
                return
            break
    raise ServiceUnavailable(
        "GhostCut's list of works could not be read to its end.",
        provider=PROVIDER,
        code="incomplete_list",
    )
