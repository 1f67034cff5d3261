"""Warnings about a valid request with a surprising result; they stop nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pro_video.core.job_warning import JobWarning
from pro_video.media.info import MediaInfo
from pro_video.request import limits
from pro_video.request.models import Segment
from pro_video.request.timeline import audible_seconds

if TYPE_CHECKING:
    from pro_video.request.check import JobRequest

_LATE = 0.1


def media_warnings(
    request: JobRequest, video: MediaInfo, audios: Mapping[str, MediaInfo]
) -> tuple[JobWarning, ...]:
    """Warnings about a valid request.

    Args:
        request: from `check_request`.
        video: the probe of its video.
        audios: the probe of each audio, by the source string of the segment.
    """
    warnings = list(video_warnings(video))
    if video.video is not None and video.video.variable_frame_rate:
        warnings.append(
            request_warning(
                "video",
                "frame_rate_varies",
                "The video's frame rate varies, and Sync.so asks for a constant one; lip movements "
                "may drift",
            )
        )
    if video.video is not None and not video.video.stated:
        warnings.append(
            request_warning(
                "video",
                "video_length_not_stated",
                "The video does not state its length, as live recordings do, and Sync.so may "
                "refuse it; if it does, write the file again (remux)",
            )
        )
    for index, segment in enumerate(request.segments):
        path, length = f"segments[{index}]", segment.end - segment.start
        spare = audible_seconds(segment, audios[segment.audio]) - length
        mode = segment.sync_mode or request.lip_sync.sync_mode
        if spare > limits.AUDIO_END_MARGIN and mode == "cut_off":
            warnings.append(
                request_warning(
                    path,
                    "audio_longer",
                    f"The audio of {path} is {spare:.2f} s longer than the segment, and cut_off "
                    f"drops the rest: {spare:.2f} s of audio are lost",
                    segment,
                )
            )
        elif spare < -limits.AUDIO_END_MARGIN:
            warnings.append(
                request_warning(
                    path,
                    "audio_shorter",
                    f"The audio of {path} is {-spare:.2f} s shorter than the segment; the sync "
                    f"mode {mode} decides what follows",
                    segment,
                )
            )
        if segment.overrides:
            warnings.append(
                request_warning(
                    path,
                    "segment_options",
                    f"{path} has options of its own: Sync.so documents them, but was seen to "
                    "refuse them and to fail such requests in 2026; a refused or failed one is "
                    "not billed",
                    segment,
                )
            )
    return tuple(warnings)


def video_warnings(video: MediaInfo) -> tuple[JobWarning, ...]:
    """The warnings about the video alone."""
    warnings = []
    if video.audio is not None and video.audio.tracks > 1:
        warnings.append(
            request_warning(
                "video",
                "sound_tracks_lost",
                f"The video has {video.audio.tracks} sound tracks, and results have one: only the "
                "first one counts",
            )
        )
    if video.subtitles:
        warnings.append(
            request_warning(
                "video",
                "subtitles_lost",
                f"The video has {video.subtitles} tracks of subtitles, and results have none",
            )
        )
    if video.video is not None and video.video.start > _LATE:
        warnings.append(
            request_warning(
                "video",
                "picture_begins_late",
                f"The video's first picture comes {video.video.start:.2f} s after the begin of its "
                "sound; times are counted from the first picture",
            )
        )
    return tuple(warnings)


def moved(field: str, code: str, given: float, length: float, last: str, end: float) -> JobWarning:
    """The warning about an end that was moved inside its file."""
    return request_warning(
        field,
        code,
        f"{field} ({given:.2f} s) is {given - length:.2f} s after the end of the {last} "
        f"({length:.2f} s); it was moved to {end:.2f} s",
    )


def request_warning(
    field: str, code: str, message: str, segment: Segment | None = None
) -> JobWarning:
    """A warning about a field of the request, at the time of a segment."""
    return JobWarning(
        code=code,
        message=message,
        stage="request",
        field=field,
        start=segment.start if segment else None,
        end=segment.end if segment else None,
    )
