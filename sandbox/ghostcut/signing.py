"""The vendor's signature, for requests (`AppSign`) and for callbacks (`Callback-Sign`).

Source: vendor docs, "request rules". The signature covers the raw body alone, without path, time or
nonce, so a captured request stays valid for ever.
"""

import hashlib
import hmac


def sign(body: bytes, secret: str) -> str:
    """`md5_hex(md5_hex(body) + secret)` in lowercase."""
    inner = hashlib.md5(body, usedforsecurity=False).hexdigest()
    return hashlib.md5(inner.encode() + secret.encode(), usedforsecurity=False).hexdigest()


def matches(body: bytes, secret: str, signature: str) -> bool:
    """Compare in constant time; the signature may be any text."""
    return hmac.compare_digest(sign(body, secret).encode(), signature.encode())
