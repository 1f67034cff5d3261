"""The common part of the providers' clients: one account's session, repeated reads, renewed keys,
and the choice among several jobs that carry the same token."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Generic, Self, TypedDict, TypeVar, Unpack

from pro_video.core.clock import SYSTEM_CLOCK, Clock
from pro_video.core.errors import CredentialsRefused, TransientError
from pro_video.core.retrying import Backoff
from pro_video.core.stopping import current_stop
from pro_video.core.waiting import pause
from pro_video.net.http_session import HttpSession, Timeouts
from pro_video.providers.job_status import JobStatus
from pro_video.providers.vendor_time import VendorTime

T = TypeVar("T")
Keys = TypeVar("Keys")

_MOST_REPORTED = 100


class ClientOptions(TypedDict, total=False):
    """Options of a client.

    Attributes:
        clock: source of time.
        timeouts: bounds of one exchange.
        backoff: pauses and number of tries of one call.
        max_pages: pages of a list that a search reads.
    """

    clock: Clock
    timeouts: Timeouts
    backoff: Backoff
    max_pages: int


class ApiClient(ABC, Generic[Keys]):
    """A client of one account. An async context manager; for one event loop.

    Args:
        base_url: the vendor's address, or a sandbox's.
        keys: the account's credentials.
        renew: asked when the keys are refused; returns the present ones.
        options: see `ClientOptions`.

    Raises:
        CredentialsRefused: the keys are malformed.
        ValueError: the base URL is malformed.
    """

    def __init__(
        self,
        base_url: str,
        keys: Keys,
        *,
        renew: Callable[[], Awaitable[Keys | None]] | None,
        **options: Unpack[ClientOptions],
    ) -> None:
        self._keys = self._checked(keys)
        self._renew = renew
        self._timeouts = options.get("timeouts", Timeouts())
        self._session = HttpSession(base_url, timeouts=self._timeouts)
        self._base_url = base_url
        self._clock = options.get("clock", SYSTEM_CLOCK)
        self._backoff = options.get("backoff", Backoff())
        self._max_pages = options.get("max_pages", 500)
        self._vendor_time = VendorTime(self._clock)
        self._reported: set[object] = set()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._base_url!r})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._session.aclose()

    @abstractmethod
    def _checked(self, keys: Keys) -> Keys:
        """``keys`` when they can stand in headers.

        Raises:
            CredentialsRefused: see `checked_secret`.
        """

    async def _has_new_keys(self) -> bool:
        """After a refusal: switch to other keys, when there are any now."""
        keys = await self._renew() if self._renew is not None else None
        if keys is None or keys == self._keys:
            return False
        self._keys = self._checked(keys)
        return True

    async def _pause(self, failures: int, hint: float | None = None) -> None:
        """The pause after that many failures in a row; a stop order ends it."""
        seconds = self._backoff.pause(failures, hint)
        await pause(seconds, clock=self._clock, stop=current_stop())

    async def _repeated(self, read: Callable[[], Awaitable[T]]) -> T:
        """Make a call that pays nothing until it succeeds, at most ``backoff.tries`` times.

        Raises:
            ProVideoError: the terminal error of any try, or the transient one of the last.
            Stopped: the current stop signal was set during a pause.
        """
        failures = 0
        while True:
            try:
                return await read()
            except CredentialsRefused:
                if not await self._has_new_keys():
                    raise
                failures = 0
            except TransientError as error:
                failures += 1
                if failures >= self._backoff.tries:
                    raise
                await self._pause(failures, error.retry_after)

    def _report_unknown(self, status: object, message: str) -> None:
        """Log once that the vendor uses a status which this version does not know."""
        if status not in self._reported and len(self._reported) < _MOST_REPORTED:
            self._reported.add(status)
            logging.getLogger(type(self).__module__).warning(message)


async def best_match(
    jobs: AsyncIterator[T], match: Callable[[T], bool], status_of: Callable[[T], JobStatus]
) -> T | None:
    """Of the jobs that ``match`` accepts one that ended well, else a running one, else any.

    Raises:
        TransientError: the list ended early, and no job before that matches.
    """
    ranks = [JobStatus.DONE, JobStatus.RUNNING, JobStatus.FAILED]
    found: list[T] = []
    try:
        async for job in jobs:
            if match(job):
                found.append(job)
    except TransientError:
        if not found:
            raise
    return min(found, key=lambda job: ranks.index(status_of(job)), default=None)


def checked_secret(value: str, *, name: str, provider: str) -> str:
    """``value`` when it can stand in a header.

    Raises:
        CredentialsRefused: it is empty or has characters that no header takes. The HTTP library
            would quote the whole key in its own error.
    """
    if not value or not value.isascii() or not value.isprintable() or value != value.strip():
        raise CredentialsRefused(
            f"The {name} is empty or has characters that a key does not have; "
            "copy it again into the credentials block.",
            provider=provider,
            code="malformed_key",
        )
    return value
