"""The signature of GhostCut's callbacks.

Source: the vendor's API documentation, "callback": the header ``Callback-Sign`` is made like
``AppSign``, over the raw body. It covers no time, so a recorded callback stays valid for ever:
nothing but a fresh look at the work may follow from one.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Sequence
from typing import Final

from pro_video.providers.ghostcut.client import signature

HEADER: Final = "callback-sign"
_HEX = re.compile(r"[0-9a-f]{32}\Z")


def is_authentic(header: str | None, body: bytes, secrets: Sequence[str]) -> bool:
    """Was this body signed with one of the app secrets?

    Args:
        header: value of ``Callback-Sign``.
        body: the bytes as they came, before any parsing.
        secrets: the app secret, or both while it is changed; none makes nothing authentic.
    """
    if header is None or not _HEX.match(header):
        return False
    fits = False
    for secret in secrets:
        if secret:
            fits |= hmac.compare_digest(signature(body, secret), header)
    return fits
