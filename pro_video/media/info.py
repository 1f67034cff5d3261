"""The facts of a media file.

:mod:`pro_video.media.probe` reads them. This module is separate so that records need no libav.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class VideoStream:
    """The picture.

    Attributes:
        width, height: pixels as displayed, after rotation; the shape of pixels is not applied.
        pixel_aspect: width of a displayed pixel in units of its height; 1 is square.
        fps: usual frames per second; held pictures do not lower it.
        codec: libav's name, for example h264.
        rotation: degrees counterclockwise that a player turns the stored picture: 0, 90, 180, 270.
        start: seconds from the begin of the file in players to the first frame, which is second 0
            of a request.
        mirrored: a player exchanges left and right before that turn.
        frames: their number, counted by the container or computed from length and rate.
        duration: seconds from the begin of the first frame to the end of the last one.
        variable_frame_rate: the frames are not evenly spaced.
        stated: the file states its length; live recordings do not.
    """

    width: int
    height: int
    fps: float
    codec: str
    rotation: int
    frames: int
    duration: float
    variable_frame_rate: bool = False
    pixel_aspect: float = 1.0
    mirrored: bool = False
    start: float = 0.0
    stated: bool = True


@dataclass(frozen=True, slots=True)
class AudioStream:
    """The sound.

    Attributes:
        codec: libav's name, for example aac.
        sample_rate: Hz.
        channels: their number.
        duration: seconds from the first sample to the last one.
        start: seconds from the begin of the file in players to the first sample.
        stated: the file states its true length, so that every reader finds the same.
        tracks: number of sound tracks; the first one counts.
    """

    codec: str
    sample_rate: int
    channels: int
    duration: float
    start: float = 0.0
    stated: bool = True
    tracks: int = 1


@dataclass(frozen=True, slots=True)
class MediaInfo:
    """A media file.

    Attributes:
        container: mp4, mov, webm, mkv, avi, wav, or libav's name of another one.
        duration: seconds from the begin of the first stream to the end of the last one, as in
            players.
        size: bytes.
        video: None without moving pictures.
        audio: None without decodable sound.
        subtitles: number of text tracks, which no result keeps.
    """

    container: str
    duration: float
    size: int
    video: VideoStream | None
    audio: AudioStream | None
    subtitles: int = 0
