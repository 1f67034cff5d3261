"""Strict JSON: compact when written, and without NaN and infinity when read."""

import json
import math
from typing import Any


def dump(value: Any) -> bytes:
    """Compact UTF-8 JSON with non-ASCII characters left as they are."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def load(text: bytes | str) -> Any:
    """Parse strict JSON.

    Raises ValueError for malformed text, invalid UTF-8, half of a surrogate pair, NaN and
    infinity, and for nesting deeper than the parser allows.
    """
    try:
        value = json.loads(text, parse_constant=_refuse, parse_float=_finite)
        # A value that cannot be written as UTF-8 could not be stored or sent either.
        dump(value)
    except RecursionError:
        raise ValueError("JSON is nested too deeply") from None
    return value


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is out of range")
    return value
