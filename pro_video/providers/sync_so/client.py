"""Sync.so's API for one job: create, read, and the search for a lost create."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Final, Unpack
from urllib.parse import quote

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
from pro_video.net.http_session import HttpResponse, NoResponse
from pro_video.providers.api_client import ApiClient, ClientOptions, best_match, checked_secret
from pro_video.providers.job_status import JobStatus
from pro_video.providers.sync_so.listing import PAGE, back_to, read_page
from pro_video.providers.sync_so.models import PROVIDER, Generation
from pro_video.providers.sync_so.refusals import Refusals
from pro_video.providers.sync_so.responses import (
    CREATED,
    as_unknown,
    error_of,
    may_follow_own_create,
    read_generation,
)
from pro_video.providers.sync_so.status import is_known, status_of

logger = logging.getLogger(__name__)

_KEY: Final = re.compile(r"[A-Za-z0-9._~-]{1,128}")


class SyncSoClient(ApiClient[str]):
    """A client of one account. An async context manager; for one event loop.

    Reads are repeated with backoff; a create is repeated only under the same idempotency key with
    the same bytes. The API key is sent to ``base_url`` alone, and no redirect is followed.

    Args:
        base_url: ``https://api.sync.so``, or a sandbox's address.
        api_key: the account's key.

    The others are those of `ApiClient`; a page of the list has 100 generations.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str,
        *,
        renew: Callable[[], Awaitable[str | None]] | None = None,
        **options: Unpack[ClientOptions],
    ) -> None:
        super().__init__(base_url, api_key, renew=renew, **options)
        self._takes_progress = True
        self._refusals = Refusals(self._clock)

    async def create(
        self, body: bytes, idempotency_key: str, before_sending: Callable[[], None] | None = None
    ) -> Generation:
        """Create the generation that ``body`` asks for, or get the one that the key already made.

        The create is repeated a bounded number of times, with the same key and bytes, after a lost
        response, 408, 5xx and a 429 for pace. A lack of a slot is raised at once
        (:func:`pro_video.core.waiting.until_slot` waits for one).

        ``before_sending`` is called directly before bytes leave; its exception ends the call.

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
            response = await self._session.send(
                "POST",
                "/v2/generate",
                headers=headers,
                content=body,
                read_timeout=self._timeouts.create,
                before_sending=before_sending,
            )
            created = read_generation(response, CREATED, now=self._clock.time())
            if created is not None:
                return self._report(created)
            error = self._error(response, creating=True)
            if isinstance(error, CredentialsRefused) and await self._has_new_keys():
                headers |= self._headers()
                continue
            if isinstance(error, OutcomeUnknown):
                may_exist = True
                if error.job_id is not None:
                    return await self._named(error.job_id)
            elif may_exist and may_follow_own_create(error, response):
                error = as_unknown(error)
            if not isinstance(error, TransientError) or isinstance(error, SlotUnavailable):
                raise error
            failures += 1
            if failures >= self._backoff.tries:
                raise as_unknown(error) if may_exist else error
            logger.warning("Sending the same create again: %s", error)
            await self._pause(failures, error.retry_after)

    async def generation(self, generation_id: str, *, progress: bool = False) -> Generation:
        """Read a generation.

        Args:
            generation_id: the vendor's id.
            progress: ask for the progress too. A refusal is followed by a read without it.

        Raises:
            ProviderRefused: for ten minutes there was no such generation, or the id was malformed.
            ServiceUnavailable: no usable response after several tries, COMPLETED without a link to
                the result each time, or refused for less than ten minutes.
            CredentialsRefused, RateLimited: as they say.
        """
        found: Generation | None = None
        if progress and self._takes_progress:
            with contextlib.suppress(ProviderRefused):
                found = await self._read_ready(generation_id, {"include": "progress"})
        try:
            if found is None:
                found = await self._read_ready(generation_id, {})
                self._takes_progress = self._takes_progress and not progress
        except ProviderRefused as error:
            raise self._refusals.met(generation_id, error) from None
        self._refusals.over(generation_id)
        return self._report(found)

    async def generations(self, ids: Sequence[str]) -> list[Generation]:
        """Those of at most 100 generations that the list shows now, with one request.

        Raises:
            ServiceUnavailable, CredentialsRefused, RateLimited: as they say.
        """
        wanted = frozenset(ids)
        if not wanted:
            return []
        rows = await self._listed({"limit": str(PAGE), "ids": ",".join(wanted)})
        return [self._report(row) for row in rows if row.id in wanted]

    async def _read_ready(self, generation_id: str, params: Mapping[str, str]) -> Generation:
        """Read a generation, again while it is completed without a link to its result."""

        async def read() -> Generation:
            found = await self._read(generation_id, params)
            if status_of(found.status) is JobStatus.DONE and found.output_url is None:
                raise ServiceUnavailable(
                    "The lip-sync is completed, but Sync.so gives no link to its result yet.",
                    provider=PROVIDER,
                    code="output_missing",
                    request_id=found.id,
                )
            return found

        return await self._repeated(read)

    async def find_generation(
        self, match: Callable[[Generation], bool], *, since: datetime
    ) -> Generation | None:
        """Search the account's generations, newest first, for one that ``match`` accepts.

        Covers a lost create on a server that ignores the idempotency key. Of several matches the
        one that ended well is preferred, then a running one. Times are compared by the vendor's
        clock (the ``Date`` of its responses), with ten minutes to spare. The list may lag behind a
        create, so None means "not listed now".

        Args:
            match: see :func:`pro_video.providers.sync_so.models.planted`.
            since: time of the first send on this machine's clock, with a time zone.

        Raises:
            ServiceUnavailable: the list could not be read back to ``since``.
            CredentialsRefused, RateLimited: as they say.
        """
        self._vendor_time.earliest(since)  # Checks it before anything is asked.
        pages = back_to(since, self._page, clock=self._vendor_time, max_pages=self._max_pages)
        return await best_match(pages, match, lambda each: status_of(each.status))

    async def _page(self, cursor: str | None) -> list[Generation]:
        return await self._listed({"limit": str(PAGE)} | ({"cursor": cursor} if cursor else {}))

    async def _listed(self, params: Mapping[str, str]) -> list[Generation]:
        async def read() -> list[Generation]:
            response = await self._get("/v2/generations", params)
            rows = read_page(response)
            if rows is None:
                error = self._error(response)
                if isinstance(error, ProviderRefused):
                    # Not documented for a list; "not there" must not come of it.
                    raise ServiceUnavailable(error.message, provider=PROVIDER, code=error.code)
                raise error
            return rows

        return await self._repeated(read)

    async def _named(self, generation_id: str) -> Generation:
        try:
            return self._report(await self._repeated(lambda: self._read(generation_id, {})))
        except (TransientError, ProviderRefused) as error:
            raise OutcomeUnknown(
                f"Sync.so named the generation of this job, but it cannot be read: {error.message}",
                job_id=generation_id,
                provider=PROVIDER,
                code=error.code,
                request_id=error.request_id,
            ) from None

    async def _read(self, generation_id: str, params: Mapping[str, str]) -> Generation:
        path = _path_segment(generation_id)
        response = await self._get(f"/v2/generate/{path}", params)
        if isinstance(response, HttpResponse) and response.status == 404:
            # The newer spelling of the same resource.
            response = await self._get(f"/v2/generations/{path}", params)
        found = read_generation(response, (200,), now=self._clock.time())
        if found is None:
            raise self._error(response)
        return found

    async def _get(self, path: str, params: Mapping[str, str]) -> HttpResponse | NoResponse:
        response = await self._session.send("GET", path, headers=self._headers(), params=params)
        self._vendor_time.learn(response)
        return response

    def _error(
        self, response: HttpResponse | NoResponse, *, creating: bool = False
    ) -> ProVideoError:
        return error_of(response, creating=creating, now=self._clock.time(), secret=self._keys)

    def _headers(self) -> dict[str, str]:
        return {"x-api-key": self._keys}

    def _report(self, generation: Generation) -> Generation:
        if not is_known(generation.status):
            self._report_unknown(
                generation.status,
                f"Generation {generation.id} has the unknown status {redact(generation.status)}; "
                "waiting on until the deadline",
            )
        return generation

    def _checked(self, keys: str) -> str:
        return checked_secret(keys, name="Sync.so API key", provider=PROVIDER)


def _path_segment(identifier: str) -> str:
    """An id as one segment of a path."""
    if identifier in ("", ".", ".."):
        raise ValueError("an id of a generation is needed")
    return quote(identifier, safe="")
