"""The checksum algorithms that SDKs send without native code, and the CRC32 of joined parts."""

from __future__ import annotations

import base64
import binascii
import hashlib
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

_POLYNOMIAL = 0xEDB88320
DIGEST_BYTES = {"CRC32": 4, "SHA1": 20, "SHA256": 32}


class _Crc32:
    """zlib's CRC32 with the interface of hashlib's objects."""

    def __init__(self) -> None:
        self._value = 0

    def update(self, data: bytes | memoryview, /) -> None:
        self._value = zlib.crc32(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(4, "big")


_HASHERS: dict[str, Callable[[], Any]] = {
    "CRC32": _Crc32,
    "SHA1": lambda: hashlib.sha1(usedforsecurity=False),
    "SHA256": hashlib.sha256,
}


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


class Digests:
    """The MD5 of some bytes, for ETags, and their checksum in an algorithm."""

    def __init__(self, algorithm: str | None) -> None:
        self.md5 = hashlib.md5(usedforsecurity=False)
        self._algorithm = algorithm
        self._hasher = _HASHERS[algorithm]() if algorithm else None

    def update(self, data: bytes | memoryview) -> None:
        """Goes on with further bytes."""
        self.md5.update(data)
        if self._hasher is not None:
            self._hasher.update(data)

    @property
    def checksum(self) -> Checksum | None:
        """The checksum so far, None without an algorithm."""
        if self._algorithm is None or self._hasher is None:
            return None
        return Checksum(self._algorithm, base64.b64encode(self._hasher.digest()).decode())


def is_digest(algorithm: str, value: str) -> bool:
    """Whether `value` is base64 of the algorithm's length."""
    try:
        return len(base64.b64decode(value, validate=True)) == DIGEST_BYTES[algorithm]
    except (binascii.Error, ValueError):
        return False


def joined_crc32(parts: Sequence[tuple[str, int]]) -> str:
    """The CRC32 of joined parts from each part's, in base64, and size; no data is read."""
    total = 0
    for value, size in parts:
        digest = int.from_bytes(base64.b64decode(value), "big")
        total = _multiply(_power_of_x(8 * size), total) ^ digest
    return base64.b64encode(total.to_bytes(4, "big")).decode()


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
