"""The short notation of segments, areas, regions, speakers and times."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pro_video.client import Area, Region, Segment, Speaker
from pro_video.request.models import AreaKind

NAMED: Final = {
    "subtitles": Region(0.05, 0.75, 0.9, 0.22),
    "top-left": Region(0.02, 0.02, 0.3, 0.18),
    "top-right": Region(0.68, 0.02, 0.3, 0.18),
    "bottom-left": Region(0.02, 0.8, 0.3, 0.18),
    "bottom-right": Region(0.68, 0.8, 0.3, 0.18),
    "full": Region(0.0, 0.0, 1.0, 1.0),
}
"""Regions by name."""

_TIME = r"(?:\d+:){0,2}\d+(?:\.\d+)?"
_SEGMENT = re.compile(rf"({_TIME})-({_TIME})=(.+?)(?:@({_TIME})-({_TIME}))?", re.S)
_AREA = re.compile(rf"([^@]+)(?:@({_TIME})?-({_TIME})?)?")
_NUMBER = r"\d*\.?\d+"
_BOX = re.compile(rf"({_NUMBER}),({_NUMBER}),({_NUMBER}),({_NUMBER})(px)?")
_SPEAKER = re.compile(rf"({_NUMBER}),({_NUMBER})(?:,({_NUMBER}),({_NUMBER})|@({_TIME}))?")
_REMOTE = re.compile(r"(?:upload:|s3://|https?://)", re.I)


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels of the displayed frame, origin at the top left."""

    x: float
    y: float
    width: float
    height: float

    def of_frame(self, width: int, height: int) -> Region:
        """The same as fractions of a frame of this size."""
        x, y = self.x / width, self.y / height
        return Region(x, y, self.width / width, self.height / height)


@dataclass(frozen=True)
class Place:
    """A region, and the seconds in which it counts; None: from the beginning, to the end."""

    region: Region | Box
    start: float | None = None
    end: float | None = None

    def area(self, kind: AreaKind, frame: tuple[int, int] | None) -> Area:
        """The annotation area; ``frame`` is the size of the video, for pixels."""
        region = self.region
        if isinstance(region, Box):
            assert frame is not None
            region = region.of_frame(*frame)
        return Area(kind, region, self.start, self.end)


def seconds(text: str) -> float:
    """A time: ``62.5``, ``1:02.5`` or ``0:01:02.5``."""
    total = 0.0
    for part in text.split(":"):
        total = 60 * total + float(part)
    return round(total, 6)


def source(text: str) -> str | Path:
    """An address, or the path of a local file."""
    return text if _REMOTE.match(text) else Path(text)


def segment(text: str) -> Segment:
    """A segment: ``1.0-3.5=line.wav``, and of a part of the audio ``1.0-3.5=line.wav@0.2-2.7``.

    Raises:
        ValueError: it is none.
    """
    found = _SEGMENT.fullmatch(text)
    if found is None:
        raise ValueError(f"{text} is no segment; write it like 1.0-3.5=line.wav")
    start, end, audio, *part = found.groups()
    audio_start, audio_end = (None if time is None else seconds(time) for time in part)
    return Segment(seconds(start), seconds(end), source(audio), audio_start, audio_end)


def place(text: str) -> Place:
    """A region and its time: ``0.1,0.8,0.8,0.15@0-4``, ``100,900,1720,120px``, ``subtitles@1:02-``.

    Raises:
        ValueError: it is none.
    """
    found = _AREA.fullmatch(text)
    if found is None:
        raise ValueError(f"{text} is no area; write it like 0.1,0.8,0.8,0.15@0-4")
    name, start, end = found.groups()
    times = (None if time is None else seconds(time) for time in (start, end))
    return Place(NAMED.get(name) or _box(name), *times)


def speaker(text: str) -> Speaker:
    """A speaker: ``automatic``, a point of the face ``0.4,0.3`` or ``0.4,0.3@2.5``, or a box around
    it ``0.3,0.1,0.2,0.4``; fractions of the frame.

    Raises:
        ValueError: it is none.
    """
    if text == "automatic":
        return Speaker(method="automatic")
    found = _SPEAKER.fullmatch(text)
    if found is None:
        raise ValueError(
            f"{text} is no speaker; write automatic, or a point of the face (0.4,0.3@2.5) or a box "
            "around it (0.3,0.1,0.2,0.4) as fractions of the frame"
        )
    x, y, width, height, at = found.groups()
    named = Speaker(method="point", x=float(x), y=float(y))
    if width:
        named |= Speaker(method="box", width=float(width), height=float(height))
    elif at:
        named |= Speaker(at=seconds(at))
    return named


def _box(text: str) -> Region | Box:
    found = _BOX.fullmatch(text.replace(" ", ""))
    if found is None:
        names = ", ".join(NAMED)
        raise ValueError(
            f"{text} is no region; write x,y,width,height as fractions (0.1,0.8,0.8,0.15) or in "
            f"pixels (100,900,1720,120px), or one of {names}"
        )
    numbers = [float(number) for number in found.groups()[:4]]
    return Box(*numbers) if found[5] else Region(*numbers)
