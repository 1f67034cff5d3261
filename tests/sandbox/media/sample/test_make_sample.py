from __future__ import annotations

import json
from pathlib import Path

import pytest

from sandbox.__main__ import main
from sandbox.media import measure
from sandbox.media.sample.make_sample import Sample


def test_the_sample_holds_what_it_says(panning: Sample) -> None:
    told = json.loads(panning.description.read_text("utf-8"))
    assert [area["kind"] for area in told["annotation_areas"]] == ["erase_text", "erase", "protect"]
    for segment in told["segments"]:
        assert Path(segment["audio"]).is_file()
        length = len(measure.audio_samples(Path(segment["audio"]))) / 16_000
        assert length == pytest.approx(segment["end"] - segment["start"], abs=0.001)
    for area in told["annotation_areas"]:
        box = area["region"]
        assert 0 <= box["x"] < box["x"] + box["width"] <= 1
        assert 0 <= box["y"] < box["y"] + box["height"] <= 1
    erase, keep = panning.subtitle_region, panning.protected_region
    overlap = min(erase[2], keep[2]) - max(erase[0], keep[0])
    assert 0 < overlap < keep[2] - keep[0]
    inside = [line.start + 0.1 for line in panning.subtitles]
    assert measure.psnr(panning.clip, panning.clean, inside, erase) < 20
    assert measure.psnr(panning.clip, panning.clean, inside, keep) > 38
    assert measure.psnr(panning.clip, panning.clean, inside, panning.watermark_region) < 25


def test_sample_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["sample", "--out", str(tmp_path), "--seconds", "2", "--width", "160"]
    assert main([*arguments, "--height", "90", "--still"]) == 0
    assert str(tmp_path / "sample.json") in capsys.readouterr().out
    for bad in (["--width", "161"], ["--seconds", "0.1"]):
        assert main(["sample", "--out", str(tmp_path), *bad]) == 1
