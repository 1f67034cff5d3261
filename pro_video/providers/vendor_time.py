"""A vendor's clock, as the ``Date`` headers of its answers tell it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

from pro_video.core.clock import Clock
from pro_video.net.exchange import Answer, NoAnswer

# Seconds; a clock that is ten years off is none.
_MOST_AHEAD: Final = 10 * 365 * 86400.0


class VendorTime:
    """Translates times of this machine's clock into the vendor's.

    A machine's clock may be hours wrong, and a time in a record may come from another machine. So a
    window of times is only ever widened: it holds the times as they were written down and as the
    vendor's clock has them. Without a ``Date`` (RFC 9110 §6.6.1) this machine's clock is taken.

    Args:
        clock: this machine's.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ahead = timedelta()

    def learn(self, answer: Answer | NoAnswer) -> None:
        """Read the vendor's time from an answer that has just come."""
        if not isinstance(answer, Answer) or "date" not in answer.headers:
            return
        try:
            told = parsedate_to_datetime(answer.headers["date"])
        except (ValueError, OverflowError):
            return
        if told.tzinfo is None:
            told = told.replace(tzinfo=UTC)
        ahead = told.timestamp() - self._clock.time()
        if abs(ahead) > _MOST_AHEAD:
            return
        # Whole minutes: the header's seconds and the way of an answer move no window.
        self._ahead = timedelta(minutes=round(ahead / 60))

    def earliest(self, moment: datetime) -> datetime:
        """The earlier of ``moment`` and what the vendor's clock showed then.

        Raises:
            ValueError: ``moment`` has no time zone.
        """
        return min(_checked(moment), moment + self._ahead)

    def latest(self, moment: datetime) -> datetime:
        """The later of ``moment`` and what the vendor's clock showed then.

        Raises:
            ValueError: ``moment`` has no time zone.
        """
        return max(_checked(moment), moment + self._ahead)


def _checked(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError("the times of a search need a time zone")
    return moment
