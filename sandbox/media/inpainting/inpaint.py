"""Stand-in for a text-removal service: fills masks in their windows, changes nothing else.

Work is on the planes of the decoded picture. Sound packets are copied, timestamps kept.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from sandbox.media.errors import MediaError
from sandbox.media.files.mp4_writer import Mp4Writer
from sandbox.media.files.video_reader import VideoReader
from sandbox.media.inpainting.eraser import Eraser
from sandbox.media.inpainting.masks import TIME_SLACK, Mask
from sandbox.media.inpainting.sound_copy import SoundPassage
from sandbox.media.result_faults import CUT_BY_FAULT, FAULTS, Spoiler

__all__ = ["FAULTS", "InpaintResult", "Mask", "inpaint"]

MARK = "GhostCut"
"""The text of its watermark here."""
REACH_SECONDS = 1.5
"""How far before the range to keep pictures without an overlay are looked for."""


@dataclass(frozen=True)
class InpaintResult:
    """The written file: seconds, pictures, and the number of masks that changed any."""

    duration: float
    frames: int
    changed_masks: int


def inpaint(
    video: Path,
    out: Path,
    masks: Sequence[Mask],
    *,
    whole_frame_text: bool = False,
    max_height: int | None = None,
    crf: int = 17,
    keep_range: tuple[float, float] | None = None,
    fault: str | None = None,
) -> InpaintResult:
    """Erase what the masks say and write an MP4 (H.264; sound packets as they were).

    Args:
        video: any file with a picture.
        out: MP4 to write.
        masks: what to erase and what to protect; where they meet, `keep` wins.
        whole_frame_text: also look for overlaid text in the whole frame and erase it.
        max_height: larger pictures are scaled down, never up. It limits the shorter side, so
            1080 means 1080p for upright pictures too.
        crf: constant quality of x264.
        keep_range: write only this cut, in seconds of the source.
        fault: one of FAULTS; README.md says what each does.

    Raises:
        MediaError: unusable input or mask.
    """
    start, end = keep_range or (0.0, math.inf)
    _check(masks, fault, start, end)
    with ExitStack() as stack:
        reader = stack.enter_context(VideoReader(video, max_short_side=max_height))
        if start >= reader.duration:
            raise MediaError("the range to keep starts after the end of the video")
        length = min(end, reader.duration) - start
        if fault == "wrong_duration":
            length *= 1 - CUT_BY_FAULT
            end = start + length
        spoiler = Spoiler(fault, reader, MARK)
        sound = SoundPassage(video, start, end, late=spoiler.late)
        stack.callback(sound.close)
        with_sound = fault != "audio_dropped"
        encoded = sound.encoded if with_sound else None
        writer = stack.enter_context(
            Mp4Writer(
                out,
                like=spoiler.format,
                time_base=reader.time_base,
                crf=crf,
                copied_audio=sound.template if with_sound else None,
                rate=encoded.rate if encoded else 0,
                channels=encoded.channels if encoded else 0,
            )
        )
        if whole_frame_text:
            masks = [*masks, Mask("remove_only_ocr", start, end, (0.0, 0.0, 1.0, 1.0))]
        if fault == "picture_unchanged":
            masks = ()
        eraser = Eraser(masks, reader.width, reader.height, float(reader.fps))
        shift = round((reader.origin + start) / float(reader.time_base))
        frames = 0
        for item in eraser.erased(reader.pictures(max(0.0, start - REACH_SECONDS))):
            if item.time < start - TIME_SLACK:
                continue
            if item.time >= end - TIME_SLACK:
                break
            spoilt = spoiler.picture(item.picture)
            if spoilt is None:
                continue
            writer.picture(spoilt, item.pts - shift)
            frames += 1
            if with_sound:
                sound.advance(writer, item.time - start)
        if with_sound:
            sound.finish(writer)
    return InpaintResult(round(length, 6), frames, eraser.changed)


def _check(masks: Sequence[Mask], fault: str | None, start: float, end: float) -> None:
    if fault is not None and fault not in FAULTS:
        raise MediaError(f"unknown fault {fault!r}")
    for mask in masks:
        mask.check()
    if not 0 <= start < end:
        raise MediaError("the range to keep has no length")
