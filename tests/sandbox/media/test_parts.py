"""The small parts on their own: motion, presence, patches, holes, speech, measurements, sample."""

from __future__ import annotations

import json
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from sandbox.ghostcut.work.processing import inspect_source
from sandbox.media import coons, measure
from sandbox.media.areas import Box, pixel_box
from sandbox.media.errors import MediaError
from sandbox.media.holes import dilated, fill_holes
from sandbox.media.motion import Matcher, Points, moved, phase_correlation
from sandbox.media.presence import Change, EdgeWatcher, changes, showings
from sandbox.media.reading import PicturesByTime, VideoReader
from sandbox.media.sample import Sample, make_sample, sample_main
from sandbox.media.scene import cloudy
from sandbox.media.sound import SoundReader
from sandbox.media.speech import speech, write_wav
from sandbox.sync_so.work.processing import probe
from tests.sandbox.media.clips import write_clip


def test_a_tag_in_another_encoding_refuses_no_file(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "c.mp4")
    made = path.read_bytes()
    path.write_bytes(made.replace(b"Lavf", b"L\xe9vf"))
    assert path.read_bytes() != made
    with VideoReader(path) as reader:
        assert next(reader.pictures()).key
    found = probe(path)
    assert found is not None
    assert found.has_video
    assert inspect_source(path).width == found.width


def test_a_live_recording_is_as_long_as_its_packets(tmp_path: Path) -> None:
    live = tmp_path / "live.mkv"
    with (
        av.open(str(write_clip(tmp_path / "c.mkv", channels=0, options={"bf": "0"}))) as source,
        av.open(str(live), "w", options={"live": "1"}) as out,
    ):
        copies = {one.index: out.add_stream_from_template(one) for one in source.streams}
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = copies[packet.stream.index]
                out.mux(packet)
    with av.open(str(live)) as container:
        assert container.duration is None
    found = probe(live)
    assert found is not None
    assert found.video_seconds == pytest.approx(2.0, abs=0.06)
    assert inspect_source(live).duration == pytest.approx(2.0, abs=0.06)


def texture(height: int, width: int) -> np.ndarray:
    field = 128 + 30 * cloudy(np.random.default_rng(4), height, width, 1.0)
    return np.clip(field, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("shift", [(0, 0), (5, -3), (-40, 22)])
def test_motion_is_found(shift: tuple[int, int]) -> None:
    wide = texture(200, 300)
    reference = wide[40:160, 60:240]
    dx, dy = shift
    current = wide[40 + dy : 160 + dy, 60 + dx : 240 + dx]
    matcher = Matcher(Points(np.ones(current.shape, np.bool_)), current)
    start = phase_correlation(current, reference)
    found = matcher.search(reference, [(0.0, 0.0), start])
    assert (found.dx, found.dy) == pytest.approx((dx, dy), abs=0.2)
    assert found.error < 1
    # The current picture is the shifted reference inside.
    rows, columns = slice(50, 70), slice(70, 110)
    again = moved(reference, rows, columns, found.dx, found.dy)
    assert np.abs(again - current[rows, columns]).max() < 2


def test_motion_without_enough_common_points_is_no_match() -> None:
    picture = texture(64, 64)
    usable = np.zeros(picture.shape, np.bool_)
    found = Matcher(Points(np.ones_like(usable)), picture).search(picture, [(0.0, 0.0)], usable)
    assert found.error == float("inf")


def test_an_overlay_is_seen_coming_and_going() -> None:
    random = np.random.default_rng(2)
    watcher = EdgeWatcher(5)
    for number in range(60):
        picture = np.clip(100 + random.standard_normal((40, 120)) * 2, 0, 255)
        if 20 <= number < 45:
            picture[10:30, 20:100:6] = 235
            picture[10:30, 22:100:6] = 20
        watcher.add(picture.astype(np.uint8), None)
    watcher.end_shot()
    found = changes(
        np.array(watcher.appeared, float),
        np.array(watcher.vanished, float),
        np.zeros(60),
        np.zeros(60),
        20,
        5,
    )
    assert [(item.first, item.last) for item in found] == [(20, 20), (45, 45)]
    (overlay,) = showings(found, 60)
    assert (overlay.first, overlay.last) == (20, 44)


def test_edges_of_a_camera_that_comes_to_rest_are_no_overlay() -> None:
    count = 40
    appeared, vanished, speed = np.zeros(count), np.zeros(count), np.zeros(count)
    speed[:20] = 3
    appeared[19] = 900
    assert changes(appeared, vanished, speed, np.zeros(count), 20, 5) == []


def test_a_key_pictures_coding_noise_is_no_overlay() -> None:
    count = 60
    appeared, vanished, still = np.zeros(count), np.zeros(count), np.zeros(count)
    vanished[30] = 90
    settled = np.zeros(count)
    assert changes(appeared, vanished, still, settled, 40, 5) != []
    settled[30] = 700
    assert changes(appeared, vanished, still, settled, 40, 5) == []


def test_showings_follow_lines_and_swaps() -> None:
    def change(first: int, appeared: float, vanished: float) -> Change:
        return Change(first, first, appeared, vanished)

    # One line, a second below it that goes first, then the first goes.
    overlays = showings([change(10, 900, 50), change(20, 800, 0), change(30, 0, 780),
                         change(50, 40, 880)], 80)  # fmt: skip
    assert [(item.first, item.last) for item in overlays] == [(10, 49)]
    # A line that gives way to another one, and one that shows from the start.
    swapped = showings([change(10, 900, 50), change(30, 700, 860), change(50, 40, 690)], 80)
    assert [(item.first, item.last, item.swaps) for item in swapped] == [(10, 49, (30,))]
    early = showings([change(10, 30, 900), change(40, 500, 0)], 80)
    assert [(item.first, item.last) for item in early] == [(0, 9), (40, 79)]
    assert showings([], 80) == []


def test_patch_meets_its_border_and_continues_a_ramp() -> None:
    rows, columns = np.mgrid[:60, :80]
    plane = (20 + 2 * columns + rows).astype(np.uint8)
    box = Box(20, 16, 60, 44)
    filled = coons.fill(plane, box)
    assert np.abs(filled - plane[box.slices()]).max() < 6
    corner = coons.fill(plane, Box(0, 0, 20, 20))
    assert corner.shape == (20, 20)
    assert np.isfinite(corner).all()
    assert (coons.fill(plane, Box(0, 0, 80, 60)) == 128).all()


def test_holes_are_continued_and_the_rest_is_kept() -> None:
    rows, columns = np.mgrid[:41, :53]
    plane = (columns + rows).astype(np.float32)
    known = np.ones(plane.shape, np.bool_)
    known[10:20, 10:30] = False
    filled = fill_holes(plane, known)
    assert (filled[known] == plane[known]).all()
    assert np.abs(filled - plane).max() < 6
    assert (fill_holes(plane, np.zeros_like(known)) == 128).all()
    spot = np.zeros((9, 9), np.bool_)
    spot[4, 4] = True
    assert dilated(spot, 2).sum() == 25


@pytest.mark.parametrize(
    ("region", "box"),
    [
        ((0.1, 0.8, 0.9, 0.95), Box(64, 288, 576, 342)),
        ((0.0, 0.0, 1.0, 1.0), Box(0, 0, 640, 360)),
        ((0.999, 0.999, 1.0, 1.0), Box(638, 358, 640, 360)),
        ((0.5016, 0.5, 0.5017, 0.5001), Box(320, 180, 322, 182)),
    ],
)
def test_boxes_are_even_and_rounded_outwards(
    region: tuple[float, float, float, float], box: Box
) -> None:
    assert pixel_box(region, 640, 360) == box


def test_pictures_by_time_in_any_order(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", options={"g": "250"})
    with VideoReader(clip) as reader:
        times = [item.time for item in reader.pictures()]
        by_time = PicturesByTime(reader, window_bytes=1)
        for index in [0, 49, 48, 20, 19, 3, 30, 0, 49]:
            assert by_time.at(times[index] + 0.001).time == times[index]
        assert by_time.at(-1).time == times[0]
        assert by_time.at(99).time == times[-1]


def test_sound_begins_where_its_timestamps_say(tmp_path: Path) -> None:
    line = tmp_path / "line.wav"
    write_wav(line, speech(0.5, seed=1, pitch=200.0))
    reader = SoundReader(line)
    parts = [reader.read(1000), reader.read(1), reader.read(100_000)]
    reader.close()
    assert [len(part) for part in parts] == [1000, 1, 24_000 - 1001]
    low = SoundReader(line, rate=16_000, channels=2)
    assert low.read(99_999).shape == (8000, 2)
    low.close()


def test_two_voices_do_not_correlate() -> None:
    one, two = (speech(2.0, seed=seed, pitch=150.0)[:, 0] for seed in (1, 2))
    assert abs(measure.correlation(one, two)) < 0.2
    assert measure.correlation(one, one) == pytest.approx(1)


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
    arguments = ["--out", str(tmp_path), "--seconds", "2", "--width", "160", "--height", "90"]
    assert sample_main([*arguments, "--static"]) == 0
    assert Path(capsys.readouterr().out.strip()) == tmp_path / "sample.json"
    with pytest.raises(SystemExit):
        sample_main(["--out", str(tmp_path), "--width", "161"])
    with pytest.raises(MediaError):
        make_sample(tmp_path, seconds=0.1)
