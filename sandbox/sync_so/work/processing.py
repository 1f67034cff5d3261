"""Media work of a generation: functions for the worker processes, with picklable arguments."""

import math
import wave
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.error import FFmpegError

from sandbox.media import MediaError
from sandbox.media.files.video_reader import container_length, open_container
from sandbox.media.lip_sync.lip_sync import LipSyncResult, SegmentPlan, lip_sync

SPEECH_RATE = 48_000
CHARACTERS_PER_SECOND = 15.0
STILL_FPS = 25


@dataclass(frozen=True)
class Probe:
    """The streams of a file; seconds and pixels, 0 where there is no such stream."""

    video_seconds: float = 0.0
    audio_seconds: float = 0.0
    width: int = 0
    height: int = 0
    fps: float = 0.0
    frames: int = 0

    @property
    def has_video(self) -> bool:
        return self.width > 0

    @property
    def has_audio(self) -> bool:
        return self.audio_seconds > 0


def probe(path: Path) -> Probe:
    """Read the head of a file and decode the beginning of each stream.

    A file that cannot be read so has no streams.
    """
    try:
        with open_container(path) as container:
            whole = container_length(container)
            found = Probe()
            if container.streams.video:
                video = container.streams.video[0]
                first = next(container.decode(video))
                fps = float(video.average_rate or 0)
                seconds = _seconds(video.duration, video.time_base) or whole
                frames = video.frames or round(seconds * fps)
                found = Probe(seconds, 0.0, first.width, first.height, fps, frames)
            if container.streams.audio:
                audio = container.streams.audio[0]
                container.seek(0)
                next(container.decode(audio))
                seconds = _seconds(audio.duration, audio.time_base) or whole
                found = replace(found, audio_seconds=seconds)
            return found
    except (FFmpegError, MediaError, ValueError, OSError, StopIteration):
        return Probe()


def _seconds(duration: int | None, time_base: Fraction | None) -> float:
    return float(duration * time_base) if duration and time_base else 0.0


def process(
    video: Path,
    folder: Path,
    segments: list[SegmentPlan],
    whole_audio: Path | None,
    default_mode: str | None,
    fault: str | None,
) -> LipSyncResult:
    """Make `output.mp4` (with segments also `segments.mp4`); each appears when it is whole.

    Raises MediaError for inputs that cannot be processed.
    """
    out, parts = folder / "output.mp4", folder / "segments.mp4"
    making, making_parts = folder / "making.mp4", folder / "making-parts.mp4"
    result = lip_sync(
        video,
        making,
        segments,
        whole_audio=whole_audio,
        default_mode=default_mode,
        segment_out=making_parts if segments else None,
        fault=fault,
    )
    if segments:
        making_parts.replace(parts)
    making.replace(out)
    return result


def speak(script: str, path: Path) -> None:
    """Write a WAV that stands for a spoken text: a hum in syllables.

    The length follows the number of characters, so that tests can foresee it.
    """
    count = max(1, round(len(script) / CHARACTERS_PER_SECOND * SPEECH_RATE))
    angle = 2 * np.pi * np.arange(count) / SPEECH_RATE
    samples = 9000 * np.sin(140 * angle) * (0.5 - 0.5 * np.cos(4 * angle))
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SPEECH_RATE)
        file.writeframes(np.round(samples).astype("<i2").tobytes())


def still_video(image: Path, seconds: float, path: Path) -> None:
    """Write a video that shows an image for the given time.

    Raises MediaError for an image that cannot be used.
    """
    try:
        with open_container(image) as source:
            picture = next(source.decode(video=0))
        width, height = picture.width // 2 * 2, picture.height // 2 * 2
        picture = picture.reformat(width=width, height=height, format="yuv420p")
        with av.open(str(path), "w", format="mp4") as container:
            stream = container.add_stream("libx264", rate=STILL_FPS)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            for number in range(max(1, math.ceil(seconds * STILL_FPS))):
                picture.pts, picture.time_base = number, Fraction(1, STILL_FPS)
                container.mux(stream.encode(picture))
            container.mux(stream.encode())
    except (FFmpegError, ValueError, StopIteration) as error:
        raise MediaError(f"{image.name} cannot be used as an image") from error
