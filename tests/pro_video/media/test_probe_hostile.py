"""Files with false headers: a clear error each, and no read beyond the file."""

from __future__ import annotations

import io
import random
import re
import struct
from collections.abc import Callable
from pathlib import Path

import av
import pytest
from av.audio.stream import AudioStream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from pro_video.core.errors import MediaUnusable
from pro_video.media.probe import probe
from pro_video.media.reading.layout import inspect
from pro_video.media.reading.open import bounded, opened
from tests.support.media.clips import tone, write_clip, write_sound
from tests.support.media.probed import picture_of, probed, sound_of


def code_of(data: bytes) -> str | None:
    with pytest.raises(MediaUnusable) as caught:
        probe(io.BytesIO(data), size=len(data), what="the video")
    assert caught.value.message.startswith(("the video", "no picture", "no sound", "the picture"))
    return caught.value.code


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_clip(tmp_path_factory.mktemp("clip") / "c.mp4").read_bytes()


@pytest.fixture(scope="module")
def fast_clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_clip(tmp_path_factory.mktemp("clip") / "c.mp4", faststart=True).read_bytes()


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "media_empty"),
        (b"<!DOCTYPE html><html><body>404</body></html>", "media_not_media"),
        (b'{"error": "expired"}', "media_not_media"),
        (b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n", "media_not_media"),
        (b"ffconcat version 1.0\nfile /etc/passwd\n", "media_unreadable"),
        (random.Random(0).randbytes(64) * 1000, "media_unreadable"),
        (b"\x00" * 5000, "media_unreadable"),
        (b"\x89PNG\r\n\x1a\n" + b"\x00" * 500, "media_not_media"),
        (b"RIFF\x04\x00\x00\x00WAVE", "media_unreadable"),
        (b"\x1a\x45\xdf\xa3", "media_unreadable"),
        (b"\x00\x00\x00\x08moov", "media_no_streams"),
    ],
)
def test_what_is_no_media(data: bytes, code: str) -> None:
    assert code_of(data) == code


def test_a_cut_file_is_found_wherever_its_index_is(clip: bytes, fast_clip: bytes) -> None:
    for data in (clip, fast_clip):
        for share in (0.3, 0.6, 0.99):
            assert code_of(data[: int(len(data) * share)]) == "media_truncated"


def test_a_cut_file_whose_structure_was_mended_is_found_by_its_index(fast_clip: bytes) -> None:
    cut = bytearray(fast_clip[: int(len(fast_clip) * 0.7)])
    start = cut.find(b"mdat") - 4
    cut[start : start + 4] = struct.pack(">I", len(cut) - start)
    assert inspect(lambda o, n: bytes(cut[o : o + n]), len(cut)).problem is None
    assert code_of(bytes(cut)) == "media_truncated"


@pytest.mark.parametrize("name", ["c.mkv", "c.avi"])
def test_other_cut_videos(tmp_path: Path, name: str) -> None:
    data = write_clip(tmp_path / name).read_bytes()
    assert code_of(data[: len(data) * 2 // 3]) == "media_truncated"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("c.ts", "is an MPEG transport stream, which is not read; convert it to MP4"),
        ("c.mpg", "is an MPEG program stream, which is not read; convert it to MP4"),
        ("c.flv", "is a Flash video, which is not read; convert it to MP4"),
        ("c.asf", "is a Windows Media file, which is not read; convert it to MP4"),
        ("c.mxf", "is an MXF file, which is not read; convert it to MP4"),
        ("c.gif", "is an image (GIF), which is not read; convert it to MP4"),
    ],
)
def test_a_format_that_is_not_taken_is_named(tmp_path: Path, name: str, told: str) -> None:
    path = tmp_path / name
    with av.open(str(path), "w") as out:
        codec = {"c.gif": "gif", "c.mxf": "mpeg2video", "c.mpg": "mpeg2video"}.get(name, "mpeg4")
        stream = out.add_stream("flv" if name == "c.flv" else codec, rate=25)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height = 64, 64
        stream.pix_fmt = "rgb8" if name == "c.gif" else "yuv420p"
        for _ in range(25):
            out.mux(stream.encode(VideoFrame(64, 64, stream.pix_fmt)))
        out.mux(stream.encode(None))
    with pytest.raises(MediaUnusable, match=re.escape(f"the video {told}")) as caught:
        probe(path, size=path.stat().st_size, what="the video")
    assert caught.value.code == "media_not_media"


def test_a_cut_wav(tmp_path: Path) -> None:
    data = write_sound(tmp_path / "a.wav").read_bytes()
    assert code_of(data[: len(data) // 2]) == "media_truncated"
    streamed = data[:4] + b"\xff\xff\xff\xff" + data[8:]
    assert sound_of(streamed)


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.aiff", "pcm_s16be"), ("a.w64", "pcm_s16le"), ("a.ogg", "flac"), ("a.ogg", "libopus")],
)
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_other_cut_sounds(tmp_path: Path, name: str, codec: str, share: float) -> None:
    data = write_sound(tmp_path / name, 6.0, codec).read_bytes()
    assert probed(data).duration == pytest.approx(6.0, abs=0.05)
    assert code_of(data[: int(len(data) * share)]) == "media_truncated"


def test_a_wav_that_counts_its_header_is_whole(tmp_path: Path) -> None:
    data = bytearray(write_sound(tmp_path / "a.wav", 2.0).read_bytes())
    place = data.find(b"data") + 4
    length = int.from_bytes(data[place : place + 4], "little")
    data[place : place + 4] = struct.pack("<I", length + place + 4)
    audio = sound_of(data)
    assert audio.duration == pytest.approx(2.0, abs=0.001)
    assert audio.stated is False


def patched(data: bytes, box: bytes, change: Callable[[bytearray, int], None]) -> bytes:
    changed = bytearray(data)
    position = -1
    while (position := data.find(box, position + 1)) >= 0:
        change(changed, position + 4)
    assert bytes(changed) != data
    return bytes(changed)


def long_header(data: bytearray, position: int) -> None:
    # mvhd version 0: version, creation, modification, time scale, then the length.
    data[position + 16 : position + 20] = struct.pack(">I", 0xFFFFFF00)


def test_an_absurd_length(clip: bytes) -> None:
    data = patched(clip, b"mvhd", long_header)
    # libav trusts its own count of the content; an absurd header must not become the length.
    info = probed(data)
    assert info.duration < 3


def test_absurd_dimensions(tmp_path: Path) -> None:
    data = write_clip(tmp_path / "c.avi", sound=False).read_bytes()
    position = data.find(b"strf") + 8 + 4
    huge = data[:position] + struct.pack("<ii", 60000, 60000) + data[position + 8 :]
    try:
        video = picture_of(huge)
    except MediaUnusable as refusal:
        codes = {refusal.code}
    else:
        codes = {str((video.width, video.height))}
    # Either the header's claim is refused or what was decoded is told.
    assert codes <= {"media_absurd", "media_undecodable", "(160, 96)"}


def test_an_absurd_number_of_streams(tmp_path: Path) -> None:
    path = tmp_path / "many.mkv"
    with av.open(str(path), "w") as out:
        streams = [out.add_stream("pcm_s16le", rate=48000) for _ in range(65)]
        for stream in streams:
            assert isinstance(stream, AudioStream)
            out.mux(stream.encode(tone(0.1)[0]))
    assert code_of(path.read_bytes()) == "media_absurd"


def test_a_compressed_index_is_not_unpacked() -> None:
    moov = struct.pack(">I", 16 + 100) + b"moov" + struct.pack(">I", 108) + b"cmov" + b"\x00" * 100
    data = struct.pack(">I", 8) + b"ftyp" + moov
    assert code_of(data) == "media_absurd"


def test_an_absurdly_large_index() -> None:
    head = struct.pack(">I", 8) + b"ftyp" + struct.pack(">I", 0x7FFFFFFF) + b"moov"
    layout = inspect(lambda o, n: (head + b"\x00" * 64)[o : o + n], 0x80000000)
    assert layout.code == "media_absurd"


def test_a_file_that_wants_to_be_read_forever(clip: bytes) -> None:
    with (
        pytest.raises(MediaUnusable, match="reading") as caught,
        bounded(io.BytesIO(clip), 1000) as reader,
        opened(reader),
    ):
        pass
    assert caught.value.code == "media_absurd"


def test_damaged_bytes_never_escape_as_another_error(clip: bytes) -> None:
    codes = set()
    for seed in range(60):
        damaged = bytearray(clip)
        for offset in range(seed * 7, len(damaged), 997):
            damaged[offset] ^= 0xFF
        try:
            probe(io.BytesIO(bytes(damaged)), size=len(damaged))
        except MediaUnusable as refusal:
            codes.add(refusal.code)
    assert None not in codes
    assert "media_undecodable" in codes or "media_unreadable" in codes
