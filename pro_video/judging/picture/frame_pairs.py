"""Reads the frames of two videos at the same moments, with the source's frames around each.

A result may be a few frames early or late, have another frame rate, or begin later than its source.
The source's frames around a moment are all that it may show there.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
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
    Source,
    bounded,
    frames_at,
    opened,
    origin,
    picture_stream,
    within_budget,
)

REACH: Final = 0.15
"""Seconds around a moment whose frames count: 4 frames at 25 a second."""
REACH_FRAMES: Final = 2.5
REACH_UNEVEN: Final = 0.5
"""The same for unevenly spaced frames, which a conversion shifts further."""
_REORDERED: Final = 4
_MOST_AROUND: Final = 16

ComparedParts = tuple[tuple[float, float], tuple[float, float]]
"""The compared shares of width and height, in the middle, of source and result."""
WHOLE_FRAMES: Final[ComparedParts] = ((1.0, 1.0), (1.0, 1.0))


@dataclass(frozen=True, slots=True)
class Videos:
    """A source and its result.

    Attributes:
        before, after: the files of source and result.
        source, result: their pictures.
        length: of the result in seconds.
    """

    before: Source
    after: Source
    source: VideoStream
    result: VideoStream
    length: float

    @property
    def sizes(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Displayed width and height of source and result."""
        return (self.source.width, self.source.height), (self.result.width, self.result.height)


@dataclass(frozen=True, slots=True)
class FramePair:
    """The frames of both videos at one moment.

    Attributes:
        instant: seconds of the source.
        shown: seconds of the result.
        before, after: the frames shown.
        around: grids of the source's frames in reach of the pair.
        grid: of ``after``.
    """

    instant: float
    shown: float
    before: VideoFrame
    after: VideoFrame
    around: tuple[bytes, ...]
    grid: bytes


def reach_of(video: VideoStream) -> float:
    """Seconds around a moment whose frames a result may show then."""
    least = REACH_UNEVEN if video.variable_frame_rate else REACH
    return max(least, REACH_FRAMES / video.fps)


MomentChooser = Callable[[float, float], float]
"""(earliest, wanted) to a moment between them that is cheap to decode; seconds."""


def near_keyframes(source: Source, video: VideoStream) -> MomentChooser:
    """Moves moments to shortly after a keyframe, where little has to be decoded.

    Raises:
        MediaUnusable: the source cannot be read.
    """
    # The index has decoding times, which are a few frames before the times of showing where frames
    # are reordered. A moment between the two would need the keyframe before.
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


def frame_pairs(
    videos: Videos,
    instants: Sequence[float],
    shown: Sequence[float],
    *,
    shape: Shape,
    parts: ComparedParts = WHOLE_FRAMES,
    reach: float | None = None,
) -> Iterator[FramePair]:
    """The frames of both files at each instant, in order, up to the bound on reading.

    Args:
        videos: source and result.
        instants: seconds of the source, in order.
        shown: the same moments in the result, in order.
        shape: of the grids.
        parts: the parts with the same content.
        reach: seconds around a moment whose frames count; None for `reach_of`.

    Raises:
        MediaUnusable: one of them cannot be read.
    """
    with (
        within_budget(),
        bounded(videos.before, MOMENTS_BUDGET) as first_reader,
        bounded(videos.after, MOMENTS_BUDGET) as second_reader,
        opened(first_reader, "the video before") as first,
        opened(second_reader, "the result") as second,
    ):
        first_stream, second_stream = picture_stream(first), picture_stream(second)
        if first_stream is None or second_stream is None:
            raise MediaUnusable("there is no picture to compare", code="media_no_streams")
        old_grid, new_grid = Gridder(shape, parts[0]), Gridder(shape, parts[1])
        reach = reach_of(videos.source) if reach is None else reach
        for instant, moment, (old, around), new in zip(
            instants,
            shown,
            _around(first, first_stream, instants, reach, videos.source.fps, old_grid),
            frames_at(second, second_stream, shown),
            strict=True,
        ):
            if old is not None and new is not None:
                yield FramePair(instant, moment, old, new, around, new_grid(new))
            # No further moment is begun after half of the bytes.
            if min(first_reader.left, second_reader.left) < MOMENTS_BUDGET // 2:
                return


def _around(
    container: InputContainer,
    stream: AvVideo,
    instants: Sequence[float],
    reach: float,
    fps: float,
    gridded: Gridder,
) -> Iterator[tuple[VideoFrame | None, tuple[bytes, ...]]]:
    """For each instant the frame shown, and the grids of the frames in reach."""
    each = min(_MOST_AROUND // 2, max(1, round(reach * fps)))
    comparisons = sorted(
        (max(0.0, instant + reach * step / each), place, step)
        for place, instant in enumerate(instants)
        for step in range(-each, each + 1)
    )
    shown: dict[int, VideoFrame | None] = {}
    grids: dict[int, list[bytes]] = {place: [] for place in range(len(instants))}
    last: VideoFrame | None = None
    grid = b""
    frames = frames_at(container, stream, [each[0] for each in comparisons])
    for (_, place, step), frame in zip(comparisons, frames, strict=True):
        if frame is not None:
            if frame is not last:
                last, grid = frame, gridded(frame)
            if not grids[place] or grids[place][-1] is not grid:
                grids[place].append(grid)
        if step == 0:
            shown[place] = frame
        if step == each:
            yield shown.pop(place), tuple(grids.pop(place))
