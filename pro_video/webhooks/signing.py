"""Signatures of the webhooks that we send, as Standard Webhooks has them.

Source: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md

A receiver gets three headers: ``webhook-id`` (the same in every try of one message),
``webhook-timestamp`` (of this try, seconds since the epoch) and ``webhook-signature``, a list of
``v1,<base64>`` separated by spaces. Signed is ``id.timestamp.body`` with HMAC-SHA256.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from typing import Final

PREFIX: Final = "whsec_"
_SHORTEST, _LONGEST = 24, 64


class SecretUnusable(ValueError):
    """A text is no signing secret; the message never repeats it."""


def new_secret() -> str:
    """A fresh signing secret: ``whsec_`` and 32 random bytes in base64."""
    return PREFIX + base64.b64encode(secrets.token_bytes(32)).decode("ascii")


def secret_key(secret: str) -> bytes:
    """The key behind a signing secret.

    Raises:
        SecretUnusable: not ``whsec_`` and the base64 of 24 to 64 bytes.
    """
    encoded = secret.removeprefix(PREFIX)
    try:
        key = base64.b64decode(encoded.encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error):
        key = b""
    if encoded == secret or not _SHORTEST <= len(key) <= _LONGEST:
        raise SecretUnusable(
            f"A signing secret is {PREFIX} followed by the base64 of {_SHORTEST} to {_LONGEST} "
            "random bytes."
        )
    return key


def signature(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """One entry of ``webhook-signature``: ``v1,<base64>``.

    Raises:
        SecretUnusable: the secret has not the form of one.
    """
    signed = f"{message_id}.{timestamp}.".encode() + body
    digest = hmac.digest(secret_key(secret), signed, hashlib.sha256)
    return "v1," + base64.b64encode(digest).decode("ascii")


def signed_headers(
    secrets_in_use: Sequence[str], message_id: str, timestamp: int, body: bytes
) -> dict[str, str]:
    """The three headers of a message; while a secret is changed, both sign it.

    Raises:
        SecretUnusable: a secret has not the form of one.
    """
    signatures = [signature(secret, message_id, timestamp, body) for secret in secrets_in_use]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(signatures),
    }
