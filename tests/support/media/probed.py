"""Probes of files and bytes, with the streams that a test expects in them."""

from __future__ import annotations

import io
from pathlib import Path

from pro_video.media.info import AudioStream, MediaInfo, VideoStream
from pro_video.media.probe import probe


def probed(source: Path | bytes | bytearray) -> MediaInfo:
    if isinstance(source, Path):
        return probe(source, size=source.stat().st_size)
    return probe(io.BytesIO(source), size=len(source))


def picture_of(source: Path | bytes | bytearray) -> VideoStream:
    video = probed(source).video
    assert video is not None
    return video


def sound_of(source: Path | bytes | bytearray) -> AudioStream:
    audio = probed(source).audio
    assert audio is not None
    return audio


def streams_of(source: Path) -> tuple[MediaInfo, VideoStream, AudioStream]:
    info = probed(source)
    assert info.video is not None
    assert info.audio is not None
    return info, info.video, info.audio
