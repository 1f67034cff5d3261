"""GhostCut's API for one work: submit, read, search by time window, and the point balance."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Final, Self

from pro_video.core.clock import SYSTEM_CLOCK, Clock
from pro_video.core.errors import (
    CredentialsRefused,
    JobFailed,
    OutcomeUnknown,
    ServiceUnavailable,
    TransientError,
)
from pro_video.core.retrying import Backoff
from pro_video.core.stopping import current_stop
from pro_video.core.waiting import pause
from pro_video.net.exchange import HttpSession, Timeouts, checked_secret, repeated
from pro_video.providers.ghostcut.listing import between
from pro_video.providers.ghostcut.models import PROVIDER, Submission, Work, identity
from pro_video.providers.ghostcut.responses import envelope, error_of
from pro_video.providers.ghostcut.status import is_known, outcome_of
from pro_video.providers.json_fields import dumps, number
from pro_video.providers.outcome import Outcome
from pro_video.providers.vendor_time import VendorTime

logger = logging.getLogger(__name__)

PREFIX: Final = "/v-w-c/gateway/ve"
_SKEW: Final = timedelta(minutes=10)


class GhostCutClient:
    """A client of one account. An async context manager; for one event loop.

    Reads are repeated with backoff. A submit has no idempotency key at this vendor, so it is sent
    again only when the first one certainly did not arrive.

    Args:
        base_url: ``https://api.zhaoli.com``, or a sandbox's address.
        app_key: the account's key.
        app_secret: what the requests are signed with; it is never sent.
        renew: asked when they are refused; gives the pair that holds now.
        submit_path: the vendor documents this one; ``…/work/fast`` takes the same request.
        clock: where time comes from.
        timeouts: bounds of one exchange.
        backoff: pauses and number of tries of one call.
        max_pages: pages of a listing that a search looks through.

    Raises:
        CredentialsRefused: key or secret cannot be one.
        ValueError: the base URL is none.
    """

    def __init__(
        self,
        base_url: str,
        app_key: str,
        app_secret: str,
        *,
        renew: Callable[[], Awaitable[tuple[str, str] | None]] | None = None,
        submit_path: str = f"{PREFIX}/work/free",
        clock: Clock = SYSTEM_CLOCK,
        timeouts: Timeouts | None = None,
        backoff: Backoff | None = None,
        max_pages: int = 500,
    ) -> None:
        self._key, self._secret = _checked(app_key, app_secret)
        self._renew = renew
        self._timeouts = timeouts or Timeouts()
        self._session = HttpSession(base_url, timeouts=self._timeouts)
        self._base_url = base_url
        self._submit_path = submit_path
        self._clock = clock
        self._backoff = backoff or Backoff()
        self._max_pages = max_pages
        self._vendor_time = VendorTime(clock)
        self._reported: set[int | None] = set()

    def __repr__(self) -> str:
        return f"GhostCutClient({self._base_url!r})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._session.aclose()

    async def submit(
        self, body: bytes, before_sending: Callable[[], None] | None = None
    ) -> Submission:
        """Submit one video with exactly these bytes; a second call is a second, paid work.

        ``before_sending`` is called directly before bytes leave; what it raises ends the call.

        Raises:
            OutcomeUnknown: the work may have been accepted; look for it with :meth:`find_work`
                before anything is sent again.
            ServiceUnavailable: no try reached the server; nothing was accepted.
            RateLimited: throttled; nothing was accepted.
            CredentialsRefused, ProviderRefused: nothing was accepted.
            ValueError: the body is not one of ``build_submit_request``.
        """
        sent = _sent_url(body)
        failures = 0
        while True:
            answer = await self._session.send(
                "POST",
                self._submit_path,
                headers=self._headers(body),
                content=body,
                read_timeout=self._timeouts.create,
                before_sending=before_sending,
            )
            data = envelope(answer)
            if data is not None:
                return _submission(data, sent)
            error = error_of(
                answer, submitting=True, now=self._clock.time(), secrets=self._secrets()
            )
            if isinstance(error, CredentialsRefused) and await self._has_new_keys():
                continue
            failures += 1
            # The one error after which nothing can have been accepted and a resend may help soon.
            if not isinstance(error, ServiceUnavailable) or failures >= self._backoff.tries:
                raise error
            logger.warning("Sending the submit again, it did not leave: %s", error)
            seconds = self._backoff.pause(failures, error.retry_after)
            await pause(seconds, clock=self._clock, stop=current_stop())

    async def work(self, work_id: str) -> Work | None:
        """Read a work; None when the account has none of that id (any more).

        A success without a link to the result is read again a few times.

        Raises:
            JobFailed: a success that stays without a link (code ``result_missing``).
            ServiceUnavailable: no useful answer after several tries.
            CredentialsRefused, ProviderRefused, RateLimited: as they say.
        """
        if not work_id.strip():
            # Without an id the call would list every work of the account.
            raise ValueError("an id of a work is needed")
        wanted = work_id.strip()
        query = {"idWorks": [int(wanted) if wanted.isascii() and wanted.isdigit() else wanted]}
        tries = 0
        while True:
            rows = await self._rows(query)
            found = next((row for row in rows if row.id == wanted), None)
            if found is None or outcome_of(found.status) is not Outcome.DONE or found.video_url:
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
            await pause(self._backoff.pause(tries), clock=self._clock, stop=current_stop())

    async def works_between(self, start: datetime, end: datetime) -> list[Work]:
        """The account's works that were submitted from ``start`` to before ``end``, newest first.

        Raises:
            ServiceUnavailable: the whole list could not be read.
            CredentialsRefused, ProviderRefused, RateLimited: as they say.
        """
        return [work async for work in self._between(start, end)]

    async def find_work(
        self, match: Callable[[Work], bool], *, since: datetime, until: datetime
    ) -> Work | None:
        """Search the works of a time window for one that ``match`` accepts.

        Of several matches the one that ended well is preferred, then a running one. The window is
        that of the vendor's own clock, from its answers' ``Date``; ten minutes more are searched at
        each end. A listing may lag behind a submit: None says "not listed now".

        Args:
            match: see :func:`pro_video.providers.ghostcut.models.planted`.
            since: time of the first send on this machine's clock, with a time zone.
            until: time of the last send or later, on this machine's clock.

        Raises:
            ServiceUnavailable: the window could not be read to its end, so that "not there" cannot
                be said.
            CredentialsRefused, ProviderRefused, RateLimited: as they say.
        """
        ranks = {Outcome.DONE: 0, Outcome.RUNNING: 1, Outcome.FAILED: 2}
        start, end = self._window(since, until)
        found = await self._matches(match, start, end)
        if not found and self._window(since, until) != (start, end):
            # The first answer told the vendor's time.
            found = await self._matches(match, *self._window(since, until))
        return min(found, key=lambda each: ranks[outcome_of(each.status)], default=None)

    def _window(self, since: datetime, until: datetime) -> tuple[datetime, datetime]:
        clock = self._vendor_time
        return clock.earliest(since) - _SKEW, clock.latest(until) + _SKEW

    async def _matches(
        self, match: Callable[[Work], bool], start: datetime, end: datetime
    ) -> list[Work]:
        found: list[Work] = []
        try:
            async for work in self._between(start, end):
                if match(work):
                    found.append(work)
        except TransientError:
            if not found:
                raise
        return found

    async def point_balance(self) -> float:
        """Points that the account can spend, over all of its valid assets.

        Raises:
            ServiceUnavailable: no useful answer after several tries.
            CredentialsRefused, ProviderRefused, RateLimited: as they say.
        """
        body = await self._read("/point/query", {"notZero": True, "isValid": True}, "pointAssets")
        rows = [asset for asset in body if isinstance(asset, dict)]
        return sum(number(row.get("pointBalance")) or 0.0 for row in rows)

    def _between(self, start: datetime, end: datetime) -> AsyncIterator[Work]:
        return between(start, end, self._rows, max_pages=self._max_pages)

    async def _rows(self, query: Mapping[str, object]) -> list[Work]:
        works = []
        for row in await self._read("/work/status", query, "content"):
            # A row that is no work cannot be ours, and must not hide the others.
            with contextlib.suppress(ValueError):
                works.append(Work.from_json(row))
        return works

    async def _read(self, path: str, query: Mapping[str, object], member: str) -> list[Any]:
        """The list ``member`` of the answer's body."""
        content = dumps(query).encode()

        async def read() -> list[Any]:
            answer = await self._session.send(
                "POST", PREFIX + path, headers=self._headers(content), content=content
            )
            self._vendor_time.learn(answer)
            data = envelope(answer)
            if data is None:
                now = self._clock.time()
                raise error_of(answer, submitting=False, now=now, secrets=self._secrets())
            body = data.get("body")
            if isinstance(body, dict) and member in body and body[member] is None:
                return []
            rows = body.get(member) if isinstance(body, dict) else None
            # A list that is missing is not an empty one: "no such work" must not come from it.
            if not isinstance(rows, list):
                raise ServiceUnavailable(
                    "GhostCut's answer is not the documented one.", provider=PROVIDER
                )
            return rows

        while True:
            try:
                return await repeated(read, backoff=self._backoff, clock=self._clock)
            except CredentialsRefused:
                if not await self._has_new_keys():
                    raise

    async def _has_new_keys(self) -> bool:
        """After a refusal: go on with another pair, if there is one now."""
        pair = await self._renew() if self._renew is not None else None
        if pair is None or pair == (self._key, self._secret):
            return False
        self._key, self._secret = _checked(*pair)
        return True

    def _headers(self, body: bytes) -> dict[str, str]:
        return {
            "Content-Type": "application/json",
            "AppKey": self._key,
            "AppSign": signature(body, self._secret),
        }

    def _secrets(self) -> tuple[str, ...]:
        return (self._key, self._secret)

    def _report(self, work: Work | None) -> Work | None:
        """Say once that the vendor uses a status which this version does not know."""
        if work is not None and not is_known(work.status) and work.status not in self._reported:
            if len(self._reported) < 100:
                self._reported.add(work.status)
            logger.warning(
                "Work %s has the unknown status %s, taken as %s",
                work.id,
                work.status,
                outcome_of(work.status).value,
            )
        return work


def _checked(app_key: str, app_secret: str) -> tuple[str, str]:
    return (
        checked_secret(app_key, name="GhostCut AppKey", provider=PROVIDER),
        checked_secret(app_secret, name="GhostCut AppSecret", provider=PROVIDER),
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


def _submission(data: Mapping[str, Any], sent: str) -> Submission:
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
    return Submission(project_id=project or "", work_id=work)
