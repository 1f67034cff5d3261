"""What is known of a media file.

:mod:`pro_video.media` finds it out; apart from it, whoever only reads records loads no libav.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class VideoStream:
    """The picture.

    Attributes:
        width, height: pixels as displayed, after rotation; the shape of pixels is not applied.
        pixel_aspect: width of a displayed pixel in units of its height; 1 is square.
        fps: frames per second on average.
        codec: libav's name, for example h264.
        rotation: degrees counterclockwise that a player turns the stored picture: 0, 90, 180, 270.
        mirrored: before that turn, a player exchanges left and right.
        frames: how many, counted by the container or computed from length and rate.
        duration: seconds.
        variable_frame_rate: the frames are not evenly spaced.
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


@dataclass(frozen=True, slots=True)
class AudioStream:
    """The sound: codec by libav's name, sample rate in Hz, number of channels, seconds."""

    codec: str
    sample_rate: int
    channels: int
    duration: float


@dataclass(frozen=True, slots=True)
class MediaInfo:
    """A media file.

    Attributes:
        container: mp4, mov, webm, mkv, avi, wav, or libav's name of another one.
        duration: seconds, the longest stream's.
        size: bytes.
        video: None without a picture; cover art of a song is not one.
        audio: None without sound that can be decoded.
    """

    container: str
    duration: float
    size: int
    video: VideoStream | None
    audio: AudioStream | None
