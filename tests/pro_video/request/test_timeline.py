"""Where moments of the source are in the result."""

from __future__ import annotations

import pytest

from pro_video.request.check import check_inpainting_request
from pro_video.request.models import AnnotationArea, Region, Segment, SyncMode
from pro_video.request.timeline import Timeline, lip_sync_timeline

SEGMENTS = [Segment(start=2, end=4, audio="a"), Segment(start=6, end=7, audio="b")]


def timeline(mode: SyncMode, first: float = 3.0, second: float = 0.5) -> Timeline:
    return lip_sync_timeline(10.0, SEGMENTS, [first, second], mode)


@pytest.mark.parametrize(
    ("mode", "length"),
    [("cut_off", 9.5), ("silence", 11.0), ("remap", 10.5), ("loop", 10.5), ("bounce", 10.5)],
)
def test_the_length_follows_the_vendors_table(mode: SyncMode, length: float) -> None:
    assert timeline(mode).length == pytest.approx(length)


def test_a_fitting_audio_changes_nothing() -> None:
    same = timeline("remap", 2.01, 0.99)
    assert same.retimed == ()
    assert same.at(5.5) == 5.5


def test_moments_move_with_the_segments_before_them() -> None:
    remap = timeline("remap")
    moments = [0, 2, 3, 4, 5, 6, 6.5, 7, 10]
    assert [remap.at(m) for m in moments] == pytest.approx([0, 2, 3.5, 5, 6, 7, 7.25, 7.5, 10.5])


def test_repeated_pictures_are_covered_to_their_last_showing() -> None:
    loop = timeline("loop")
    assert loop.at(3) == pytest.approx(3)
    assert loop.at(3, end=True) == pytest.approx(5)
    assert loop.at(2, end=True) == pytest.approx(2)
    assert timeline("cut_off", 1.0).at(3.5) == pytest.approx(3)


def test_the_mapping_never_goes_back() -> None:
    modes: list[SyncMode] = ["cut_off", "silence", "remap", "loop", "bounce"]
    for mode in modes:
        for end in (False, True):
            moved = [timeline(mode).at(i / 10, end=end) for i in range(101)]
            assert moved == sorted(moved)


def test_the_result_decides_between_moved_and_unchanged() -> None:
    predicted = timeline("remap")
    assert predicted.observed(10.45) is predicted
    assert predicted.observed(10.04) == Timeline(10.0)


def test_windows_of_areas_move_and_open_ends_stay_open() -> None:
    region = Region(x=0, y=0, width=1, height=0.5)
    areas = [
        AnnotationArea(kind="erase", region=region, start=4, end=6),
        AnnotationArea(kind="erase", region=region, start=8),
    ]
    moved = timeline("remap").moved(areas)
    assert [(area.start, area.end) for area in moved] == [(5.0, 7.0), (8.5, None)]
    assert Timeline(10.0).moved(areas) == tuple(areas)


def test_a_window_that_was_cut_off_stays_a_window() -> None:
    region = Region(x=0, y=0, width=1, height=0.5)
    cut = timeline("cut_off", 1.0)
    inside = AnnotationArea(kind="erase", region=region, start=3.2, end=3.8)
    last = AnnotationArea(kind="erase", region=region, start=9.999, end=12)
    moved = cut.moved([inside, last])
    assert [area.start for area in moved] == pytest.approx([3.0, cut.length - 0.04])
    assert moved[0].end == pytest.approx(3.04)
    request = check_inpainting_request("s3://bucket/in.mp4", moved, allow_local_files=False)
    assert request.annotation_areas == moved
