from __future__ import annotations

from sandbox.media import measure
from sandbox.media.sample.make_sample import Sample


def test_psnr_of_equal_pictures_is_infinite(panning: Sample, static: Sample) -> None:
    assert measure.psnr(panning.clip, panning.clip, [0.5]) == float("inf")
    assert measure.psnr(panning.clip, static.clip, [2.0]) < 30
