"""The same moments of two videos, read side by side, each with the frames around it.

A result may show everything a few frames early or late, at another frame rate, or begin later than
its source; the frames of the source around a moment tell what it may show there.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream as AvVideo

from pro_video.core.errors import MediaUnusable
from pro_video.judging.picture.grids import Gridder, Shape
from pro_video.media.info import VideoStream
from pro_video.media.reading.open import (
    MOMENTS_BUDGET,
    OUT_OF_BUDGET,
    Source,
    bounded,
    frames_at,
    opened,
    origin,
    picture_stream,
)

REACH: Final = 0.15
"""Seconds before and after a moment whose frames may explain it: 4 frames at 25 a second."""
REACH_FRAMES: Final = 2.5
REACH_UNEVEN: Final = 0.5
"""The same where frames are not evenly spaced, which converting a video shifts further."""
_REORDERED: Final = 4
_MOST_AROUND: Final = 16

Views = tuple[tuple[float, float], tuple[float, float]]
"""Of source and result: the shares of width and height, in the middle, that are compared."""
WHOLE_FRAMES: Final[Views] = ((1.0, 1.0), (1.0, 1.0))


@dataclass(frozen=True, slots=True)
class Moment:
    """One moment in both videos.

    Attributes:
        instant: seconds of the source.
        shown: seconds of the result.
        before, after: the frames shown.
        around: grids of the source's frames in reach of the moment.
        grid: of ``after``.
    """

    instant: float
    shown: float
    before: VideoFrame
    after: VideoFrame
    around: tuple[bytes, ...]
    grid: bytes


def reach_of(video: VideoStream) -> float:
    """Seconds around a moment whose frames may explain what a result shows then."""
    least = REACH_UNEVEN if video.variable_frame_rate else REACH
    return max(least, REACH_FRAMES / video.fps)


Early = Callable[[float, float], float]
"""(earliest, wanted) moment to one between them that is cheap to decode, seconds."""


def near_keyframes(source: Source, video: VideoStream) -> Early:
    """Moves moments to shortly behind a keyframe, where little has to be decoded to show them.

    Raises:
        MediaUnusable: the source cannot be read.
    """
    # The index has the time of decoding, a few frames before that of showing where frames are
    # reordered; a look before the latter would lead to the keyframe before.
    behind = reach_of(video) + _REORDERED / video.fps
    places: list[float] = []
    with within_budget(), bounded(source, MOMENTS_BUDGET) as reader, opened(reader) as container:
        stream = picture_stream(container)
        if stream is not None and stream.time_base:
            base, start = float(stream.time_base), origin(container, stream)
            places = sorted(
                (entry.timestamp - start) * base + behind
                for entry in stream.index_entries
                if entry.is_keyframe
            )

    def early(earliest: float, wanted: float) -> float:
        place = bisect_right(places, wanted) - 1
        return places[place] if place >= 0 and places[place] > earliest else wanted

    return early


def moments(
    before: Source,
    after: Source,
    instants: Sequence[float],
    after_instants: Sequence[float],
    *,
    video: VideoStream,
    shape: Shape,
    views: Views = WHOLE_FRAMES,
    reach: float | None = None,
) -> Iterator[Moment]:
    """Each instant that both files show, in order, as far as the bound on reading goes.

    Args:
        before, after: source and result.
        instants: seconds of the source, which must not go down.
        after_instants: the same moments in the result, which must not go down.
        video: the source's picture.
        shape: of the grids.
        views: the parts of source and result that show the same.
        reach: seconds around a moment whose frames may explain it; None for `reach_of`.

    Raises:
        MediaUnusable: one of them cannot be read.
    """
    with (
        within_budget(),
        bounded(before, MOMENTS_BUDGET) as first_reader,
        bounded(after, MOMENTS_BUDGET) as second_reader,
        opened(first_reader, "the video before") as first,
        opened(second_reader, "the result") as second,
    ):
        first_stream, second_stream = picture_stream(first), picture_stream(second)
        if first_stream is None or second_stream is None:
            raise MediaUnusable("there is no picture to compare", code="media_no_streams")
        old_grid, new_grid = Gridder(shape, views[0]), Gridder(shape, views[1])
        reach = reach_of(video) if reach is None else reach
        for instant, shown, (old, around), new in zip(
            instants,
            after_instants,
            _around(first, first_stream, instants, reach, video.fps, old_grid),
            frames_at(second, second_stream, after_instants),
            strict=True,
        ):
            if old is not None and new is not None:
                yield Moment(instant, shown, old, new, around, new_grid(new))
            # From the half of the bytes on, no further moment is begun.
            if min(first_reader.left, second_reader.left) < MOMENTS_BUDGET // 2:
                return


@contextmanager
def within_budget() -> Iterator[None]:
    """Leaves out moments whose reading meets a limit of bytes or packets."""
    try:
        yield
    except MediaUnusable as error:
        if error.code not in OUT_OF_BUDGET:
            raise


def _around(
    container: InputContainer,
    stream: AvVideo,
    instants: Sequence[float],
    reach: float,
    fps: float,
    gridded: Gridder,
) -> Iterator[tuple[VideoFrame | None, tuple[bytes, ...]]]:
    """For each instant the frame shown, and the grids of those in reach; each is made once."""
    each = min(_MOST_AROUND // 2, max(1, round(reach * fps)))
    looks = sorted(
        (max(0.0, instant + reach * step / each), place, step)
        for place, instant in enumerate(instants)
        for step in range(-each, each + 1)
    )
    shown: dict[int, VideoFrame | None] = {}
    grids: dict[int, list[bytes]] = {place: [] for place in range(len(instants))}
    last: VideoFrame | None = None
    grid = b""
    frames = frames_at(container, stream, [look[0] for look in looks])
    for (_, place, step), frame in zip(looks, frames, strict=True):
        if frame is not None:
            if frame is not last:
                last, grid = frame, gridded(frame)
            if not grids[place] or grids[place][-1] is not grid:
                grids[place].append(grid)
        if step == 0:
            shown[place] = frame
        if step == each:
            yield shown.pop(place), tuple(grids.pop(place))
