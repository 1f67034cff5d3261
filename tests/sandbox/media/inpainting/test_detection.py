from __future__ import annotations

import cv2
import numpy as np
import pytest

from sandbox.media.files.pictures import Plane
from sandbox.media.inpainting.detection import Camera, Place, StandingEdges
from sandbox.media.inpainting.masks import Bitmap
from sandbox.media.sample.scene import cloudy

EVERYWHERE = np.ones((120, 180), np.bool_)


def texture(seed: int = 4) -> Plane:
    field = 128 + 30 * cloudy(np.random.default_rng(seed), 200, 300, 1.0)
    return np.clip(field, 0, 255).astype(np.uint8)


def with_text(plane: Plane) -> Plane:
    plane = plane.copy()
    cv2.putText(plane, "words", (30, 70), cv2.FONT_HERSHEY_SIMPLEX, 1, 20, 5)
    cv2.putText(plane, "words", (30, 70), cv2.FONT_HERSHEY_SIMPLEX, 1, 235, 2)
    return plane


@pytest.mark.parametrize("shift", [(0, 0), (5, -3), (-14, 9)])
def test_motion_is_followed(shift: tuple[int, int]) -> None:
    wide, (dx, dy) = texture(), shift
    camera = Camera(EVERYWHERE)
    camera.follow(wide[40:160, 60:240])
    place = camera.follow(wide[40 - dy : 160 - dy, 60 - dx : 240 - dx])
    assert place.shot == 0
    assert (place.x, place.y) == pytest.approx(shift, abs=0.2)


def test_text_that_no_mask_covers_does_not_hold_the_camera() -> None:
    wide = texture()
    camera = Camera(EVERYWHERE)
    for step in range(3):
        place = camera.follow(with_text(wide[:120, 4 * step : 180 + 4 * step]))
    assert (place.x, place.y) == pytest.approx((-8, 0), abs=0.3)


def test_a_still_camera_does_not_drift_and_a_cut_begins_a_shot() -> None:
    random, wide = np.random.default_rng(1), texture()
    camera = Camera(EVERYWHERE)
    for _ in range(20):
        grain = random.normal(0, 2, EVERYWHERE.shape)
        assert camera.follow(np.clip(wide[:120, :180] + grain, 0, 255).astype(np.uint8)) == Place()
    negative: Plane = 255 - wide[:120, :180]
    assert camera.follow(negative) == Place(1)
    assert camera.follow(negative) == Place(1)


def test_pictures_without_features_rest() -> None:
    camera = Camera(EVERYWHERE)
    grey = np.full(EVERYWHERE.shape, 90, np.uint8)
    assert [camera.follow(grey) for _ in range(3)] == [Place()] * 3


def found(pictures: list[Plane], step: int) -> list[Bitmap | None]:
    edges = StandingEdges(5)
    return [edges.add(Place(0, float(step * n)), plane) for n, plane in enumerate(pictures)]


@pytest.mark.parametrize("step", [0, -3])
def test_text_is_found_from_its_first_picture_to_its_last(step: int) -> None:
    wide = texture()
    pictures = [wide[:120, -step * n : 180 - step * n] for n in range(30)]
    pictures[10:20] = [with_text(plane) for plane in pictures[10:20]]
    seen = [edges is not None and bool(edges.any()) for edges in found(pictures, step)]
    # Each answer is about five pictures until now, all of which have to show the text.
    assert seen == [15 <= number < 20 for number in range(30)]


def test_what_rests_from_the_begin_is_no_text_unless_it_is_as_clear_as_text() -> None:
    bars = np.full(EVERYWHERE.shape, 90, np.uint8)
    bars[:, ::6] = bars[:, 1::6] = 190
    assert all(edges is None or not edges.any() for edges in found([bars] * 12, 0))
    text = with_text(np.full(EVERYWHERE.shape, 90, np.uint8))
    assert all(edges is None or edges.any() for edges in found([text] * 12, 0))


def test_nothing_stands_across_a_cut() -> None:
    edges, text = StandingEdges(5), with_text(texture()[:120, :180])
    answers = [edges.add(Place(number // 4), text) for number in range(12)]
    assert answers == [None] * 12
