"""CRC32 of a whole object from the CRC32s of its parts, in S3's notation.

The arithmetic is that of zlib's ``crc32_combine``: appending n bytes multiplies the checksum, seen
as a polynomial over GF(2), by x^(8n).
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Sequence
from functools import lru_cache

_POLYNOMIAL = 0xEDB88320
_ONE = 1 << 31
_X8 = 1 << 23


def _multiply(a: int, b: int) -> int:
    product = 0
    while a:
        if a & _ONE:
            product ^= b
        a = (a << 1) & 0xFFFFFFFF
        b = (b >> 1) ^ _POLYNOMIAL if b & 1 else b >> 1
    return product


@lru_cache(maxsize=64)
def _shift(length: int) -> int:
    result, power = _ONE, _X8
    while length:
        if length & 1:
            result = _multiply(power, result)
        power = _multiply(power, power)
        length >>= 1
    return result


def combine(first: int, second: int, second_length: int) -> int:
    """CRC32 of two byte strings joined, from the CRC32 of each and the length of the second."""
    return _multiply(_shift(second_length), first) ^ second


def encode(crc: int) -> str:
    """A CRC32 as S3 writes it: base64 of four bytes, highest first."""
    return base64.b64encode(crc.to_bytes(4, "big")).decode("ascii")


def whole(parts: Sequence[tuple[int, int]]) -> str:
    """S3's FULL_OBJECT checksum from (crc, length) of each part in order."""
    total = 0
    for crc, length in parts:
        total = combine(total, crc, length)
    return encode(total)


def composite(parts: Sequence[tuple[int, int]]) -> str:
    """S3's COMPOSITE checksum, the CRC32 of the parts' CRC32s, as ``<base64>-<number of
    parts>``."""
    joined = b"".join(crc.to_bytes(4, "big") for crc, _ in parts)
    return f"{encode(zlib.crc32(joined))}-{len(parts)}"


def decode(text: str) -> int:
    """The number behind S3's form of a CRC32."""
    return int.from_bytes(base64.b64decode(text), "big")
