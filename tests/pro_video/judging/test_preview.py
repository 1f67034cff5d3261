"""The contact sheet of a job, and the moments it shows."""

from __future__ import annotations

import io
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pro_video.core.errors import MediaUnusable
from pro_video.judging.preview import choose_instants, make_preview
from pro_video.request.models import AnnotationArea, Region, Segment
from tests.support.media.clips import Counting, Picture, write_clip, write_large, write_sound

REGION = Region(x=0.1, y=0.1, width=0.5, height=0.5)


def area(start: float, end: float | None, kind: str = "erase") -> AnnotationArea:
    return AnnotationArea.model_validate(
        {"kind": kind, "region": REGION, "start": start, "end": end}
    )


def numbered(index: int, width: int, height: int) -> Picture:
    """A grey that tells the second: 40 levels each, from 25 frames."""
    return np.full((height, width, 3), 20 + 40 * (index // 25), dtype=np.uint8)


def corner(index: int, width: int, height: int) -> Picture:
    """Black, with a white top left quarter."""
    picture = np.zeros((height, width, 3), dtype=np.uint8)
    picture[: height // 2, : width // 2] = 255
    return picture


def sheet(data: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    with Image.open(io.BytesIO(data)) as picture:
        assert picture.format == "JPEG"
        return np.asarray(picture.convert("L"))


def test_rows_of_pairs_in_order_of_time(tmp_path: Path) -> None:
    before = write_clip(tmp_path / "before.mp4", seconds=4, draw=numbered, gop=250)
    after = write_clip(
        tmp_path / "after.mp4",
        seconds=4,
        width=320,
        height=192,
        draw=lambda i, w, h: 255 - numbered(i, w, h),
    )
    shown = sheet(make_preview(before, after, instants=(3.5, 0.5, 1.5)))
    assert shown.shape == (3 * 230, 2 * 384)
    levels = [
        [int(np.median(cell)) for cell in np.split(row, 2, axis=1)] for row in np.split(shown, 3)
    ]
    assert levels == [
        [pytest.approx(level, abs=4), pytest.approx(255 - level, abs=4)] for level in (20, 60, 140)
    ]


def test_streams_work_like_paths(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "c.mp4")
    with clip.open("rb") as first, io.BytesIO(clip.read_bytes()) as second:
        assert make_preview(first, second, instants=(1.0,)) == make_preview(
            clip, clip, instants=(1.0,)
        )


@pytest.mark.parametrize(
    ("rotation", "quarter"), [(90, "bottom left"), (-90, "top right"), (180, "bottom right")]
)
def test_turned_videos_are_shown_upright(tmp_path: Path, rotation: int, quarter: str) -> None:
    clip = write_clip(tmp_path / "c.mp4", seconds=0.4, draw=corner, rotation=rotation)
    shown = sheet(make_preview(clip, clip, instants=(0.0,)))[:, :384]
    rows, columns = shown.shape[0] // 2, 192
    bright = {
        "top left": shown[:rows, :columns].mean(),
        "top right": shown[:rows, columns:].mean(),
        "bottom left": shown[rows:, :columns].mean(),
        "bottom right": shown[rows:, columns:].mean(),
    }
    assert max(bright, key=lambda name: bright[name]) == quarter
    assert bright[quarter] > 240


def test_other_moments_of_a_retimed_result(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "c.mp4", seconds=4, draw=numbered)
    shown = sheet(make_preview(clip, clip, instants=(0.5,), after_instants=(2.5,)))
    assert np.median(shown[:, :384]) == pytest.approx(20, abs=4)
    assert np.median(shown[:, 384:]) == pytest.approx(100, abs=4)


def test_a_moment_past_the_end_shows_the_last_picture(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "c.mp4", seconds=2, draw=numbered)
    assert np.median(sheet(make_preview(clip, clip, instants=(9.0,)))) == pytest.approx(60, abs=4)


def test_only_the_intervals_that_are_shown_are_read(tmp_path: Path) -> None:
    path = write_large(tmp_path / "large.mov", 250, faststart=True)
    stream = Counting(path.read_bytes())
    assert make_preview(path, stream, instants=(0.1, 5.0, 9.8))
    assert stream.bytes_read < 6_000_000


def test_what_cannot_be_shown(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "c.mp4", seconds=0.4)
    with pytest.raises(MediaUnusable, match="no picture"):
        make_preview(clip, write_sound(tmp_path / "a.wav"), instants=(0.0,))
    for instants in ((), (0.0,) * 13):
        with pytest.raises(ValueError, match="1 to 12"):
            make_preview(clip, clip, instants=instants)


def test_instants_show_areas_first_then_segments() -> None:
    segments = [Segment(start=1, end=2, audio="a"), Segment(start=8, end=9, audio="a")]
    areas = [area(3, 5), area(0, None), area(6, 6.5, "protect")]
    assert choose_instants(10.0, segments, areas, at_most=4) == (1.5, 4.0, 5.0, 8.5)
    assert choose_instants(10.0, segments, areas, at_most=2) == (4.0, 5.0)


def test_instants_are_apart_inside_and_never_missing() -> None:
    instants = choose_instants(10.0, areas=[area(0, None), area(4.9, 5.2), area(9, 99)])
    assert len(instants) == 5
    assert all(b - a >= 0.2 for a, b in pairwise(instants))
    assert all(0 <= instant <= 9.9 for instant in instants)
    assert choose_instants(0.05) == (0.0,)
    assert len(choose_instants(60.0)) == 5
