"""The parameters of a generation: its speakers, in pixels, and the options of its segments."""

from __future__ import annotations

from typing import Any

import pytest

from pro_video.media.info import VideoStream
from pro_video.providers.sync_so.plan import Pixels, lip_sync_plan, speaker_detection
from pro_video.request.check import JobRequest
from pro_video.request.models import LipSyncOptions, Segment, Speaker

# As a phone records it upright: 3840x2160 stored, turned by the player.
TURNED: dict[str, Any] = {"width": 2160, "height": 3840, "fps": 30.0, "codec": "hevc"}
POINT = Speaker(method="point", x=0.25, y=0.1, at=2.0)


def picture(rotation: int = 90, **changes: Any) -> VideoStream:
    fields = {**TURNED, "rotation": rotation, "frames": 300, "duration": 10.0, **changes}
    return VideoStream(**fields)


def test_the_default_and_the_automatic_speaker() -> None:
    assert speaker_detection(Speaker(), picture(), 1.0) is None
    automatic = Speaker(method="automatic")
    assert speaker_detection(automatic, picture(), 1.0) == {"auto_detect": True}


@pytest.mark.parametrize(
    ("pixels", "rotation", "mirrored", "expected"),
    [
        ("displayed", 90, False, [540, 384]),
        # The stored frame lies: turned 90 degrees counterclockwise it stands.
        ("stored", 90, False, [3455, 540]),
        ("stored", 270, False, [384, 1619]),
        ("stored", 90, True, [384, 540]),
    ],
)
def test_a_point_of_a_turned_4k_video(
    pixels: Pixels, rotation: int, mirrored: bool, expected: list[int]
) -> None:
    shown = picture(rotation, mirrored=mirrored)
    found = speaker_detection(POINT, shown, 1.0, pixels)
    assert found == {"frame_number": 60, "coordinates": expected}


@pytest.mark.parametrize("pixels", ["displayed", "stored"])
def test_a_point_at_the_edge_stays_inside(pixels: Pixels) -> None:
    found = speaker_detection(Speaker(method="point", x=1, y=1, at=99.0), picture(0), 0.0, pixels)
    assert found == {"frame_number": 299, "coordinates": [2159, 3839]}


def test_a_point_without_a_time_is_that_of_the_segment() -> None:
    found = speaker_detection(Speaker(method="point", x=0.5, y=0.5), picture(), 1.5)
    assert found == {"frame_number": 45, "coordinates": [1080, 1920]}


def test_a_box_for_each_frame() -> None:
    box = Speaker(method="box", x=0.25, y=0.1, width=0.5, height=0.2)
    found = speaker_detection(box, picture(frames=3), 0.0)
    assert found == {"bounding_boxes": [[540, 384, 1620, 1152]] * 3}
    stored = speaker_detection(box, picture(frames=1), 0.0, "stored")
    assert stored == {"bounding_boxes": [[2687, 540, 3455, 1620]]}


def request_of(*segments: dict[str, Any], **options: Any) -> JobRequest:
    return JobRequest(
        video="s3://b/v.mp4",
        segments=tuple(
            Segment(start=2.0 * n, end=2.0 * n + 1, audio="s3://b/a.wav", **own)
            for n, own in enumerate(segments)
        ),
        lip_sync=LipSyncOptions(**options),
    )


def test_a_speaker_of_all_segments_is_the_request_s() -> None:
    own = {"active_speaker": POINT}
    plan = lip_sync_plan(request_of(own, own), picture(), str, "displayed")
    assert plan.speaker == {"frame_number": 60, "coordinates": [540, 384]}
    assert [segment.options for segment in plan.segments] == [{}, {}]


def test_segments_with_speakers_and_options_of_their_own() -> None:
    request = request_of(
        {"active_speaker": POINT},
        {"active_speaker": Speaker(method="point", x=0.75, y=0.1), "sync_mode": "remap"},
        {"sync_mode": "cut_off", "temperature": 0.3},
        active_speaker=Speaker(method="automatic"),
    )
    plan = lip_sync_plan(request, picture(), str, "displayed")
    assert plan.speaker == {"auto_detect": True}
    assert [segment.options for segment in plan.segments] == [
        {"active_speaker_detection": {"frame_number": 60, "coordinates": [540, 384]}},
        {
            "sync_mode": "remap",
            "active_speaker_detection": {"frame_number": 75, "coordinates": [1620, 384]},
        },
        {"temperature": 0.3},
    ]
