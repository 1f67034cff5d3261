"""What must have changed in the picture has changed, and what cannot be told is not judged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pro_video.errors import OutputRejected
from pro_video.inpainting_plan import InpaintingPlan, inpainting_plan
from pro_video.inspection.changes import (
    AreaChange,
    check_lips_changed,
    check_picture_changed,
    untouched,
)
from pro_video.media import probe
from pro_video.media_info import VideoStream
from pro_video.request import Segment, check_areas
from pro_video.timeline import Timeline, lip_sync_timeline
from tests.pro_video.clips import Picture, moving, write_clip

WIDTH, HEIGHT, SECONDS = 320, 192, 3.0
LOGO = {"x": 0.7, "y": 0.1, "width": 0.2, "height": 0.2}
ELSEWHERE = {"x": 0.1, "y": 0.6, "width": 0.2, "height": 0.2}


def with_logo(index: int, width: int, height: int) -> Picture:
    picture = moving(index, width, height)
    picture[24:52, 232:280] = 255
    picture[32:44, 240:272] = 0
    return picture


def black(index: int, width: int, height: int) -> Picture:
    return np.zeros((height, width, 3), dtype=np.uint8)


def other(index: int, width: int, height: int) -> Picture:
    """Another video: white above black."""
    picture = np.zeros((height, width, 3), dtype=np.uint8)
    picture[: height // 2] = 255
    return picture


def halved(index: int, width: int, height: int) -> Picture:
    return moving(index, 2 * width, 2 * height)[::2, ::2].copy()


def talking(index: int, width: int, height: int) -> Picture:
    """A small mouth of 16x6 pixels that opens between the seconds 1 and 2."""
    picture = moving(0, width, height)
    if 25 <= index < 50:
        picture[120:126, 150:166] = 250 if index % 4 < 2 else 5
    return picture


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


def clip(folder: Path, name: str, draw: Any, **more: Any) -> Path:
    return write_clip(
        folder / f"{name}.mp4",
        width=more.pop("width", WIDTH),
        height=more.pop("height", HEIGHT),
        seconds=SECONDS,
        draw=draw,
        sound=False,
        **more,
    )


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pictures")
    still = [
        clip(folder, f"still-{crf}", lambda i, w, h: moving(0, w, h), crf=crf) for crf in (17, 23)
    ]
    return {
        "logo": clip(folder, "logo", with_logo),
        "logo again": clip(folder, "again", with_logo, crf=24, gop=30),
        "clean": clip(folder, "clean", moving, crf=20),
        "clean small": clip(folder, "small", halved, width=160, height=96),
        "late": clip(folder, "late", lambda i, w, h: with_logo(max(0, i - 2), w, h)),
        "black": clip(folder, "black", black),
        "other": clip(folder, "other", other),
        "still": still[0],
        "still again": still[1],
        "talking": clip(folder, "talking", talking),
        "scene": clip(folder, "scene", scene),
    }


def plan(*areas: dict[str, Any]) -> InpaintingPlan:
    checked, options = check_areas(areas)
    return inpainting_plan(checked, options, SECONDS)


def picture(path: Path) -> VideoStream:
    found = probe(path, size=path.stat().st_size).video
    assert found is not None
    return found


def compare(before: Path, after: Path, planned: InpaintingPlan) -> tuple[AreaChange, ...]:
    return check_picture_changed(
        before, after, planned, SECONDS, source=picture(before), result=picture(after)
    )


def area(kind: str, region: dict[str, float], **more: Any) -> dict[str, Any]:
    return {"kind": kind, "region": region, **more}


def changes(files: dict[str, Path], after: str, *areas: dict[str, Any]) -> list[tuple[int, bool]]:
    found = compare(files["logo"], files[after], plan(*areas))
    assert all(isinstance(change, AreaChange) for change in found)
    return [(change.mask, change.changed) for change in found]


def test_a_removed_logo_is_seen(files: dict[str, Path]) -> None:
    assert changes(files, "clean", area("erase", LOGO)) == [(0, True)]
    assert changes(files, "clean small", area("erase", LOGO)) == [(0, True)]


def test_an_erased_area_that_is_as_before_is_refused(files: dict[str, Path]) -> None:
    with pytest.raises(OutputRejected, match=r"annotation_areas\[0\]") as caught:
        changes(files, "logo again", area("erase", LOGO))
    assert caught.value.code == "output_picture_unchanged"


def test_one_unchanged_area_of_several_is_refused(files: dict[str, Path]) -> None:
    with pytest.raises(OutputRejected, match=r"annotation_areas\[1\]"):
        changes(files, "clean", area("erase", LOGO), area("erase", ELSEWHERE, start=1))


def test_text_that_may_not_have_been_there_is_not_judged(files: dict[str, Path]) -> None:
    assert changes(files, "logo again", area("erase_text", LOGO)) == [(0, False)]
    assert changes(files, "clean", area("erase_text", LOGO), area("erase_text", ELSEWHERE)) == [
        (0, True),
        (1, False),
    ]


def test_an_erasure_that_a_protection_overlaps_is_not_judged(files: dict[str, Path]) -> None:
    guard = area("protect", {"x": 0.75, "y": 0.1, "width": 0.2, "height": 0.2})
    assert changes(files, "logo again", area("erase", LOGO), guard) == [(0, False)]
    later = {**guard, "start": 1.5}
    with pytest.raises(OutputRejected):
        changes(files, "logo again", area("erase", LOGO, end=1.0), later)


def test_an_even_surface_says_nothing(files: dict[str, Path]) -> None:
    found = compare(files["black"], files["black"], plan(area("erase", LOGO)))
    assert [change.changed for change in found] == [True]


def test_a_result_that_is_a_frame_late_is_not_another_video(files: dict[str, Path]) -> None:
    assert changes(files, "late", area("erase_text", LOGO)) == [(0, True)]


def test_a_result_that_shows_something_else_is_refused(files: dict[str, Path]) -> None:
    for areas in ([area("erase", LOGO)], [area("protect", LOGO)]):
        with pytest.raises(OutputRejected) as caught:
            changes(files, "other", *areas)
        assert caught.value.code == "output_picture_foreign"


def test_many_areas_are_bounded(files: dict[str, Path]) -> None:
    many = [
        area("erase_text", {"x": 0.7, "y": 0.1, "width": 0.2, "height": 0.1 + i / 1000})
        for i in range(30)
    ]
    assert len(changes(files, "clean", *many)) == 12


def lips(files: dict[str, Path], before: str, after: str, start: float, end: float) -> None:
    segments = [Segment(start=start, end=end, audio="a")]
    timeline = lip_sync_timeline(SECONDS, segments, [end - start], "cut_off")
    check_lips_changed(
        files[before],
        files[after],
        segments,
        timeline,
        length=SECONDS,
        source=picture(files[before]),
        result=picture(files[after]),
    )


def test_moved_lips_are_seen_even_when_small(files: dict[str, Path]) -> None:
    lips(files, "still", "talking", 1.0, 2.0)


def test_a_segment_without_any_change_is_refused(files: dict[str, Path]) -> None:
    with pytest.raises(OutputRejected) as caught:
        lips(files, "still", "still again", 1.0, 2.0)
    assert caught.value.code == "output_picture_unchanged"
    with pytest.raises(OutputRejected):
        lips(files, "still", "talking", 2.1, 2.8)


def test_another_video_is_refused_after_lip_sync(files: dict[str, Path]) -> None:
    with pytest.raises(OutputRejected) as caught:
        lips(files, "logo", "other", 1.0, 2.0)
    assert caught.value.code == "output_picture_foreign"


def test_what_cannot_be_compared_is_refused(files: dict[str, Path], tmp_path: Path) -> None:
    page = tmp_path / "page.mp4"
    page.write_text("<html>")
    with pytest.raises(OutputRejected) as caught:
        check_lips_changed(
            files["logo"],
            page,
            [Segment(start=1, end=2, audio="a")],
            Timeline(SECONDS),
            length=SECONDS,
            source=picture(files["logo"]),
            result=picture(files["logo"]),
        )
    assert caught.value.code == "output_undecodable"


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
def test_a_sound_result_is_never_refused(files: dict[str, Path], tmp_path: Path, name: str) -> None:
    made: dict[str, Any] = {"draw": scene} | SOUND[name]
    result = clip(tmp_path, "result", **made)
    assert compare(files["scene"], result, plan(area("erase_text", LOGO)))

    def spoken(index: int, width: int, height: int) -> Picture:
        picture: Picture = made["draw"](index, width, height)
        if 1.0 <= index * SECONDS / len(made.get("times", range(75))) < 2.0:
            picture[height // 2 : height * 5 // 8, width // 2 : width * 5 // 8] = 250
        return picture

    mouth = clip(tmp_path, "spoken", **(made | {"draw": spoken}))
    lips({**files, "spoken": mouth}, "scene", "spoken", 1.0, 2.0)


@pytest.mark.parametrize("draw", [lambda i, w, h: erased(scene(i, w, h)), painted(218, 10, 0)])
def test_an_erasure_may_reach_a_little_past_its_area(
    files: dict[str, Path], tmp_path: Path, draw: Any
) -> None:
    assert compare(files["scene"], clip(tmp_path, "result", draw), plan(area("erase_text", LOGO)))


FAULTY: dict[str, Any] = {
    "a white block": painted(20, 100, 255),
    "a black block": painted(140, 40, 0),
    "a block for a second": painted(20, 100, 255, 10, 45),
    "all erased": smoothed,
    "axes swapped": swapped,
    "mirrored": lambda i, w, h: scene(i, w, h)[:, ::-1].copy(),
}


@pytest.mark.parametrize("name", FAULTY)
def test_a_change_outside_the_areas_is_refused(
    files: dict[str, Path], tmp_path: Path, name: str
) -> None:
    result = clip(tmp_path, "result", FAULTY[name], crf=23)
    with pytest.raises(OutputRejected) as caught:
        compare(files["scene"], result, plan(area("erase_text", LOGO)))
    assert caught.value.code in ("output_picture_changed", "output_picture_foreign")


def test_a_change_outside_its_window_is_refused(files: dict[str, Path], tmp_path: Path) -> None:
    always = clip(tmp_path, "always", lambda i, w, h: erased(scene(i, w, h)))
    with pytest.raises(OutputRejected) as caught:
        compare(files["scene"], always, plan(area("erase", LOGO, end=1.0)))
    assert caught.value.code == "output_picture_changed"
    timely = clip(
        tmp_path, "timely", lambda i, w, h: erased(scene(i, w, h)) if i < 27 else scene(i, w, h)
    )
    assert compare(files["scene"], timely, plan(area("erase", LOGO, end=1.0)))


def test_automatic_removal_may_change_all_but_what_is_protected(
    files: dict[str, Path], tmp_path: Path
) -> None:
    kept = {"x": 0.5, "y": 0.4, "width": 0.4, "height": 0.5}
    outside = clip(tmp_path, "outside", painted(20, 100, 255))
    assert compare(files["scene"], outside, plan(area("protect", kept))) == ()
    inside = clip(tmp_path, "inside", painted(200, 110, 255))
    with pytest.raises(OutputRejected) as caught:
        compare(files["scene"], inside, plan(area("protect", kept)))
    assert caught.value.code == "output_picture_changed"
    assert compare(files["scene"], inside, plan(area("protect", kept, end=0.9))) == ()


def test_lip_sync_outside_of_its_segments_is_refused(
    files: dict[str, Path], tmp_path: Path
) -> None:
    marked = clip(tmp_path, "marked", painted(90, 100, 255))
    with pytest.raises(OutputRejected) as caught:
        lips({**files, "marked": marked}, "scene", "marked", 1.0, 1.6)
    assert caught.value.code == "output_picture_changed"


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
    named = {"before": before, "again": again, "spoken": spoken}
    lips(named, "before", "spoken", 1.0, 2.0)
    with pytest.raises(OutputRejected) as caught:
        lips(named, "before", "again", 1.0, 2.0)
    assert caught.value.code == "output_picture_unchanged"


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
