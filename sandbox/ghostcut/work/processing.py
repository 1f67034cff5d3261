"""Media work of a run: functions for the worker processes, with picklable arguments."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import av
from av.error import FFmpegError

from sandbox.media import MediaError
from sandbox.media.files.pictures import orientation
from sandbox.media.files.video_reader import container_length, open_container
from sandbox.media.inpainting.inpaint import Mask, inpaint

_TAIL = 0.2
"""Seconds at the end that must be readable (vendor docs, status 16)."""


class NotVideoError(Exception):
    """The source has no picture that can be decoded."""


class CorruptError(Exception):
    """The source ends before its announced end."""


@dataclass(frozen=True)
class SourceInfo:
    """Length in seconds and size of the displayed picture in pixels."""

    duration: float
    width: int
    height: int


def inspect_source(path: Path) -> SourceInfo:
    """Read the head and the last 0.2 s of a file; raises NotVideoError or CorruptError."""
    try:
        with open_container(path) as container:
            if not container.streams.video:
                raise NotVideoError("no video stream")
            stream = container.streams.video[0]
            frame = next(container.decode(stream), None)
            if frame is None or frame.time is None:
                raise NotVideoError("no picture")
            duration = _duration(container, stream)
            if duration <= 0:
                raise NotVideoError("no duration")
            width, height = frame.width, frame.height
            if orientation(frame)[1] % 2:
                width, height = height, width
            start = frame.time
            rate = float(stream.average_rate or 25)
    except (FFmpegError, MediaError) as error:
        raise NotVideoError("cannot be opened as a video") from error
    # A frame starts one frame length before the end that it fills.
    if _last_picture(path, start + duration) < start + duration - _TAIL - 1 / rate:
        raise CorruptError
    return SourceInfo(duration, width, height)


def _duration(container: av.container.InputContainer, stream: av.VideoStream) -> float:
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    return container_length(container)


def _last_picture(path: Path, end: float) -> float:
    """Time in seconds of the last picture that can be decoded, -1 if there is none."""
    last = -1.0
    try:
        with open_container(path) as container:
            stream = container.streams.video[0]
            if stream.time_base is not None:
                target = int(max(0.0, end - 1.0) / stream.time_base)
                container.seek(target, stream=stream)
            for frame in container.decode(stream):
                if frame.time is not None:
                    last = max(last, frame.time)
    except (FFmpegError, MediaError):
        pass
    return last


def render(
    source: Path,
    out: Path,
    masks: Sequence[Mask],
    *,
    whole_frame_text: bool,
    max_height: int,
    crf: int,
    cut: tuple[float, float] | None,
    fault: str | None,
) -> None:
    """Write the processed video to `out`, which appears when it is whole."""
    partial = out.with_name(f"partial-{out.name}")
    inpaint(
        source,
        partial,
        masks,
        whole_frame_text=whole_frame_text,
        max_height=max_height,
        crf=crf,
        keep_range=cut,
        fault=fault,
    )
    partial.replace(out)


def copy_source(source: Path, out: Path) -> None:
    """Write the source as the result (switch `media`: copy)."""
    partial = out.with_name(f"partial-{out.name}")
    shutil.copyfile(source, partial)
    partial.replace(out)
