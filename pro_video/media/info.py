"""The facts of a media file.

:mod:`pro_video.media.probe` finds them. They stand apart so that a reader of records loads no
libav.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class VideoStream:
    """The picture.

    Attributes:
        width, height: pixels as displayed, after rotation; the shape of pixels is not applied.
        pixel_aspect: width of a displayed pixel in units of its height; 1 is square.
        fps: frames per second, usually: pictures that are held for long do not lower it.
        codec: libav's name, for example h264.
        rotation: degrees counterclockwise that a player turns the stored picture: 0, 90, 180, 270.
        start: seconds from the begin of the file, as players count, to the first frame, which is
            second 0 of a request.
        mirrored: before that turn, a player exchanges left and right.
        frames: how many, counted by the container or computed from length and rate.
        duration: seconds from the begin of the first frame to the end of the last one.
        variable_frame_rate: the frames are not evenly spaced.
        stated: the file tells its length; live recordings do not.
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
        channels: how many.
        duration: seconds from the first sample to the last one.
        start: seconds from the begin of the file, as players count, to the first sample.
        stated: the file tells its length truly, so that every reader finds the same.
        tracks: sounds of the file; the first one counts.
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
        duration: seconds from the begin of the first stream to the end of the last one, as players
            show it.
        size: bytes.
        video: None without a picture; cover art of a song is not one.
        audio: None without sound that can be decoded.
        subtitles: tracks of text, which no result keeps.
    """

    container: str
    duration: float
    size: int
    video: VideoStream | None
    audio: AudioStream | None
    subtitles: int = 0
