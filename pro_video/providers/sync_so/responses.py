"""Reads Sync.so's HTTP responses: a Generation, or an error.

Source: https://sync.so/docs/developer-guides/error-handling; error bodies are in NestJS style
(``message`` is a text or a list of texts), and edge servers answer in HTML.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any, Final

from pro_video.core.errors import (
    AccountBlocked,
    CredentialsRefused,
    OutcomeUnknown,
    ProVideoError,
    ProviderRefused,
    RateLimited,
    RequestConflict,
    ServiceUnavailable,
    SlotUnavailable,
    TransientError,
)
from pro_video.core.redaction import redact
from pro_video.core.retrying import clamp_hint, parse_retry_after
from pro_video.net.http_session import HttpResponse, NoResponse
from pro_video.providers.json_fields import text
from pro_video.providers.sync_so.models import PROVIDER, Generation
from pro_video.providers.sync_so.status import Meaning, meaning_of

CREATED: Final = (200, 201, 202)
"""Statuses of an accepted create; the documents say 201, a replay's status is not documented."""

# No code is published for a second request under a key whose first one is still in progress.
_IN_PROGRESS = re.compile(r"in.?progress|in.?flight|processing|pending|locked|concurrent_request")

_BY_STATUS: Final[dict[int, Meaning]] = {
    402: Meaning.ACCOUNT,
    408: Meaning.VENDOR_TROUBLE,
    425: Meaning.VENDOR_TROUBLE,
    429: Meaning.TOO_FAST,
}


def read_generation(
    response: HttpResponse | NoResponse, accepted: Collection[int], *, now: float
) -> Generation | None:
    """The Generation of an accepted response; None for a refused or malformed one."""
    if not isinstance(response, HttpResponse) or response.status not in accepted:
        return None
    try:
        return Generation.from_json(response.json(), retry_after=_hint(response, {}, now))
    except ValueError:
        return None


def error_of(
    response: HttpResponse | NoResponse, *, creating: bool, now: float, secret: str
) -> ProVideoError:
    """The error of a response.

    Args:
        response: anything but an accepted and readable response.
        creating: the call was a create, so that a lost response may hide a paid job.
        now: seconds since the epoch, for a ``Retry-After`` that is a date.
        secret: the API key, removed should a text quote it.
    """
    if isinstance(response, NoResponse):
        unsure = creating and not response.never_sent
        return _lost(f"Sync.so did not answer: {response.reason}.", creating=unsure)
    body = response.json()
    data: dict[str, Any] = body if isinstance(body, dict) else {}
    code = text(data.get("errorCode")) or text(data.get("error_code")) or text(data.get("code"))
    context = {
        "provider": PROVIDER,
        "code": redact(code, [secret])[:100] if code else f"http_{response.status}",
        "request_id": _request_id(response, data),
    }
    reason = _reason(data, secret) or f"HTTP {response.status}"
    hint = _hint(response, data, now)
    meaning = meaning_of(code)
    if response.status == 401:
        return CredentialsRefused(
            f"Sync.so does not accept the API key ({reason}). Check the credentials block.",
            **context,
        )
    if response.status >= 500 or response.status < 300 or meaning is Meaning.UNKNOWN_OUTCOME:
        # A malformed success is as unclear as a 5xx.
        named = text(data.get("generationId")) or text(data.get("generation_id"))
        return _lost(
            f"Sync.so did not answer clearly: {reason}.",
            creating=creating,
            job_id=named if creating else None,
            retry_after=hint,
            **context,
        )
    if creating and (response.status == 409 or meaning is Meaning.OTHER_BODY):
        return _conflict(reason, code, hint, context)
    if response.status < 400:
        reason = f"the API answered with a redirect (HTTP {response.status}), which is not followed"
        return ProviderRefused(f"Sync.so: {reason}. Check the base URL.", **context)
    kind = (meaning or _BY_STATUS.get(response.status, Meaning.WRONG_REQUEST)).of_call
    if response.status == 402 and not issubclass(kind, AccountBlocked):
        kind = AccountBlocked
    if kind is SlotUnavailable:
        return SlotUnavailable(_slots(reason, data), retry_after=hint, **context)
    if kind is ServiceUnavailable:
        return _lost(
            f"Sync.so is in trouble: {reason}.", creating=creating, retry_after=hint, **context
        )
    if issubclass(kind, TransientError):
        return kind(f"Sync.so: {reason}", retry_after=hint, **context)
    if kind is AccountBlocked:
        return AccountBlocked(f"Sync.so blocks the account: {reason}", **context)
    return kind(f"Sync.so refused the request: {reason}", **context)


def may_follow_own_create(error: ProVideoError, response: HttpResponse | NoResponse) -> bool:
    """May this refusal be an effect of our own create, whose response was lost just before?

    That create may hold the last slot, have used up the plan, or be the one that the key collides
    with.
    """
    if isinstance(error, SlotUnavailable | RateLimited | AccountBlocked):
        return True
    return isinstance(response, HttpResponse) and response.status == 409


def as_unknown(error: ProVideoError) -> OutcomeUnknown:
    """``error`` after an earlier try of the create that may have been accepted."""
    if isinstance(error, OutcomeUnknown):
        return error
    return OutcomeUnknown(
        f"{error.message} An earlier try of this call may have been accepted.",
        retry_after=error.retry_after if isinstance(error, TransientError) else None,
        provider=PROVIDER,
        code=error.code,
        request_id=error.request_id,
    )


def _conflict(
    reason: str, code: str | None, hint: float | None, context: dict[str, Any]
) -> ProVideoError:
    if code is not None and _IN_PROGRESS.search(code.lower()):
        return OutcomeUnknown(
            f"Sync.so is still working on the same create: {reason}", retry_after=hint, **context
        )
    return RequestConflict(
        f"Sync.so has another request under this attempt's idempotency key: {reason}. "
        "An earlier send of this attempt may have been accepted; retry this run to look for it.",
        **context,
    )


def _lost(
    message: str, *, creating: bool, job_id: str | None = None, **context: Any
) -> TransientError:
    context.setdefault("provider", PROVIDER)
    if creating:
        return OutcomeUnknown(
            f"{message} The generation may have been created.", job_id=job_id, **context
        )
    return ServiceUnavailable(message, **context)


def _reason(data: dict[str, Any], secret: str) -> str:
    message = data.get("message")
    parts = message if isinstance(message, list) else [message]
    said = "; ".join(part for part in parts if isinstance(part, str) and part)
    field = text(data.get("field"))
    said = said or text(data.get("error")) or ""
    return redact(f"{field}: {said}" if field and said else said, [secret])


def _slots(reason: str, data: dict[str, Any]) -> str:
    active, limit = data.get("activeGenerations"), data.get("concurrencyLimit")
    if isinstance(active, int) and isinstance(limit, int):
        return f"Sync.so has no free slot: {active} of {limit} generations are running."
    return f"Sync.so has no free slot: {reason}"


def _hint(response: HttpResponse, data: dict[str, Any], now: float) -> float | None:
    """The vendor's pause: the body's number, else the header, which is undocumented for a 429."""
    seconds = clamp_hint(data.get("retryAfterSeconds"))
    if seconds is not None:
        return seconds
    return parse_retry_after(response.headers.get("retry-after"), now=now)


def _request_id(response: HttpResponse, data: dict[str, Any]) -> str | None:
    found = text(data.get("requestId")) or response.headers.get("x-request-id")
    return redact(found)[:100] if found else None
