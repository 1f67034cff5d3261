"""A result that is silent, late or sounds like something else is told of; one that was only
encoded again is not."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream

from pro_video.judging.findings import Finding
from pro_video.judging.sound.checks import SegmentSound, check_sound, segments_to_compare
from pro_video.judging.sound.loudness import MAX_SECONDS, Stretch, open_sound, similarity
from pro_video.request.models import Segment
from pro_video.request.timeline import lip_sync_timeline
from tests.support.media.clips import Counting, write_clip, write_large

RATE = 16000
SECONDS = 12.0
Sound = npt.NDArray[np.float64]


def speech(seed: int, seconds: float = SECONDS) -> Sound:
    """Noise that comes and goes like syllables, with pauses."""
    rng = np.random.default_rng(seed)
    parts: list[Sound] = []
    while sum(map(len, parts)) < seconds * RATE:
        length = int(rng.uniform(0.1, 0.4) * RATE)
        parts.append(rng.normal(0, rng.uniform(0.03, 0.2), length) * np.hanning(length))
        parts.append(np.zeros(int(rng.choice([0.02, 0.08, 0.5]) * RATE)))
    return np.concatenate(parts)[: int(seconds * RATE)]


def hum(seconds: float = SECONDS) -> Sound:
    return 0.1 * np.sin(np.arange(int(seconds * RATE)) * 2 * np.pi * 120 / RATE)


def silence(seconds: float = SECONDS) -> Sound:
    return np.zeros(int(seconds * RATE))


def late(sound: Sound, seconds: float) -> Sound:
    return np.concatenate([silence(seconds), sound])[: len(sound)]


def replaced(sound: Sound, start: float, other: Sound) -> Sound:
    first = int(start * RATE)
    return np.concatenate([sound[:first], other, sound[first + len(other) :]])


def write(path: Path, sound: Sound, bit_rate: int = 64000) -> Path:
    with av.open(str(path), "w") as out:
        stream = out.add_stream("pcm_s16le" if path.suffix == ".wav" else "aac", rate=RATE)
        assert isinstance(stream, AudioStream)
        stream.layout = "mono"
        stream.bit_rate = bit_rate
        samples = np.clip(sound * 32767, -32768, 32767).astype(np.int16)
        for start in range(0, len(samples), 1024):
            frame = AudioFrame.from_ndarray(
                samples[None, start : start + 1024], format="s16", layout="mono"
            )
            frame.sample_rate, frame.pts, frame.time_base = RATE, start, Fraction(1, RATE)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def kept(
    folder: Path,
    before: Sound,
    after: Sound,
    ranges: tuple[tuple[float, float], ...] = ((0.0, SECONDS),),
    bit_rate: int = 64000,
) -> list[Finding]:
    source, result = write(folder / "b.wav", before), write(folder / "a.m4a", after, bit_rate)
    return check_sound(source, result, kept=ranges, length=SECONDS)


SOURCE = speech(1)


@pytest.mark.parametrize(
    ("before", "after"),
    {
        "the same": (SOURCE, SOURCE),
        "quieter": (SOURCE, 0.3 * SOURCE),
        "louder": (SOURCE, np.tanh(4 * SOURCE)),
        "a little late": (SOURCE, late(SOURCE, 0.1)),
        "a little early": (SOURCE, SOURCE[int(0.1 * RATE) :]),
        "with noise": (SOURCE, SOURCE + 0.003 * speech(2)),
        "gated": (SOURCE, np.where(abs(SOURCE) > 0.02, SOURCE, 0)),
        "of silence": (silence(), silence()),
        "of silence, with a hum": (silence(), hum()),
        "of noise nobody hears": (0.001 * SOURCE, silence()),
        "of a hum": (hum(), 0.5 * hum()),
    }.values(),
)
def test_sound_that_was_encoded_again_passes(tmp_path: Path, before: Sound, after: Sound) -> None:
    assert kept(tmp_path, before, after, bit_rate=24000) == []


def test_silence_throughout_is_unusable(tmp_path: Path) -> None:
    dither = np.random.default_rng(1).normal(0, 0.00005, len(SOURCE))
    for before, after in ((SOURCE, silence()), (hum(), silence()), (SOURCE, dither)):
        (found,) = kept(tmp_path, before, after)
        assert (found.code, found.unusable) == ("output_no_sound", True)


def test_silence_in_a_part_is_told_when_it_is_looked_at(tmp_path: Path) -> None:
    half = replaced(SOURCE, 6.0, silence(6.0))
    (found,) = kept(tmp_path, SOURCE, half)
    assert (found.code, found.unusable) == ("output_sound_muted", False)
    assert found.start == pytest.approx(6.0, abs=0.05)
    assert found.end == pytest.approx(12.0, abs=0.05)
    assert kept(tmp_path, SOURCE, half, ((0.0, 5.0),)) == []
    (found,) = kept(tmp_path, SOURCE, half, ((0.0, 5.0), (7.0, 11.0)))
    assert found.code == "output_sound_muted"


def test_another_sound_is_told_when_it_is_certain(tmp_path: Path) -> None:
    (found,) = kept(tmp_path, SOURCE, speech(9))
    assert (found.code, found.unusable) == ("output_sound_foreign", False)
    (found,) = kept(tmp_path, SOURCE, speech(9), ((5.2, 5.8),))
    assert found.code == "output_sound_foreign"
    for short in ((0.0, 0.6), (1.2, 1.8), (11.3, 11.9)):
        for moved in (late(SOURCE, 0.1), SOURCE[int(0.1 * RATE) :], np.tanh(4 * SOURCE)):
            assert kept(tmp_path, SOURCE, moved, (short,)) == []
    # Not recognised for certain.
    assert kept(tmp_path, hum(), SOURCE) == []


@pytest.mark.parametrize("by", [0.4, 0.9, -0.5])
def test_a_late_or_early_sound_is_told(tmp_path: Path, by: float) -> None:
    moved = late(SOURCE, by) if by > 0 else SOURCE[int(-by * RATE) :]
    (found,) = kept(tmp_path, SOURCE, moved)
    assert found.code == "output_sound_late"
    assert f"{abs(by):.1f} s too {'late' if by > 0 else 'early'}" in found.fact
    (found,) = spoken(tmp_path, late(replaced(SOURCE, 4.0, AUDIO), 0.5))
    assert found.code == "output_sound_late"


def test_a_much_quieter_sound_is_told(tmp_path: Path) -> None:
    (found,) = kept(tmp_path, SOURCE, 0.08 * SOURCE)
    assert found.code == "output_sound_quieter"
    assert "22 dB" in found.fact


def test_a_source_without_sound_asks_for_nothing(tmp_path: Path) -> None:
    mute = write_clip(tmp_path / "mute.mp4", sound=False)
    result = write(tmp_path / "a.m4a", silence())
    line = SegmentSound(0, 0.5, 0.5, 0.0, 1.0)
    compared = [(line, write(tmp_path / "line.wav", silence(1.0)))]
    ranges = [(0.0, 2.0)]
    assert check_sound(mute, result, kept=ranges, compared=compared, length=SECONDS) == []


AUDIO = speech(7, 2.0)


def spoken(folder: Path, after: Sound, audio: Sound = AUDIO, at: float = 4.0) -> list[Finding]:
    source, result = write(folder / "b.m4a", SOURCE), write(folder / "a.m4a", after)
    compared = [(SegmentSound(3, 4.0, at, 0.0, 2.0), write(folder / "line.wav", audio))]
    return check_sound(source, result, kept=[], compared=compared, length=SECONDS)


def test_a_segment_with_its_new_sound_passes(tmp_path: Path) -> None:
    assert spoken(tmp_path, replaced(SOURCE, 4.0, AUDIO)) == []
    assert spoken(tmp_path, replaced(SOURCE, 4.1, 0.4 * AUDIO)) == []
    assert spoken(tmp_path, replaced(SOURCE, 6.0, AUDIO), at=6.0) == []
    # The same line as before.
    same = SOURCE[4 * RATE : 6 * RATE]
    assert spoken(tmp_path, SOURCE, same) == []


def test_a_silent_segment_is_told_unless_its_audio_is_silent(tmp_path: Path) -> None:
    muted = replaced(SOURCE, 3.5, silence(3.0))
    (found,) = spoken(tmp_path, muted)
    assert (found.code, found.start) == ("output_sound_muted", 4.0)
    assert found.end == pytest.approx(6.0, abs=0.05)
    assert "segments[3]" in found.fact
    assert spoken(tmp_path, muted, silence(2.0)) == []


def test_a_segment_with_the_sound_of_before_is_told(tmp_path: Path) -> None:
    assert similarity(*heard(tmp_path, AUDIO, SOURCE[4 * RATE : 6 * RATE])) < 0.5
    (found,) = spoken(tmp_path, SOURCE)
    assert (found.code, found.unusable) == ("output_sound_unchanged", False)
    assert "segments[3]" in found.fact
    assert spoken(tmp_path, SOURCE, hum(2.0)) == []


def heard(folder: Path, *sounds: Sound) -> Iterator[Stretch]:
    for index, sound in enumerate(sounds):
        with open_sound(write(folder / f"{index}.wav", sound), "the sound") as reader:
            assert reader is not None
            yield reader.stretch(0, 2.0)


def test_which_segments_are_compared() -> None:
    segments = [Segment(start=2 * i, end=2 * i + 1, audio="a") for i in range(9)]
    same = lip_sync_timeline(18.0, segments, [1.0] * 9, "cut_off")
    assert [line.segment for line in segments_to_compare(segments, [1.0] * 9, same, 18.0)] == [
        0,
        2,
        4,
        6,
    ]
    assert [line.segment for line in segments_to_compare(segments, [1.0] * 9, same, 18.3)] == [0]
    moved = lip_sync_timeline(18.0, segments, [1.5] * 9, "remap")
    found = segments_to_compare(segments, [1.5] * 9, moved, moved.length)
    assert [(line.segment, line.length) for line in found] == [(0, 1.0)]
    assert segments_to_compare(segments, [0.2] * 9, same, 18.0) == []


def test_little_is_read_of_a_large_file(tmp_path: Path) -> None:
    """Pictures between the sound are jumped over, and a stretch has an end."""
    path = write_clip(
        tmp_path / "c.mp4", width=320, height=192, seconds=8, crf=1, faststart=True, sound=True
    )
    stream = Counting(path.read_bytes())
    with open_sound(stream, "the clip") as reader:
        assert reader is not None
        levels = reader.stretch(5.0, 1.0).levels
    assert len(levels) == 25
    assert min(levels) > 0.1
    assert stream.bytes_read < path.stat().st_size / 3
    with open_sound(write(tmp_path / "long.wav", hum(20.0)), "the hum") as reader:
        assert reader is not None
        assert len(reader.stretch(0, 1000).levels) == round(MAX_SECONDS / 0.04)
        assert reader.stretch(30.0, 1.0).levels == ()


def test_a_picture_alone_has_no_sound(tmp_path: Path) -> None:
    with open_sound(write_large(tmp_path / "l.mov", 2, faststart=True), "the clip") as reader:
        assert reader is None
