"""Lengths and rates of files as recorders, remuxers and streams write them."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from pro_video.core.errors import MediaUnusable
from pro_video.judging.preview import make_preview
from pro_video.judging.sound.loudness import open_sound
from pro_video.media.reading import lengths
from pro_video.request.limits import LONGEST_FRAME
from tests.support.media.clips import (
    RATE,
    Picture,
    encode_sound,
    moving,
    sound_frames,
    write_clip,
    write_sound,
)
from tests.support.media.probed import picture_of, probed, sound_of, streams_of

CODECS = {"webm": ("libvpx", "libopus"), "avi": ("mpeg4", "libmp3lame")}


def film(
    path: Path,
    *,
    seconds: float = 2.0,
    picture_at: float = 0.0,
    sound_at: float | None = 0.0,
    sound_seconds: float | None = None,
    times: Sequence[int] | None = None,
    base: Fraction = Fraction(1, 1000),
    rate: int = 25,
    reordered: bool = False,
    options: dict[str, str] | None = None,
    codec: str | None = None,
    draw: Callable[[int, int, int], Picture] = moving,
) -> Path:
    """A clip whose picture and sound begin at times of their own, muxed in their order.

    ``times`` are those of the pictures in units of ``base``.
    """
    picture_codec, sound_codec = CODECS.get(path.suffix[1:], ("libx264", "aac"))
    stamps = [round(n / 25 / base) for n in range(round(seconds * 25))] if times is None else times
    with av.open(str(path), "w", options=options or {}) as out:
        video = out.add_stream(codec or picture_codec, rate=rate)
        assert isinstance(video, VideoStream)
        video.width, video.height, video.pix_fmt = 160, 96, "yuv420p"
        video.codec_context.time_base = base
        if video.name == "libx264":
            video.options = {"preset": "fast" if reordered else "ultrafast"}
        items: list[tuple[float, Callable[[], list[Packet[Any]]]]] = []
        for number, stamp in enumerate(stamps):
            frame = VideoFrame.from_ndarray(draw(number, 160, 96), format="rgb24")
            frame.pts, frame.time_base = stamp + round(picture_at / base), base
            items.append((float(frame.pts * base), partial(video.encode, frame)))
        audio = None
        if sound_at is not None:
            audio = out.add_stream(sound_codec, rate=RATE)
            assert isinstance(audio, AudioStream)
            audio.layout = "mono"
            for block in blocks(seconds if sound_seconds is None else sound_seconds):
                assert block.pts is not None
                block.pts += round(sound_at * RATE)
                items.append((block.pts / RATE, partial(audio.encode, block)))
        for _, encode in sorted(items, key=lambda one: one[0]):
            out.mux(encode())
        out.mux(video.encode(None))
        if isinstance(audio, AudioStream):
            out.mux(audio.encode(None))
    return path


def blocks(seconds: float) -> list[AudioFrame]:
    """Noise that is loud first and silent later, which bit rates follow."""
    total = round(seconds * RATE)
    noise = np.random.default_rng(1).random(total).astype(np.float32) - 0.5
    noise[total // 4 :] *= 0.001
    return sound_frames(noise)


@pytest.mark.parametrize("name", ["c.mp4", "c.mov", "c.mkv", "c.webm"])
@pytest.mark.parametrize("begin", [0.0, 1.4, 3600.0])
@pytest.mark.parametrize("reordered", [False, True])
def test_a_length_is_the_end_minus_the_begin(
    tmp_path: Path, name: str, begin: float, *, reordered: bool
) -> None:
    info, video, audio = streams_of(
        film(tmp_path / name, picture_at=begin, sound_at=begin, reordered=reordered)
    )
    assert info.duration == pytest.approx(2.0, abs=0.05)
    assert video.duration == pytest.approx(2.0, abs=0.005)
    assert video.start == pytest.approx(0, abs=0.03)
    assert audio.duration == pytest.approx(2.0, abs=0.05)
    assert (video.fps, video.frames) == (25.0, 50)


@pytest.mark.parametrize("name", ["c.mp4", "c.mov", "c.mkv", "c.webm"])
@pytest.mark.parametrize(("picture", "sound"), [(1.0, 0.0), (0.0, 1.0)])
def test_streams_that_begin_apart(tmp_path: Path, name: str, picture: float, sound: float) -> None:
    info, video, audio = streams_of(film(tmp_path / name, picture_at=picture, sound_at=sound))
    assert info.duration == pytest.approx(3.0, abs=0.05)
    assert video.duration == pytest.approx(2.0, abs=0.005)
    assert video.start == pytest.approx(picture, abs=0.03)
    assert audio.duration == pytest.approx(2.0, abs=0.05)
    assert audio.start == pytest.approx(sound, abs=0.03)


@pytest.mark.parametrize("name", ["c.mkv", "c.webm"])
@pytest.mark.parametrize("sound_seconds", [1.0, 5.0])
def test_a_sound_that_ends_long_before_or_after_the_picture(
    tmp_path: Path, name: str, sound_seconds: float
) -> None:
    info, video, audio = streams_of(film(tmp_path / name, seconds=3.0, sound_seconds=sound_seconds))
    assert video.duration == pytest.approx(3.0, abs=0.005)
    assert audio.duration == pytest.approx(sound_seconds, abs=0.05)
    assert info.duration == pytest.approx(max(3.0, sound_seconds), abs=0.05)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("c.mkv", {"live": "1"}),
        ("c.webm", {"live": "1"}),
        ("c.mp4", {"movflags": "frag_keyframe+empty_moov+skip_trailer"}),
        ("c.mp4", {"movflags": "dash"}),
    ],
)
def test_recordings_that_state_no_length_are_counted(
    tmp_path: Path, name: str, options: dict[str, str]
) -> None:
    info = probed(film(tmp_path / name, options=options))
    assert info.video is not None
    # The muxer of fragments moves the first picture to the first sound, which is 20 ms earlier.
    assert info.video.duration == pytest.approx(2.0, abs=0.025)
    assert info.duration == pytest.approx(2.0, abs=0.05)
    assert info.video.variable_frame_rate is False
    assert info.video.stated is ("live" not in options)


def test_a_recording_that_would_take_too_much_reading_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = film(tmp_path / "c.mkv", seconds=8, options={"live": "1"})
    monkeypatch.setattr("pro_video.media.probe.COUNT_BUDGET", path.stat().st_size // 2)
    with pytest.raises(MediaUnusable, match="does not state its length") as caught:
        probed(path)
    assert caught.value.code == "media_no_duration"


def test_where_counting_takes_too_much_the_statement_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pro_video.media.probe.COUNT_BUDGET", 1)
    video = picture_of(film(tmp_path / "c.mkv", picture_at=1.4, sound_at=1.4))
    assert video.duration == pytest.approx(2.0, abs=0.05)


def light(index: int, width: int, height: int) -> Picture:
    return np.full((height, width, 3), 20 + 4 * index, np.uint8)


@pytest.mark.parametrize("name", ["c.mkv", "c.avi", "c.mp4"])
def test_moments_count_from_the_first_picture(tmp_path: Path, name: str) -> None:
    path = film(
        tmp_path / name,
        picture_at=1.4,
        base=Fraction(1, 25),
        sound_at=None,
        reordered=True,
        codec="libx264",
        draw=light,
    )
    jpeg = make_preview(path, path, instants=(0.0, 1.0))
    with av.open(io.BytesIO(jpeg), "r") as sheet:
        shown = next(sheet.decode(video=0)).to_ndarray(format="gray")
    rows = shown.shape[0] // 2
    assert np.median(shown[:rows]) == pytest.approx(20, abs=4)
    assert np.median(shown[rows:]) == pytest.approx(120, abs=6)


@pytest.mark.parametrize("name", ["c.mp4", "c.mkv"])
def test_sound_is_heard_at_the_time_of_its_picture(tmp_path: Path, name: str) -> None:
    # Loud for a quarter of 4 s, from 1 s after the first picture on.
    path = film(tmp_path / name, seconds=4.0, picture_at=0.5, sound_at=1.5, sound_seconds=4.0)
    with open_sound(path, "the clip") as listener:
        assert listener is not None
        levels = listener.stretch(0.0, 3.0).levels
    loud = [place * 0.04 for place, level in enumerate(levels) if level > 0.05]
    assert loud[0] == pytest.approx(1.0, abs=0.09)
    assert loud[-1] == pytest.approx(2.0, abs=0.13)


BARE = {"write_xing": "0", "id3v2_version": "0"}


def test_a_length_that_readers_estimate_is_counted(tmp_path: Path) -> None:
    made = {
        "bare mp3": encode_sound(
            tmp_path / "a.mp3", "libmp3lame", blocks(10.0), quality=0, options=BARE
        ),
        "aac": encode_sound(tmp_path / "a.aac", "aac", blocks(10.0)),
    }
    for name, path in made.items():
        with av.open(str(path)) as container:
            assert container.duration is not None
            # Not even near: the first packets are larger than the rest.
            assert name == "aac" or abs(container.duration / av.time_base - 10) > 0.3
        audio = probed(path).audio
        assert audio is not None
        assert audio.duration == pytest.approx(10.0, abs=0.06), name
        assert audio.stated is False, name


@pytest.mark.parametrize("rate", [8000, 16000])
def test_the_padding_of_a_slow_mp3_is_no_sound(tmp_path: Path, rate: int) -> None:
    audio = sound_of(encode_sound(tmp_path / "a.mp3", "libmp3lame", blocks(4.0), rate=rate))
    assert audio.duration == pytest.approx(4.0, abs=0.005)
    assert audio.stated is True


def test_a_joined_mp3_is_as_long_as_it_plays(tmp_path: Path) -> None:
    one = encode_sound(tmp_path / "a.mp3", "libmp3lame", blocks(3.0))
    check_length(one, 3.0, stated=True)
    both = tmp_path / "both.mp3"
    both.write_bytes(one.read_bytes() * 2)
    check_length(both, 6.0, stated=False)


def check_length(path: Path, seconds: float, *, stated: bool) -> None:
    audio = sound_of(path)
    assert audio.duration == pytest.approx(seconds, abs=0.12)
    assert audio.stated is stated


def test_a_flac_may_not_know_its_length_and_may_be_cut(tmp_path: Path) -> None:
    data = bytearray(encode_sound(tmp_path / "a.flac", "flac", blocks(3.0)).read_bytes())
    cut = bytes(data[: len(data) // 2])
    with pytest.raises(MediaUnusable, match=r"header promises 3\.00 s") as caught:
        probed(cut)
    assert caught.value.code == "media_truncated"
    samples = int.from_bytes(data[21:26], "big")
    data[21:26] = (samples & ~0xFFFFFFFFF).to_bytes(5, "big")
    info = probed(data)
    assert info.duration == pytest.approx(3.0, abs=0.01)


@pytest.mark.parametrize(
    ("riff", "data"),
    [
        (0, 0),
        (0xFFFFFFFF, 0xFFFFFFFF),
        (0x7FFFFFFF, 0x7FFFFFFF - 36),
        (2000000036, 2000000000),
        (0x7FFFF024, 0x7FFFF000),
        (0x80000024, 0x80000000),
        (0x0FFFFFFF, 0x0FFFFFDB),
        (None, 0xFFFFFFFF),
        (0xFFFFFFFF, None),
        (None, 0),
        (0, None),
    ],
)
def test_a_wav_written_to_a_stream_is_whole(
    tmp_path: Path, riff: int | None, data: int | None
) -> None:
    wav = bytearray(write_sound(tmp_path / "a.wav", 1.5).read_bytes())
    if riff is not None:
        wav[4:8] = struct.pack("<I", riff)
    if data is not None:
        place = wav.find(b"data") + 4
        wav[place : place + 4] = struct.pack("<I", data)
    audio = sound_of(wav)
    assert audio.duration == pytest.approx(1.5, abs=0.001)
    assert audio.stated is False


def test_bytes_after_a_wavs_sound_are_no_cut(tmp_path: Path) -> None:
    wav = write_sound(tmp_path / "a.wav", 1.5).read_bytes()
    tail = wav + b"LIST" + struct.pack("<I", 500) + b"INFO" + bytes(100)
    audio = sound_of(tail)
    assert audio.duration == pytest.approx(1.5, abs=0.001)
    assert audio.stated is True


TAILS = {
    "form boundary": b"\r\n------WebKitFormBoundary7MA4YWxkTrZu0gW--\r\n",
    "trailer": bytes(range(100, 164)) + b"8db42d694ccc418790edff439fe026bf",
    "zeros": bytes(4096),
    "large free box": struct.pack(">I", 100_000) + b"free" + bytes(100),
    "large media box": struct.pack(">I", 100_000) + b"mdat" + bytes(100),
}


@pytest.mark.parametrize("faststart", [True, False])
@pytest.mark.parametrize("tail", TAILS)
def test_bytes_after_the_last_box_are_no_cut(tmp_path: Path, tail: str, *, faststart: bool) -> None:
    clip = write_clip(tmp_path / "c.mp4", faststart=faststart).read_bytes()
    data = clip + TAILS[tail]
    video = picture_of(data)
    assert video.frames == 50
    assert video.duration == pytest.approx(2.0)
    cut = clip[: len(clip) * 2 // 3] + TAILS[tail][:40]
    with pytest.raises(MediaUnusable, match="cut off"):
        probed(cut)


def test_a_media_box_that_is_too_large_is_no_cut(tmp_path: Path) -> None:
    data = bytearray(write_clip(tmp_path / "c.mp4", faststart=True).read_bytes())
    place = data.find(b"mdat") - 4
    length = int.from_bytes(data[place : place + 4], "big")
    for claimed in (length + 1000, 0):
        data[place : place + 4] = struct.pack(">I", claimed)
        assert picture_of(data)


@pytest.mark.parametrize("name", ["c.avi", "c.mkv"])
def test_an_outer_size_that_is_odd_is_no_cut(tmp_path: Path, name: str) -> None:
    data = bytearray(write_clip(tmp_path / name).read_bytes())
    if name == "c.avi":
        data[4:8] = struct.pack("<I", len(data) + 5000)
    else:
        segment = data.find(b"\x18\x53\x80\x67") + 4
        data[segment : segment + 8] = b"\x01" + (len(data) + 5000).to_bytes(7, "big")
    info = probed(data)
    assert info.duration == pytest.approx(2.0, abs=0.05)


def test_ticks_are_no_pictures(tmp_path: Path) -> None:
    times, base = range(0, 1200, 24), Fraction(1, 600)
    path = film(
        tmp_path / "c.avi", times=times, base=base, rate=600, sound_at=None, codec="libx264"
    )
    with av.open(str(path)) as container:
        assert container.streams.video[0].average_rate == 600
    found = picture_of(path)
    assert (found.fps, found.frames) == (25.0, 50)
    assert found.duration == pytest.approx(2.0, abs=0.1)


@pytest.mark.parametrize("name", ["c.mkv", "c.webm"])
def test_a_clock_in_thousandths_is_no_frame_rate(tmp_path: Path, name: str) -> None:
    found = picture_of(film(tmp_path / name, rate=1000, sound_at=None))
    assert found.fps == pytest.approx(25.0)
    assert found.duration == pytest.approx(2.0, abs=0.005)


HELD = [0, 40, 80, 3000, 3040, 6000, 6040, 9000, 9040, 12000]


@pytest.mark.parametrize("name", ["c.mp4", "c.mkv", "c.webm"])
def test_held_pictures_do_not_lower_the_frame_rate(tmp_path: Path, name: str) -> None:
    video = picture_of(film(tmp_path / name, times=HELD, sound_seconds=12.0))
    assert video.fps == pytest.approx(25.0)
    assert video.variable_frame_rate is True
    assert video.duration == pytest.approx(12.04, abs=0.05)


@pytest.mark.parametrize("name", ["c.mkv", "c.webm"])
def test_the_last_of_held_pictures_is_not_held(tmp_path: Path, name: str) -> None:
    video = picture_of(film(tmp_path / name, times=[0, 1500, 3000, 4500], sound_seconds=4.5))
    assert video.duration == pytest.approx(4.5, abs=0.11)


def test_an_edit_may_show_a_part_twice(tmp_path: Path) -> None:
    data = bytearray(write_clip(tmp_path / "c.mp4", seconds=4.0, sound=False).read_bytes())
    place = data.find(b"edts") - 4
    old = int.from_bytes(data[place : place + 4], "big")
    edits = b"".join(struct.pack(">IiI", length, 0, 65536) for length in (2000, 4000))
    table = struct.pack(">I4sII", 16 + len(edits), b"elst", 0, 2) + edits
    edit = struct.pack(">I4s", 8 + len(table), b"edts") + table
    for name in (b"moov", b"trak"):
        start = data.find(name) - 4
        size = int.from_bytes(data[start : start + 4], "big") + len(edit) - old
        data[start : start + 4] = size.to_bytes(4, "big")
    data[place : place + old] = edit
    video = picture_of(data)
    assert video.duration == pytest.approx(6.0, abs=0.005)


def test_where_all_pictures_are_held_their_rate_is_the_rate(tmp_path: Path) -> None:
    slides = picture_of(film(tmp_path / "c.mp4", times=[0, 5000, 10000, 15000], sound_seconds=20))
    assert slides.fps == pytest.approx(0.2, rel=0.01)
    assert 1 / slides.fps > LONGEST_FRAME


def test_further_tracks_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "c.mkv"
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=25)
        assert isinstance(video, VideoStream)
        video.width, video.height, video.pix_fmt = 160, 96, "yuv420p"
        sounds = [out.add_stream("pcm_s16le", rate=RATE) for _ in range(2)]
        for number in range(25):
            frame = VideoFrame.from_ndarray(moving(number, 160, 96), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
        form = AudioResampler(format="s16", layout="stereo", rate=RATE)
        for block in blocks(1.0):
            for even in form.resample(block):
                for sound in sounds:
                    assert isinstance(sound, AudioStream)
                    out.mux(sound.encode(even))
    audio = sound_of(path)
    assert audio.tracks == 2


def test_spans_of_several_streams() -> None:
    assert lengths.whole([lengths.Span(1.0, 3.0), lengths.Span(0.5, 2.0)]).length == 2.5
