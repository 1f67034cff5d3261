"""Maps a request to the parameters of a generation: pure, without network or bytes.

A speaker is named by pixels of one frame, or by a box for each frame. The vendor's documentation:
`auto_detect`, or `frame_number` with `coordinates` in whole pixels, or `bounding_boxes`, one for
each frame of the video. It does not say whether the pixels of a turned video are those of the shown
or of the stored frame; the setting ``sync_so_speaker_pixels`` decides.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from pro_video.media.info import VideoStream
from pro_video.providers.sync_so.models import SegmentInput
from pro_video.request.check import JobRequest
from pro_video.request.models import Segment, Speaker

Pixels = Literal["displayed", "stored"]
"""The frame that coordinates refer to, of a video that a player turns."""


@dataclass(frozen=True, slots=True)
class LipSyncPlan:
    """The parameters of a generation that depend on the picture.

    Attributes:
        speaker: the vendor's `active_speaker_detection` of the whole request, or None.
        segments: in the order of the request.
    """

    speaker: dict[str, Any] | None
    segments: tuple[SegmentInput, ...]


def lip_sync_plan(
    request: JobRequest, picture: VideoStream, ref_id: Callable[[str], str], pixels: Pixels
) -> LipSyncPlan:
    """The plan of a request that the rules of its files accepted.

    Sync.so has refused options of a segment, so a speaker that all segments share is that of the
    whole request.

    Args:
        request: the checked request.
        picture: of its video.
        ref_id: name of an audio on the wire, by its source.
        pixels: the frame that the vendor's coordinates refer to.
    """
    first = min(request.segments, key=lambda segment: segment.start)
    shared = first.active_speaker if _is_shared(request, first.active_speaker) else None

    def detection(speaker: Speaker, segment: Segment) -> dict[str, Any] | None:
        return speaker_detection(speaker, picture, (segment.start + segment.end) / 2, pixels)

    segments = []
    for segment in request.segments:
        options: dict[str, Any] = {}
        if segment.sync_mode not in (None, request.lip_sync.sync_mode):
            options["sync_mode"] = segment.sync_mode
        if segment.temperature is not None:
            options["temperature"] = segment.temperature
        own = None if shared else detection(segment.active_speaker, segment)
        if own is not None:
            options["active_speaker_detection"] = own
        segments.append(
            SegmentInput(
                start=segment.start,
                end=segment.end,
                ref_id=ref_id(segment.audio),
                audio_start=segment.audio_start,
                audio_end=segment.audio_end,
                options=options,
            )
        )
    return LipSyncPlan(detection(shared or request.lip_sync.active_speaker, first), tuple(segments))


def _is_shared(request: JobRequest, speaker: Speaker) -> bool:
    return speaker != Speaker() and all(
        segment.active_speaker == speaker for segment in request.segments
    )


def speaker_detection(
    speaker: Speaker, picture: VideoStream, at: float, pixels: Pixels = "displayed"
) -> dict[str, Any] | None:
    """The vendor's `active_speaker_detection`; None for its default.

    Args:
        speaker: a checked choice, in fractions of the displayed frame.
        picture: of the video.
        at: seconds of the video, for a point without a time of its own.
        pixels: the frame that the vendor's coordinates refer to.
    """
    if speaker.method == "default":
        return None
    if speaker.method == "automatic":
        return {"auto_detect": True}
    x, y = speaker.x or 0.0, speaker.y or 0.0
    if speaker.method == "point":
        moment = at if speaker.at is None else speaker.at
        return {
            "frame_number": max(0, min(int(moment * picture.fps + 1e-6), picture.frames - 1)),
            "coordinates": list(_pixel(x, y, picture, pixels)),
        }
    ends = (
        _pixel(x, y, picture, pixels),
        _pixel(x + (speaker.width or 0.0), y + (speaker.height or 0.0), picture, pixels),
    )
    (left, right), (top, bottom) = (sorted(values) for values in zip(*ends, strict=True))
    return {"bounding_boxes": [[left, top, right, bottom]] * picture.frames}


def _pixel(x: float, y: float, picture: VideoStream, pixels: Pixels) -> tuple[int, int]:
    """The pixel of a point of the displayed frame."""
    width, height = picture.width, picture.height
    across = max(0, min(int(x * width), width - 1))
    down = max(0, min(int(y * height), height - 1))
    if pixels == "displayed":
        return across, down
    # A player mirrors the stored frame, then turns it counterclockwise; here it is turned back.
    for _ in range(picture.rotation // 90):
        across, down, width, height = height - 1 - down, across, height, width
    return (width - 1 - across if picture.mirrored else across), down
