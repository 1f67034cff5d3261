"""The vendor's signature, for requests (`AppSign`) and for callbacks (`Callback-Sign`).

Source: vendor docs, "request rules". Only the raw body bytes and the secret are signed: no path,
time or nonce, so a captured request stays valid for ever.
"""

import hashlib
import hmac


def sign(body: bytes, secret: str) -> str:
    """Return `md5_hex(md5_hex(body) + secret)` in lowercase hex."""
    inner = hashlib.md5(body, usedforsecurity=False).hexdigest()
    return hashlib.md5(inner.encode() + secret.encode(), usedforsecurity=False).hexdigest()


def matches(body: bytes, secret: str, signature: str) -> bool:
    """Compare in constant time; `signature` may hold any characters a header can carry."""
    return hmac.compare_digest(sign(body, secret).encode(), signature.encode())
