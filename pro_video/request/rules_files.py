"""The rules that need the probes of the files, checked before anything is paid.

A segment or crop may end with its file as players show it. Sync.so measures lengths itself and
refuses a range that ends 2 ms too late. So an end up to half a second after the last picture or
sample counts as the end, and ends within the margins of `limits` are moved inside. A later end is
refused. Each moved end is a warning of the request.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pro_video.core.errors import FieldProblem
from pro_video.core.job_warning import JobWarning
from pro_video.media.info import MediaInfo, VideoStream
from pro_video.request import limits
from pro_video.request.check import InpaintingRequest, JobRequest
from pro_video.request.limits import MediaLimits
from pro_video.request.models import AnnotationArea, Segment
from pro_video.request.problems import Problems
from pro_video.request.rules_warnings import media_warnings, moved, video_warnings
from pro_video.request.touching_segments import Touching, keep_apart

_DEFAULT_LIMITS = MediaLimits()
_MEGABYTE = 1_000_000


def check_media(
    request: JobRequest,
    video: MediaInfo | None,
    audios: Mapping[str, MediaInfo],
    media_limits: MediaLimits = _DEFAULT_LIMITS,
    *,
    touching: Touching = "trim",
    unusable: Sequence[FieldProblem] = (),
) -> JobRequest:
    """The request to send: with ends moved inside the files, and with ``warnings``.

    Args:
        request: from `check_request`.
        video: the probe of its video; None when that is unusable.
        audios: the probe of each usable audio, by the source string of the segment.
        media_limits: the vendors' limits.
        touching: handling of segments that touch, or are less than a frame apart.
        unusable: problems of files without a probe, for the same error.

    Raises:
        RequestRefused: with every problem at once, code ``media_refused``.
        KeyError: an audio of the request was not probed, and nothing is unusable.
    """
    found = Problems()
    found.extend(unusable)
    picture = None
    if video is not None:
        picture = _check_picture(video, media_limits, found)
        _check_lip_sync_video(request, video, picture, media_limits, found)
        if request.annotation_areas:
            _check_inpainting_video(video, media_limits, found)
    if picture is not None:
        _check_windows(request.annotation_areas, picture, found)
        _check_speakers(request, picture, found)
    checked: set[str] = set()
    segments = []
    warnings: list[JobWarning] = []
    for index, segment in enumerate(request.segments):
        path = f"segments[{index}]"
        if picture is not None:
            segment = _fit_range(segment, path, picture, found, warnings)
        if segment.audio in audios or not unusable:
            audio = audios[segment.audio]
            if segment.audio not in checked:
                checked.add(segment.audio)
                _check_audio(audio, f"{path}.audio", media_limits, found)
            segment = _fit_crop(segment, path, audio, found, warnings)
        segments.append(segment)
    if picture is not None:
        gap = max(limits.MIN_GAP, min(1 / picture.fps, limits.LONGEST_FRAME))
        apart = keep_apart(segments, gap, touching, found, warnings)
        segments = [segment for segment in apart if segment is not None]
    found.raise_if_any("media_refused")
    if video is None:
        raise ValueError("a video that is not given is unusable for a reason")
    fitted = request.model_copy(update={"segments": tuple(segments)})
    warnings += media_warnings(fitted, video, audios)
    return fitted.model_copy(update={"warnings": (*request.warnings, *warnings)})


def _check_speakers(request: JobRequest, picture: VideoStream, found: Problems) -> None:
    """Check the moments of points, and the number of frames behind a box."""
    speakers = [("lip_sync", request.lip_sync.active_speaker)]
    speakers += [
        (f"segments[{index}]", segment.active_speaker)
        for index, segment in enumerate(request.segments)
    ]
    for path, speaker in speakers:
        if speaker.at is not None and speaker.at > picture.duration:
            found.add(
                f"{path}.active_speaker.at",
                "after_the_end",
                f"is after the end of the video ({picture.duration:.2f} s); name a moment of it",
            )
        if speaker.method == "box" and picture.frames > limits.MOST_BOXES:
            found.add(
                f"{path}.active_speaker.method",
                "video_too_long",
                f"is box, which takes videos of {limits.MOST_BOXES} frames at most, and this one "
                f"has {picture.frames}; name a point, or cut the video",
            )


def check_inpainting_media(
    request: InpaintingRequest,
    video: MediaInfo | None,
    media_limits: MediaLimits = _DEFAULT_LIMITS,
    *,
    unusable: Sequence[FieldProblem] = (),
) -> InpaintingRequest:
    """`check_media` for a text removal alone: the request with its warnings.

    Raises:
        RequestRefused: with every problem at once, code ``media_refused``.
    """
    found = Problems()
    found.extend(unusable)
    if video is None:
        found.raise_if_any("media_refused")
        raise ValueError("a video that is not given is unusable for a reason")
    picture = _check_picture(video, media_limits, found)
    if picture is not None and video.container not in limits.INPAINTING_CONTAINERS:
        _refuse_container(video, "GhostCut", limits.INPAINTING_CONTAINERS, found)
    _check_inpainting_video(video, media_limits, found)
    if picture is not None:
        _check_windows(request.annotation_areas, picture, found)
    found.raise_if_any("media_refused")
    return request.model_copy(update={"warnings": (*request.warnings, *video_warnings(video))})


def _check_picture(
    video: MediaInfo, media_limits: MediaLimits, found: Problems
) -> VideoStream | None:
    picture = video.video
    if picture is None:
        found.add("video", "video_no_picture", "has no picture, only sound; give a video file")
        return None
    if min(picture.width, picture.height) < media_limits.smallest_side:
        found.add(
            "video",
            "video_too_small",
            f"is {picture.width}x{picture.height} pixels; both sides must be at least "
            f"{media_limits.smallest_side}, and 480 lines or more are recommended",
        )
    return picture


def _check_lip_sync_video(
    request: JobRequest,
    video: MediaInfo,
    picture: VideoStream | None,
    media_limits: MediaLimits,
    found: Problems,
) -> None:
    if video.size > media_limits.video_bytes:
        found.add(
            "video",
            "video_too_large",
            f"has {video.size / _MEGABYTE:.0f} MB and Sync.so takes up to "
            f"{media_limits.video_bytes / _MEGABYTE:.0f} MB; compress or split it",
        )
    if video.duration > media_limits.video_seconds:
        found.add(
            "video",
            "video_too_long",
            f"lasts {video.duration:.1f} s and Sync.so takes up to "
            f"{media_limits.video_seconds:.0f} s; split it",
        )
    if picture is None:
        return
    if video.container not in limits.LIP_SYNC_CONTAINERS:
        _refuse_container(video, "Sync.so", limits.LIP_SYNC_CONTAINERS, found)
    long_side, short_side = max(picture.width, picture.height), min(picture.width, picture.height)
    if long_side > media_limits.long_side or short_side > media_limits.short_side:
        found.add(
            "video",
            "video_resolution",
            f"is {picture.width}x{picture.height} pixels and Sync.so takes up to "
            f"{media_limits.long_side}x{media_limits.short_side}; scale it down",
        )
    if request.lip_sync.model == "react-1" and video.duration > limits.REACT_SECONDS:
        found.add(
            "lip_sync.model",
            "video_too_long",
            f"react-1 takes videos up to {limits.REACT_SECONDS:.0f} s and this one lasts "
            f"{video.duration:.1f} s; use another model or cut the video",
        )


def _refuse_container(
    video: MediaInfo, vendor: str, containers: frozenset[str], found: Problems
) -> None:
    found.add(
        "video",
        "video_container",
        f"is a {video.container} file and {vendor} takes {', '.join(sorted(containers))}; "
        "convert it to mp4",
    )


def _check_inpainting_video(video: MediaInfo, media_limits: MediaLimits, found: Problems) -> None:
    if video.size >= media_limits.inpainting_bytes:
        found.add(
            "video",
            "video_too_large",
            f"has {video.size / _MEGABYTE:.0f} MB and GhostCut takes less than "
            f"{media_limits.inpainting_bytes / _MEGABYTE:.0f} MB; compress or split it, or leave "
            "out the annotation areas",
        )
    if video.duration > media_limits.inpainting_seconds:
        found.add(
            "video",
            "video_too_long",
            f"lasts {video.duration:.1f} s and GhostCut takes up to "
            f"{media_limits.inpainting_seconds:.0f} s; split it, or leave out the annotation areas",
        )


def _check_windows(areas: Sequence[AnnotationArea], picture: VideoStream, found: Problems) -> None:
    for index, area in enumerate(areas):
        if area.start >= picture.duration:
            found.add(
                f"annotation_areas[{index}].start",
                "area_after_end",
                f"is not before the end of the video ({picture.duration:.2f} s); correct it",
            )
        left, top, right, bottom = area.region.box
        if (right - left) * picture.width < 2 or (bottom - top) * picture.height < 2:
            found.add(
                f"annotation_areas[{index}].region",
                "region_empty",
                f"is smaller than 2 pixels of the {picture.width}x{picture.height} frame; "
                "make it larger",
            )


def _check_audio(audio: MediaInfo, field: str, media_limits: MediaLimits, found: Problems) -> None:
    if audio.audio is None:
        found.add(field, "audio_no_sound", "has no sound; give an audio file")
    elif audio.video is not None:
        found.add(field, "audio_is_video", "is a video; give its sound as an audio file")
    if audio.audio is not None and audio.audio.duration > media_limits.audio_seconds:
        found.add(
            field,
            "audio_too_long",
            f"lasts {audio.audio.duration:.1f} s and Sync.so takes up to "
            f"{media_limits.audio_seconds:.0f} s; cut the file",
        )


def _fit_range(
    segment: Segment, path: str, picture: VideoStream, found: Problems, warnings: list[JobWarning]
) -> Segment:
    length = picture.duration
    if segment.start >= length - limits.VIDEO_END_MARGIN:
        found.add(
            f"{path}.start",
            "segment_after_end",
            f"is not at least {limits.VIDEO_END_MARGIN:g} s before the end of the video "
            f"({length:.2f} s); correct it",
        )
        return segment
    # Players count from the first sound when the picture begins later.
    if segment.end > length + picture.start + limits.MAX_OVERHANG + 1 / picture.fps:
        found.add(
            f"{path}.end",
            "segment_after_end",
            f"is more than {limits.MAX_OVERHANG:g} s after the end of the video ({length:.2f} s); "
            "correct it",
        )
        return segment
    end = min(segment.end, length - limits.VIDEO_END_MARGIN)
    if end - segment.start < limits.MIN_SEGMENT - limits.TIME_TOLERANCE:
        found.add(
            f"{path}.end",
            "segment_too_short",
            f"leaves less than {limits.MIN_SEGMENT:g} s, because segments have to end "
            f"{limits.VIDEO_END_MARGIN:g} s before the end of the video ({length:.2f} s); "
            "start earlier",
        )
    if segment.end > length:
        warnings.append(
            moved(f"{path}.end", "segment_end_moved", segment.end, length, "picture", end)
        )
    return segment if end == segment.end else segment.model_copy(update={"end": end})


def _fit_crop(
    segment: Segment, path: str, audio: MediaInfo, found: Problems, warnings: list[JobWarning]
) -> Segment:
    start, end = segment.audio_start, segment.audio_end
    if start is None or end is None or audio.audio is None:
        return segment
    length = audio.audio.duration
    if start >= length - limits.AUDIO_END_MARGIN:
        found.add(
            f"{path}.audio_start",
            "crop_after_end",
            f"is not at least {limits.AUDIO_END_MARGIN:g} s before the end of the audio "
            f"({length:.2f} s); correct it",
        )
        return segment
    if end > length + limits.MAX_OVERHANG + limits.AUDIO_END_MARGIN:
        found.add(
            f"{path}.audio_end",
            "crop_after_end",
            f"is more than {limits.MAX_OVERHANG:g} s after the end of the audio ({length:.2f} s); "
            "correct it",
        )
        return segment
    last = length - limits.AUDIO_END_MARGIN
    if end > length + limits.AUDIO_END_MARGIN:
        warnings.append(moved(f"{path}.audio_end", "crop_end_moved", end, length, "sound", last))
    if start == 0 and end >= last:
        # The whole audio needs no crop, whose end could be too late.
        return segment.model_copy(update={"audio_start": None, "audio_end": None})
    return segment if end <= last else segment.model_copy(update={"audio_end": last})
