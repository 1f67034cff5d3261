from __future__ import annotations

from pathlib import Path

from PIL import Image

from sandbox.media import measure
from sandbox.media.sample.make_sample import Sample


def test_psnr_of_equal_pictures_is_infinite(panning: Sample, static: Sample) -> None:
    assert measure.psnr(panning.clip, panning.clip, [0.5]) == float("inf")
    assert measure.psnr(panning.clip, static.clip, [2.0]) < 30


def test_side_by_side(panning: Sample, tmp_path: Path) -> None:
    out = measure.side_by_side_png(
        panning.clip, panning.clean, [0.1, 1.0], tmp_path / "sheet.png", width=200
    )
    with Image.open(out) as sheet:
        assert sheet.width == 2 * 200 + 18
        assert sheet.height > 2 * 100
