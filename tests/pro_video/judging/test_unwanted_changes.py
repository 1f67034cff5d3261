"""Kept parts of a picture change no more than by encoding; lip-sync is told from its noise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pro_video.judging.picture.checks import untouched
from pro_video.request.models import Segment
from pro_video.request.timeline import lip_sync_timeline
from tests.support.media.clips import Picture
from tests.support.media.compared import (
    HEIGHT,
    LOGO,
    SECONDS,
    WIDTH,
    area,
    clip,
    codes,
    compare,
    lips,
    plan,
)

RNG = np.random.default_rng(5)
PATCHES = RNG.integers(60, 160, (2, 40, 80), dtype=np.uint8)


def scene(index: int, width: int, height: int) -> Picture:
    """Patches of 8x8 pixels that pan by 3 pixels a frame, a cut after 1.4 s, and a flicker."""
    patches = PATCHES[0 if index < 35 else 1].repeat(8, axis=0).repeat(8, axis=1)
    grey = patches[:height, 3 * index : 3 * index + width].astype(np.int16)
    if index % 10 == 7:
        grey = grey + 40
    return np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[:, :, None], 3, axis=2)


def painted(x: int, y: int, grey: int, first: int = 0, last: int = 1000) -> Any:
    """The scene with a block of 40x24 pixels, 1.6 % of the frame, in some of its frames."""

    def draw(index: int, width: int, height: int) -> Picture:
        picture = scene(index, width, height)
        if first <= index < last:
            picture[y : y + 24, x : x + 40] = grey
        return picture

    return draw


def smoothed(index: int, width: int, height: int) -> Picture:
    """The scene as if all of it had been erased: every row the mean of its ends."""
    picture = scene(index, width, height).astype(np.int16)
    return ((picture[:, :1] + picture[:, -1:]) // 2).repeat(width, axis=1).astype(np.uint8)


def swapped(index: int, width: int, height: int) -> Picture:
    """The scene with an erasure whose axes were mixed up: LOGO's x is taken for its y."""
    picture = scene(index, width, height)
    picture[int(0.7 * height) : int(0.9 * height), int(0.1 * width) : int(0.3 * width)] = 0
    return erased(picture)


def erased(picture: Picture) -> Picture:
    """A picture with LOGO filled by black."""
    height, width = picture.shape[:2]
    picture[int(0.1 * height) : int(0.3 * height), int(0.7 * width) : int(0.9 * width)] = 0
    return picture


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clip(tmp_path_factory.mktemp("scene"), "scene", scene)


def shrunk(index: int) -> Picture:
    small = scene(index, WIDTH, HEIGHT)
    rows, columns = (np.arange(124) * HEIGHT) // 124, (np.arange(208) * WIDTH) // 208
    return small[rows][:, columns].copy()


def flatter(index: int, width: int, height: int) -> Picture:
    picture: Picture = (20 + scene(index, width, height) * 0.85).astype(np.uint8)
    return picture


SOUND: dict[str, dict[str, Any]] = {
    "at a low rate": {"crf": 36},
    "smaller": {"crf": 32, "width": 208, "height": 124, "draw": lambda i, w, h: shrunk(i)},
    "a frame late": {"draw": lambda i, w, h: scene(max(0, i - 1), w, h)},
    "two frames early": {"draw": lambda i, w, h: scene(min(74, i + 2), w, h)},
    "uneven": {"times": [40 * i + (17 if i % 3 else -9) for i in range(1, 76)]},
    "half as many frames": {
        "times": [80 * i for i in range(38)],
        "draw": lambda i, w, h: scene(2 * i, w, h),
    },
    "flatter": {"draw": flatter},
    "one odd frame": {"draw": painted(20, 100, 255, 37, 38)},
}


@pytest.mark.parametrize("name", SOUND)
def test_a_sound_result_is_never_refused(source: Path, tmp_path: Path, name: str) -> None:
    made: dict[str, Any] = {"draw": scene} | SOUND[name]
    result = clip(tmp_path, "result", **made)
    assert compare(source, result, plan(area("erase_text", LOGO))) == []

    def spoken(index: int, width: int, height: int) -> Picture:
        picture: Picture = made["draw"](index, width, height)
        if 1.0 <= index * SECONDS / len(made.get("times", range(75))) < 2.0:
            picture[height // 2 : height * 5 // 8, width // 2 : width * 5 // 8] = 250
        return picture

    mouth = clip(tmp_path, "spoken", **(made | {"draw": spoken}))
    assert lips(source, mouth, 1.0, 2.0) == []


@pytest.mark.parametrize("draw", [lambda i, w, h: erased(scene(i, w, h)), painted(218, 10, 0)])
def test_an_erasure_may_reach_a_little_past_its_area(
    source: Path, tmp_path: Path, draw: Any
) -> None:
    assert compare(source, clip(tmp_path, "result", draw), plan(area("erase_text", LOGO))) == []


FAULTY: dict[str, tuple[Any, str]] = {
    "a white block": (painted(20, 100, 255), "output_mark_added"),
    "a black block": (painted(140, 40, 0), "output_mark_added"),
    "a block for a second": (painted(20, 100, 255, 10, 45), "output_picture_changed"),
    "all erased": (smoothed, "output_picture_foreign"),
    "axes swapped": (swapped, "output_mark_added"),
    "mirrored": (lambda i, w, h: scene(i, w, h)[:, ::-1].copy(), "output_orientation"),
}


@pytest.mark.parametrize("name", FAULTY)
def test_a_change_outside_the_areas_is_told(source: Path, tmp_path: Path, name: str) -> None:
    draw, code = FAULTY[name]
    result = clip(tmp_path, "result", draw, crf=23)
    (found,) = compare(source, result, plan(area("erase_text", LOGO)))
    assert found.code == code


def test_a_change_is_told_with_its_place(source: Path, tmp_path: Path) -> None:
    result = clip(tmp_path, "result", painted(20, 100, 255, 10, 45), crf=23)
    (found,) = compare(source, result, plan(area("erase_text", LOGO)))
    assert found.region is not None
    left, top, right, bottom = found.region
    assert abs(left - 20 / WIDTH) < 0.04
    assert abs(top - 100 / HEIGHT) < 0.05
    assert abs(right - 60 / WIDTH) < 0.04
    assert abs(bottom - 124 / HEIGHT) < 0.05
    assert found.start is not None
    assert found.end is not None
    assert 0.2 < found.start < found.end < 1.9
    assert "at the left from" in found.fact


def test_a_change_outside_its_window_is_told(source: Path, tmp_path: Path) -> None:
    always = clip(tmp_path, "always", lambda i, w, h: erased(scene(i, w, h)))
    (found,) = compare(source, always, plan(area("erase", LOGO, end=1.0)))
    assert found.code == "output_picture_changed"
    assert found.start is not None
    assert found.start > 1.5
    timely = clip(
        tmp_path, "timely", lambda i, w, h: erased(scene(i, w, h)) if i < 27 else scene(i, w, h)
    )
    assert compare(source, timely, plan(area("erase", LOGO, end=1.0))) == []


def test_automatic_removal_may_change_all_but_what_is_protected(
    source: Path, tmp_path: Path
) -> None:
    kept = {"x": 0.5, "y": 0.4, "width": 0.4, "height": 0.5}
    outside = clip(tmp_path, "outside", painted(120, 100, 255))
    assert compare(source, outside, plan(area("protect", kept))) == []
    inside = clip(tmp_path, "inside", painted(200, 110, 255))
    assert codes(compare(source, inside, plan(area("protect", kept)))) == ["output_mark_added"]
    assert compare(source, inside, plan(area("protect", kept, end=0.9))) == []


def test_lip_sync_outside_of_its_segments_is_told(source: Path, tmp_path: Path) -> None:
    marked = clip(tmp_path, "marked", painted(90, 100, 255, 0, 30))
    found = codes(lips(source, marked, 1.0, 1.6))
    assert "output_picture_changed" in found


def test_moments_that_may_have_moved_are_not_judged() -> None:
    segments = [Segment(start=1, end=2, audio="a"), Segment(start=4, end=5, audio="a")]
    same = lip_sync_timeline(8.0, segments, [1.0, 1.0], "cut_off")
    moved = lip_sync_timeline(8.0, segments, [2.0, 1.0], "remap")
    start, middle, end = (0.0, 0.7), (2.3, 3.7), (5.3, 7.9)
    assert untouched(segments, same, 8.0) == [start, pytest.approx(middle), end]
    assert untouched(segments, moved, 9.0) == [start, end]
    assert untouched(segments, same, 8.4) == untouched(segments, moved, 8.4) == [start]


@pytest.mark.parametrize("size", [(160, 90), (640, 360)])
def test_an_unchanged_lip_sync_is_seen_in_any_size(tmp_path: Path, size: tuple[int, int]) -> None:
    """As the sandbox's lip-sync writes it: the same pictures, encoded again at CRF 17."""
    at = {"width": size[0], "height": size[1]}
    before = clip(tmp_path, "before", scene_of_any_size, crf=15, **at)
    again = clip(tmp_path, "again", scene_of_any_size, crf=17, gop=50, **at)
    spoken = clip(tmp_path, "spoken", with_mouth, crf=17, gop=50, **at)
    assert lips(before, spoken, 1.0, 2.0) == []
    assert codes(lips(before, again, 1.0, 2.0)) == ["output_picture_unchanged"]


GRAIN = RNG.normal(0, 4, (410, 690))


def scene_of_any_size(index: int, width: int, height: int) -> Picture:
    columns, rows = np.arange(width) / height, np.arange(height) / height
    grey = 128 + 70 * np.outer(np.cos(19 * rows), np.sin(23 * columns + index / 8))
    shift = 7 * index % 50
    grain = GRAIN[shift : shift + height, shift : shift + width]
    return np.repeat((grey + grain).astype(np.uint8)[:, :, None], 3, axis=2)


def with_mouth(index: int, width: int, height: int) -> Picture:
    """A mouth of a fiftieth of the frame's height and a thirtieth of its width."""
    picture = scene_of_any_size(index, width, height)
    if 25 <= index < 50 and index % 6 < 4:
        top, left = height * 6 // 10, width // 2
        picture[top : top + max(3, height // 50), left : left + width // 30] //= 3
    return picture
