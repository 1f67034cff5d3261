"""A request against the probe of its files, before anything is paid."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pro_video.core.errors import RequestRefused
from pro_video.media.info import AudioStream, MediaInfo, VideoStream
from pro_video.request.check import JobRequest, check_inpainting_request, check_request
from pro_video.request.limits import MediaLimits
from pro_video.request.models import AnnotationArea
from pro_video.request.rules_files import check_inpainting_media, check_media

A, B = "s3://bucket/a.wav", "s3://bucket/b.wav"
PICTURE = VideoStream(1280, 720, 25.0, "h264", 0, 250, 10.0)
SOUND = AudioStream("pcm_s16le", 48000, 1, 3.0)
VIDEO = MediaInfo("mp4", 10.0, 1_000_000, PICTURE, SOUND)
AUDIO = MediaInfo("wav", 3.0, 300_000, None, SOUND)
AREA = {"kind": "erase_text", "region": {"x": 0, "y": 0.8, "width": 1, "height": 0.2}}


def job(*segments: dict[str, Any], **changes: Any) -> JobRequest:
    given = segments or ({"start": 1, "end": 3, "audio": A},)
    raw = {"video": "s3://bucket/in.mp4", "segments": list(given), **changes}
    return check_request(raw, max_segments=10, allow_local_files=False)


def seg(start: float, end: float, audio: str = A, **more: Any) -> dict[str, Any]:
    return {"start": start, "end": end, "audio": audio, **more}


def codes(
    request: JobRequest, video: MediaInfo = VIDEO, **audios: MediaInfo
) -> set[tuple[str, str]]:
    with pytest.raises(RequestRefused) as caught:
        check_media(request, video, {A: audios.get("a", AUDIO), B: audios.get("b", AUDIO)})
    assert caught.value.code == "media_refused"
    return {(problem.field, problem.code) for problem in caught.value.problems}


def test_a_request_that_fits_its_files_comes_back_unchanged() -> None:
    request = job(annotation_areas=[AREA])
    checked = check_media(request, VIDEO, {A: AUDIO})
    assert checked.model_copy(update={"warnings": ()}) == request


def test_everything_wrong_with_all_files_in_one_answer() -> None:
    request = job(
        seg(8, 12, B, audio_start=0, audio_end=9),
        seg(1, 3, A),
        annotation_areas=[{**AREA, "start": 11}],
        lip_sync={"model": "react-1"},
    )
    video = replace(
        VIDEO,
        container="mkv",
        size=6 * 1024**3,
        duration=2000.0,
        video=replace(PICTURE, width=2400, height=4096),
    )
    assert codes(request, video, a=replace(AUDIO, audio=None), b=AUDIO) == {
        ("video", "video_container"),
        ("video", "video_too_large"),
        ("video", "video_too_long"),
        ("video", "video_resolution"),
        ("lip_sync.model", "video_too_long"),
        ("annotation_areas[0].start", "area_after_end"),
        ("segments[0].end", "segment_after_end"),
        ("segments[0].audio_end", "crop_after_end"),
        ("segments[1].audio", "audio_no_sound"),
    }


@pytest.mark.parametrize(
    ("video", "code"),
    [
        (replace(VIDEO, video=None), "video_no_picture"),
        (replace(VIDEO, container="mkv"), "video_container"),
        (replace(VIDEO, size=5 * 1024**3 + 1), "video_too_large"),
        (replace(VIDEO, duration=1801.0), "video_too_long"),
        (replace(VIDEO, video=replace(PICTURE, width=4098)), "video_resolution"),
        (replace(VIDEO, video=replace(PICTURE, width=2162, height=3840)), "video_resolution"),
        (replace(VIDEO, video=replace(PICTURE, width=62)), "video_too_small"),
    ],
)
def test_limits_of_the_video(video: MediaInfo, code: str) -> None:
    assert codes(job(), video) == {("video", code)}


def test_a_portrait_video_of_the_largest_size_is_taken() -> None:
    portrait = replace(VIDEO, video=replace(PICTURE, width=2160, height=4096))
    check_media(job(), portrait, {A: AUDIO})


@pytest.mark.parametrize(
    ("audio", "code"),
    [
        (replace(AUDIO, audio=None), "audio_no_sound"),
        (VIDEO, "audio_is_video"),
        (replace(AUDIO, audio=replace(SOUND, duration=301.0)), "audio_too_long"),
    ],
)
def test_limits_of_an_audio_are_named_at_its_first_segment(audio: MediaInfo, code: str) -> None:
    request = job(seg(5, 6, A), seg(1, 2, B), seg(3, 4, A))
    assert codes(request, a=audio) == {("segments[0].audio", code)}


def test_limits_of_inpainting_hold_only_with_areas() -> None:
    long = replace(VIDEO, duration=901.0, size=1_000_000_000)
    check_media(job(), long, {A: AUDIO})
    assert codes(job(annotation_areas=[AREA]), long) == {
        ("video", "video_too_long"),
        ("video", "video_too_large"),
    }


def test_limits_can_be_replaced() -> None:
    long = replace(VIDEO, duration=3000.0)
    check_media(job(), long, {A: AUDIO}, MediaLimits(video_seconds=3600))


def fitted(*segments: dict[str, Any]) -> list[tuple[float, float, float | None, float | None]]:
    request = check_media(job(*segments), VIDEO, {A: AUDIO, B: AUDIO})
    return [(s.start, s.end, s.audio_start, s.audio_end) for s in request.segments]


def test_an_end_as_players_show_it_is_moved_inside() -> None:
    for end in (10.017, 10.05, 10.15, 10.5):
        request = check_media(job(seg(8, end)), VIDEO, {A: AUDIO})
        assert request.segments[0].end == 9.9
        (told,) = [note for note in request.warnings if note.code == "segment_end_moved"]
        assert (told.field, told.stage) == ("segments[0].end", "request")
        assert f"({end:.2f} s) is {end - 10:.2f} s after the end of the picture" in told.message
    assert fitted(seg(8, 10.0))[0][:2] == (8, 9.9)
    assert fitted(seg(8, 9.95))[0][:2] == (8, 9.9)
    assert fitted(seg(8, 9.9))[0][:2] == (8, 9.9)


@pytest.mark.parametrize(
    ("segment", "field", "code"),
    [
        (seg(8, 10.6), "end", "segment_after_end"),
        (seg(9.95, 10.3), "start", "segment_after_end"),
        (seg(11, 12), "start", "segment_after_end"),
        (seg(9.65, 10.0), "end", "segment_too_short"),
        (seg(1, 2, audio_start=0, audio_end=3.6), "audio_end", "crop_after_end"),
        (seg(1, 2, audio_start=2.96, audio_end=3.0), "audio_start", "crop_after_end"),
    ],
)
def test_ranges_outside_their_files(segment: dict[str, Any], field: str, code: str) -> None:
    assert codes(job(segment)) == {(f"segments[0].{field}", code)}


def test_a_picture_that_begins_late_may_be_counted_by_the_players_clock() -> None:
    late = replace(VIDEO, duration=10.8, video=replace(PICTURE, start=0.8))
    request = check_media(job(seg(8, 10.8)), late, {A: AUDIO})
    assert request.segments[0].end == 9.9
    assert {note.code for note in request.warnings} >= {"segment_end_moved", "picture_begins_late"}


def test_crops_are_moved_inside_and_the_whole_audio_needs_none() -> None:
    assert fitted(seg(1, 2, audio_start=1, audio_end=3.04))[0][2:] == (1, 2.95)
    assert fitted(seg(1, 2, audio_start=0, audio_end=3.0))[0][2:] == (None, None)
    over = check_media(job(seg(1, 2, audio_start=1, audio_end=3.4)), VIDEO, {A: AUDIO})
    assert over.segments[0].audio_end == 2.95
    assert "crop_end_moved" in {note.code for note in over.warnings}
    assert fitted(seg(1, 2, audio_start=0.5, audio_end=2.0))[0][2:] == (0.5, 2.0)


@pytest.mark.parametrize(
    ("fps", "start", "end"),
    [(25.0, 3, 2.95), (25.0, 3.02, 2.97), (12.5, 3.06, 2.98), (0.74, 3.06, 2.96), (0.74, 4.0, 3)],
)
def test_segments_that_touch_are_moved_apart(fps: float, start: float, end: float) -> None:
    video = replace(VIDEO, video=replace(PICTURE, fps=fps))
    request = job(seg(start, 5), seg(1, 3))
    fitted = check_media(request, video, {A: AUDIO})
    assert [(s.start, s.end) for s in fitted.segments] == [(start, 5), (1, pytest.approx(end))]
    told = [note for note in fitted.warnings if note.code == "segment_end_trimmed"]
    assert [note.field for note in told] == (["segments[1].end"] if end < 3 else [])
    if end < 3:
        with pytest.raises(RequestRefused, match="leave a gap") as caught:
            check_media(request, video, {A: AUDIO}, touching="refuse")
        assert caught.value.problems[0].field == "segments[0].start"


def test_a_region_needs_two_pixels() -> None:
    tiny = {**AREA, "region": {"x": 0, "y": 0, "width": 0.5, "height": 0.002}}
    assert codes(job(annotation_areas=[tiny])) == {("annotation_areas[0].region", "region_empty")}


def test_text_inpainting_alone_has_its_own_containers() -> None:
    request = check_inpainting_request("s3://bucket/in.mkv", [AREA], allow_local_files=False)
    check_inpainting_media(request, replace(VIDEO, container="mkv"))
    late = request.model_copy(
        update={"annotation_areas": (AnnotationArea.model_validate({**AREA, "start": 10}),)}
    )
    with pytest.raises(RequestRefused) as caught:
        check_inpainting_media(late, replace(VIDEO, container="webm", duration=901.0))
    assert {(p.field, p.code) for p in caught.value.problems} == {
        ("video", "video_container"),
        ("video", "video_too_long"),
        ("annotation_areas[0].start", "area_after_end"),
    }
    with pytest.raises(RequestRefused, match="no picture"):
        check_inpainting_media(request, replace(VIDEO, video=None))


def test_warnings_name_what_may_surprise() -> None:
    varying = replace(
        VIDEO,
        video=replace(PICTURE, variable_frame_rate=True, stated=False),
        audio=replace(AUDIO.audio, tracks=2) if AUDIO.audio else None,
        subtitles=1,
    )
    told = check_media(job(seg(4, 9), seg(1, 2)), varying, {A: AUDIO}).warnings
    assert [(note.field, note.code) for note in told] == [
        ("video", "sound_tracks_lost"),
        ("video", "subtitles_lost"),
        ("video", "frame_rate_varies"),
        ("video", "video_length_not_stated"),
        ("segments[0]", "audio_shorter"),
        ("segments[1]", "audio_longer"),
    ]
    assert "2.00 s shorter" in told[4].message
    assert "2.00 s of audio are lost" in told[5].message
    assert (told[5].start, told[5].end) == (1, 2)
    assert check_media(job(seg(1, 4)), VIDEO, {A: AUDIO}).warnings == ()


def test_a_text_removal_alone_tells_what_is_lost() -> None:
    request = check_inpainting_request("s3://bucket/in.mp4", [AREA], allow_local_files=False)
    checked = check_inpainting_media(request, replace(VIDEO, subtitles=2))
    assert [note.code for note in checked.warnings] == ["subtitles_lost"]
