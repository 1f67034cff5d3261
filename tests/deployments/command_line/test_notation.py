"""The short notation, and the requests that the options make."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deployments.command_line import notation
from deployments.command_line.main import make_app
from deployments.command_line.notation import NAMED, Box, Place
from deployments.command_line.request_options import RequestOptions
from pro_video.client import Area, JobRequest, Region, Segment
from sandbox.media.sample.make_sample import make_sample


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0), ("2.5", 2.5), ("1:02.5", 62.5), ("1:00:01", 3601), ("0:00:00.1", 0.1)],
)
def test_times(text: str, seconds: float) -> None:
    assert notation.seconds(text) == seconds


@pytest.mark.parametrize(
    ("text", "segment"),
    [
        ("1.0-3.5=line.wav", Segment(1, 3.5, Path("line.wav"))),
        ("0:59-1:02.5=a b=c.wav", Segment(59, 62.5, Path("a b=c.wav"))),
        ("0-1=me@home.wav", Segment(0, 1, Path("me@home.wav"))),
        ("0-1=line.wav@0.2-1:00", Segment(0, 1, Path("line.wav"), 0.2, 60)),
        ("0-1=upload:4f", Segment(0, 1, "upload:4f")),
        ("0-1=HTTPS://example.com/a.wav?b=c", Segment(0, 1, "HTTPS://example.com/a.wav?b=c")),
        ("0-1=s3://bucket/a.wav", Segment(0, 1, "s3://bucket/a.wav")),
    ],
)
def test_segments(text: str, segment: Segment) -> None:
    assert notation.segment(text) == segment


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("0.1,0.8,0.8,.15", Place(Region(0.1, 0.8, 0.8, 0.15))),
        ("0.1,0.8,0.8,0.15@0-4", Place(Region(0.1, 0.8, 0.8, 0.15), 0, 4)),
        ("100,900,1720,120px@1:02-", Place(Box(100, 900, 1720, 120), 62)),
        ("subtitles@-4", Place(NAMED["subtitles"], None, 4)),
        ("top-right", Place(NAMED["top-right"])),
    ],
)
def test_places(text: str, place: Place) -> None:
    assert notation.place(text) == place


@pytest.mark.parametrize(
    ("text", "speaker"),
    [
        ("automatic", {"method": "automatic"}),
        ("0.4,.3", {"method": "point", "x": 0.4, "y": 0.3}),
        ("0.4,0.3@1:01", {"method": "point", "x": 0.4, "y": 0.3, "at": 61}),
        ("0,0,1,1", {"method": "box", "x": 0, "y": 0, "width": 1, "height": 1}),
    ],
)
def test_speakers(text: str, speaker: dict[str, object]) -> None:
    assert notation.speaker(text) == speaker


@pytest.mark.parametrize("text", ["line.wav", "1-2", "2=line.wav", "-1-2=line.wav", "1-2="])
def test_no_segment(text: str) -> None:
    with pytest.raises(ValueError, match=r"write it like 1\.0-3\.5=line\.wav"):
        notation.segment(text)


@pytest.mark.parametrize("text", ["", "left", "1", "1,2,3", "1,2,3,4@5"])
def test_no_speaker(text: str) -> None:
    with pytest.raises(ValueError, match="write automatic"):
        notation.speaker(text)


@pytest.mark.parametrize("text", ["", "1,2,3", "1,2,3,4pt", "upper", "subtitles@4", "1,1,1,1@a-b"])
def test_no_place(text: str) -> None:
    with pytest.raises(ValueError, match="write"):
        notation.place(text)


def test_the_named_regions_are_in_the_frame() -> None:
    for region in NAMED.values():
        assert 0 <= region.x < region.x + region.width <= 1
        assert 0 <= region.y < region.y + region.height <= 1


def request_of(*words: str) -> JobRequest:
    _, bound, _ = make_app().parse_args(["run", *words], exit_on_error=False)
    options: RequestOptions = bound.arguments["options"]
    return options.request(bound.arguments["video"])


def test_the_options_make_the_request(tmp_path: Path) -> None:
    sample = make_sample(tmp_path, width=160, height=90, seconds=2.0)
    audio: dict[str, Any] = {"audio": sample.line_1}
    request = request_of(
        *(str(sample.clip), "--segment", f"0-0.5={sample.line_1}"),
        *("--segment", f"1-1.5={sample.line_1}@0.1-0.5", "--max-cost", "2"),
        *("--erase", "16,9,80,45px@0-1", "--protect", "full", "--sync-mode", "remap"),
        *("--speaker", "automatic", "--occlusion-detection"),
    )
    assert request == JobRequest(
        sample.clip,
        [Segment(0, 0.5, **audio), Segment(1, 1.5, **audio, audio_start=0.1, audio_end=0.5)],
        [
            Area("erase", Region(0.1, 0.1, 0.5, 0.5), 0, 1),
            Area("protect", Region(0, 0, 1, 1)),
        ],
        sample.clip.name,
        {
            "max_cost_usd": 2.0,
            "sync_mode": "remap",
            "active_speaker": {"method": "automatic"},
            "occlusion_detection": True,
        },
    )


def test_no_link_becomes_a_name() -> None:
    link = "https://example.com/v.mp4?X-Amz-Signature=secret"
    assert request_of(link, "--segment", "0-1=upload:a").display_name is None
