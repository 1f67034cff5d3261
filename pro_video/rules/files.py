"""The rules that need the files: what a probe found, checked before anything is paid.

A segment or crop may end with its file. Sync.so measures lengths itself and refuses a range that
ends even 2 ms too late, so an end within one frame (video) or 50 ms (audio) after the measured end
counts as the end, and every end closer to it than the margins of `request_limits` is moved inside.
What lies further out is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pro_video.media_info import MediaInfo, VideoStream
from pro_video.request import InpaintingRequest, JobRequest
from pro_video.request_models import AnnotationArea, Segment
from pro_video.rules import limits
from pro_video.rules.limits import MediaLimits
from pro_video.rules.problems import Findings

_DEFAULT_LIMITS = MediaLimits()
_MEGABYTE = 1_000_000


def check_media(
    request: JobRequest,
    video: MediaInfo,
    audios: Mapping[str, MediaInfo],
    media_limits: MediaLimits = _DEFAULT_LIMITS,
) -> JobRequest:
    """The request with its ends moved inside the files; this is what may be sent.

    Args:
        request: from `check_request`.
        video: the probe of its video.
        audios: the probe of each audio, by the source string of the segment.

    Raises:
        RequestRefused: with every problem at once, code ``media_refused``.
        KeyError: an audio of the request was not probed.
    """
    found = Findings()
    picture = _check_picture(video, media_limits, found)
    _check_lip_sync_video(request, video, picture, media_limits, found)
    if request.annotation_areas:
        _check_inpainting_video(video, media_limits, found)
        if picture is not None:
            _check_windows(request.annotation_areas, picture, found)
    heard: set[str] = set()
    segments = []
    for index, segment in enumerate(request.segments):
        path = request.segment_path(index)
        audio = audios[segment.audio]
        if segment.audio not in heard:
            heard.add(segment.audio)
            _check_audio(audio, f"{path}.audio", media_limits, found)
        if picture is not None:
            segment = _fit_range(segment, path, picture, found)
        segments.append(_fit_crop(segment, path, audio, found))
    if picture is not None:
        _check_frame_gaps(request, picture, found)
    found.raise_if_any("media_refused")
    return request.model_copy(update={"segments": tuple(segments)})


def check_inpainting_media(
    request: InpaintingRequest, video: MediaInfo, media_limits: MediaLimits = _DEFAULT_LIMITS
) -> None:
    """The same for a text removal alone.

    Raises:
        RequestRefused: with every problem at once, code ``media_refused``.
    """
    found = Findings()
    picture = _check_picture(video, media_limits, found)
    if picture is not None and video.container not in limits.INPAINTING_CONTAINERS:
        _refuse_container(video, "GhostCut", limits.INPAINTING_CONTAINERS, found)
    _check_inpainting_video(video, media_limits, found)
    if picture is not None:
        _check_windows(request.annotation_areas, picture, found)
    found.raise_if_any("media_refused")


def media_notes(
    request: JobRequest, video: MediaInfo, audios: Mapping[str, MediaInfo]
) -> tuple[str, ...]:
    """What is allowed and may still surprise: for the log and the report, one sentence each."""
    notes = []
    if video.video is not None and video.video.variable_frame_rate:
        notes.append(
            "video: its frame rate varies, and Sync.so asks for a constant one; "
            "lip movements may drift"
        )
    for index, segment in enumerate(request.segments):
        length = segment.end - segment.start
        audio = audible_seconds(segment, audios[segment.audio])
        if audio > length + limits.AUDIO_END_MARGIN and request.lip_sync.sync_mode == "cut_off":
            notes.append(
                f"{request.segment_path(index)}: its audio is {audio - length:.2f} s longer than "
                "the segment, and cut_off drops the rest"
            )
        elif audio < length - limits.AUDIO_END_MARGIN:
            notes.append(
                f"{request.segment_path(index)}: its audio is {length - audio:.2f} s shorter than "
                f"the segment; the sync mode {request.lip_sync.sync_mode} decides what follows"
            )
    return tuple(notes)


def audible_seconds(segment: Segment, audio: MediaInfo) -> float:
    """Length of the audio that a segment uses, in seconds: its crop, or the whole."""
    if segment.audio_start is not None and segment.audio_end is not None:
        return segment.audio_end - segment.audio_start
    return audio.audio.duration if audio.audio is not None else 0.0


def _check_picture(
    video: MediaInfo, media_limits: MediaLimits, found: Findings
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
    found: Findings,
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
    video: MediaInfo, vendor: str, containers: frozenset[str], found: Findings
) -> None:
    found.add(
        "video",
        "video_container",
        f"is a {video.container} file and {vendor} takes {', '.join(sorted(containers))}; "
        "convert it to mp4",
    )


def _check_inpainting_video(video: MediaInfo, media_limits: MediaLimits, found: Findings) -> None:
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


def _check_windows(areas: Sequence[AnnotationArea], picture: VideoStream, found: Findings) -> None:
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


def _check_audio(audio: MediaInfo, field: str, media_limits: MediaLimits, found: Findings) -> None:
    if audio.audio is None:
        found.add(field, "audio_no_sound", "has no sound; give an audio file")
    elif audio.video is not None:
        found.add(field, "audio_is_video", "is a video; give its sound as an audio file")
    elif audio.container not in limits.AUDIO_CONTAINERS:
        found.add(
            field,
            "audio_container",
            f"is a {audio.container} file and Sync.so takes "
            f"{', '.join(sorted(limits.AUDIO_CONTAINERS))}; convert it to wav",
        )
    if audio.audio is not None and audio.audio.duration > media_limits.audio_seconds:
        found.add(
            field,
            "audio_too_long",
            f"lasts {audio.audio.duration:.1f} s and Sync.so takes up to "
            f"{media_limits.audio_seconds:.0f} s; cut the file",
        )


def _fit_range(segment: Segment, path: str, picture: VideoStream, found: Findings) -> Segment:
    length = picture.duration
    if segment.start >= length - limits.VIDEO_END_MARGIN:
        found.add(
            f"{path}.start",
            "segment_after_end",
            f"is not at least {limits.VIDEO_END_MARGIN:g} s before the end of the video "
            f"({length:.2f} s); correct it",
        )
        return segment
    if segment.end > length + 1 / picture.fps:
        found.add(
            f"{path}.end",
            "segment_after_end",
            f"is after the end of the video ({length:.2f} s); correct it",
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
    return segment if end == segment.end else segment.model_copy(update={"end": end})


def _fit_crop(segment: Segment, path: str, audio: MediaInfo, found: Findings) -> Segment:
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
    if end > length + limits.AUDIO_END_MARGIN:
        found.add(
            f"{path}.audio_end",
            "crop_after_end",
            f"is after the end of the audio ({length:.2f} s); correct it",
        )
        return segment
    last = length - limits.AUDIO_END_MARGIN
    if start == 0 and end >= last:
        # The whole audio: without a crop there is no end that could be too late.
        return segment.model_copy(update={"audio_start": None, "audio_end": None})
    return segment if end <= last else segment.model_copy(update={"audio_end": last})


def _check_frame_gaps(request: JobRequest, picture: VideoStream, found: Findings) -> None:
    frame = 1 / picture.fps
    for index in range(1, len(request.segments)):
        before, segment = request.segments[index - 1], request.segments[index]
        if segment.start - before.end < frame - limits.TIME_TOLERANCE:
            found.add(
                f"{request.segment_path(index)}.start",
                "segments_touch",
                f"is less than one frame ({frame:.3f} s) after the end of "
                f"{request.segment_path(index - 1)}; leave a gap of at least that much",
            )
