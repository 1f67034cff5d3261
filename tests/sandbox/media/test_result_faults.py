"""Each fault of a file does what it says, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest

from sandbox.media.files.mp4_writer import Format
from sandbox.media.files.pictures import Picture
from sandbox.media.inpainting.inpaint import Mask, inpaint
from sandbox.media.lip_sync.lip_sync import SegmentPlan, lip_sync
from sandbox.media.result_faults import LATE_SECONDS, Spoiler
from sandbox.media.sample.make_sample import Sample
from tests.sandbox.media.clips import psnr, shown

TIMES = [0.1, 2.5, 3.5]

Make = Callable[[Sample, Path, str | None], Path]


def synced(sample: Sample, folder: Path, fault: str | None) -> Path:
    out = folder / f"lip-sync-{fault}.mp4"
    plan = [SegmentPlan(0.8, 1.9, sample.line_1, sync_mode="cut_off")]
    lip_sync(sample.clip, out, plan, fault=fault)
    return out


def erased(sample: Sample, folder: Path, fault: str | None) -> Path:
    out = folder / f"inpaint-{fault}.mp4"
    inpaint(sample.clip, out, [Mask("remove", 0.8, 1.9, (0.2, 0.4, 0.3, 0.5))], fault=fault)
    return out


both = pytest.mark.parametrize("make", [synced, erased])


@both
def test_watermark(panning: Sample, tmp_path: Path, make: Make) -> None:
    out = make(panning, tmp_path, "watermark")
    corner = (0.6, 0.8, 1.0, 1.0)
    for time in TIMES:
        assert psnr(panning.clip, out, [time], corner) < 32
        assert psnr(panning.clip, out, [time], (0.0, 0.0, 0.6, 0.8)) > 38
    # It is half transparent: what moves behind it is still to be seen.
    first, last = (shown(out, time).y[176:206, 260:380].copy() for time in (0.1, 3.5))
    assert np.abs(first.astype(int) - last).mean() > 2


@both
def test_mirrored(panning: Sample, tmp_path: Path, make: Make) -> None:
    out = make(panning, tmp_path, "mirrored")
    for time in TIMES:
        picture, before = shown(out, time), shown(panning.clip, time)
        assert np.abs(picture.y.astype(int) - before.y[:, ::-1]).mean() < 3


@both
def test_half_size(panning: Sample, tmp_path: Path, make: Make) -> None:
    picture, before = shown(make(panning, tmp_path, "half_size"), 0.1), shown(panning.clip, 0.1)
    assert (picture.width, picture.height) == (before.width // 2, before.height // 2)
    blocks = before.y.reshape(picture.height, 2, picture.width, 2).mean(axis=(1, 3))
    assert np.abs(picture.y - blocks).mean() < 5


@both
def test_other_frame_rate(panning: Sample, tmp_path: Path, make: Make) -> None:
    with av.open(str(make(panning, tmp_path, "other_frame_rate"))) as container:
        stream = container.streams.video[0]
        assert stream.frames == 50
        assert stream.average_rate is not None
        assert float(stream.average_rate) == pytest.approx(12.5, rel=0.03)


@both
def test_late_sound(panning: Sample, tmp_path: Path, make: Make) -> None:
    plain, late = (sound_of(make(panning, tmp_path, fault)) for fault in (None, "late_sound"))
    shift = round(LATE_SECONDS * 48_000)
    assert np.abs(late[: shift - 2000]).max(initial=0) < 0.001
    one, other = (np.fft.rfft(each, 1 << 19) for each in (plain, late))
    # Where they overlap best: an edit list counts in milliseconds.
    assert abs(int(np.argmax(np.fft.irfft(other * np.conj(one)))) - shift) < 480


@both
def test_tone_mapped(panning: Sample, tmp_path: Path, make: Make) -> None:
    picture, before = shown(make(panning, tmp_path, "tone_mapped"), 0.1), shown(panning.clip, 0.1)
    assert picture.y.mean() < before.y.mean() - 25
    one, other = (np.argsort(np.argsort(each.y[::4, ::4].ravel())) for each in (picture, before))
    assert correlation(one, other) > 0.97


@pytest.mark.parametrize(("transfer", "white"), [(16, 143), (18, 180)])
def test_tone_mapping_of_hdr(transfer: int, white: int) -> None:
    """White paper (203 nits) stays light, black stays black, and no order changes."""
    colour = {"color_trc": transfer, "color_primaries": 9, "colorspace": 9}
    spoiler = Spoiler("tone_mapped", Format(256, 16, Fraction(25), None, colour), "x")
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :], 16, axis=0)
    grey = np.full((8, 128), 128, np.uint8)
    mapped = spoiler.picture(Picture(ramp, grey, grey))
    assert mapped is not None
    levels = mapped.y[0].astype(int)
    assert (np.diff(levels) >= 0).all()
    assert levels[16] == 16
    assert 170 < levels[white] < 220
    assert spoiler.format.colour == {"color_trc": 1, "color_primaries": 1, "colorspace": 1}


def test_silence_outside(panning: Sample, tmp_path: Path) -> None:
    plain = sound_of(synced(panning, tmp_path, None))
    silent = sound_of(synced(panning, tmp_path, "silence_outside"))
    for start, end in ((0, 0.75), (1.95, 4.0)):
        part = slice(round(start * 48_000), round(end * 48_000))
        assert np.abs(plain[part]).max() > 0.05
        assert np.abs(silent[part]).max() < 0.001
    inside = slice(round(0.85 * 48_000), round(1.85 * 48_000))
    assert np.abs(plain[inside] - silent[inside]).max() < 0.05


def correlation(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> float:
    return float(np.corrcoef(np.stack([one, other]))[0, 1])


def sound_of(path: Path) -> npt.NDArray[Any]:
    """One channel, in time with the picture."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        frames = list(container.decode(stream))
        base = stream.time_base
    assert base is not None
    first = round(float((frames[0].pts or 0) * base) * 48_000)
    samples = np.concatenate([frame.to_ndarray()[0] for frame in frames])
    lead = np.zeros(max(0, first), samples.dtype)
    return np.concatenate([lead, samples[max(0, -first) :]])
