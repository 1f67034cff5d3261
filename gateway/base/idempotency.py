"""The ``Idempotency-Key`` of requests that create: the same key and content give the same thing."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated

from fastapi import Depends, Header

from gateway.base.problems import ProblemError, invalid_field


async def _checked_key(
    key: Annotated[
        str | None,
        Header(
            alias="Idempotency-Key",
            min_length=1,
            max_length=255,
            description="Same key and body: same job or upload, however often it is sent.",
            examples=["order-4711"],
        ),
    ] = None,
) -> str | None:
    if key is not None and not key.isprintable():
        raise invalid_field("Idempotency-Key", "malformed", "must be 1 to 255 printable characters")
    return key


IdempotencyKey = Annotated[str | None, Depends(_checked_key)]
"""For parameters of routes that create."""


def scoped_key(*scope: str) -> str:
    """A hexadecimal name for the key, which stands last, within its owner. It is stored."""
    return hashlib.sha256("\0".join(scope).encode("utf-8", "surrogateescape")).hexdigest()


def fingerprint_of(content: object) -> str:
    """Tells requests apart: the same for the same JSON data, with its names in any order."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def check_fingerprint(earlier: object, current: str) -> None:
    """Compare a request with the earlier one of the same key.

    Raises:
        ProblemError: 422, when they differ.
    """
    if earlier != current:
        raise ProblemError(
            422,
            "idempotency_key_reused",
            "This Idempotency-Key belongs to an earlier request with another content. Nothing was "
            "made; send this request with a new key.",
        )
