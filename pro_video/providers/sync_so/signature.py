"""The signature of Sync.so's webhooks.

Source: https://sync.so/docs (API reference, Webhooks). The header ``Sync-Signature`` is
``t=<seconds since the epoch>,v1=<hex>``: HMAC-SHA256 of ``<t>.<raw body>``. The key is the whole
secret with its ``whsec_``, not the base64 in it. How old a message may be is not documented.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Sequence
from typing import Final

HEADER: Final = "sync-signature"
TOLERANCE: Final = 300.0
"""Seconds that a webhook's time may be off, either way."""

_TIMESTAMP = re.compile(r"[0-9]{1,12}\Z")
_HEX = re.compile(r"[0-9a-f]{64}\Z")
_LONGEST_HEADER = 1024


def signature(secret: str, timestamp: int, body: bytes) -> str:
    """The ``v1`` of a webhook: lower-case hex."""
    return hmac.new(secret.encode(), f"{timestamp}.".encode() + body, hashlib.sha256).hexdigest()


def is_authentic(
    header: str | None,
    body: bytes,
    secrets: Sequence[str],
    *,
    now: float,
    tolerance: float = TOLERANCE,
) -> bool:
    """Was this body signed with one of the secrets, within ``tolerance`` seconds of ``now``?

    Args:
        header: value of ``Sync-Signature``.
        body: the bytes as they came, before any parsing.
        secrets: the secret, or both while it is changed; none makes nothing authentic.
        now: seconds since the epoch.
        tolerance: seconds that the webhook's time may be off.
    """
    timestamp, given = _parsed(header)
    if timestamp is None:
        return False
    fits = False
    for secret in secrets:
        if not secret:
            continue
        expected = signature(secret, timestamp, body)
        for entry in given:
            fits |= hmac.compare_digest(expected, entry)
    return fits and abs(now - timestamp) <= tolerance


def _parsed(header: str | None) -> tuple[int | None, list[str]]:
    """The time and the well-formed signatures; no time for what is no such header."""
    if header is None or len(header) > _LONGEST_HEADER:
        return None, []
    timestamp: int | None = None
    given: list[str] = []
    for part in header.split(","):
        name, _, value = part.strip().partition("=")
        if name == "t":
            if timestamp is not None or not _TIMESTAMP.match(value):
                # Two times, of which only one is signed.
                return None, []
            timestamp = int(value)
        elif name == "v1" and _HEX.match(value):
            given.append(value)
    return (timestamp, given) if given else (None, [])
