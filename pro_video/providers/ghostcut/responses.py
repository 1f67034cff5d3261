"""Reads GhostCut's HTTP responses: the envelope's content, or an error.

Source: the vendor's API guide, chapters 02 and 14. Business errors come with HTTP 200 and a
``code`` other than 1000; responses with another HTTP status are not documented.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pro_video.core.errors import (
    CredentialsRefused,
    OutcomeUnknown,
    ProVideoError,
    ProviderRefused,
    RateLimited,
    ServiceUnavailable,
    TransientError,
)
from pro_video.core.redaction import redact
from pro_video.core.retrying import parse_retry_after
from pro_video.net.http_session import HttpResponse, NoResponse
from pro_video.providers.ghostcut.models import PROVIDER
from pro_video.providers.ghostcut.status import ACCEPTED, meaning_of
from pro_video.providers.json_fields import integer, text


def envelope(response: HttpResponse | NoResponse) -> dict[str, Any] | None:
    """The envelope of an accepted call; None for a refused or malformed one."""
    if not isinstance(response, HttpResponse) or response.status != 200:
        return None
    data = response.json()
    # The code decides before anything else is read: refusals carry a body too.
    if isinstance(data, dict) and integer(data.get("code")) == ACCEPTED:
        return data
    return None


def error_of(
    response: HttpResponse | NoResponse, *, submitting: bool, now: float, secrets: tuple[str, ...]
) -> ProVideoError:
    """The error of a response.

    Args:
        response: anything but an accepted and readable response.
        submitting: the call was a submit, so that a lost response may hide a paid work.
        now: seconds since the epoch, for a ``Retry-After`` that is a date.
        secrets: key and secret, removed should a text quote them.
    """
    if isinstance(response, NoResponse):
        unsure = submitting and not response.never_sent
        return _lost(f"GhostCut did not answer: {response.reason}.", submitting=unsure)
    body = response.json()
    data: Mapping[str, Any] = body if isinstance(body, dict) else {}
    code = integer(data.get("code"))
    trace = text(data.get("trace"))
    context: dict[str, Any] = {
        "provider": PROVIDER,
        "code": str(code) if code is not None else f"http_{response.status}",
        "request_id": redact(trace, secrets)[:100] if trace else None,
    }
    reason = redact(text(data.get("msg")) or f"HTTP {response.status}", secrets)
    hint = parse_retry_after(response.headers.get("retry-after"), now=now)
    if response.status == 429:
        return RateLimited(f"GhostCut: {reason}", retry_after=hint, **context)
    if submitting and 300 <= response.status < 500 and response.status not in (408, 425):
        if response.status < 400:
            reason = f"a redirect (HTTP {response.status}), which is not followed"
        return ProviderRefused(
            f"GhostCut's gateway answered with {reason}. Check the base URL.", **context
        )
    # Also an undocumented 4xx response to a read: it ends no paid work.
    if response.status != 200 or code is None or code == ACCEPTED:
        return _lost(
            f"GhostCut did not answer clearly: {reason}.",
            submitting=submitting,
            retry_after=hint,
            **context,
        )
    meaning = meaning_of(code)
    kind = meaning.of_submit if submitting else meaning.of_read
    if kind is CredentialsRefused:
        return CredentialsRefused(
            f"GhostCut does not accept the key or the signature ({reason}). "
            "Check the credentials block.",
            **context,
        )
    if issubclass(kind, ServiceUnavailable | OutcomeUnknown):
        return _lost(f"GhostCut is in trouble: {reason}.", submitting=submitting, **context)
    if issubclass(kind, TransientError):
        return kind(f"GhostCut: {reason}", retry_after=hint, **context)
    return kind(f"GhostCut refused the request: {reason}", **context)


def _lost(message: str, *, submitting: bool, **context: Any) -> TransientError:
    context.setdefault("provider", PROVIDER)
    if submitting:
        return OutcomeUnknown(f"{message} The work may have been accepted.", **context)
    return ServiceUnavailable(message, **context)
