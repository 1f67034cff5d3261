"""Sync.so's API for one job: create, read, fresh link, and the search for a lost create."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from types import TracebackType
from typing import Final, Self, TypeVar
from urllib.parse import quote, urlsplit

from pro_video.core.clock import SYSTEM_CLOCK, Clock
from pro_video.core.errors import (
    CredentialsRefused,
    OutcomeUnknown,
    ProVideoError,
    ProviderRefused,
    ServiceUnavailable,
    SlotUnavailable,
    TransientError,
)
from pro_video.core.redaction import redact
from pro_video.core.retrying import Backoff
from pro_video.core.stopping import current_stop
from pro_video.core.waiting import pause
from pro_video.net.exchange import (
    Answer,
    HttpSession,
    NoAnswer,
    Timeouts,
    checked_secret,
    repeated,
)
from pro_video.providers.outcome import Outcome
from pro_video.providers.refusals import Refusals
from pro_video.providers.sync_so.listing import PAGE, back_to, read_page
from pro_video.providers.sync_so.models import PROVIDER, Generation
from pro_video.providers.sync_so.responses import (
    CREATED,
    as_unknown,
    error_of,
    may_follow_own_create,
    read_generation,
)
from pro_video.providers.sync_so.status import is_known, outcome_of
from pro_video.providers.vendor_time import VendorTime

T = TypeVar("T")

logger = logging.getLogger(__name__)

LONG_POLL: Final = (1.0, 10.0)
"""Seconds that the server takes as ``timeout`` of a long poll."""

_KEY = re.compile(r"[A-Za-z0-9._~-]{1,128}")


class SyncSoClient:
    """A client of one account. An async context manager; for one event loop.

    Reads are repeated with backoff; a create is repeated only under the same idempotency key with
    the same bytes. The key is sent to ``base_url`` alone, and no redirect is followed.

    Args:
        base_url: ``https://api.sync.so``, or a sandbox's address.
        api_key: the account's key.
        renew: asked when the key is refused; gives the one that holds now.
        clock: where time comes from.
        timeouts: bounds of one exchange.
        backoff: pauses and number of tries of one call.
        max_pages: pages of 100 generations that a search looks through.

    Raises:
        CredentialsRefused: the key cannot be a key.
        ValueError: the base URL is none.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str,
        *,
        renew: Callable[[], Awaitable[str | None]] | None = None,
        clock: Clock = SYSTEM_CLOCK,
        timeouts: Timeouts | None = None,
        backoff: Backoff | None = None,
        max_pages: int = 500,
    ) -> None:
        self._key = _checked(api_key)
        self._renew = renew
        self._timeouts = timeouts or Timeouts()
        self._session = HttpSession(base_url, timeouts=self._timeouts)
        self._base_url = base_url
        self._clock = clock
        self._backoff = backoff or Backoff()
        self._max_pages = max_pages
        self._vendor_time = VendorTime(clock)
        self._takes_extras = True
        self._refusals = Refusals(clock)
        self._reported: set[str] = set()

    def __repr__(self) -> str:
        return f"SyncSoClient({self._base_url!r})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._session.aclose()

    async def create(
        self,
        body: bytes,
        idempotency_key: str,
        before_sending: Callable[[], None] | None = None,
    ) -> Generation:
        """Create the generation that ``body`` asks for, or get the one that the key already made.

        Tried again inside, a bounded number of times, with the same key and bytes, after a lost
        answer, 408, 5xx and a 429 for pace. A lack of a slot is raised at once: how long to wait
        for one is the caller's business (:func:`pro_video.core.waiting.until_slot`).

        ``before_sending`` is called directly before bytes leave; what it raises ends the call.

        Raises:
            ValueError: the key breaks the grammar (1 to 128 of ``A-Z a-z 0-9 . _ ~ -``).
            SlotUnavailable: the account's concurrency is used up; nothing was created.
            RateLimited: too many calls; nothing was created.
            OutcomeUnknown: it may have been created: call again with the same key and bytes, or
                read ``job_id`` when it is set.
            ServiceUnavailable: no try reached the server; nothing was created.
            RequestConflict: another request was sent under the key.
            CredentialsRefused, AccountBlocked, ProviderRefused: nothing was created.
        """
        if not _KEY.fullmatch(idempotency_key):
            raise ValueError("an idempotency key is 1 to 128 of A-Z a-z 0-9 . _ ~ -")
        headers = {
            **self._headers(),
            "Content-Type": "application/json",
            "Idempotency-Key": idempotency_key,
        }
        may_exist = False
        failures = 0
        while True:
            answer = await self._session.send(
                "POST",
                "/v2/generate",
                headers=headers,
                content=body,
                read_timeout=self._timeouts.create,
                before_sending=before_sending,
            )
            created = read_generation(answer, CREATED, now=self._clock.time())
            if created is not None:
                return self._report(created)
            error = self._error(answer, creating=True)
            if isinstance(error, CredentialsRefused) and await self._has_new_key():
                headers |= self._headers()
                continue
            if isinstance(error, OutcomeUnknown):
                may_exist = True
                if error.job_id is not None:
                    return await self._named(error.job_id)
            elif may_exist and may_follow_own_create(error, answer):
                error = as_unknown(error)
            if not isinstance(error, TransientError) or isinstance(error, SlotUnavailable):
                raise error
            failures += 1
            if failures >= self._backoff.tries:
                raise as_unknown(error) if may_exist else error
            logger.warning("Sending the same create again: %s", error)
            seconds = self._backoff.pause(failures, error.retry_after)
            await pause(seconds, clock=self._clock, stop=current_stop())

    async def generation(
        self, generation_id: str, *, wait: float | None = None, progress: bool = False
    ) -> Generation:
        """Read a generation.

        A refused look is repeated without ``wait`` and ``progress``.

        Args:
            generation_id: the vendor's id.
            wait: seconds (1 to 10, clamped) for which the server may hold the answer back until
                the job ends.
            progress: ask for the progress; the API takes it only without ``wait``.

        Raises:
            ValueError: ``wait`` together with ``progress``.
            ProviderRefused: for ten minutes there was no such generation, or the id was none.
            ServiceUnavailable: no useful answer after several tries, COMPLETED without a link to
                the result each time, or refused for less than ten minutes.
            CredentialsRefused, RateLimited: as they say.
        """
        if wait is not None and progress:
            raise ValueError("wait and progress exclude each other")
        params = {"include": "progress"} if progress else {}
        if wait is not None:
            seconds = min(max(wait, LONG_POLL[0]), LONG_POLL[1])
            params = {"wait": "true", "timeout": f"{seconds:g}"}
        found: Generation | None = None
        if params and self._takes_extras:
            with contextlib.suppress(ProviderRefused):
                found = await self._looked(generation_id, params, wait)
        try:
            if found is None:
                found = await self._looked(generation_id, {}, None)
                self._takes_extras = self._takes_extras and not params
        except ProviderRefused as error:
            raise self._refusals.met(generation_id, error) from None
        self._refusals.over(generation_id)
        return self._report(found)

    async def _looked(
        self, generation_id: str, params: Mapping[str, str], wait: float | None
    ) -> Generation:
        async def read() -> Generation:
            found = await self._read(generation_id, params, wait)
            if outcome_of(found.status) is Outcome.DONE and found.output_url is None:
                raise ServiceUnavailable(
                    "The lip-sync is completed, but Sync.so gives no link to its result yet.",
                    provider=PROVIDER,
                    code="output_missing",
                    request_id=found.id,
                )
            return found

        return await self._repeated(read)

    async def download_url(self, generation_id: str) -> str:
        """A fresh link to the result of a completed generation. Fetch it without the API key.

        Raises:
            ProviderRefused: there is no such result.
            ServiceUnavailable: no useful answer after several tries.
            CredentialsRefused, RateLimited, AccountBlocked: as they say.
        """

        async def read() -> str:
            answer = await self._get(f"/v2/generations/{_segment(generation_id)}/download")
            if not isinstance(answer, Answer) or answer.status != 200:
                raise self._error(answer)
            link = answer.body[:16384].decode("utf-8", "replace").strip().strip('"')
            if urlsplit(link).scheme not in ("http", "https") or len(link.split()) != 1:
                raise ServiceUnavailable(
                    "Sync.so answered with something that is no link.", provider=PROVIDER
                )
            return link

        return await self._repeated(read)

    async def find_generation(
        self, match: Callable[[Generation], bool], *, since: datetime
    ) -> Generation | None:
        """Search the account's generations, newest first, for one that ``match`` accepts.

        Covers a lost create on a server that ignores the idempotency key. Of several matches the
        one that ended well is preferred, then a running one. Times are compared by the vendor's
        clock, from its answers' ``Date``, with ten minutes to spare. A listing may lag behind a
        create: None says "not listed now".

        Args:
            match: see :func:`pro_video.providers.sync_so.models.planted`.
            since: time of the first send on this machine's clock, with a time zone.

        Raises:
            ServiceUnavailable: the list could not be read back to ``since``, so that "not there"
                cannot be said.
            CredentialsRefused, RateLimited: as they say.
        """
        self._vendor_time.earliest(since)  # Checks it before anything is asked.
        ranks = {Outcome.DONE: 0, Outcome.RUNNING: 1, Outcome.FAILED: 2}
        found: list[Generation] = []
        try:
            pages = back_to(since, self._page, clock=self._vendor_time, max_pages=self._max_pages)
            async for generation in pages:
                if match(generation):
                    found.append(generation)
        except ServiceUnavailable:
            if not found:
                raise
        return min(found, key=lambda each: ranks[outcome_of(each.status)], default=None)

    async def _page(self, cursor: str | None) -> list[Generation]:
        params = {"limit": str(PAGE)} | ({"cursor": cursor} if cursor else {})

        async def read() -> list[Generation]:
            answer = await self._get("/v2/generations", params)
            rows = read_page(answer)
            if rows is None:
                error = self._error(answer)
                if isinstance(error, ProviderRefused):
                    # The documents know no refusal of a list, and "not there" must not come of it.
                    raise ServiceUnavailable(error.message, provider=PROVIDER, code=error.code)
                raise error
            return rows

        return await self._repeated(read)

    async def _named(self, generation_id: str) -> Generation:
        try:
            return self._report(await self._repeated(lambda: self._read(generation_id, {}, None)))
        except (TransientError, ProviderRefused) as error:
            raise OutcomeUnknown(
                f"Sync.so named the generation of this job, but it cannot be read: {error.message}",
                job_id=generation_id,
                provider=PROVIDER,
                code=error.code,
                request_id=error.request_id,
            ) from None

    async def _read(
        self, generation_id: str, params: Mapping[str, str], wait: float | None
    ) -> Generation:
        path = _segment(generation_id)
        answer = await self._get(f"/v2/generate/{path}", params, wait)
        if isinstance(answer, Answer) and answer.status == 404:
            # The newer spelling of the same resource.
            answer = await self._get(f"/v2/generations/{path}", params, wait)
        found = read_generation(answer, (200,), now=self._clock.time())
        if found is None:
            raise self._error(answer)
        return found

    async def _get(
        self, path: str, params: Mapping[str, str] | None = None, wait: float | None = None
    ) -> Answer | NoAnswer:
        timeout = self._timeouts.read + (LONG_POLL[1] if wait is not None else 0.0)
        answer = await self._session.send(
            "GET", path, headers=self._headers(), params=params, read_timeout=timeout
        )
        self._vendor_time.learn(answer)
        return answer

    async def _repeated(self, read: Callable[[], Awaitable[T]]) -> T:
        while True:
            try:
                return await repeated(read, backoff=self._backoff, clock=self._clock)
            except CredentialsRefused:
                if not await self._has_new_key():
                    raise

    async def _has_new_key(self) -> bool:
        """After a refusal: go on with another key, if there is one now."""
        key = await self._renew() if self._renew is not None else None
        if key is None or key == self._key:
            return False
        self._key = _checked(key)
        return True

    def _error(self, answer: Answer | NoAnswer, *, creating: bool = False) -> ProVideoError:
        return error_of(answer, creating=creating, now=self._clock.time(), secret=self._key)

    def _headers(self) -> dict[str, str]:
        return {"x-api-key": self._key}

    def _report(self, generation: Generation) -> Generation:
        """Say once that the vendor uses a status which this version does not know."""
        status = generation.status
        if not is_known(status) and status not in self._reported and len(self._reported) < 100:
            self._reported.add(status)
            logger.warning(
                "Generation %s has the unknown status %s; waiting on until the deadline",
                generation.id,
                redact(status),
            )
        return generation


def _checked(key: str) -> str:
    return checked_secret(key, name="Sync.so API key", provider=PROVIDER)


def _segment(identifier: str) -> str:
    """An id as one segment of a path."""
    if identifier in ("", ".", ".."):
        raise ValueError("an id of a generation is needed")
    return quote(identifier, safe="")
