"""Speech-like sound from numbers: syllables with a melody, different for each seed."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np

from sandbox.media.files.mp4_writer import Samples

RATE = 48_000


def speech(seconds: float, *, seed: int, pitch: float, rate: int = RATE) -> Samples:
    """Mono syllables at 3 to 5 in a second, frames x 1, peak about 0.6.

    Two seeds give sounds that hardly correlate: pitch, vowels and rhythm all differ.

    Args:
        seconds: length.
        seed: decides rhythm, vowels and the melody.
        pitch: mean fundamental in Hz.
    """
    random = np.random.default_rng(seed)
    count = round(seconds * rate)
    out = np.zeros(count, np.float32)
    position = round(0.04 * rate)
    while position < count:
        length = round(random.uniform(0.14, 0.3) * rate)
        size = min(length, count - position)
        t = np.arange(size, dtype=np.float32) / rate
        start = pitch * random.uniform(0.85, 1.25)
        phase = 2 * np.pi * (start * t + start * random.uniform(-0.5, 0.4) * t**2)
        vowels = random.uniform((300, 900), (800, 2300))
        voice = np.zeros(size, np.float32)
        for harmonic in range(1, 25):
            frequency = harmonic * start
            gain = sum(1 / (1 + ((frequency - vowel) / 120) ** 2) for vowel in vowels)
            voice += (gain + 0.05 / harmonic) * np.sin(harmonic * phase)
        hiss = random.standard_normal(size).astype(np.float32) * np.exp(-t * 60)
        envelope = np.sin(np.linspace(0, 3.14, size, dtype=np.float32)) ** 0.6
        voice /= max(float(np.abs(voice).max()), 1e-6)
        out[position : position + size] += (voice * envelope + 0.2 * hiss) * random.uniform(0.6, 1)
        position += length + round(random.choice([0.01, 0.03, 0.12]) * rate)
    out *= 0.6 / max(float(np.abs(out).max()), 1e-6)
    return out[:, None]


def ambience(seconds: float, *, seed: int, rate: int = RATE) -> Samples:
    """A quiet stereo chord with slow beats, frames x 2, peak about 0.1."""
    random = np.random.default_rng(seed)
    t = np.arange(round(seconds * rate), dtype=np.float32) / rate
    sides = []
    for _ in range(2):
        tones = [
            np.sin(2 * np.pi * (note * t + random.uniform()))
            * (1 + 0.5 * np.sin(2 * np.pi * (random.uniform(0.1, 0.4) * t + random.uniform())))
            for note in (146.8, 220.0, 277.2, 329.6)
        ]
        sides.append(np.sum(tones, axis=0) * 0.017)
    return np.stack(sides, axis=1).astype(np.float32)


def write_wav(path: Path, samples: Samples, rate: int = RATE) -> None:
    """Write 16-bit PCM."""
    values = np.clip(np.rint(samples * 32767), -32768, 32767).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(samples.shape[1])
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(values.tobytes())
