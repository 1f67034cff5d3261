"""A vendor's clock, from the ``Date`` headers of its responses."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

from pro_video.core.clock import Clock
from pro_video.net.http_session import HttpResponse, NoResponse

SKEW: Final = timedelta(minutes=10)
"""Time that a search spares at each end of its window."""

# Seconds; a larger difference is taken for a malformed header.
_MOST_AHEAD: Final = 10 * 365 * 86400.0


class VendorTime:
    """Translates times of this machine's clock into the vendor's.

    A machine's clock may be hours wrong, and a time in a record may come from another machine. A
    window of times is therefore only widened: it covers the recorded times and their translations.
    Without a ``Date`` (RFC 9110 §6.6.1) this machine's clock counts.

    Args:
        clock: this machine's.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ahead = timedelta()

    def learn(self, response: HttpResponse | NoResponse) -> None:
        """Read the vendor's time from a fresh response."""
        if not isinstance(response, HttpResponse) or "date" not in response.headers:
            return
        try:
            told = parsedate_to_datetime(response.headers["date"])
        except (ValueError, OverflowError):
            return
        if told.tzinfo is None:
            told = told.replace(tzinfo=UTC)
        ahead = told.timestamp() - self._clock.time()
        if abs(ahead) > _MOST_AHEAD:
            return
        # Whole minutes: neither the header's seconds nor the latency moves a window.
        self._ahead = timedelta(minutes=round(ahead / 60))

    def earliest(self, moment: datetime) -> datetime:
        """The earlier of ``moment`` and its translation.

        Raises:
            ValueError: ``moment`` has no time zone.
        """
        return min(_checked(moment), moment + self._ahead)

    def latest(self, moment: datetime) -> datetime:
        """The later of ``moment`` and its translation.

        Raises:
            ValueError: ``moment`` has no time zone.
        """
        return max(_checked(moment), moment + self._ahead)


def _checked(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError("the times of a search need a time zone")
    return moment
