"""The checksum algorithms that SDKs send without native code, and the CRC32 of joined parts."""

from __future__ import annotations

import base64
import binascii
import hashlib
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

_POLYNOMIAL = 0xEDB88320
DIGEST_BYTES = {"CRC32": 4, "SHA1": 20, "SHA256": 32}


class Hasher(Protocol):
    """The needed part of the interface of hashlib's objects."""

    def update(self, data: bytes | memoryview, /) -> None: ...

    def digest(self) -> bytes: ...


class _Crc32:
    def __init__(self) -> None:
        self._value = 0

    def update(self, data: bytes | memoryview, /) -> None:
        self._value = zlib.crc32(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(4, "big")


def new_hasher(algorithm: str) -> Hasher:
    """A hasher for one of the names in DIGEST_BYTES."""
    if algorithm == "CRC32":
        return _Crc32()
    return hashlib.sha1(usedforsecurity=False) if algorithm == "SHA1" else hashlib.sha256()


def new_md5() -> Hasher:
    """A hasher of the MD5 that S3's ETags are made of."""
    return hashlib.md5(usedforsecurity=False)


@dataclass(frozen=True, slots=True)
class Checksum:
    """The checksum of a whole object or part in base64, S3's type FULL_OBJECT."""

    algorithm: str
    value: str

    def headers(self, *, with_type: bool) -> dict[str, str]:
        """The checksum as response headers; a part's has no type."""
        headers = {f"x-amz-checksum-{self.algorithm.lower()}": self.value}
        return headers | {"x-amz-checksum-type": "FULL_OBJECT"} if with_type else headers

    @property
    def element(self) -> str:
        """The name of the XML element that holds the value."""
        return f"Checksum{self.algorithm}"


def encode_digest(digest: bytes) -> str:
    """A digest as S3's headers have it, in base64."""
    return base64.b64encode(digest).decode()


def decode_digest(algorithm: str, value: str) -> bytes | None:
    """The digest in `value`, or None when it is not base64 of the algorithm's length."""
    try:
        digest = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return None
    return digest if len(digest) == DIGEST_BYTES[algorithm] else None


def joined_crc32(parts: Sequence[tuple[bytes, int]]) -> str:
    """The CRC32 of joined parts from each part's CRC32 and size, without reading the data."""
    total = 0
    for digest, size in parts:
        total = _multiply(_power_of_x(8 * size), total) ^ int.from_bytes(digest, "big")
    return encode_digest(total.to_bytes(4, "big"))


def _multiply(left: int, right: int) -> int:
    """The product of two polynomials modulo the CRC's, all in reflected bit order."""
    product = 0
    for position in range(31, -1, -1):
        if left >> position & 1:
            product ^= right
        right = right >> 1 ^ (_POLYNOMIAL if right & 1 else 0)
    return product


def _power_of_x(exponent: int) -> int:
    result, base = 1 << 31, 1 << 30
    while exponent:
        if exponent & 1:
            result = _multiply(result, base)
        base = _multiply(base, base)
        exponent >>= 1
    return result
