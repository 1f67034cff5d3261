"""Results of `probe` for sound files, and its small reads."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path

import av
import pytest
from av.video.frame import VideoFrame
from av.video.stream import VideoStream as AvVideo

from pro_video.core.errors import StorageUnavailable
from pro_video.media.info import AudioStream
from pro_video.media.probe import probe
from tests.support.media.clips import Counting, write_clip, write_large, write_sound
from tests.support.media.probed import picture_of, probed, streams_of

SHARED = Path(__file__).parents[3] / "../shared/media"


def describe(path: Path) -> tuple[str, object, object]:
    info = probed(path)
    return info.container, info.video, info.audio


@pytest.mark.parametrize("name", ["c.mp4", "c.mov", "c.mkv", "c.avi"])
def test_videos_of_each_container(tmp_path: Path, name: str) -> None:
    path = write_clip(tmp_path / name)
    info, video, audio = streams_of(path)
    assert info.container == path.suffix[1:]
    assert info.size == path.stat().st_size
    assert info.duration == pytest.approx(2.0, abs=0.05)
    assert (video.width, video.height, video.rotation) == (160, 96, 0)
    assert (video.fps, video.codec) == (25.0, "h264")
    assert video.frames == pytest.approx(50, abs=1)
    assert video.variable_frame_rate is False
    assert (audio.codec, audio.sample_rate) == ("aac", 48000)


@pytest.mark.parametrize(
    ("name", "codec", "decoder"),
    [
        ("a.wav", "pcm_s16le", "pcm_s16le"),
        ("a.mp3", "mp3", "mp3float"),
        ("a.flac", "flac", "flac"),
        ("a.m4a", "aac", "aac"),
    ],
)
def test_audio_files(tmp_path: Path, name: str, codec: str, decoder: str) -> None:
    container, video, audio = describe(write_sound(tmp_path / name, 1.5, codec))
    assert container == {"m4a": "mp4"}.get(name[2:], name[2:])
    assert video is None
    assert isinstance(audio, AudioStream)
    assert audio.codec == decoder
    assert audio.duration == pytest.approx(1.5, abs=0.06)


def test_a_video_without_sound(tmp_path: Path) -> None:
    _, video, audio = describe(write_clip(tmp_path / "c.mp4", sound=False))
    assert video is not None
    assert audio is None


@pytest.mark.parametrize(("rotation", "stored"), [(90, 90), (-90, 270), (180, 180)])
def test_rotation_gives_the_displayed_size(tmp_path: Path, rotation: int, stored: int) -> None:
    path = write_clip(tmp_path / "c.mp4", rotation=rotation)
    video = picture_of(path)
    assert video.rotation == stored
    size = (160, 96) if stored == 180 else (96, 160)
    assert (video.width, video.height) == size


@pytest.mark.parametrize(
    ("stored", "rotation", "shown"),
    [
        (None, None, Fraction(1)),
        (Fraction(4, 3), None, Fraction(4, 3)),
        (Fraction(4, 3), 90, Fraction(3, 4)),
        (Fraction(10, 11), 180, Fraction(10, 11)),
        (Fraction(100, 1), None, Fraction(1)),
    ],
)
def test_the_shape_of_pixels_is_of_those_displayed(
    tmp_path: Path, stored: Fraction | None, rotation: int | None, shown: Fraction
) -> None:
    path = write_clip(tmp_path / "c.mp4", pixel_aspect=stored, rotation=rotation)
    video = picture_of(path)
    assert video.pixel_aspect == pytest.approx(float(shown))


def test_a_variable_frame_rate_is_flagged(tmp_path: Path) -> None:
    times = [0, 40, 100, 300, 310, 320, 600, 900, 1000]
    path = write_clip(tmp_path / "c.mp4", times=times, sound=False)
    video = picture_of(path)
    assert video.variable_frame_rate is True
    assert video.frames == 9


def test_a_tag_in_another_encoding_refuses_no_file(tmp_path: Path) -> None:
    made = write_clip(tmp_path / "c.mp4").read_bytes()
    data = made.replace(b"Lavf", b"L\xe9vf")
    assert data != made
    assert picture_of(data)


def test_cover_art_is_not_a_video(tmp_path: Path) -> None:
    path = tmp_path / "song.mp3"
    with (
        av.open(str(write_sound(tmp_path / "plain.mp3", codec="mp3"))) as plain,
        av.open(str(path), "w", format="mp3") as out,
    ):
        sound = out.add_stream_from_template(plain.streams.audio[0])
        cover = out.add_stream("mjpeg", rate=1)
        assert isinstance(cover, AvVideo)
        cover.width = cover.height = 64
        cover.pix_fmt = "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        out.mux([*cover.encode(VideoFrame(64, 64, "yuvj420p")), *cover.encode(None)])
        for packet in plain.demux(plain.streams.audio[0]):
            if packet.dts is not None:
                packet.stream = sound
                out.mux(packet)
    with av.open(str(path)) as check:
        assert len(check.streams.video) == 1
    _, video, audio = describe(path)
    assert video is None
    assert audio is not None


@pytest.mark.parametrize("faststart", [True, False])
def test_a_large_file_is_read_in_small_part(tmp_path: Path, faststart: bool) -> None:
    data = write_large(tmp_path / "large.mov", 250, faststart=faststart).read_bytes()
    assert len(data) > 50_000_000
    assert (data.find(b"moov") < 1000) is faststart
    source = Counting(data)
    info = probe(source, size=len(data))
    assert info.video is not None
    assert info.video.frames == 250
    assert source.bytes_read < 3_000_000
    assert source.reads < 100


def test_errors_of_the_source_come_through(tmp_path: Path) -> None:
    data = write_clip(tmp_path / "c.mp4").read_bytes()

    class Broken(io.BytesIO):
        left = 3

        def read(self, size: int | None = -1, /) -> bytes:
            self.left -= 1
            if self.left < 0:
                raise StorageUnavailable("S3 does not answer")
            return super().read(size)

    with pytest.raises(StorageUnavailable):
        probe(Broken(data), size=len(data))


@pytest.mark.skipif(not SHARED.is_dir(), reason="the real clips are not here")
@pytest.mark.parametrize(
    ("name", "seconds", "fps", "rate"),
    [("talking-head.mp4", 9.97, 30.0, 44100), ("bigbuckbunny.mp4", 5.31, 25.0, 48000)],
)
def test_real_clips(name: str, seconds: float, fps: float, rate: int) -> None:
    path = SHARED / name
    info, video, audio = streams_of(path)
    assert info.duration == pytest.approx(seconds, abs=0.01)
    assert video.fps == pytest.approx(fps)
    assert audio.sample_rate == rate
