from __future__ import annotations

from pathlib import Path

from sandbox.media.files.sound_reader import SoundReader
from sandbox.media.sample.speech import speech, write_wav


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
