"""Parts of a picture that had to change have changed; uncertain ones are not judged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pro_video.core.errors import MediaUnusable
from pro_video.judging.findings import Finding
from pro_video.judging.picture.checks import check_lip_sync_picture
from pro_video.judging.picture.frame_pairs import Videos
from pro_video.request.models import Segment
from pro_video.request.timeline import Timeline
from tests.support.media.clips import Picture, moving
from tests.support.media.compared import (
    LOGO,
    SECONDS,
    area,
    clip,
    codes,
    compare,
    lips,
    plan,
)
from tests.support.media.probed import picture_of

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
    }


def changes(files: dict[str, Path], after: str, *areas: dict[str, Any]) -> list[Finding]:
    return compare(files["logo"], files[after], plan(*areas))


def test_a_removed_logo_is_seen(files: dict[str, Path]) -> None:
    assert changes(files, "clean", area("erase", LOGO)) == []
    assert changes(files, "clean small", area("erase", LOGO)) == []


def test_an_erased_area_that_is_as_before(files: dict[str, Path]) -> None:
    (found,) = changes(files, "logo again", area("erase", LOGO, end=2.0))
    assert found.code == "output_picture_unchanged"
    assert "annotation_areas[0]" in found.fact
    assert (found.start, found.end) == (0.0, 2.0)
    assert found.region == pytest.approx((0.7, 0.1, 0.9, 0.3))
    assert not found.unusable


def test_each_unchanged_area_is_named(files: dict[str, Path]) -> None:
    found = changes(
        files,
        "clean",
        area("erase", LOGO),
        area("erase", ELSEWHERE, start=1),
        area("erase", {**ELSEWHERE, "x": 0.5}),
    )
    assert [finding.fact[19:38] for finding in found] == [
        "annotation_areas[1]",
        "annotation_areas[2]",
    ]


def test_text_that_may_not_have_been_there_is_not_judged(files: dict[str, Path]) -> None:
    assert changes(files, "logo again", area("erase_text", LOGO)) == []
    assert changes(files, "clean", area("erase_text", LOGO), area("erase_text", ELSEWHERE)) == []


def test_an_erasure_that_a_protection_overlaps_is_not_judged(files: dict[str, Path]) -> None:
    guard = area("protect", {"x": 0.75, "y": 0.1, "width": 0.2, "height": 0.2})
    assert changes(files, "logo again", area("erase", LOGO), guard) == []
    later = {**guard, "start": 1.5}
    found = changes(files, "logo again", area("erase", LOGO, end=1.0), later)
    assert codes(found) == ["output_picture_unchanged"]


def test_an_even_surface_says_nothing(files: dict[str, Path]) -> None:
    assert compare(files["black"], files["black"], plan(area("erase", LOGO))) == []


def test_a_result_that_is_a_frame_late_is_not_another_video(files: dict[str, Path]) -> None:
    assert changes(files, "late", area("erase_text", LOGO)) == []


@pytest.mark.parametrize("after", ["other", "black"])
def test_a_result_that_shows_something_else_is_unusable(files: dict[str, Path], after: str) -> None:
    for areas in ([area("erase", LOGO)], [area("protect", LOGO)]):
        (found,) = changes(files, after, *areas)
        assert (found.code, found.unusable) == ("output_picture_foreign", True)


def test_many_areas_are_bounded(files: dict[str, Path]) -> None:
    """Moments are looked at in the first twelve."""
    many = [
        area("erase", {"x": 0.1, "y": 0.5, "width": 0.2, "height": 0.1 + i / 1000})
        for i in range(30)
    ]
    found = codes(changes(files, "clean", *many))
    assert found.count("output_picture_unchanged") == 12


def test_moved_lips_are_seen_even_when_small(files: dict[str, Path]) -> None:
    assert lips(files["still"], files["talking"], 1.0, 2.0) == []


def test_a_segment_without_any_change(files: dict[str, Path]) -> None:
    (found,) = lips(files["still"], files["still again"], 1.0, 2.0)
    assert (found.code, found.start, found.end) == ("output_picture_unchanged", 1.0, 2.0)
    assert not found.unusable
    assert "output_picture_unchanged" in codes(lips(files["still"], files["talking"], 2.1, 2.8))


def test_another_video_is_seen_after_lip_sync(files: dict[str, Path]) -> None:
    (found,) = lips(files["logo"], files["other"], 1.0, 2.0)
    assert (found.code, found.unusable) == ("output_picture_foreign", True)


def test_what_cannot_be_read_cannot_be_compared(files: dict[str, Path], tmp_path: Path) -> None:
    page = tmp_path / "page.mp4"
    page.write_text("<html>")
    shown = picture_of(files["logo"])
    with pytest.raises(MediaUnusable):
        check_lip_sync_picture(
            Videos(files["logo"], page, shown, shown, SECONDS),
            [Segment(start=1, end=2, audio="a")],
            Timeline(SECONDS),
        )
