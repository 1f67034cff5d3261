"""Checks a result as a file: whole, decodable, and of the requested form.

All checks are cheap: the container's index and three short decodes. A correct result never fails:
limits are wide, and a bound of reading is not held against the file. These findings make a result
unusable:

    output_empty, output_truncated, output_unreadable   the file itself
    output_no_picture, output_no_sound                  a stream is missing
    output_cut_short                                    a tenth of it or more is missing
    output_undecodable                                  it cannot be decoded

and these doubtful:

    output_duration, output_resolution, output_frame_rate   not what was asked for
    output_damaged                                      a part of it cannot be decoded
    output_not_judged                                   it could not be read within the limits
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import av
from av.container import InputContainer
from av.video.stream import VideoStream as AvVideo

from pro_video.core.errors import MediaUnusable
from pro_video.judging.findings import Finding
from pro_video.media.info import MediaInfo, VideoStream
from pro_video.media.probe import probe
from pro_video.media.reading.open import (
    MAX_PACKETS,
    MOMENTS_BUDGET,
    OUT_OF_BUDGET,
    Source,
    bounded,
    frames_at,
    opened,
    origin,
    picture_stream,
    within_budget,
)
from pro_video.request.models import Segment, SyncMode
from pro_video.request.timeline import audible_seconds, lip_sync_timeline

MIN_TOLERANCE: Final = 0.25
TOLERATED_SHARE: Final = 0.01
CUT_SHARE: Final = 0.1
CUT_SECONDS: Final = 0.5
"""The missing part from which a file counts as cut short, as a share and in seconds. Other clocks
(24 frames a second played as 25: 4 %) and an unwritten last group of pictures lose less."""
_LARGER_BY: Final = 16
_ASPECT_TOLERANCE: Final = 0.05
COMMON_HEIGHTS: Final = (1080, 720, 480)
"""Lines to which providers scale larger pictures down."""
_SLOWER, _FASTER = 0.78, 2.1
"""Shares of the source's frame rate: 24 frames for 30 pass, half of them do not; twice as many
do."""
_END_TOLERANCE: Final = 1.0
_STUCK: Final = 0.5
"""Seconds of a held picture from which a damaged part counts as missing."""
_MOST_MISSING: Final = 1

_CODES: Final = {
    "media_empty": "output_empty",
    "media_truncated": "output_truncated",
    "media_no_streams": "output_no_picture",
    "media_undecodable": "output_undecodable",
}
_UNTOLD: Final = OUT_OF_BUDGET | {"media_no_duration", "media_too_small"}
"""Codes of files that may still play."""


@dataclass(frozen=True, slots=True)
class FileCheck:
    """The probe of a file, None when it could not be read, and the findings about it."""

    info: MediaInfo | None
    findings: tuple[Finding, ...] = ()

    @property
    def comparable(self) -> bool:
        """Does it have a picture that can be decoded?"""
        codes = {finding.code for finding in self.findings}
        return (
            self.info is not None
            and self.info.video is not None
            and "output_undecodable" not in codes
        )


def expected_duration(
    video: MediaInfo,
    segments: Sequence[Segment],
    audios: Mapping[str, MediaInfo],
    sync_mode: SyncMode,
) -> tuple[float, float]:
    """Shortest and longest plausible length of a lip-sync result in seconds.

    Sync.so documents the effect of a sync mode on whole videos, not on segments: the unchanged
    length, the one predicted by `timeline`, and all between are plausible.
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
    lines: int | None = None,
    what: str = "the result",
) -> FileCheck:
    """Probe a result and check it as a file.

    Args:
        source: a path or seekable stream.
        size: bytes that are stored.
        expected_size: bytes that the provider declared, when it did.
        duration: shortest and longest plausible length of the picture in seconds.
        sound: must it have sound? (The input has, or segments were replaced.)
        like: the input; the picture must have its shape and rate, and may be smaller, not larger.
        lines: the requested limit of the shorter side in pixels.
        what: names it in messages.
    """
    name = what[:1].upper() + what[1:]
    if expected_size is not None and size != expected_size:
        fact = f"{name} has {size} bytes, and {expected_size} were announced."
        return FileCheck(None, (Finding("output_truncated", fact, unusable=True),))
    try:
        info = probe(source, size=size, what=what)
    except MediaUnusable as error:
        untold = error.code in _UNTOLD
        code = _CODES.get(error.code or "", "output_unreadable")
        fact = error.message[:1].upper() + error.message[1:].rstrip(".") + "."
        return FileCheck(
            None, (Finding("output_not_judged" if untold else code, fact, unusable=not untold),)
        )
    if info.video is None:
        return FileCheck(
            info, (Finding("output_no_picture", f"{name} has no picture.", unusable=True),)
        )
    findings = [*check_length(info.video.duration, duration, name)]
    if sound and info.audio is None:
        findings.append(Finding("output_no_sound", f"{name} has no sound.", unusable=True))
    if like is not None and like.video is not None:
        findings += check_shape(info.video, like.video, lines, name)
        findings += _check_rate(info.video, like.video, name)
    with within_budget():
        findings += _check_decodes(source, info.video.duration, name, what)
    return FileCheck(info, tuple(findings))


def check_length(seconds: float, duration: tuple[float, float], name: str) -> Iterator[Finding]:
    """Compare a length with the shortest and longest plausible one."""
    low, high = duration
    if low <= seconds <= high:
        return
    fact = f"{name} lasts {seconds:.2f} s, and {max(low, 0):.2f} to {high:.2f} s were expected."
    if low - seconds + _tolerance(low) > max(CUT_SECONDS, CUT_SHARE * low):
        yield Finding("output_cut_short", f"{fact} Its end is missing.", unusable=True)
    else:
        yield Finding("output_duration", fact)


def check_shape(
    video: VideoStream, like: VideoStream, lines: int | None, name: str
) -> Iterator[Finding]:
    """Compare the shape and size of a picture with its source's."""
    stored, shown = _sizes(video), _sizes(like)
    size = f"{video.width}x{video.height} pixels"
    source = f"its source of {like.width}x{like.height}"
    # A provider may keep pixels that are not square, make them square, or forget their shape.
    if not _alike(stored[0], shown[0]) and not _alike(stored[1], shown[1]):
        yield Finding("output_resolution", f"{name} is {size}, not the shape of {source}.")
        return
    if max(video.width, video.height) > max(max(pair) for pair in shown) + _LARGER_BY:
        yield Finding("output_resolution", f"{name} is {size}, larger than {source}.")
        return
    least = min(like.width, like.height)
    wanted = [least] if lines is None else [min(least, lines)]
    wanted += [height for height in COMMON_HEIGHTS if height < least]
    if min(abs(min(video.width, video.height) - height) for height in wanted) > _LARGER_BY:
        yield Finding("output_resolution", f"{name} is {size}, smaller than {source}.")


def _check_rate(video: VideoStream, like: VideoStream, name: str) -> Iterator[Finding]:
    if like.variable_frame_rate or video.variable_frame_rate:
        return
    if not _SLOWER <= video.fps / like.fps <= _FASTER:
        yield Finding(
            "output_frame_rate",
            f"{name} shows {video.fps:.4g} pictures a second, and its source {like.fps:.4g}.",
        )


def _sizes(video: VideoStream) -> tuple[tuple[float, float], tuple[float, float]]:
    """Width and height in pixels: as stored, and stretched to square pixels."""
    width, height, aspect = float(video.width), float(video.height), video.pixel_aspect
    return (width, height), (width * max(1.0, aspect), height * max(1.0, 1 / aspect))


def _alike(size: tuple[float, float], other: tuple[float, float]) -> bool:
    return abs((size[0] / size[1]) / (other[0] / other[1]) - 1) <= _ASPECT_TOLERANCE


def _check_decodes(source: Source, length: float, name: str, what: str) -> Iterator[Finding]:
    """Decode a picture at the start, in the middle and at the very end.

    Raises:
        MediaUnusable: the limits of reading were met.
    """
    places = {"start": 0.0, "middle": length / 2, "end": length}
    missing, flawed = [], []
    last: float | None = None
    with bounded(source, MOMENTS_BUDGET) as reader, opened(reader, what) as container:
        stream = picture_stream(container)
        assert stream is not None
        start = float(origin(container, stream) * (stream.time_base or 0))
        for place, moment in places.items():
            near = _near_keyframe(stream, moment)
            time, whole = _decoded(container, stream, moment)
            last = None if time is None else time - start
            if near and (last is None or (not whole and last < moment - _STUCK)):
                missing.append(place)
            elif not whole and near:
                flawed.append(place)
    if "start" in missing or len(missing) > _MOST_MISSING:
        fact = f"{name} cannot be decoded at its {' and '.join(missing)}."
        yield Finding("output_undecodable", fact, unusable=True)
    elif missing or flawed:
        fact = f"{name} is damaged at its {' and '.join(missing + flawed)}."
        yield Finding("output_damaged", fact)
    elif last is not None and last < length - _END_TOLERANCE:
        yield Finding(
            "output_damaged",
            f"{name} shows its last picture at {last:.2f} s of {length:.2f} s.",
            start=last,
            end=length,
        )


def _decoded(
    container: InputContainer, stream: AvVideo, moment: float
) -> tuple[float | None, bool]:
    """The start of the picture shown at a moment, None without one, and whether it was decoded
    without an error."""
    whole = True
    try:
        frame = next(frames_at(container, stream, [moment], strict=True))
    except av.FFmpegError:
        whole = False
        frame = next(frames_at(container, stream, [moment]))
    if frame is None:
        return None, False
    return frame.time or 0.0, whole and not frame.is_corrupt


def _near_keyframe(stream: AvVideo, seconds: float) -> bool:
    """Is a moment within the bound of packets, counted from the keyframe before it?"""
    if not stream.time_base:
        return True
    target = (stream.start_time or 0) + int(seconds / float(stream.time_base))
    entries = stream.index_entries
    key, frame = (entries.search_timestamp(target, any_frame=whole) for whole in (False, True))
    return min(key, frame) < 0 or frame - key < MAX_PACKETS // 2
