"""The demo sample: a clip with text burned in, its clean original, and two new lines of speech."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from sandbox.media import overlays
from sandbox.media.errors import MediaError
from sandbox.media.files.mp4_writer import Format, Mp4Writer
from sandbox.media.overlays import Overlay, Region
from sandbox.media.sample.scene import Scene
from sandbox.media.sample.speech import RATE, ambience, speech, write_wav

SUBTITLES = ("The road goes on\nbeyond the hills", "Tomorrow we shall\nsee the sea")
CRF = 15
Texts = tuple[Sequence[Overlay], Overlay, Overlay]
"""The two lines, the watermark and the caption."""
TEXT_MARGIN = 0.015
"""Fraction of the frame that an area reaches past the text it covers."""


@dataclass(frozen=True)
class Subtitle:
    """One burned-in line: window in seconds, place as x0, y0, x1, y1 fractions of the frame."""

    start: float
    end: float
    region: Region


@dataclass(frozen=True)
class Sample:
    """The files and the truth about them. Regions are x0, y0, x1, y1 fractions of the frame.

    Attributes:
        clip: what a user would hand in.
        clean: the same pictures and sound without subtitle and watermark; the caption stays.
        line_1, line_2: replacement sound for the two segments, of exactly their length.
        segments: start and end of the ranges they replace, seconds.
        subtitles: what is burned in, and when.
        subtitle_region: the area to erase; `protected_region` reaches into it.
        watermark_region: the area of the permanent watermark.
        protected_region: the caption that has to stay.
        description: `sample.json`, which holds the same in the form of the product's parameters.
    """

    clip: Path
    clean: Path
    line_1: Path
    line_2: Path
    segments: tuple[tuple[float, float], tuple[float, float]]
    subtitles: tuple[Subtitle, Subtitle]
    subtitle_region: Region
    watermark_region: Region
    protected_region: Region
    description: Path
    width: int
    height: int
    fps: int
    seconds: float


def make_sample(
    out_dir: Path,
    *,
    width: int = 640,
    height: int = 360,
    seconds: float = 8.0,
    fps: int = 25,
    pan: bool = True,
    step: int = 3,
    seed: int = 7,
) -> Sample:
    """Write the sample into `out_dir`. The same arguments give the same files.

    Args:
        width, height: in pixels, even, at least 160 x 90.
        seconds: length, at least 2.
        pan: whether the camera moves, by `step` pixels for each picture.

    Raises:
        MediaError: a size or length that cannot be made.
    """
    if width % 2 or height % 2 or not 160 <= width <= 3840 or not 90 <= height <= 2160:
        raise MediaError("width and height have to be even, from 160x90 to 3840x2160")
    if not 2 <= seconds <= 600 or not 5 <= fps <= 60:
        raise MediaError("a sample lasts 2 to 600 seconds at 5 to 60 pictures in a second")
    out_dir.mkdir(parents=True, exist_ok=True)
    frames = round(seconds * fps)
    windows = _windows(frames, fps)
    frame = (width, height)
    texts = lines, watermark, caption = _texts(frame)
    clip, clean = out_dir / "clip.mp4", out_dir / "clean.mp4"
    line_1, line_2 = out_dir / "line-1.wav", out_dir / "line-2.wav"
    for path, window, voice in (
        (line_1, windows[0], (101, 205.0)),
        (line_2, windows[1], (202, 96.0)),
    ):
        write_wav(path, speech(window[1] - window[0], seed=voice[0], pitch=voice[1]))
    scene = Scene(width, height, frames, step=step if pan else 0, seed=seed)
    _render(scene, (clip, clean), texts, windows, frame, fps, frames)
    sample = Sample(
        clip=clip,
        clean=clean,
        line_1=line_1,
        line_2=line_2,
        segments=windows,
        subtitles=(
            Subtitle(*windows[0], lines[0].region(width, height)),
            Subtitle(*windows[1], lines[1].region(width, height)),
        ),
        subtitle_region=_erase_region(lines, caption, frame),
        watermark_region=_grown(watermark.region(width, height)),
        protected_region=caption.region(width, height),
        description=out_dir / "sample.json",
        width=width,
        height=height,
        fps=fps,
        seconds=frames / fps,
    )
    sample.description.write_text(json.dumps(describe(sample), indent=2) + "\n", "utf-8")
    return sample


def _texts(frame: tuple[int, int]) -> Texts:
    """What is burned in, in the sizes for this frame."""
    height = frame[1]
    size = max(9, round(height * 0.062))
    lines = [
        overlays.text(words, centre=(0.53, 0.875), size=size, frame=frame) for words in SUBTITLES
    ]
    watermark = overlays.text(
        "PRO·VIDEO",
        centre=(0.84, 0.14),
        size=max(6, round(height * 0.05)),
        frame=frame,
        fill=(255, 255, 255, 215),
        outline=(20, 30, 60, 215),
    )
    caption = overlays.text(
        "LIVE 07",
        centre=(0.135, 0.80),
        size=max(8, round(height * 0.042)),
        frame=frame,
        stroke=0,
        plate=(178, 34, 44, 255),
    )
    return lines, watermark, caption


def _windows(frames: int, fps: int) -> tuple[tuple[float, float], tuple[float, float]]:
    """Two windows on picture boundaries, leaving clean pictures before, between and after."""
    marks = [round(frames * share) / fps for share in (0.125, 0.4, 0.575, 0.85)]
    return (marks[0], marks[1]), (marks[2], marks[3])


def _grown(region: Region) -> Region:
    x0, y0, x1, y1 = region
    return (
        max(0.0, x0 - TEXT_MARGIN),
        max(0.0, y0 - TEXT_MARGIN),
        min(1.0, x1 + TEXT_MARGIN),
        min(1.0, y1 + TEXT_MARGIN),
    )


def _erase_region(lines: Sequence[Overlay], caption: Overlay, frame: tuple[int, int]) -> Region:
    """Both lines and a margin, drawn wide enough to cut into the caption."""
    regions = [_grown(line.region(*frame)) for line in lines]
    caption_region = caption.region(*frame)
    inside = (caption_region[0] + caption_region[2]) / 2
    return (
        round(min(inside, *(region[0] for region in regions)), 4),
        round(min(region[1] for region in regions), 4),
        round(max(region[2] for region in regions), 4),
        round(max(region[3] for region in regions), 4),
    )


def _render(
    scene: Scene,
    paths: tuple[Path, Path],
    texts: Texts,
    windows: Sequence[tuple[float, float]],
    frame: tuple[int, int],
    fps: int,
    frames: int,
) -> None:
    lines, watermark, caption = texts
    seconds = frames / fps
    voice = speech(seconds, seed=303, pitch=140.0) * 0.7
    sound = (ambience(seconds, seed=11) + voice).astype(np.float32)
    form = Format(frame[0], frame[1], Fraction(fps))
    writers = [
        Mp4Writer(path, like=form, time_base=Fraction(1, fps), crf=CRF, rate=RATE, channels=2)
        for path in paths
    ]
    with writers[0], writers[1]:
        for number in range(frames):
            picture = scene.picture(number)
            caption.draw(picture)
            writers[1].picture(picture, number)
            watermark.draw(picture)
            for line, (start, end) in zip(lines, windows, strict=True):
                if start <= number / fps < end:
                    line.draw(picture)
            writers[0].picture(picture, number)
            first, last = (round(n / fps * RATE) for n in (number, number + 1))
            for writer in writers:
                writer.sound(sound[first:last])


def _area(kind: str, region: Region, start: float, end: float | None) -> dict[str, object]:
    x0, y0, x1, y1 = (round(value, 4) for value in region)
    return {
        "kind": kind,
        "region": {"x": x0, "y": y0, "width": round(x1 - x0, 4), "height": round(y1 - y0, 4)},
        "start": start,
        "end": end,
    }


def describe(sample: Sample) -> dict[str, object]:
    """The content of `sample.json`: parameters to pass on, and the truth to check against."""
    first, last = sample.subtitles[0].start, sample.subtitles[1].end
    lines = (sample.line_1, sample.line_2)
    return {
        "video": str(sample.clip.resolve()),
        "segments": [
            {"start": start, "end": end, "audio": str(line.resolve())}
            for (start, end), line in zip(sample.segments, lines, strict=True)
        ],
        "annotation_areas": [
            _area(
                "erase_text",
                sample.subtitle_region,
                round(max(0.0, first - 0.2), 3),
                round(min(sample.seconds, last + 0.2), 3),
            ),
            _area("erase", sample.watermark_region, 0.0, None),
            _area("protect", sample.protected_region, 0.0, None),
        ],
        "clean": str(sample.clean.resolve()),
        "subtitles": [
            {"start": line.start, "end": line.end, "region": list(line.region)}
            for line in sample.subtitles
        ],
        "width": sample.width,
        "height": sample.height,
        "fps": sample.fps,
        "seconds": sample.seconds,
    }
