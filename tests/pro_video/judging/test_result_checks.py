"""A sound result passes; of each kind of wrong one the check says what it is, and how bad."""

from __future__ import annotations

import io
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from pro_video.judging.preview import make_preview
from pro_video.judging.result_checks import (
    FileCheck,
    check_length,
    check_output,
    check_shape,
    expected_duration,
    same_duration,
)
from pro_video.media.info import AudioStream, MediaInfo, VideoStream
from pro_video.request.models import Segment, SyncMode
from tests.support.media.clips import write_clip, write_sound
from tests.support.media.probed import probed


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> MediaInfo:
    path = write_clip(tmp_path_factory.mktemp("source") / "in.mp4", width=320, height=192)
    return probed(path)


def checked(path: Path, like: MediaInfo, **changes: object) -> FileCheck:
    given: dict[str, object] = {
        "size": path.stat().st_size,
        "duration": same_duration(like),
        "sound": True,
        "like": like,
    }
    found = check_output(path, **{**given, **changes})  # type: ignore[arg-type]
    for finding in found.findings:
        assert finding.fact.startswith("The result")
        assert finding.fact.endswith(".")
    return found


def unusable(path: Path, like: MediaInfo, **changes: object) -> str:
    """The code of the one thing that makes a result unusable."""
    found = checked(path, like, **changes).findings
    assert [finding.unusable for finding in found] == [True]
    return found[0].code


def doubtful(path: Path, like: MediaInfo, **changes: object) -> str:
    """The code of the one thing that is not as expected."""
    found = checked(path, like, **changes)
    assert found.info is not None
    assert [finding.unusable for finding in found.findings] == [False]
    return found.findings[0].code


def test_a_sound_result_passes(tmp_path: Path, source: MediaInfo) -> None:
    path = write_clip(tmp_path / "out.mp4", width=320, height=192)
    size = path.stat().st_size
    found = checked(path, source, expected_size=size)
    assert found.findings == ()
    assert found.info is not None
    assert found.info.video is not None
    assert found.info.duration == pytest.approx(2.0)


def test_a_result_may_be_without_sound(tmp_path: Path, source: MediaInfo) -> None:
    path = write_clip(tmp_path / "silent.mp4", width=320, height=192, sound=False)
    assert checked(path, source, sound=False).findings == ()


@pytest.mark.parametrize(
    ("source_size", "size", "lines"),
    [
        ((1920, 1080), (1280, 720), None),
        ((1080, 1920), (480, 854), None),
        ((3840, 2160), (1920, 1080), 1080),
        ((321, 191), (320, 190), None),
        ((1920, 1080), (1920, 1088), None),
    ],
    ids=["to 720 lines", "upright, to 480", "of 4K, to 1080", "odd made even", "whole blocks"],
)
def test_a_result_may_have_a_usual_size(
    source_size: tuple[int, int], size: tuple[int, int], lines: int | None
) -> None:
    before, after = (VideoStream(*each, 25.0, "h264", 0, 50, 2.0) for each in (source_size, size))
    assert list(check_shape(after, before, lines, "The result")) == []


def test_the_file_must_be_whole(tmp_path: Path, source: MediaInfo) -> None:
    whole = write_clip(tmp_path / "whole.mp4", width=320, height=192, faststart=True)
    assert unusable(whole, source, expected_size=whole.stat().st_size + 1) == "output_truncated"
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole.read_bytes()[:-2000])
    assert unusable(cut, source) == "output_truncated"
    (tmp_path / "empty.mp4").touch()
    assert unusable(tmp_path / "empty.mp4", source) == "output_empty"
    page = tmp_path / "page.mp4"
    page.write_text("<html>Access denied</html>")
    assert unusable(page, source) == "output_unreadable"


def test_streams_that_are_missing(tmp_path: Path, source: MediaInfo) -> None:
    assert unusable(write_sound(tmp_path / "a.m4a", 2.0, "aac"), source) == "output_no_picture"
    silent = write_clip(tmp_path / "silent.mp4", width=320, height=192, sound=False)
    assert unusable(silent, source) == "output_no_sound"


@pytest.mark.parametrize("seconds", [1.6, 2.6, 9.0])
def test_a_wrong_length(tmp_path: Path, source: MediaInfo, seconds: float) -> None:
    path = write_clip(tmp_path / "out.mp4", width=320, height=192, seconds=seconds)
    assert doubtful(path, source) == "output_duration"


def test_a_result_that_was_cut_short(tmp_path: Path, source: MediaInfo) -> None:
    path = write_clip(tmp_path / "out.mp4", width=320, height=192, seconds=1.4)
    assert unusable(path, source) == "output_cut_short"
    for expected, code in {6.5: "output_duration", 7.2: "output_cut_short"}.items():
        found = check_length(6.0, same_duration(replace(VIDEO, duration=expected, video=None)), "")
        assert [each.code for each in found] == [code]


@pytest.mark.parametrize(("fps", "code"), [(12, "output_frame_rate"), (60, "output_frame_rate")])
def test_another_frame_rate(tmp_path: Path, source: MediaInfo, fps: int, code: str) -> None:
    path = write_clip(tmp_path / "out.mp4", width=320, height=192, fps=fps)
    assert doubtful(path, source) == code


@pytest.mark.parametrize("fps", [24, 30, 50])
def test_a_frame_rate_may_be_converted(tmp_path: Path, source: MediaInfo, fps: int) -> None:
    path = write_clip(tmp_path / "out.mp4", width=320, height=192, fps=fps)
    assert checked(path, source).findings == ()


@pytest.mark.parametrize("size", [(320, 240), (640, 384), (160, 96), (80, 48), (192, 320)])
def test_a_picture_of_another_shape_or_size(
    tmp_path: Path, source: MediaInfo, size: tuple[int, int]
) -> None:
    path = write_clip(tmp_path / "out.mp4", width=size[0], height=size[1])
    assert doubtful(path, source) == "output_resolution"


WIDE = Fraction(4, 3)


@pytest.mark.parametrize(
    ("size", "pixel_aspect"),
    [((240, 180), WIDE), ((240, 180), None), ((320, 180), None)],
    ids=["kept", "forgotten", "made square"],
)
def test_pixels_that_are_not_square_may_be_kept_or_made_square(
    tmp_path: Path, size: tuple[int, int], pixel_aspect: Fraction | None
) -> None:
    path = write_clip(tmp_path / "in.mp4", width=240, height=180, pixel_aspect=WIDE)
    wide = probed(path)
    out = write_clip(tmp_path / "out.mp4", width=size[0], height=size[1], pixel_aspect=pixel_aspect)
    assert checked(out, wide).findings == ()


@pytest.mark.parametrize("size", [(240, 240), (360, 202), (400, 180)])
def test_another_shape_or_size_than_that_of_pixels_that_are_not_square(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    path = write_clip(tmp_path / "in.mp4", width=240, height=180, pixel_aspect=WIDE)
    wide = probed(path)
    out = write_clip(tmp_path / "out.mp4", width=size[0], height=size[1])
    assert doubtful(out, wide) == "output_resolution"


def test_a_picture_that_ends_before_the_sound(tmp_path: Path, source: MediaInfo) -> None:
    path = write_clip(tmp_path / "out.mp4", width=320, height=192, seconds=1, sound_seconds=2)
    assert probed(path).duration == pytest.approx(2.0, abs=0.1)
    assert unusable(path, source) == "output_cut_short"


def test_damage_in_the_middle(tmp_path: Path, source: MediaInfo) -> None:
    path = write_clip(tmp_path / "out.mp4", width=320, height=192, faststart=True, gop=250)
    data = bytearray(path.read_bytes())
    start = data.find(b"mdat") + 4
    middle = slice(start + (len(data) - start) // 8, len(data) - 200)
    size = len(data[middle])
    data[middle] = np.random.default_rng(3).integers(0, 256, size, dtype=np.uint8).tobytes()
    damaged = tmp_path / "damaged.mp4"
    damaged.write_bytes(data)
    assert unusable(damaged, source, sound=False) == "output_undecodable"


def test_one_damaged_picture_of_the_result(tmp_path: Path, source: MediaInfo) -> None:
    path = write_clip(tmp_path / "out.mp4", width=320, height=192, gop=250)
    with av.open(str(path)) as container:
        entry = container.streams.video[0].index_entries[30]
    data = bytearray(path.read_bytes())
    data[entry.pos : entry.pos + 4] = b"\xff\xff\xff\xff"
    path.write_bytes(data)
    assert doubtful(path, source) == "output_damaged"
    assert len(make_preview(path, path, instants=(1.0,))) > 1000


VIDEO = MediaInfo(
    "mp4",
    10.0,
    1,
    VideoStream(640, 360, 25.0, "h264", 0, 250, 10.0),
    AudioStream("aac", 48000, 2, 10.0),
)


def audio(seconds: float) -> MediaInfo:
    return MediaInfo("wav", seconds, 1, None, AudioStream("pcm_s16le", 48000, 1, seconds))


@pytest.mark.parametrize(
    ("mode", "seconds", "low", "high"),
    [
        ("cut_off", 3.0, 9.75, 10.25),
        ("cut_off", 1.0, 8.75, 10.25),
        ("remap", 3.0, 9.75, 11.25),
        ("silence", 3.0, 9.75, 11.25),
        ("silence", 1.0, 9.75, 10.25),
        ("loop", 5.0, 9.75, 13.25),
        ("bounce", 2.0, 9.75, 10.25),
    ],
)
def test_expected_lengths(mode: SyncMode, seconds: float, low: float, high: float) -> None:
    segments = [Segment(start=1, end=3, audio="a")]
    assert expected_duration(VIDEO, segments, {"a": audio(seconds)}, mode) == pytest.approx(
        (low, high)
    )


def test_a_crop_counts_with_its_own_length() -> None:
    cropped = [Segment(start=1, end=3, audio="a", audio_start=1, audio_end=4)]
    assert expected_duration(VIDEO, cropped, {"a": audio(60.0)}, "remap")[1] == pytest.approx(11.25)


def test_the_tolerance_grows_with_the_length() -> None:
    long = replace(VIDEO, duration=600.0, video=None)
    assert same_duration(long) == pytest.approx((594.0, 606.0))


def test_picture_or_sound_may_end_first() -> None:
    assert same_duration(replace(VIDEO, duration=10.6)) == pytest.approx((9.75, 10.85))


def test_what_is_read_of_a_result_is_bounded(tmp_path: Path, source: MediaInfo) -> None:
    data = write_clip(tmp_path / "out.mp4", width=320, height=192).read_bytes()

    class Counting(io.BytesIO):
        total = 0

        def read(self, size: int | None = -1, /) -> bytes:
            read = super().read(size)
            self.total += len(read)
            return read

    stream = Counting(data)
    check_output(stream, size=len(data), duration=same_duration(source), sound=True, like=source)
    assert 0 < stream.total < 12 * len(data)
