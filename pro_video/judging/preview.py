"""The preview of a job: the video before and after at the same moments, side by side.

Only the keyframe intervals of those moments are decoded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from av.video.frame import VideoFrame

from pro_video.core.errors import MediaUnusable
from pro_video.judging.picture.pictures import contact_sheet, thumbnail
from pro_video.media.reading.open import (
    MOMENTS_BUDGET,
    Source,
    bounded,
    frames_at,
    opened,
    picture_stream,
)
from pro_video.request.models import AnnotationArea, Segment

PREVIEW_WIDTH: Final = 384
MAX_PAIRS: Final = 5
MAX_INSTANTS: Final = 12
_APART: Final = 0.2
_END_MARGIN: Final = 0.1


def choose_instants(
    duration: float,
    segments: Sequence[Segment] = (),
    areas: Sequence[AnnotationArea] = (),
    *,
    at_most: int = MAX_PAIRS,
) -> tuple[float, ...]:
    """Moments with changes, in order of time, seconds of the video.

    The middle of each area's window is chosen first, because a still shows the change there; then
    the middle of each segment; the rest is spread over the video.
    """
    last = max(0.0, duration - _END_MARGIN)
    wanted = [
        (area.start + min(duration, duration if area.end is None else area.end)) / 2
        for area in areas
        if area.kind != "protect"
    ]
    wanted += [(segment.start + segment.end) / 2 for segment in segments]
    wanted += [duration * share for share in (0.5, 0.1, 0.9, 0.3, 0.7)]
    chosen: list[float] = []
    for instant in wanted:
        instant = min(max(instant, 0.0), last)
        if len(chosen) < at_most and all(abs(instant - other) >= _APART for other in chosen):
            chosen.append(instant)
    return tuple(sorted(chosen or [0.0]))


def make_preview(
    before: Source,
    after: Source,
    *,
    instants: Sequence[float],
    after_instants: Sequence[float] | None = None,
    width: int = PREVIEW_WIDTH,
) -> bytes:
    """A JPEG: for each instant a row with the picture before and the one after.

    Args:
        before, after: paths or seekable streams.
        instants: 1 to 12 seconds from the beginning, see `choose_instants`.
        after_instants: the same moments in ``after`` where its timing differs
            (`timeline.Timeline.at`).
        width: of each picture in pixels.

    Raises:
        MediaUnusable: one of them shows no picture at any of the instants.
        ValueError: too few or too many instants, or lists of different lengths.
    """
    if not 1 <= len(instants) <= MAX_INSTANTS:
        raise ValueError(f"a preview takes 1 to {MAX_INSTANTS} instants")
    others = instants if after_instants is None else after_instants
    order = sorted(range(len(instants)), key=lambda index: instants[index])
    first = _pictures(before, [instants[index] for index in order], "the video before", width)
    height = next((frame.height for frame in first if frame is not None), None)
    wanted = sorted(others[index] for index in order)
    second = _pictures(after, wanted, "the video after", width, height)
    pairs = [(a, b) for a, b in zip(first, second, strict=True) if a is not None and b is not None]
    if not pairs:
        raise MediaUnusable("no picture can be shown for the preview", code="media_undecodable")
    return contact_sheet(pairs)


def _pictures(
    source: Source, instants: Sequence[float], what: str, width: int, height: int | None = None
) -> list[VideoFrame | None]:
    """Thumbnails of one size, each made as its frame is decoded, so that one frame is in memory."""
    found: list[VideoFrame | None] = []
    with bounded(source, MOMENTS_BUDGET) as reader, opened(reader, what) as container:
        stream = picture_stream(container)
        if stream is None:
            raise MediaUnusable(f"{what} has no picture", code="media_undecodable")
        for frame in frames_at(container, stream, instants):
            small = None if frame is None else thumbnail(frame, width, height)
            height = height if small is None else small.height
            found.append(small)
    return found
