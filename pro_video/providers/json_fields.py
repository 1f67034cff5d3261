"""Reads and writes the vendors' JSON: tolerant in, deterministic out."""

from __future__ import annotations

import json
import math
import re


def dumps(value: object) -> str:
    """Compact JSON, the same text for the same value; members keep the order they were given in.

    Raises:
        ValueError: a number is NaN or infinite.
    """
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def text(value: object) -> str | None:
    """A non-empty text; None for anything else."""
    return value if isinstance(value, str) and value else None


def number(value: object) -> float | None:
    """A finite number, no boolean; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def integer(value: object) -> int | None:
    """A whole number, as a number or a text; None for anything else."""
    if isinstance(value, str):
        value = value.strip()
        return int(value) if re.fullmatch(r"[+-]?[0-9]{1,15}", value) else None
    found = number(value)
    return int(found) if found is not None and found == int(found) else None


def decimal6(value: float) -> float:
    """Rounded to six digits; 1 and 1.0 become the same bytes."""
    return round(float(value), 6)


def fraction(percent: float | None) -> float | None:
    """A percentage as a share within 0 … 1."""
    return None if percent is None else min(max(percent / 100.0, 0.0), 1.0)


def whole_word(*tokens: str) -> re.Pattern[str]:
    """A pattern that finds a token, but not inside a longer word (``job-0001-1`` in ``…-12``).

    Raises:
        ValueError: a token is shorter than 8 characters, which foreign jobs may have by chance.
    """
    if any(len(token) < 8 for token in tokens):
        raise ValueError("a planted token has at least 8 characters")
    any_of = "|".join(re.escape(token) for token in tokens)
    return re.compile(rf"(?<![\w-])(?:{any_of})(?![\w-])")
