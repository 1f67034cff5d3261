"""What a media file is, found out by reading little of it and before anything is paid.

`probe` looks at the outer structure, the container's index, one decoded picture and one decoded
piece of sound: a few hundred kilobytes of a file of any size, wherever its index is.
"""

from __future__ import annotations

import math
import statistics
from itertools import islice, pairwise
from typing import Final

import av
from av.audio.stream import AudioStream as AvAudio
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream as AvVideo

from pro_video.errors import MediaUnusable
from pro_video.inspection.layout import inspect
from pro_video.inspection.orientation import Orientation
from pro_video.inspection.reading import MAX_PACKETS, Source, bounded, opened, picture_stream
from pro_video.media_info import AudioStream, MediaInfo, VideoStream

MAX_SECONDS: Final = 24 * 3600.0
MAX_STREAMS: Final = 64
MAX_FPS: Final = 480.0
MAX_RATE: Final = 768_000
MIN_SIDE: Final = 16
MAX_PIXEL_ASPECT: Final = 8.0
_SAMPLED_ENTRIES: Final = 1000
_LAST_ENTRIES: Final = 64


def probe(source: Source, *, size: int, what: str = "the file") -> MediaInfo:
    """What the file is.

    Args:
        source: a path, or a seekable binary stream; it is read at several places.
        size: bytes of the whole file, as storage knows it.
        what: how messages name the file.

    Raises:
        MediaUnusable: it is empty, cut off, no media, or absurd; ``code`` names which.
    """
    with bounded(source) as reader:
        layout = inspect(reader.read_at, size)
    if layout.problem is not None:
        raise MediaUnusable(
            f"{what} {layout.problem}; check that it plays and upload it again",
            code=layout.code,
        )
    with bounded(source) as reader, opened(reader, what) as container:
        return _describe(container, layout.container, size, what)


def _describe(container: InputContainer, name: str | None, size: int, what: str) -> MediaInfo:
    if len(container.streams) > MAX_STREAMS:
        raise _absurd(what, f"has {len(container.streams)} streams")
    picture = picture_stream(container)
    # Typed as always there; a codec context is None where libav has no decoder.
    sound = next((s for s in container.streams.audio if s.codec_context is not None), None)
    if picture is None and sound is None:
        raise MediaUnusable(
            f"{what} has neither picture nor sound; give a video or an audio file",
            code="media_no_streams",
        )
    _check_index(container, size, what)
    length = _length(container, what)
    frame, audible = _decode_first(container, picture, sound)
    if picture is not None and frame is None:
        raise MediaUnusable(
            f"no picture of {what} can be decoded; convert it to MP4 with H.264",
            code="media_undecodable",
        )
    if picture is None and not audible:
        raise MediaUnusable(
            f"no sound of {what} can be decoded; convert it to WAV", code="media_undecodable"
        )
    return MediaInfo(
        container=name or _container_name(container.format.name),
        duration=length,
        size=size,
        video=_video(picture, frame, length, what) if picture and frame else None,
        audio=_audio(sound, length, what) if sound is not None and audible else None,
    )


def _container_name(libav_name: str) -> str:
    return libav_name.split(",")[0]


def _length(container: InputContainer, what: str) -> float:
    streams = [
        float(stream.duration * stream.time_base)
        for stream in container.streams
        if stream.duration is not None and stream.time_base and stream.type in {"video", "audio"}
    ]
    claimed = container.duration / av.time_base if container.duration is not None else None
    length = max(streams, default=0.0) if claimed is None else claimed
    if not math.isfinite(length) or length <= 0:
        raise MediaUnusable(
            f"{what} does not say how long it is, as live recordings do; write it again (remux) so "
            "that its header has a length",
            code="media_no_duration",
        )
    if length > MAX_SECONDS:
        raise _absurd(what, f"claims a length of {length / 3600:.0f} hours")
    if streams and length > 1.5 * max(streams) + 10:
        raise _absurd(
            what, f"claims a length of {length:.0f} s and has {max(streams):.0f} s of content"
        )
    return length


def _check_index(container: InputContainer, size: int, what: str) -> None:
    """Every entry of the index lies inside the file; the last ones tell."""
    for stream in container.streams:
        entries = stream.index_entries
        for entry in entries[max(0, len(entries) - _LAST_ENTRIES) :]:
            if entry.pos + entry.size > size:
                raise MediaUnusable(
                    f"{what} was cut off: its index points past its end of {size} bytes; check "
                    "that it plays and upload it again",
                    code="media_truncated",
                )


def _decode_first(
    container: InputContainer, picture: AvVideo | None, sound: AvAudio | None
) -> tuple[VideoFrame | None, bool]:
    frame: VideoFrame | None = None
    audible = False
    wanted = [stream for stream in (picture, sound) if stream is not None]
    for packet in islice(container.demux(*wanted), MAX_PACKETS):
        try:
            decoded = packet.decode()
        except av.FFmpegError:
            # A damaged packet at the start is common in cut recordings; one that decodes is enough.
            continue
        for item in decoded:
            if isinstance(item, VideoFrame):
                frame = frame or item
            elif packet.stream is sound:
                audible = True
        if (frame is not None or picture is None) and (audible or sound is None):
            break
    return frame, audible


def _video(stream: AvVideo, frame: VideoFrame, length: float, what: str) -> VideoStream:
    orientation = Orientation.of(frame)
    width, height = orientation.size(frame.width, frame.height)
    if min(width, height) < MIN_SIDE:
        raise MediaUnusable(
            f"{what} has a picture of {width}x{height} pixels, too small to work on; give one of "
            "at least 480 lines",
            code="media_too_small",
        )
    rate = stream.average_rate or stream.base_rate or stream.guessed_rate
    fps = float(rate) if rate else 0.0
    duration = length
    if stream.duration is not None and stream.time_base:
        duration = float(stream.duration * stream.time_base)
    if fps <= 0 and stream.frames and duration > 0:
        fps = stream.frames / duration
    if not 0 < fps <= MAX_FPS:
        raise _absurd(what, f"claims {fps:g} frames per second")
    return VideoStream(
        width=width,
        height=height,
        fps=fps,
        codec=stream.codec_context.name,
        rotation=orientation.rotation,
        mirrored=orientation.mirrored,
        frames=stream.frames or max(1, round(duration * fps)),
        duration=duration,
        variable_frame_rate=_varies(stream),
        pixel_aspect=_pixel_aspect(stream, turned=orientation.sideways),
    )


def _pixel_aspect(stream: AvVideo, *, turned: bool) -> float:
    ratio = float(stream.sample_aspect_ratio or 1)
    if not 1 / MAX_PIXEL_ASPECT <= ratio <= MAX_PIXEL_ASPECT:
        # Players ignore such a claim too; nothing is computed with it but the shape of results.
        return 1.0
    return 1 / ratio if turned else ratio


def _varies(stream: AvVideo) -> bool:
    entries = stream.index_entries
    if stream.frames and len(entries) == stream.frames:
        # The container indexes every frame, so the spacing itself can be seen.
        times = [entry.timestamp for entry in entries[:_SAMPLED_ENTRIES]]
        steps = [later - earlier for earlier, later in pairwise(times)]
        if not steps:
            return False
        usual = statistics.median(steps)
        return max(steps) - min(steps) > max(2.0, 0.1 * usual)
    average, base = stream.average_rate, stream.base_rate
    if not average or not base:
        return False
    return abs(float(base) - float(average)) > 0.02 * float(average)


def _audio(stream: AvAudio, length: float, what: str) -> AudioStream:
    if stream.codec_context.sample_rate > MAX_RATE:
        # Its length in seconds would be as wrong.
        raise _absurd(what, f"claims {stream.codec_context.sample_rate} samples per second")
    duration = length
    if stream.duration is not None and stream.time_base:
        duration = float(stream.duration * stream.time_base)
    context = stream.codec_context
    return AudioStream(
        codec=context.name,
        sample_rate=context.sample_rate,
        channels=context.layout.nb_channels,
        duration=duration,
    )


def _absurd(what: str, claim: str) -> MediaUnusable:
    return MediaUnusable(
        f"{what} {claim}, which is absurd; it is damaged or no real media file", code="media_absurd"
    )
