"""Audio in the form that is sent, and what files are by their first bytes."""

from __future__ import annotations

import struct
import wave
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from pro_video.core.errors import MediaUnusable
from pro_video.core.file_types import HEAD_BYTES, kind_of
from pro_video.media.conversion import convert, is_sent_as_it_is
from tests.support.media.clips import RATE, encode_sound, sound_frames, write_clip
from tests.support.media.probed import probed

MARKS = (0.5, 1.75)
"""Seconds at which a click stands in the sound."""


def clicks(path: Path, codec: str, *, gap: float = 0.0, **how: Any) -> Path:
    """Two seconds of near silence with two clicks; a gap of time may stand at 1 s."""
    sound = np.full(2 * RATE, 0.001, np.float32)
    for mark in MARKS:
        sound[round(mark * RATE) : round(mark * RATE) + 480] = 0.8
    frames = sound_frames(sound)
    for frame in frames:
        if frame.pts is not None and frame.pts >= RATE:
            frame.pts += round(gap * RATE)
    return encode_sound(path, codec, frames, **how)


def heard(path: Path) -> tuple[int, int, npt.NDArray[np.int16]]:
    """Rate, channels and the first channel of a WAV, by a reader that is not libav."""
    with wave.open(str(path)) as wav:
        assert wav.getsampwidth() == 2
        data = np.frombuffer(wav.readframes(wav.getnframes()), np.int16)
        return wav.getframerate(), wav.getnchannels(), data[:: wav.getnchannels()]


def begins(sound: npt.NDArray[np.int16], rate: int) -> list[float]:
    """Seconds at which something loud begins, half a second apart."""
    loud = np.flatnonzero(np.abs(sound.astype(int)) > 6000) / rate
    return [float(t) for n, t in enumerate(loud) if n == 0 or t - loud[n - 1] > 0.5]


SENT = {
    "a.wav": ("pcm_s16le", {}, True),
    "a.mp3": ("libmp3lame", {}, True),
    "bare.mp3": ("libmp3lame", {"options": {"write_xing": "0", "id3v2_version": "0"}}, False),
    "float.wav": ("pcm_f32le", {}, False),
    "24.wav": ("pcm_s24le", {}, False),
    "8k.wav": ("pcm_mulaw", {"rate": 8000}, False),
    "surround.wav": ("pcm_s16le", {"layout": "5.1"}, False),
    "rf64.wav": ("pcm_s16le", {"options": {"rf64": "always"}}, False),
    "a.m4a": ("aac", {}, False),
    "a.aac": ("aac", {}, False),
    "a.flac": ("flac", {"layout": "stereo"}, False),
    "a.ogg": ("libopus", {}, False),
    "a.webm": ("libopus", {"options": {"live": "1"}}, False),
    "a.mka": ("aac", {}, False),
    "a.aiff": ("pcm_s16be", {}, False),
}


@pytest.mark.parametrize("name", SENT)
def test_audio_is_sent_as_plain_wav_unless_it_is_fine(tmp_path: Path, name: str) -> None:
    codec, how, fine = SENT[name]
    source = clicks(tmp_path / name, codec, **how)  # type: ignore[arg-type]
    info = probed(source)
    assert is_sent_as_it_is(info) is fine
    path = tmp_path / "sent" / "audio.wav"
    path.parent.mkdir()
    told = convert(source, path, audio=info, what="line")
    assert is_sent_as_it_is(told)
    assert (probed(path).container, probed(path).size) == (told.container, told.size)
    assert probed(path).duration == pytest.approx(told.duration)
    rate, channels, sound = heard(path)
    assert info.audio is not None
    assert (rate, channels) == (info.audio.sample_rate, min(2, info.audio.channels))
    # Bare streams of AAC and MP3 do not say how much of their begin and end is padding.
    slack = 0.08 if name in {"a.aac", "bare.mp3"} else 0.01
    assert len(sound) / rate == pytest.approx(2.0, abs=slack)
    assert begins(sound, rate) == pytest.approx(MARKS, abs=slack)


def test_a_wav_with_placeholders_gets_true_sizes(tmp_path: Path) -> None:
    data = bytearray(clicks(tmp_path / "a.wav", "pcm_s16le").read_bytes())
    place = data.find(b"data") + 4
    data[4:8] = data[place : place + 4] = struct.pack("<I", 0x7FFFFFFF)
    source = tmp_path / "stream.wav"
    source.write_bytes(data)
    info = probed(source)
    assert not is_sent_as_it_is(info)
    convert(source, tmp_path / "sent.wav", audio=info, what="line")
    rate, _, sound = heard(tmp_path / "sent.wav")
    assert len(sound) == 2 * rate


@pytest.mark.parametrize("name", ["a.mka", "a.webm"])
def test_time_without_samples_is_silence(tmp_path: Path, name: str) -> None:
    codec = "libopus" if name == "a.webm" else "pcm_s16le"
    source = clicks(tmp_path / name, codec, gap=1.0)
    info = probed(source)
    assert info.duration == pytest.approx(3.0, abs=0.05)
    convert(source, tmp_path / "sent.wav", audio=info, what="line")
    rate, _, sound = heard(tmp_path / "sent.wav")
    assert begins(sound, rate) == pytest.approx([MARKS[0], MARKS[1] + 1], abs=0.03)


def test_what_does_not_decode_is_refused_by_name(tmp_path: Path) -> None:
    source = clicks(tmp_path / "a.m4a", "aac")
    info = probed(source)
    data = bytearray(source.read_bytes())
    place = data.find(b"mdat") + 4 + 200
    data[place : data.find(b"moov") - 4] = b"\xff" * (data.find(b"moov") - 4 - place)
    source.write_bytes(data)
    with pytest.raises(MediaUnusable, match=r"sound of my line\.m4a can be decoded") as caught:
        convert(source, tmp_path / "sent.wav", audio=info, what="my line.m4a")
    assert caught.value.code == "media_undecodable"


def test_no_more_is_written_than_the_probe_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = clicks(tmp_path / "a.flac", "flac")
    info = probed(source)
    assert info.audio is not None
    monkeypatch.setattr("pro_video.media.conversion._SPARE", 0.25)
    short = replace(info, duration=0.5, audio=replace(info.audio, duration=0.5))
    assert convert(source, tmp_path / "s.wav", audio=short, what="line").duration == 0.75


STORED = {
    "c.mp4": ("video", "mp4", "video/mp4"),
    "c.mov": ("video", "mov", "video/quicktime"),
    "c.mkv": ("video", "mkv", "video/x-matroska"),
    "c.webm": ("video", "webm", "video/webm"),
    "c.avi": ("video", "avi", "video/x-msvideo"),
    "a.m4a": ("audio", "m4a", "audio/mp4"),
    "a.mp4": ("audio", "m4a", "audio/mp4"),
    "a.wav": ("audio", "wav", "audio/wav"),
    "rf64.wav": ("audio", "wav", "audio/wav"),
    "a.mp3": ("audio", "mp3", "audio/mpeg"),
    "bare.mp3": ("audio", "mp3", "audio/mpeg"),
    "a.aac": ("audio", "aac", "audio/aac"),
    "a.flac": ("audio", "flac", "audio/flac"),
    "a.ogg": ("audio", "ogg", "audio/ogg"),
    "a.webm": ("audio", "webm", "audio/webm"),
    "a.mka": ("audio", "mka", "audio/x-matroska"),
    "a.aiff": ("audio", "aiff", "audio/aiff"),
    "a.w64": ("audio", "w64", "audio/x-w64"),
}


@pytest.mark.parametrize("name", STORED)
def test_a_file_is_known_by_its_first_bytes(tmp_path: Path, name: str) -> None:
    role, extension, media_type = STORED[name]
    path = tmp_path / name
    if role == "video" and name != "c.webm":
        write_clip(path, seconds=0.2)
    else:
        codec, how, _ = SENT.get(name, ("pcm_s16le" if name == "a.w64" else "aac", {}, False))
        clicks(path, "libopus" if name == "c.webm" else codec, **how)  # type: ignore[arg-type]
    head = path.read_bytes()[:HEAD_BYTES]
    assert kind_of(head).stored_as(role) == (extension, media_type)  # type: ignore[arg-type]
    # A tag before the sound changes nothing.
    if extension in {"mp3", "aac", "flac"}:
        tagged = b"ID3\x04\x00\x00\x00\x00\x02\x00" + bytes(256) + head
        assert kind_of(tagged) == kind_of(head)


@pytest.mark.parametrize(
    "head", [b"", b"\x00" * 100, b"RIFF", b"G" * 100, b"\xff", b"ID3", b"....ftyp", b"\x1a\x45"]
)
def test_an_unknown_head_is_no_error(head: bytes) -> None:
    extension, media_type = kind_of(head).stored_as("audio")
    assert media_type in {"application/octet-stream", "audio/mp4"}
    assert extension in {"bin", "m4a"}
