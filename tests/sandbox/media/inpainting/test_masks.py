from __future__ import annotations

import pytest

from sandbox.media.inpainting.masks import Box, pixel_box


@pytest.mark.parametrize(
    ("region", "box"),
    [
        ((0.1, 0.8, 0.9, 0.95), (slice(288, 342), slice(64, 576))),
        ((0.0, 0.0, 1.0, 1.0), (slice(0, 360), slice(0, 640))),
        ((0.999, 0.999, 1.0, 1.0), (slice(358, 360), slice(638, 640))),
        ((0.5016, 0.5, 0.5017, 0.5001), (slice(180, 182), slice(320, 322))),
    ],
)
def test_boxes_are_even_and_rounded_outwards(
    region: tuple[float, float, float, float], box: Box
) -> None:
    assert pixel_box(region, 640, 360) == box
