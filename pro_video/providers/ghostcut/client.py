"""GhostCut's API for one work: submit, read, and the search by time window."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Unpack

from pro_video.core.errors import CredentialsRefused, JobFailed, OutcomeUnknown, ServiceUnavailable
from pro_video.providers.api_client import ApiClient, ClientOptions, best_match, checked_secret
from pro_video.providers.ghostcut.listing import PAGE, between
from pro_video.providers.ghostcut.models import PROVIDER, SubmittedWork, Work, identity
from pro_video.providers.ghostcut.responses import envelope, error_of
from pro_video.providers.ghostcut.status import is_known, status_of
from pro_video.providers.job_status import JobStatus
from pro_video.providers.json_fields import dumps
from pro_video.providers.vendor_time import SKEW

logger = logging.getLogger(__name__)

PREFIX: Final = "/v-w-c/gateway/ve"


class GhostCutClient(ApiClient[tuple[str, str]]):
    """A client of one account. An async context manager; for one event loop.

    Reads are repeated with backoff. The vendor has no idempotency key, so a submit is repeated only
    when the first one certainly did not arrive.

    Args:
        base_url: ``https://api.zhaoli.com``, or a sandbox's address.
        app_key: the account's key.
        app_secret: signs the requests; it is never sent.
        submit_path: the documented one; ``…/work/fast`` takes the same request.

    The others are those of `ApiClient`; ``renew`` returns key and secret.
    """

    def __init__(
        self,
        base_url: str,
        app_key: str,
        app_secret: str,
        *,
        renew: Callable[[], Awaitable[tuple[str, str] | None]] | None = None,
        submit_path: str = f"{PREFIX}/work/free",
        **options: Unpack[ClientOptions],
    ) -> None:
        super().__init__(base_url, (app_key, app_secret), renew=renew, **options)
        self._submit_path = submit_path

    async def submit(
        self, body: bytes, before_sending: Callable[[], None] | None = None
    ) -> SubmittedWork:
        """Submit one video with exactly these bytes; a second call is a second, paid work.

        ``before_sending`` is called directly before bytes leave; its exception ends the call.

        Raises:
            OutcomeUnknown: the work may have been accepted; search with :meth:`find_work` before
                anything is sent again.
            ServiceUnavailable: no try reached the server; nothing was accepted.
            RateLimited: throttled; nothing was accepted.
            CredentialsRefused, ProviderRefused: nothing was accepted.
            ValueError: the body is not one of ``build_submit_request``.
        """
        sent = _sent_url(body)
        failures = 0
        while True:
            response = await self._session.send(
                "POST",
                self._submit_path,
                headers=self._headers(body),
                content=body,
                read_timeout=self._timeouts.create,
                before_sending=before_sending,
            )
            data = envelope(response)
            if data is not None:
                return _submitted(data, sent)
            error = error_of(response, submitting=True, now=self._clock.time(), secrets=self._keys)
            if isinstance(error, CredentialsRefused) and await self._has_new_keys():
                continue
            failures += 1
            # The one error after which nothing was accepted and a resend may help soon.
            if not isinstance(error, ServiceUnavailable) or failures >= self._backoff.tries:
                raise error
            logger.warning("Sending the submit again, it did not leave: %s", error)
            await self._pause(failures, error.retry_after)

    async def work(self, work_id: str) -> Work | None:
        """Read a work; None when the account has none of that id (any more).

        A success without a link to the result is read again a few times.

        Raises:
            JobFailed: a success that stays without a link (code ``result_missing``).
            ServiceUnavailable: no usable response after several tries.
            CredentialsRefused, ProviderRefused, RateLimited: as they say.
        """
        if not work_id.strip():
            # Without an id the call would list every work of the account.
            raise ValueError("an id of a work is needed")
        wanted = work_id.strip()
        query = {"idWorks": [_number(wanted)]}
        tries = 0
        while True:
            rows = await self._rows(query)
            found = next((row for row in rows if row.id == wanted), None)
            if found is None or status_of(found.status) is not JobStatus.DONE or found.video_url:
                return self._report(found)
            tries += 1
            if tries >= self._backoff.tries:
                raise JobFailed(
                    "GhostCut says that the work succeeded, but gives no link to its result. "
                    "Ask the vendor's support with the work's id.",
                    provider=PROVIDER,
                    code="result_missing",
                    request_id=found.id,
                )
            await self._pause(tries)

    async def works(self, ids: Sequence[str]) -> list[Work]:
        """Those of at most 200 works that the account has, with one request.

        Raises:
            ServiceUnavailable, CredentialsRefused, ProviderRefused, RateLimited: as they say.
        """
        wanted = frozenset(ids)
        if not wanted:
            # Without an id the call would list every work of the account.
            return []
        rows = await self._rows({"idWorks": [_number(one) for one in wanted], "pageSize": PAGE})
        return [row for row in map(self._report, rows) if row is not None and row.id in wanted]

    async def find_work(
        self, match: Callable[[Work], bool], *, since: datetime, until: datetime
    ) -> Work | None:
        """Search the works of a time window for one that ``match`` accepts.

        Of several matches the one that ended well is preferred, then a running one. The window is
        on the vendor's clock (the ``Date`` of its responses), with ten minutes to spare at each
        end. The list may lag behind a submit, so None means "not listed now".

        Args:
            match: see :func:`pro_video.providers.ghostcut.models.planted`.
            since: time of the first send on this machine's clock, with a time zone.
            until: time of the last send or later, on this machine's clock.

        Raises:
            ServiceUnavailable: the window could not be read to its end.
            CredentialsRefused, ProviderRefused, RateLimited: as they say.
        """
        start, end = self._window(since, until)
        found = await self._best_between(match, start, end)
        if found is None and self._window(since, until) != (start, end):
            # The first response told the vendor's time.
            found = await self._best_between(match, *self._window(since, until))
        return found

    def _window(self, since: datetime, until: datetime) -> tuple[datetime, datetime]:
        clock = self._vendor_time
        return clock.earliest(since) - SKEW, clock.latest(until) + SKEW

    async def _best_between(
        self, match: Callable[[Work], bool], start: datetime, end: datetime
    ) -> Work | None:
        works = between(start, end, self._rows, max_pages=self._max_pages)
        return await best_match(works, match, lambda work: status_of(work.status))

    async def _rows(self, query: Mapping[str, object]) -> list[Work]:
        """The works of a page of the list."""
        content = dumps(query).encode()

        async def read() -> list[Any]:
            response = await self._session.send(
                "POST", f"{PREFIX}/work/status", headers=self._headers(content), content=content
            )
            self._vendor_time.learn(response)
            data = envelope(response)
            if data is None:
                now = self._clock.time()
                raise error_of(response, submitting=False, now=now, secrets=self._keys)
            body = data.get("body")
            if isinstance(body, dict) and "content" in body and body["content"] is None:
                return []
            rows = body.get("content") if isinstance(body, dict) else None
            # A missing list is not an empty one: "no such work" must not come from it.
            if not isinstance(rows, list):
                raise ServiceUnavailable(
                    "GhostCut's response is not the documented one.", provider=PROVIDER
                )
            return rows

        works = []
        for row in await self._repeated(read):
            # A malformed row cannot be ours, and must not hide the others.
            with contextlib.suppress(ValueError):
                works.append(Work.from_json(row))
        return works

    def _headers(self, body: bytes) -> dict[str, str]:
        return {
            "Content-Type": "application/json",
            "AppKey": self._keys[0],
            "AppSign": signature(body, self._keys[1]),
        }

    def _report(self, work: Work | None) -> Work | None:
        if work is not None and not is_known(work.status):
            self._report_unknown(
                work.status,
                f"Work {work.id} has the unknown status {work.status}, taken as "
                f"{status_of(work.status).value}",
            )
        return work

    def _checked(self, keys: tuple[str, str]) -> tuple[str, str]:
        return (
            checked_secret(keys[0], name="GhostCut AppKey", provider=PROVIDER),
            checked_secret(keys[1], name="GhostCut AppSecret", provider=PROVIDER),
        )


def signature(body: bytes, secret: str) -> str:
    """``AppSign`` of a request, ``Callback-Sign`` of a callback: over the raw bytes of the body.

    ``md5_hex(md5_hex(body) + secret)``; the vendor signs nothing else, so it proves no time.
    """
    inner = hashlib.md5(body, usedforsecurity=False).hexdigest()
    return hashlib.md5(inner.encode() + secret.encode(), usedforsecurity=False).hexdigest()


def _sent_url(body: bytes) -> str:
    """The one link of a submit; read before sending, so that nothing fails after it is paid."""
    request = json.loads(body)
    urls = request.get("urls") if isinstance(request, dict) else None
    if not isinstance(urls, list) or len(urls) != 1 or not isinstance(urls[0], str):
        raise ValueError("a submit has one link")
    return urls[0]


def _submitted(data: Mapping[str, Any], sent: str) -> SubmittedWork:
    content = data.get("body")
    content = content if isinstance(content, dict) else {}
    rows = content.get("dataList")
    rows = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    if len(rows) > 1:
        rows = [row for row in rows if row.get("url") == sent]
    project = identity(content.get("idProject"))
    work = identity(rows[0].get("id")) if rows else None
    if work is None:
        raise OutcomeUnknown(
            "GhostCut accepted the work but did not name it.",
            provider=PROVIDER,
            code="work_not_named",
            request_id=project,
        )
    return SubmittedWork(project_id=project or "", work_id=work)


def _number(work_id: str) -> int | str:
    return int(work_id) if work_id.isascii() and work_id.isdigit() else work_id
