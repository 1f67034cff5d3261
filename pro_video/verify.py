"""The checks that a delivered result passes before a job counts as completed.

All are cheap: the container's index, three short decodes, a few pairs of pictures
(`inspection.changes`) and a few stretches of sound (`inspection.sounds`). They are written so that
a sound result never fails: limits are wide, and what cannot be told (was there a text to remove?)
is not judged. A failure is `OutputRejected`, whose ``code`` names the check:

    output_empty, output_truncated, output_unreadable   the file itself
    output_no_picture, output_no_sound                  a stream is missing
    output_duration, output_resolution                  not what was asked for
    output_undecodable                                  a part of it cannot be decoded
    output_picture_unchanged                            what had to be changed is as before
    output_picture_changed                              what had to stay is not as before
    output_picture_foreign                              it does not show the same video
    output_sound_muted                                  silent where it has to sound
    output_sound_unchanged                              a segment has the sound of before
    output_sound_foreign                                it does not have the same sound
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from av.video.stream import VideoStream as AvVideo

from pro_video.errors import MediaUnusable, OutputRejected
from pro_video.inspection.reading import (
    MAX_PACKETS,
    MOMENTS_BUDGET,
    OUT_OF_BUDGET,
    Source,
    bounded,
    frames_at,
    opened,
    origin,
    picture_stream,
)
from pro_video.media import probe
from pro_video.media_info import MediaInfo, VideoStream
from pro_video.request_models import Segment, SyncMode
from pro_video.rules.files import audible_seconds
from pro_video.timeline import lip_sync_timeline

MIN_TOLERANCE: Final = 0.25
TOLERATED_SHARE: Final = 0.01
_LARGER_BY: Final = 16
_ASPECT_TOLERANCE: Final = 0.05
_SMALLEST_SHARE: Final = 0.5
_END_TOLERANCE: Final = 1.0

_CODES: Final = {
    "media_empty": "output_empty",
    "media_truncated": "output_truncated",
    "media_no_streams": "output_no_picture",
    "media_undecodable": "output_undecodable",
}


def expected_duration(
    video: MediaInfo,
    segments: Sequence[Segment],
    audios: Mapping[str, MediaInfo],
    sync_mode: SyncMode,
) -> tuple[float, float]:
    """Shortest and longest plausible length of a lip-sync result in seconds.

    Sync.so documents what a sync mode does to a whole video, not to a segment of one: both an
    unchanged length and the one predicted by `timeline` are plausible, and what lies between.
    """
    timeline = lip_sync_timeline(
        video.duration,
        segments,
        [audible_seconds(segment, audios[segment.audio]) for segment in segments],
        sync_mode,
    )
    return _range(video, timeline.length - timeline.source)


def same_duration(video: MediaInfo) -> tuple[float, float]:
    """Shortest and longest plausible length of a result that keeps its source's, in seconds."""
    return _range(video, 0.0)


def _range(video: MediaInfo, change: float) -> tuple[float, float]:
    # Picture and sound of a file rarely end together; either end may be taken.
    ends = [video.duration, video.video.duration if video.video else video.duration]
    low, high = min(ends) + min(0.0, change), max(ends) + max(0.0, change)
    return low - _tolerance(low), high + _tolerance(high)


def _tolerance(seconds: float) -> float:
    return max(MIN_TOLERANCE, TOLERATED_SHARE * seconds)


def check_output(
    source: Source,
    *,
    size: int,
    expected_size: int | None = None,
    duration: tuple[float, float],
    sound: bool,
    like: MediaInfo | None = None,
    what: str = "the result",
) -> MediaInfo:
    """What the result is, when it passes.

    Args:
        source: a path or seekable stream.
        size: bytes that are stored.
        expected_size: bytes that the provider declared, when it did.
        duration: shortest and longest plausible length of the picture in seconds.
        sound: must it have sound? (The input had, or segments were replaced.)
        like: the input; the picture must have its shape, may be smaller and not larger.
        what: how messages name it.

    Raises:
        OutputRejected: it does not pass; ``code`` names the check.
    """
    if expected_size is not None and size != expected_size:
        raise _rejected(
            "output_truncated", what, f"has {size} bytes and {expected_size} were announced"
        )
    try:
        info = probe(source, size=size, what=what)
    except MediaUnusable as error:
        code = _CODES.get(error.code or "", "output_unreadable")
        raise OutputRejected(error.message, code=code) from error
    if info.video is None:
        raise _rejected("output_no_picture", what, "has no picture")
    if sound and info.audio is None:
        raise _rejected("output_no_sound", what, "has no sound")
    (low, high), seconds = duration, info.video.duration
    if not low <= seconds <= high:
        raise _rejected(
            "output_duration",
            what,
            f"lasts {seconds:.2f} s and {max(low, 0):.2f} to {high:.2f} s were expected",
        )
    if like is not None and like.video is not None:
        _check_shape(info, like, what)
    _check_decodes(source, info.video.duration, what)
    return info


def _check_shape(info: MediaInfo, like: MediaInfo, what: str) -> None:
    assert info.video is not None
    assert like.video is not None
    width, height = info.video.width, info.video.height
    stored, shown = _sizes(info.video), _sizes(like.video)
    # A provider may keep pixels that are not square, make them square, or forget their shape.
    kept_pixels = _alike(stored[0], shown[0])
    kept_picture = _alike(stored[1], shown[1])
    if not kept_pixels and not kept_picture:
        raise _rejected(
            "output_resolution", what, f"is {width}x{height} pixels, not the shape of its input"
        )
    long, like_long = max(width, height), max(max(size) for size in shown)
    if long > like_long + _LARGER_BY or long < _SMALLEST_SHARE * min(max(shown[0]), 1280):
        raise _rejected(
            "output_resolution",
            what,
            f"is {width}x{height} pixels, which does not fit its input of "
            f"{like.video.width}x{like.video.height}",
        )


def _sizes(video: VideoStream) -> tuple[tuple[float, float], tuple[float, float]]:
    """Width and height in pixels: as they are, and stretched to square ones, none lost."""
    width, height, aspect = float(video.width), float(video.height), video.pixel_aspect
    return (width, height), (width * max(1.0, aspect), height * max(1.0, 1 / aspect))


def _alike(size: tuple[float, float], other: tuple[float, float]) -> bool:
    # Sorted: a result may store upright what its input turned by a flag.
    (short, long), (other_short, other_long) = sorted(size), sorted(other)
    return abs((long / short) / (other_long / other_short) - 1) <= _ASPECT_TOLERANCE


def _check_decodes(source: Source, length: float, what: str) -> None:
    """A picture at the start, in the middle and at the end, the last one to the very end."""
    moments = (0.0, length / 2, length)
    with bounded(source, MOMENTS_BUDGET) as reader:
        try:
            with opened(reader, what) as container:
                stream = picture_stream(container)
                assert stream is not None
                judged = [_near_keyframe(stream, moment) for moment in moments]
                frames = list(frames_at(container, stream, moments, strict=True))
                start = float(origin(container, stream) * (stream.time_base or 0))
        except MediaUnusable as error:
            if error.code in OUT_OF_BUDGET:
                return
            raise _rejected("output_undecodable", what, "cannot be decoded") from error
    names = ("start", "middle", "end")
    for name, frame, near in zip(names, frames, judged, strict=True):
        if (frame is None and near) or (frame is not None and frame.is_corrupt):
            raise _rejected("output_undecodable", what, f"cannot be decoded at its {name}")
    last = frames[-1]
    if last is not None and last.time is not None and last.time - start < length - _END_TOLERANCE:
        raise _rejected(
            "output_undecodable",
            what,
            f"shows its last picture at {last.time:.2f} s of {length:.2f} s",
        )


def _near_keyframe(stream: AvVideo, seconds: float) -> bool:
    """Is a moment within the packets that are looked at, counted from the keyframe before it?"""
    if not stream.time_base:
        return True
    target = (stream.start_time or 0) + int(seconds / float(stream.time_base))
    entries = stream.index_entries
    key, frame = (entries.search_timestamp(target, any_frame=whole) for whole in (False, True))
    return min(key, frame) < 0 or frame - key < MAX_PACKETS // 2


def _rejected(code: str, what: str, fact: str) -> OutputRejected:
    return OutputRejected(
        f"{what} {fact}; the files are kept for a look, run the job again or ask the provider",
        code=code,
    )
