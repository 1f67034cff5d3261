"""The five checksum algorithms of S3, and the arithmetic to combine CRCs of parts.

CRC32, SHA1 and SHA256 run in C. CRC32C and CRC64NVME have no implementation in the standard
library; the table-driven one here does some tens of MB/s, which is enough for a sandbox.
"""

from __future__ import annotations

import base64
import binascii
import functools
import hashlib
import zlib
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

COMPOSITE = "COMPOSITE"
FULL_OBJECT = "FULL_OBJECT"

# Reflected polynomials and widths in bits; all three CRCs start from and end with all ones.
_CRCS = {
    "CRC32": (0xEDB88320, 32),
    "CRC32C": (0x82F63B78, 32),
    "CRC64NVME": (0x9A6C9329AC4BC9B5, 64),
}
DIGEST_BYTES = {"CRC32": 4, "CRC32C": 4, "CRC64NVME": 8, "SHA1": 20, "SHA256": 32}


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


class _TableCrc:
    """CRC over 16-bit slices: one table look-up per two bytes, whole words per step."""

    def __init__(self, algorithm: str) -> None:
        self._width = _CRCS[algorithm][1]
        self._tables = _slices(algorithm)
        self._value = (1 << self._width) - 1
        self._rest = b""

    def update(self, data: bytes | memoryview, /) -> None:
        word = self._width // 8
        if self._rest or len(data) % word:
            data = self._rest + bytes(data)
        whole = len(data) - len(data) % word
        self._rest = bytes(data[whole:])
        words = array("I" if word == 4 else "Q", bytes(data[:whole]))
        value = self._value
        if word == 4:
            low, high = self._tables
            for item in words:
                value ^= item
                value = low[value & 0xFFFF] ^ high[value >> 16]
        else:
            first, second, third, fourth = self._tables
            for item in words:
                value ^= item
                value = (
                    first[value & 0xFFFF]
                    ^ second[value >> 16 & 0xFFFF]
                    ^ third[value >> 32 & 0xFFFF]
                    ^ fourth[value >> 48]
                )
        self._value = value

    def digest(self) -> bytes:
        value = self._value
        bytewise = self._tables[-1]
        for byte in self._rest:
            # The last table holds the effect of the last two bytes of a word; its entries at
            # multiples of 256 are those of one byte.
            value = bytewise[((value ^ byte) & 0xFF) << 8] ^ value >> 8
        return (value ^ ((1 << self._width) - 1)).to_bytes(self._width // 8, "big")


@functools.cache
def _slices(algorithm: str) -> tuple[Sequence[int], ...]:
    polynomial, width = _CRCS[algorithm]
    bytewise = []
    for index in range(256):
        value = index
        for _ in range(8):
            value = value >> 1 ^ (polynomial if value & 1 else 0)
        bytewise.append(value)

    def advance(value: int, count: int) -> int:
        for _ in range(count):
            value = bytewise[value & 0xFF] ^ value >> 8
        return value

    tables = []
    for position in range(width // 16):
        zeros = width // 8 - 2 - 2 * position
        low = [advance(bytewise[index], zeros + 1) for index in range(256)]
        high = [advance(bytewise[index], zeros) for index in range(256)]
        tables.append([low[index & 0xFF] ^ high[index >> 8] for index in range(65536)])
    return tuple(tables)


def new_hasher(algorithm: str) -> Hasher:
    """A hasher for one of the names in DIGEST_BYTES."""
    if algorithm == "CRC32":
        return _Crc32()
    if algorithm in _CRCS:
        return _TableCrc(algorithm)
    return hashlib.sha1(usedforsecurity=False) if algorithm == "SHA1" else hashlib.sha256()


def new_md5() -> Hasher:
    """A hasher of the MD5 that S3's ETags are made of."""
    return hashlib.md5(usedforsecurity=False)


@dataclass(frozen=True, slots=True)
class Checksum:
    """A checksum as S3 shows it: base64, for COMPOSITE with "-<number of parts>" behind it."""

    algorithm: str
    value: str
    type: str

    @property
    def header(self) -> str:
        return f"x-amz-checksum-{self.algorithm.lower()}"

    @property
    def element(self) -> str:
        return f"Checksum{self.algorithm}"


def encode_digest(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


def decode_digest(algorithm: str, value: str) -> bytes | None:
    """The digest in `value`, or None when it is not base64 of the algorithm's length."""
    try:
        digest = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return None
    return digest if len(digest) == DIGEST_BYTES[algorithm] else None


def composite(algorithm: str, digests: Sequence[bytes]) -> str:
    """The checksum of the parts' checksums, S3's COMPOSITE type."""
    hasher = new_hasher(algorithm)
    for digest in digests:
        hasher.update(digest)
    return f"{encode_digest(hasher.digest())}-{len(digests)}"


def full_object(algorithm: str, parts: Sequence[tuple[bytes, int]]) -> str:
    """The CRC of the concatenation, from each part's CRC and size, without reading the data."""
    polynomial, width = _CRCS[algorithm]
    total = 0
    for digest, size in parts:
        shift = _power_of_x(8 * size, polynomial, width)
        total = _multiply(shift, total, polynomial, width) ^ int.from_bytes(digest, "big")
    return encode_digest(total.to_bytes(width // 8, "big"))


def _multiply(left: int, right: int, polynomial: int, width: int) -> int:
    """The product of two polynomials modulo the CRC's, all in reflected bit order."""
    product = 0
    for position in range(width - 1, -1, -1):
        if left >> position & 1:
            product ^= right
        right = right >> 1 ^ (polynomial if right & 1 else 0)
    return product


def _power_of_x(exponent: int, polynomial: int, width: int) -> int:
    result = 1 << (width - 1)
    base = 1 << (width - 2)
    while exponent:
        if exponent & 1:
            result = _multiply(result, base, polynomial, width)
        base = _multiply(base, base, polynomial, width)
        exponent >>= 1
    return result
