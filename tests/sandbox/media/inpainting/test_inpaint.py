from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from sandbox.media import overlays
from sandbox.media.errors import MediaError
from sandbox.media.files.mp4_writer import Format, Mp4Writer
from sandbox.media.files.pictures import Picture
from sandbox.media.inpainting.inpaint import inpaint
from sandbox.media.inpainting.masks import Mask
from sandbox.media.measure import frame_times, pictures_at
from sandbox.media.sample.make_sample import Sample
from tests.sandbox.media.clips import psnr, write_clip

ALL_TIMES = [0.02 + 0.2 * number for number in range(20)]


def subtitle_times(sample: Sample) -> list[float]:
    return [line.start + 0.02 + step * 0.12 for line in sample.subtitles for step in range(8)]


def masks_of(sample: Sample, kind: str, start: float, end: float) -> list[Mask]:
    return [
        Mask(kind, start, end, sample.subtitle_region),
        Mask("remove", 0, 99999, sample.watermark_region),
        Mask("keep", 0, 99999, sample.protected_region),
    ]


def packets(path: Path) -> list[tuple[object, ...]]:
    with av.open(str(path)) as container:
        return [
            (float(p.pts * p.time_base), bytes(p))
            for p in container.demux(audio=0)
            if p.pts is not None and p.time_base is not None
        ]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `burn` burns into."""
    return burn(tmp_path_factory.mktemp("plain") / "plain.mp4", lambda _number, _picture: None)


def burn(
    path: Path, drawn: Callable[[int, Picture], None], *, frames: int = 60, noise: int = 3
) -> Path:
    """A still, noisy gradient on which `drawn` puts something."""
    random = np.random.default_rng(noise)
    form = Format(320, 180, Fraction(25))
    base = np.linspace(60, 150, 320)[None, :] + np.linspace(-20, 20, 180)[:, None]
    with Mp4Writer(path, like=form, time_base=Fraction(1, 25), crf=14) as writer:
        for number in range(frames):
            luma = np.clip(base + random.standard_normal(base.shape), 0, 255).astype(np.uint8)
            chroma = np.full((90, 160), 128, np.uint8)
            picture = Picture(luma, chroma, chroma.copy())
            drawn(number, picture)
            writer.picture(picture, number)
    return path


@pytest.mark.parametrize(
    ("scene", "kind", "start", "end"),
    [
        ("panning", "remove", 0.3, 3.6),
        ("panning", "remove_only_ocr", 0.3, 3.6),
        ("panning", "remove", 0.0, 99999.0),
        ("static", "remove", 0.3, 3.6),
        ("static", "remove_only_ocr", 0.0, 99999.0),
    ],
)
def test_subtitles_are_replaced_by_what_was_behind(
    scene: str, kind: str, start: float, end: float, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    sample: Sample = request.getfixturevalue(scene)
    out = tmp_path / "out.mp4"
    result = inpaint(sample.clip, out, masks_of(sample, kind, start, end))
    assert (result.frames, result.changed_masks) == (100, 2)
    assert result.duration == pytest.approx(4.0)
    area, kept = sample.subtitle_region, [sample.protected_region]
    times = subtitle_times(sample)
    assert psnr(sample.clip, sample.clean, times, area, kept) < 20
    assert psnr(out, sample.clean, times, area, kept) > 30
    holes = [area, sample.watermark_region, sample.protected_region]
    assert psnr(out, sample.clip, ALL_TIMES, without=holes) > 38
    assert psnr(out, sample.clip, ALL_TIMES, sample.protected_region) > 36
    logo = sample.watermark_region
    assert psnr(sample.clip, sample.clean, ALL_TIMES, logo) < 20
    assert psnr(out, sample.clean, ALL_TIMES, logo) > 30
    assert packets(out) == packets(sample.clip)
    assert frame_times(out) == pytest.approx(frame_times(sample.clip), abs=1e-6)


@pytest.mark.parametrize("shift", [(-0.2, 0.2), (0.2, 0.0), (0.2, -0.2)])
def test_windows_that_miss_the_text_a_little(
    panning: Sample, tmp_path: Path, shift: tuple[float, float]
) -> None:
    line = panning.subtitles[0]
    start, end = line.start + shift[0], line.end + shift[1]
    out = tmp_path / "out.mp4"
    masks = masks_of(panning, "remove", start, end)
    inpaint(panning.clip, out, masks, keep_range=(0.0, 2.0))
    times = [max(start, line.start) + 0.03 + step * 0.08 for step in range(7)]
    area, kept = panning.subtitle_region, [panning.protected_region]
    assert psnr(out, panning.clean, times, area, kept) > 30
    # Pictures outside the window are left, with text or without.
    outside = [line.start + 0.05] if shift[0] > 0 else [start - 0.1]
    assert psnr(out, panning.clip, outside, area) > 38


def test_three_areas_act_only_in_their_own_window(plain: Path, tmp_path: Path) -> None:
    words = [
        overlays.text(text, centre=centre, size=18, frame=(320, 180))
        for text, centre in (("left", (0.2, 0.3)), ("right", (0.8, 0.3)), ("below", (0.5, 0.8)))
    ]

    def drawn(_: int, picture: Picture) -> None:
        for word in words:
            word.draw(picture)

    clip = burn(tmp_path / "clip.mp4", drawn)
    windows = [(0.4, 1.0), (0.8, 1.6), (1.4, 2.0)]
    regions = [word.region(320, 180) for word in words]
    kinds = ("remove", "remove_only_ocr", "remove")
    masks = [
        Mask(kind, *window, region)
        for kind, window, region in zip(kinds, windows, regions, strict=True)
    ]
    out = tmp_path / "out.mp4"
    assert inpaint(clip, out, masks).changed_masks == 3
    for (start, end), region in zip(windows, regions, strict=True):
        inside = [start + 0.02, (start + end) / 2, end - 0.02]
        outside = [start - 0.03, end + 0.03, 0.1, 2.3]
        assert psnr(out, plain, inside, region) > psnr(clip, plain, inside, region) + 8
        assert psnr(out, clip, outside, region) > 36


def test_text_free_region_is_left_alone_by_text_erasure(panning: Sample, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    free = (0.1, 0.3, 0.7, 0.7)
    result = inpaint(panning.clip, out, [Mask("remove_only_ocr", 0, 99, free)])
    assert result.changed_masks == 0
    assert psnr(out, panning.clip, ALL_TIMES) > 38


def test_erasing_fills_a_region_without_text_too(panning: Sample, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    region = (0.2, 0.3, 0.5, 0.6)
    masks = [Mask("remove", 1.0, 2.0, region)]
    assert inpaint(panning.clip, out, masks, keep_range=(0.0, 2.2)).changed_masks == 1
    assert psnr(out, panning.clip, [1.2, 1.5, 1.9], region) < 34
    assert psnr(out, panning.clip, [0.9, 2.1], region) > 38


def test_fading_text_and_a_second_line(plain: Path, tmp_path: Path) -> None:
    first = overlays.text("fades in", centre=(0.5, 0.7), size=18, frame=(320, 180))
    second = overlays.text("second line", centre=(0.5, 0.85), size=18, frame=(320, 180))

    def drawn(number: int, picture: Picture) -> None:
        if 10 <= number < 50:
            first.draw(picture, min(1.0, (number - 9) / 6))
        if 22 <= number < 36:
            second.draw(picture)

    clip = burn(tmp_path / "clip.mp4", drawn)
    out = tmp_path / "out.mp4"
    region = (0.1, 0.55, 0.9, 1.0)
    inpaint(clip, out, [Mask("remove", 0, 99, region)])
    times = [number / 25 + 0.01 for number in range(60)]
    worst = min(psnr(out, plain, [time], region) for time in times)
    assert worst > 30


def test_text_that_never_leaves_is_found_when_the_picture_moves(
    panning: Sample, tmp_path: Path
) -> None:
    out = tmp_path / "out.mp4"
    masks = [Mask("remove_only_ocr", 0, 99, panning.watermark_region)]
    assert inpaint(panning.clip, out, masks).changed_masks == 1
    logo = panning.watermark_region
    before = psnr(panning.clip, panning.clean, ALL_TIMES, logo)
    assert psnr(out, panning.clean, ALL_TIMES, logo) > before + 4


def test_lines_that_follow_each_other_from_first_to_last_picture(
    plain: Path, tmp_path: Path
) -> None:
    lines = [
        overlays.text(words, centre=(0.5, 0.8), size=20, frame=(320, 180))
        for words in ("the first of two", "and here another")
    ]
    clip = burn(tmp_path / "clip.mp4", lambda n, picture: lines[n >= 30].draw(picture))
    region = (0.1, 0.65, 0.9, 0.95)
    out = tmp_path / "out.mp4"
    for kind in ("remove", "remove_only_ocr"):
        inpaint(clip, out, [Mask(kind, 0, 99, region)])
        for time in (0.1, 0.9, 1.3, 2.3):
            assert psnr(clip, plain, [time], region) < 21
            assert psnr(out, plain, [time], region) > 28


def test_whole_frame_text(panning: Sample, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    keep = [Mask("keep", 0, 99, panning.protected_region)]
    inpaint(panning.clip, out, keep, whole_frame_text=True)
    area, kept = panning.subtitle_region, [panning.protected_region]
    times = subtitle_times(panning)
    assert psnr(out, panning.clean, times, area, kept) > 28
    assert psnr(out, panning.clip, ALL_TIMES, panning.protected_region) > 36
    holes = [area, panning.watermark_region, panning.protected_region]
    assert psnr(out, panning.clip, ALL_TIMES, without=holes) > 30


def test_size_limit_scales_down_and_never_up(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", size=(320, 180), frames=10)
    upright = write_clip(tmp_path / "upright.mp4", size=(180, 320), frames=10)
    out = tmp_path / "out.mp4"
    for source, limit, size in (
        (clip, 90, (160, 90)),
        (clip, 1080, (320, 180)),
        (upright, 90, (90, 160)),
    ):
        inpaint(source, out, [Mask("remove", 0, 1, (0.2, 0.2, 0.5, 0.5))], max_height=limit)
        (picture,) = pictures_at(out, [0.1])
        assert (picture.width, picture.height) == size


def test_a_range_is_cut_out(panning: Sample, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    masks = masks_of(panning, "remove", 0.0, 99.0)
    result = inpaint(panning.clip, out, masks, keep_range=(1.0, 2.0))
    assert (result.duration, result.frames) == (1.0, 25)
    with av.open(str(out)) as container:
        assert container.duration == pytest.approx(1_000_000, abs=40_000)
    (first,) = pictures_at(out, [0.0])
    (same,) = pictures_at(panning.clean, [1.0])
    assert np.abs(first.y.astype(int) - same.y).mean() < 3


def test_faults(panning: Sample, tmp_path: Path) -> None:
    masks = masks_of(panning, "remove", 0.3, 3.6)
    out = tmp_path / "out.mp4"
    assert inpaint(panning.clip, out, masks, fault="picture_unchanged").changed_masks == 0
    assert psnr(out, panning.clip, ALL_TIMES) > 38
    inpaint(panning.clip, out, masks[1:], fault="audio_dropped")
    with av.open(str(out)) as container:
        assert not container.streams.audio
    assert inpaint(panning.clip, out, masks[1:], fault="wrong_duration").duration == 3.0
    with av.open(str(out)) as container:
        assert container.duration == pytest.approx(3_000_000, abs=60_000)


@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        (".mp4", {"channels": 0}),
        (".avi", {"codec": "mpeg4", "audio_codec": "pcm_s16le"}),
        (".ts", {}),
        (".mp4", {"rotate": 90}),
        (".mp4", {"pix_fmt": "yuv420p10le"}),
        (".mp4", {"size": (16, 16)}),
    ],
)
def test_unusual_sources(tmp_path: Path, suffix: str, options: dict[str, Any]) -> None:
    clip = write_clip(tmp_path / f"clip{suffix}", **options)
    out = tmp_path / "out.mp4"
    region = (0.2, 0.2, 0.6, 0.6)
    result = inpaint(clip, out, [Mask("remove", 0.4, 1.2, region)])
    assert (result.frames, result.changed_masks) == (50, 1)
    assert psnr(clip, out, [0.1, 1.6]) > 33
    with av.open(str(out)) as container:
        assert len(container.streams.audio) == options.get("channels", 1)
        assert container.duration == pytest.approx(2_000_000, abs=90_000)


@pytest.mark.parametrize("codec", ["aac", "pcm_s16le"])
def test_sound_longer_than_the_picture_is_kept(tmp_path: Path, codec: str) -> None:
    short = [20 * number for number in range(25)]
    clip = write_clip(tmp_path / "clip.mkv", frames=25, pts=short, fps=12, audio_codec=codec)
    out = tmp_path / "out.mp4"
    inpaint(clip, out, [Mask("remove", 0, 1, (0.2, 0.2, 0.5, 0.5))])
    with av.open(str(out)) as container:
        stream = container.streams.audio[0]
        assert stream.duration is not None
        assert stream.time_base is not None
        assert float(stream.duration * stream.time_base) == pytest.approx(25 / 12, abs=0.06)


@pytest.mark.parametrize(
    "masks",
    [
        [Mask("blur", 0, 1, (0, 0, 1, 1))],
        [Mask("remove", 2, 1, (0, 0, 1, 1))],
        [Mask("remove", float("nan"), 1, (0, 0, 1, 1))],
        [Mask("remove", 0, 1, (0.5, 0, 0.5, 1))],
        [Mask("remove", 0, 1, (0, 0, 1.2, 1))],
        [Mask("remove", 0, 1, (0, float("nan"), 1, 1))],
    ],
)
def test_senseless_masks_are_refused(
    panning: Sample, tmp_path: Path, masks: Sequence[Mask]
) -> None:
    with pytest.raises(MediaError):
        inpaint(panning.clip, tmp_path / "out.mp4", masks)


def test_unusable_input_is_told_plainly(panning: Sample, tmp_path: Path) -> None:
    mask = [Mask("remove", 0, 1, (0, 0, 0.5, 0.5))]
    text = tmp_path / "page.mp4"
    text.write_text("<html>not found</html>")
    for path in (text, panning.line_1, tmp_path / "absent.mp4"):
        with pytest.raises(MediaError, match=path.name):
            inpaint(path, tmp_path / "out.mp4", mask)
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(panning.clip.read_bytes()[:3000])
    with pytest.raises(MediaError, match=r"cut\.mp4"):
        inpaint(cut, tmp_path / "out.mp4", mask)
    with pytest.raises(MediaError, match="range"):
        inpaint(panning.clip, tmp_path / "out.mp4", mask, keep_range=(9.0, 10.0))
    assert not list(tmp_path.glob("out*"))
