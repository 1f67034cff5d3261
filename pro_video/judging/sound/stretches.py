"""Chooses the stretches of a sound that are compared; seconds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from pro_video.judging.sound.loudness import MAX_SECONDS

MAX_STRETCHES: Final = 4
LENGTH: Final = 3.0
SHORTEST: Final = 0.5
_WHOLE_LOOKS: Final = 6


def places_of(ranges: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Start and length of stretches: all of short ranges, some at even distances of long ones."""
    total = sum(end - start for start, end in ranges)
    if total <= MAX_STRETCHES * LENGTH and len(ranges) <= MAX_STRETCHES:
        return [place for start, end in ranges for place in _pieces(start, end)]
    places = []
    for number in range(MAX_STRETCHES):
        offset = total * (number + 0.5) / MAX_STRETCHES
        for start, end in ranges:
            if offset <= end - start:
                length = min(LENGTH, end - start, total / MAX_STRETCHES)
                first = min(max(start, start + offset - length / 2), end - length)
                if length >= SHORTEST:
                    places.append((first, length))
                break
            offset -= end - start
    return places


def _pieces(start: float, end: float) -> list[tuple[float, float]]:
    if end - start < SHORTEST:
        return []
    count = math.ceil((end - start) / LENGTH)
    length = (end - start) / count
    return [(start + number * length, length) for number in range(count)]


def whole(length: float) -> list[tuple[float, float]]:
    """Nearly all of a short sound, and parts all over a long one."""
    apart = max(MAX_SECONDS, length / _WHOLE_LOOKS)
    return [(place * apart, MAX_SECONDS) for place in range(math.ceil(length / apart))]
