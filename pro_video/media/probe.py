"""Probes a media file: its facts, from a small part of its bytes, before anything is paid.

`probe` reads the outer structure, the container's index, one decoded picture and one decoded sound
frame: a few hundred kilobytes of a file of any size. For a container that states no length, or the
end instead of the length, the packets at the end are read too, or all of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Final

import av
from av.audio.stream import AudioStream as AvAudio
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream as AvVideo

from pro_video.core.errors import MediaUnusable, SourceRefused
from pro_video.media.info import AudioStream, MediaInfo, VideoStream
from pro_video.media.reading import lengths
from pro_video.media.reading.layout import Layout, cut, inspect
from pro_video.media.reading.lengths import Span
from pro_video.media.reading.libav import frames_of
from pro_video.media.reading.open import (
    MAX_PACKETS,
    MOMENTS_BUDGET,
    OUT_OF_BUDGET,
    Source,
    bounded,
    opened,
    origin,
    picture_stream,
)
from pro_video.media.reading.orientation import Orientation

MAX_SECONDS: Final = 24 * 3600.0
MAX_STREAMS: Final = 64
MAX_FPS: Final = 480.0
MAX_RATE: Final = 768_000
MIN_SIDE: Final = 16
MAX_PIXEL_ASPECT: Final = 8.0
COUNT_BUDGET: Final = MOMENTS_BUDGET
"""Bytes that may be read to count the packets of a file."""
_LAST_ENTRIES: Final = 64
_MPEG_1_RATE: Final = 32_000
"""Hz: MP3 below it has half the samples in a frame."""
_DELAYED: Final = 5
"""Most pictures by which decoding runs ahead of showing."""
_SAME_RATE: Final = 0.02
_ESTIMATED: Final = frozenset({"wav", "mp3", "aac", "flac"})
"""Containers whose length libav guesses when they state none."""
_MISSING: Final = 0.25
"""Seconds after the last packet from which a stated end means missing media."""


@dataclass(frozen=True, slots=True)
class _Facts:
    """The statements of an opened file.

    Attributes:
        info: the probe, without times.
        format: libav's name of the container.
        picture, sound: indexes of the streams.
        origin: time of the first picture on the file's clock, seconds.
        spans: stated times of each stream.
        end: the container's stated end or length, seconds.
    """

    info: MediaInfo
    format: str
    picture: int | None
    sound: int | None
    origin: float
    spans: dict[int, Span]
    end: float | None


def probe(source: Source, *, size: int, what: str = "the file") -> MediaInfo:
    """Probe a media file.

    Args:
        source: a path, or a seekable binary stream, read at several places.
        size: bytes of the whole file in the storage.
        what: names the file in messages.

    Raises:
        MediaUnusable: empty, cut off, not media, or absurd; ``code`` names the reason.
    """
    with bounded(source) as reader:
        layout = inspect(reader.read_at, size)
    if layout.problem is not None:
        raise MediaUnusable(f"{what} {layout.problem}; {layout.advice}", code=layout.code)
    with bounded(source) as reader, opened(reader, what) as container:
        facts = _read_facts(container, layout, size, what)
    found: dict[int, Span] = {}
    if _is_counted(facts, layout):
        found = _count(source, facts, what, behind=None if facts.picture is None else facts.end)
        if facts.sound is not None and facts.sound not in {**facts.spans, **found}:
            # The sound ended before the last picture that can be entered.
            found = _count(source, facts, what, behind=None) or found
    _check_whole(facts, found, layout, size, what)
    return _with_times(facts, found, layout, what)


def probe_file(path: Path, *, what: str) -> MediaInfo:
    """`probe` for a file of this machine, which may be missing.

    Raises:
        SourceRefused: not readable.
        MediaUnusable: not a video or audio.
    """
    try:
        if not path.is_file():
            raise SourceRefused(f"{what} is not a file. Check the path.", code="file_kind")
        return probe(path, size=path.stat().st_size, what=what)
    except OSError as error:
        kind = type(error).__name__
        raise SourceRefused(
            f"{what} cannot be read ({kind}). Check the path.", code="file_unreadable"
        ) from None


def _read_facts(container: InputContainer, layout: Layout, size: int, what: str) -> _Facts:
    if len(container.streams) > MAX_STREAMS:
        raise _absurd(what, f"has {len(container.streams)} streams")
    picture = picture_stream(container)
    # PyAV types it as always there; it is None where libav has no decoder.
    sounds = [stream for stream in container.streams.audio if stream.codec_context is not None]
    sound = sounds[0] if sounds else None
    if picture is None and sound is None:
        raise MediaUnusable(
            f"{what} has neither picture nor sound; give a video or an audio file",
            code="media_no_streams",
        )
    _check_index(container, size, what)
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
    streams = lengths.streams_of(container)
    heard = _audio(sound, len(sounds), what) if sound is not None and audible else None
    shown = _video(container, picture, frame, what) if picture and frame else None
    base = float(picture.time_base or 0) if picture else 0.0
    return _Facts(
        info=MediaInfo(
            container=layout.container or container.format.name.split(",")[0],
            duration=0.0,
            size=size,
            video=shown,
            audio=heard,
            subtitles=len(container.streams.subtitles),
        ),
        format=container.format.name,
        picture=picture.index if picture else None,
        sound=sound.index if sound is not None and audible else None,
        origin=origin(container, picture) * base if picture else 0.0,
        spans={
            stream.index: span for stream in streams if (span := lengths.stated(stream)) is not None
        },
        end=container.duration / av.time_base if container.duration else None,
    )


def _is_counted(facts: _Facts, layout: Layout) -> bool:
    if facts.format == lengths.INDEXED or (layout.stated and facts.format == "wav"):
        return any(
            index is not None and index not in facts.spans for index in (facts.picture, facts.sound)
        )
    return True


def _count(source: Source, facts: _Facts, what: str, *, behind: float | None) -> dict[int, Span]:
    """The spans of the streams by their packets; none when that exceeds the bound on reading."""
    step = 1 / facts.info.video.fps if facts.info.video is not None else 0.0
    try:
        with bounded(source, COUNT_BUDGET) as reader, opened(reader, what) as container:
            return lengths.counted(container, behind=behind, step=step)
    except MediaUnusable as error:
        if error.code not in OUT_OF_BUDGET:
            raise
        return {}


def _check_whole(
    facts: _Facts, found: dict[int, Span], layout: Layout, size: int, what: str
) -> None:
    """Refuse a file whose sizes or header promise media that is missing."""
    last = max((span.end for span in found.values()), default=0.0)
    missing = facts.end is not None and last < facts.end - _MISSING
    if layout.promised is not None and (missing or not found):
        raise MediaUnusable(
            f"{what} {cut(layout.promised, size)}; check that it plays and upload it again",
            code="media_truncated",
        )
    sound = found.get(facts.sound) if facts.sound is not None else None
    if facts.format == "flac" and layout.stated and sound is not None:
        claimed = facts.spans[facts.sound].length if facts.sound in facts.spans else 0.0
        if sound.heard < claimed - _MISSING:
            raise MediaUnusable(
                f"{what} was cut off: it has {sound.heard:.2f} s of sound and its header promises "
                f"{claimed:.2f} s; check that it plays and upload it again",
                code="media_truncated",
            )


def _with_times(facts: _Facts, found: dict[int, Span], layout: Layout, what: str) -> MediaInfo:
    """The probe with its times."""
    info = (
        _timed_sound(facts, found, layout) if facts.picture is None else _timed_video(facts, found)
    )
    if not math.isfinite(info.duration) or info.duration <= 0:
        raise MediaUnusable(
            f"{what} does not state its length, like live recordings, and counting takes more than "
            f"{COUNT_BUDGET // 1_000_000} MB of reading; write it again (remux) so that its header "
            "has a length",
            code="media_no_duration",
        )
    if info.duration > MAX_SECONDS:
        raise _absurd(what, f"claims a length of {info.duration / 3600:.0f} hours")
    return info


def _timed_sound(facts: _Facts, found: dict[int, Span], layout: Layout) -> MediaInfo:
    assert facts.sound is not None
    assert facts.info.audio is not None
    claimed, counted = facts.spans.get(facts.sound), found.get(facts.sound)
    stated = layout.stated or facts.format not in _ESTIMATED
    rate = facts.info.audio.sample_rate
    if layout.frames:
        seconds = layout.frames * (1152 if rate >= _MPEG_1_RATE else 576) / rate
        stated = counted is None or lengths.is_close(counted.heard, seconds, rate)
    length = lengths.sound_length(
        claimed if stated else None, counted, rate, clocked="matroska" in facts.format
    )
    sound = replace(facts.info.audio, duration=length, stated=stated)
    return replace(facts.info, duration=length, audio=sound)


def _timed_video(facts: _Facts, found: dict[int, Span]) -> MediaInfo:
    assert facts.picture is not None
    assert facts.info.video is not None
    spans = {**facts.spans, **found}
    known = spans.get(facts.picture)
    end = known.end if known is not None else facts.end or 0.0
    picture = spans[facts.picture] = Span(facts.origin, end)
    if picture.length <= 0:
        return facts.info
    step = 1 / facts.info.video.fps
    everything = lengths.whole(spans.values())
    if facts.format == "avi" and picture.start - everything.start < _DELAYED * step:
        # An AVI has decoding times alone; libav's times include the delay of decoding.
        picture = spans[facts.picture] = Span(everything.start, everything.start + picture.length)
        everything = lengths.whole(spans.values())
    video = replace(
        facts.info.video,
        duration=picture.length,
        frames=facts.info.video.frames or max(1, round(picture.length / step)),
        start=picture.start - everything.start,
    )
    audio = facts.info.audio
    if audio is not None and facts.sound is not None:
        heard = spans.get(facts.sound, everything)
        audio = replace(audio, duration=heard.length, start=heard.start - everything.start)
    return replace(facts.info, duration=everything.length, video=video, audio=audio)


def _check_index(container: InputContainer, size: int, what: str) -> None:
    """Refuse a file whose last index entries point past its end."""
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
        # Damaged packets at the start are common in cut recordings; one good packet is enough.
        for item in frames_of(packet):
            if isinstance(item, VideoFrame):
                frame = frame or item
            elif packet.stream is sound:
                audible = True
        if (frame is not None or picture is None) and (audible or sound is None):
            break
    return frame, audible


def _video(container: InputContainer, stream: AvVideo, frame: VideoFrame, what: str) -> VideoStream:
    """The picture, without times."""
    orientation = Orientation.of(frame)
    width, height = orientation.size(frame.width, frame.height)
    if min(width, height) < MIN_SIDE:
        raise MediaUnusable(
            f"{what} has a picture of {width}x{height} pixels, too small to work on; give one of "
            "at least 480 lines",
            code="media_too_small",
        )
    pace = lengths.pace_of(container, stream)
    fps = _rate(stream, pace)
    if not 0 < fps <= MAX_FPS:
        raise _absurd(what, f"claims {fps:g} frames per second")
    indexed = container.format.name in {lengths.INDEXED, "avi"}
    return VideoStream(
        width=width,
        height=height,
        fps=fps,
        codec=stream.codec_context.name,
        rotation=orientation.rotation,
        mirrored=orientation.mirrored,
        frames=len(stream.index_entries) if indexed else 0,
        duration=0.0,
        variable_frame_rate=pace.uneven,
        pixel_aspect=_pixel_aspect(stream, turned=orientation.sideways),
        stated=container.duration is not None,
    )


def _rate(stream: AvVideo, pace: lengths.Pace) -> float:
    """Pictures per second: the measured rate, or the container's exact one when it agrees."""
    claims = [
        float(rate)
        for rate in (stream.average_rate, stream.base_rate, stream.guessed_rate)
        if rate is not None and rate > 0
    ]
    if pace.step > 0:
        measured = 1 / pace.step
        return next((rate for rate in claims if abs(rate / measured - 1) <= _SAME_RATE), measured)
    return next((rate for rate in claims if rate <= MAX_FPS), claims[0] if claims else 0.0)


def _pixel_aspect(stream: AvVideo, *, turned: bool) -> float:
    ratio = float(stream.sample_aspect_ratio or 1)
    if not 1 / MAX_PIXEL_ASPECT <= ratio <= MAX_PIXEL_ASPECT:
        # Players ignore such a claim too; only the shape of results depends on it.
        return 1.0
    return 1 / ratio if turned else ratio


def _audio(stream: AvAudio, tracks: int, what: str) -> AudioStream:
    """The sound, without times."""
    context = stream.codec_context
    if context.sample_rate > MAX_RATE:
        # Its length in seconds would be wrong too.
        raise _absurd(what, f"claims {context.sample_rate} samples per second")
    return AudioStream(
        codec=context.name,
        sample_rate=context.sample_rate,
        channels=context.layout.nb_channels,
        duration=0.0,
        tracks=tracks,
    )


def _absurd(what: str, claim: str) -> MediaUnusable:
    return MediaUnusable(
        f"{what} {claim}, which is absurd; it is damaged or no real media file", code="media_absurd"
    )
