from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from sandbox.media.errors import MediaError
from sandbox.media.files.pictures import Picture
from sandbox.media.lip_sync import visible_marks
from sandbox.media.lip_sync.lip_sync import FaceError, LipSyncResult, SegmentPlan, lip_sync
from sandbox.media.measure import (
    audio_samples,
    best_lag,
    correlation,
    correlation_at,
    frame_times,
    pictures_at,
    squared_error,
)
from sandbox.media.sample.make_sample import Sample
from sandbox.media.sample.speech import speech, write_wav
from tests.sandbox.media.clips import psnr, write_clip

QUIET = (0.0, 0.7, 1.0, 1.0)
"""The lower part of the frame, which carries no mark."""


def duration_of(path: Path, kind: str) -> float:
    with av.open(str(path)) as container:
        stream = next(s for s in container.streams if s.type == kind)
        assert stream.duration is not None
        assert stream.time_base is not None
        return float(stream.duration * stream.time_base)


def line_of(folder: Path, seconds: float) -> Path:
    """A file with speech of this length."""
    write_wav(folder / "line.wav", speech(seconds, seed=1, pitch=200.0))
    return folder / "line.wav"


def marked(picture: Picture) -> bool:
    edge = picture.y[: visible_marks.edge_size(picture.height)]
    return bool(np.abs(edge.astype(int) - visible_marks.EDGE_COLOUR[0]).mean() < 12)


@pytest.fixture(scope="module")
def synced(panning: Sample, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("synced")
    plans = [
        SegmentPlan(start, end, line)
        for (start, end), line in zip(
            panning.segments, (panning.line_1, panning.line_2), strict=True
        )
    ]
    out, part = folder / "out.mp4", folder / "part.mp4"
    result = lip_sync(panning.clip, out, plans, segment_out=part)
    assert result == LipSyncResult(4.0, 100, 384, 216)
    return out, part


def test_each_segment_sounds_like_its_own_line(panning: Sample, synced: tuple[Path, Path]) -> None:
    lines = (panning.line_1, panning.line_2)
    for index, (start, end) in enumerate(panning.segments):
        own = correlation_at(synced[0], start, end, lines[index])
        other = correlation_at(synced[0], start, end, lines[1 - index])
        before = correlation_at(panning.clip, start, end, lines[index])
        assert own > 0.97
        assert abs(other) < 0.3
        assert abs(before) < 0.3


def test_replacement_begins_on_the_sample(panning: Sample, synced: tuple[Path, Path]) -> None:
    start, end = panning.segments[0]
    rate = 48_000
    got = audio_samples(synced[0], rate=rate)[round(start * rate) : round(end * rate)]
    line = audio_samples(panning.line_1, rate=rate)
    lag, score = best_lag(got, line[: len(got)], 40)
    assert lag == 0
    assert score > 0.97


def test_sound_outside_is_the_original(panning: Sample, synced: tuple[Path, Path]) -> None:
    (first, second) = panning.segments
    for start, end in ((0.0, first[0]), (first[1], second[0]), (second[1], 4.0)):
        score = correlation_at(synced[0], start, end, panning.clip, reference_start=start)
        assert score > 0.98


def test_marks_are_on_the_segments_pictures_and_nowhere_else(
    panning: Sample, synced: tuple[Path, Path]
) -> None:
    times = [number / 25 + 0.01 for number in range(100)]
    shown = [marked(picture) for picture in pictures_at(synced[0], times)]
    wanted = [any(a <= n / 25 + 1e-6 < b for a, b in panning.segments) for n in range(100)]
    assert shown == wanted
    assert psnr(panning.clip, synced[0], times, QUIET) > 38


def test_outside_pictures_are_the_originals(panning: Sample, synced: tuple[Path, Path]) -> None:
    assert psnr(panning.clip, synced[0], [0.1, 0.3, 2.0, 3.7, 3.9]) > 38


def test_the_part_holds_the_segments_alone(panning: Sample, synced: tuple[Path, Path]) -> None:
    total = sum(end - start for start, end in panning.segments)
    assert duration_of(synced[1], "video") == pytest.approx(total, abs=0.05)
    assert all(marked(picture) for picture in pictures_at(synced[1], [0.05, 0.9, total - 0.1]))
    length = panning.segments[0][1] - panning.segments[0][0]
    assert correlation_at(synced[1], length, total, panning.line_2) > 0.97


@pytest.mark.parametrize(
    ("mode", "longer", "shorter"),
    [
        ("remap", 2.5, 1.7),
        ("bounce", 2.5, 1.7),
        ("loop", 2.5, 1.7),
        ("cut_off", 2.0, 1.7),
        ("silence", 2.5, 2.0),
    ],
)
def test_modes_change_the_length_as_documented(
    tmp_path: Path, mode: str, longer: float, shorter: float
) -> None:
    clip = write_clip(tmp_path / "clip.mp4")
    for seconds, total in ((1.3, longer), (0.5, shorter)):
        line = line_of(tmp_path, seconds)
        out = tmp_path / "out.mp4"
        result = lip_sync(clip, out, [SegmentPlan(0.6, 1.4, line, sync_mode=mode)])
        assert result.duration == pytest.approx(total, abs=0.01)
        assert duration_of(out, "video") == pytest.approx(total, abs=0.05)
        assert duration_of(out, "audio") == pytest.approx(total, abs=0.06)
        used = min(seconds, 0.8) if mode == "cut_off" else seconds
        assert correlation_at(out, 0.6, 0.6 + used, line) > 0.95
        # The output goes on after the range as the source does.
        rest = correlation_at(out, total - 0.5, total, clip, reference_start=1.5)
        assert rest > 0.95


def test_remap_slows_the_picture_and_bounce_turns_it_round(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", frames=25)
    line = line_of(tmp_path, 2.0)
    outs = {}
    for mode in ("remap", "bounce", "loop"):
        outs[mode] = tmp_path / f"{mode}.mp4"
        lip_sync(clip, outs[mode], whole_audio=line, default_mode=mode)
    sources = pictures_at(clip, [n / 25 + 0.01 for n in range(25)])

    def nearest(path: Path, time: float) -> int:
        (shown,) = pictures_at(path, [time])
        errors = [squared_error(shown, source, QUIET) for source in sources]
        return int(np.argmin(errors))

    assert nearest(outs["remap"], 1.01) == pytest.approx(12, abs=1)
    assert nearest(outs["bounce"], 1.41) == pytest.approx(14, abs=1)
    assert nearest(outs["loop"], 1.41) == pytest.approx(10, abs=1)


def test_a_crop_of_the_audio_is_used(panning: Sample, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    lip_sync(panning.clip, out, [SegmentPlan(1.0, 1.6, panning.line_1, 0.4, 1.0)])
    score = correlation_at(out, 1.0, 1.6, panning.line_1, reference_start=0.4)
    assert score > 0.97
    assert duration_of(out, "video") == pytest.approx(4.0, abs=0.01)


def test_whole_video_follows_the_audio_by_default(panning: Sample, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    result = lip_sync(panning.clip, out, whole_audio=panning.line_1)
    length = panning.segments[0][1] - panning.segments[0][0]
    assert result.duration == pytest.approx(length, abs=0.01)
    assert all(marked(picture) for picture in pictures_at(out, [0.0, length / 2, length - 0.05]))


def test_faults(panning: Sample, tmp_path: Path) -> None:
    plan = [SegmentPlan(0.5, 1.6, panning.line_1, sync_mode="cut_off")]
    out = tmp_path / "out.mp4"
    lip_sync(panning.clip, out, plan, fault="picture_unchanged")
    assert not any(marked(picture) for picture in pictures_at(out, [0.7, 1.2]))
    assert correlation_at(out, 0.5, 1.6, panning.line_1) > 0.97
    lip_sync(panning.clip, out, plan, fault="audio_dropped")
    with av.open(str(out)) as container:
        assert not container.streams.audio
    assert lip_sync(panning.clip, out, plan, fault="wrong_duration").duration == pytest.approx(3.0)
    assert duration_of(out, "video") == pytest.approx(3.0, abs=0.05)
    assert duration_of(out, "audio") == pytest.approx(3.0, abs=0.05)


@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        (".mp4", {"channels": 0}),
        (".mp4", {"channels": 1, "rate": 44_100}),
        (".mp4", {"channels": 6}),
        (".mp4", {"channels": 1, "rate": 8_000}),
        (".mp4", {"pix_fmt": "yuv420p10le"}),
        (".mp4", {"pix_fmt": "yuv444p"}),
        (".mp4", {"size": (161, 91), "pix_fmt": "yuv444p"}),
        (".mp4", {"options": {"bf": "3", "b_strategy": "0", "g": "250"}}),
        (".mkv", {}),
        (".avi", {"codec": "mpeg4", "audio_codec": "mp3", "options": {"q": "2"}}),
        (".ts", {}),
    ],
)
def test_unusual_sources(tmp_path: Path, suffix: str, options: dict[str, Any]) -> None:
    clip = write_clip(tmp_path / f"clip{suffix}", **options)
    line = line_of(tmp_path, 0.8)
    out = tmp_path / "out.mp4"
    result = lip_sync(clip, out, [SegmentPlan(0.6, 1.4, line)])
    assert (result.width, result.height, result.frames) == (160, 90, 50)
    assert correlation_at(out, 0.6, 1.4, line) > (0.85 if options.get("rate") == 8_000 else 0.95)
    shown = [marked(picture) for picture in pictures_at(out, [0.3, 0.58, 0.67, 1.0, 1.38, 1.47])]
    assert shown == [False, False, True, True, True, False]
    assert psnr(clip, out, [0.1, 0.3, 1.7], QUIET) > 36
    if options.get("channels") == 0:
        assert np.abs(audio_samples(out)[:8000]).max() < 0.01
    else:
        assert correlation_at(out, 1.5, 1.9, clip, reference_start=1.5) > 0.95


def test_rotation_is_applied(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", rotate=-90)
    line = line_of(tmp_path, 0.8)
    out = tmp_path / "out.mp4"
    result = lip_sync(clip, out, [SegmentPlan(0.6, 1.4, line)])
    assert (result.width, result.height) == (90, 160)
    (picture,) = pictures_at(out, [0.1])
    # The bright top quarter of the stored picture is the right quarter of the displayed one.
    assert picture.u[:, -8:].mean() > picture.u[:, :30].mean() + 20
    with av.open(str(out)) as container:
        assert next(container.decode(video=0)).rotation == 0


def test_variable_frame_rate_is_kept(tmp_path: Path) -> None:
    steps = [0]
    for number in range(49):
        steps.append(steps[-1] + (20 if number % 3 else 80))
    clip = write_clip(tmp_path / "clip.mp4", pts=steps)
    line = line_of(tmp_path, 0.5)
    out = tmp_path / "out.mp4"
    lip_sync(clip, out, [SegmentPlan(0.6, 1.1, line)])
    assert frame_times(out) == pytest.approx(frame_times(clip), abs=0.002)
    assert [marked(p) for p in pictures_at(out, [0.5, 0.7, 1.0, 1.2])] == [False, True, True, False]


def test_marks_are_the_same_each_time_and_leave_most_of_the_picture(panning: Sample) -> None:
    (plain,) = pictures_at(panning.clip, [0.2])
    one, two = plain.copy(), plain.copy()
    visible_marks.draw(one, 0.7)
    visible_marks.draw(two, 0.7)
    for before, first, second in zip(plain.planes(), one.planes(), two.planes(), strict=True):
        assert np.array_equal(first, second)
        assert 0.005 < np.mean(first != before) < 0.05
        assert np.array_equal(
            first[before.shape[0] * 7 // 10 :], before[before.shape[0] * 7 // 10 :]
        )


def test_the_mouth_moves_where_the_speaker_is(panning: Sample, tmp_path: Path) -> None:
    line, outs = line_of(tmp_path, 1.0), []
    for face in (None, (40, 30)):
        outs.append(tmp_path / f"{face is None}.mp4")
        lip_sync(panning.clip, outs[-1], [SegmentPlan(0.5, 1.5, line, face=face)])
    usual, chosen = (pictures_at(out, [1.0])[0] for out in outs)
    changed = np.abs(usual.v.astype(int) - chosen.v) > 12
    for face in (None, (40, 30)):
        box = visible_marks.mouth_box(usual.width, usual.height, face)
        left, top, right, bottom = (side // 2 for side in box)
        assert changed[top:bottom, left:right].any(), face
        changed[top:bottom, left:right] = False
    assert not changed.any()
    with pytest.raises(FaceError):
        lip_sync(panning.clip, outs[0], [SegmentPlan(0.5, 1.5, line, face=(usual.width, 3))])


def test_unusable_input_is_told_plainly(panning: Sample, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    garbage = tmp_path / "garbage.mp4"
    garbage.write_bytes(np.random.default_rng(1).bytes(4000))
    empty = tmp_path / "empty.mp4"
    empty.touch()
    good = [SegmentPlan(0.5, 1.0, panning.line_1)]
    for video in (garbage, empty, tmp_path / "absent.mp4", panning.line_1):
        with pytest.raises(MediaError, match=video.name):
            lip_sync(video, out, good)
    for audio in (garbage, empty):
        with pytest.raises(MediaError, match=audio.name):
            lip_sync(panning.clip, out, [SegmentPlan(0.5, 1.0, audio)])
    silent = write_clip(tmp_path / "silent.mp4", channels=0, frames=5)
    with pytest.raises(MediaError, match="no sound"):
        lip_sync(panning.clip, out, [SegmentPlan(0.5, 1.0, silent)])
    with pytest.raises(MediaError, match="crop"):
        lip_sync(panning.clip, out, [SegmentPlan(0.5, 1.0, panning.line_1, 50.0, 51.0)])
    with pytest.raises(MediaError, match="no number"):
        lip_sync(panning.clip, out, [SegmentPlan(0.5, float("nan"), panning.line_1)])
    with pytest.raises(MediaError, match="either"):
        lip_sync(panning.clip, out)
    with pytest.raises(MediaError, match="fault"):
        lip_sync(panning.clip, out, good, fault="explode")
    assert not list(tmp_path.glob("out*"))


def test_correlation_of_silence_is_none() -> None:
    silence = np.zeros(100, np.float32)
    assert correlation(silence, silence) == 0


def test_a_recording_that_begins_late_is_as_long_as_its_content(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4")
    late = tmp_path / "late.mkv"
    with av.open(str(clip), "r") as source, av.open(str(late), "w") as out:
        streams = {s.index: out.add_stream_from_template(s) for s in source.streams}
        for packet in source.demux():
            if packet.dts is None or packet.pts is None:
                continue
            shift = round(1.4 / float(packet.time_base))
            packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
            packet.stream = streams[packet.stream.index]
            out.mux(packet)
    line = line_of(tmp_path, 0.8)
    made = lip_sync(late, tmp_path / "out.mp4", [SegmentPlan(0.6, 1.4, line)])
    assert made.duration == pytest.approx(2.0, abs=0.05)
