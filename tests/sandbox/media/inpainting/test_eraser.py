from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest

from sandbox.media.files.pictures import Picture
from sandbox.media.files.video_reader import TimedPicture, VideoReader
from sandbox.media.inpainting.eraser import Eraser
from sandbox.media.inpainting.masks import Mask, bitmap
from sandbox.media.sample.make_sample import Sample
from tests.sandbox.media.inpainting.test_inpaint import masks_of


@pytest.mark.parametrize("kind", ["remove", "remove_only_ocr"])
def test_no_sample_changes_where_it_must_not(panning: Sample, kind: str) -> None:
    masks = masks_of(panning, kind, 0.4, 1.2)
    text, logo, kept = (bitmap([mask], 384, 216) for mask in masks)
    changed_text = 0
    with VideoReader(panning.clip) as reader, VideoReader(panning.clip) as plain:
        erased = Eraser(masks, 384, 216, 25.0).erased(reader.pictures())
        for item, original in zip(erased, plain.pictures(), strict=True):
            assert (item.pts, item.time) == (original.pts, original.time)
            free = (text & ~kept | logo) if 0.4 <= item.time < 1.2 else logo
            for index, (old, new) in enumerate(
                zip(original.picture.planes(), item.picture.planes(), strict=True)
            ):
                changed = old != new
                assert not (changed & ~(free[::2, ::2] if index else free)).any()
                if index == 0:
                    changed_text += int(np.count_nonzero(changed & text))
    assert changed_text > 1000


def endless() -> Iterator[TimedPicture]:
    luma = np.arange(64 * 64, dtype=np.uint8).reshape(64, 64)
    number = 0
    while True:
        chroma = np.full((32, 32), 100, np.uint8)
        yield TimedPicture(number / 25, number, Picture(luma.copy(), chroma, chroma.copy()))
        number += 1


def test_few_pictures_are_held_however_long_the_video_is() -> None:
    taken = 0

    def counted() -> Iterator[TimedPicture]:
        nonlocal taken
        for item in endless():
            taken += 1
            yield item

    eraser = Eraser([Mask("remove", 0, math.inf, (0.2, 0.2, 0.8, 0.8))], 64, 64, 60.0)
    for given, item in enumerate(eraser.erased(counted())):
        assert item.pts == given
        assert taken - given <= 16
        if given == 100:
            break


def test_a_picture_that_is_erased_altogether_is_grey() -> None:
    eraser = Eraser([Mask("remove", 0, 9, (0, 0, 1, 1))], 64, 64, 25.0)
    item = next(eraser.erased(endless()))
    assert all((plane == 128).all() for plane in item.picture.planes())
