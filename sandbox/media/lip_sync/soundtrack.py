"""The sound of a timeline: original and replacements joined on the sample."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from sandbox.media.files.mp4_writer import Samples
from sandbox.media.files.sound_reader import ScratchSound, SoundReader
from sandbox.media.lip_sync.timeline import Piece

FADE_SECONDS = 0.003
BLOCK = 16384
LOUD = 0.2
"""RMS of clear speech at full scale 1.0; a mouth is wide open from here on."""


@dataclass(frozen=True)
class Crop:
    """The part of a replacement that is used: `length` samples from sample `start` on."""

    sound: ScratchSound
    start: int
    length: int

    def read(self, first: int, last: int) -> Samples:
        """Samples [first, last) of the crop; silence past its end."""
        samples = self.sound.read(self.start + first, self.start + last)
        samples[max(0, self.length - first) :] = 0
        return samples

    def loudness(self, centre: int, rate: int) -> float:
        """0 (silent) to 1 around a sample, in a window of 40 ms.

        In steps of 1/32, so that the last bits of a sum never decide about a pixel.
        """
        half = rate // 50
        samples = self.read(centre - half, centre + half)
        rms = float(np.sqrt(np.mean(np.square(samples, dtype=np.float64)))) if len(samples) else 0.0
        steps = round(32 * min(1.0, math.pow(rms / LOUD, 0.6)))
        return steps / 32


def _silence(count: int, channels: int) -> Samples:
    return np.zeros((count, channels), np.float32)


def _exactly(samples: Samples, count: int, channels: int) -> Samples:
    if len(samples) == count:
        return samples
    return np.concatenate([samples, _silence(count - len(samples), channels)])


def _original(sound: SoundReader | None, count: int, channels: int) -> Iterator[Samples]:
    while count > 0:
        size = min(count, BLOCK)
        samples = sound.read(size) if sound is not None else _silence(size, channels)
        yield _exactly(samples, size, channels)
        count -= size


def _replaced(crop: Crop, length: int, head: Samples, tail: Samples) -> Iterator[Samples]:
    """The crop, faded in over `head` and out over `tail`, which are original sound."""
    fade_in, fade_out = len(head), len(tail)
    for first in range(0, length, BLOCK):
        last = min(length, first + BLOCK)
        samples = crop.read(first, last)
        position = np.arange(first, last, dtype=np.float32)[:, None] + 0.5
        if first < fade_in:
            weight = np.clip(position / fade_in, 0, 1)
            samples *= weight
            count = min(fade_in, last) - first
            samples[:count] += head[first : first + count] * (1 - weight[:count])
        if last > length - fade_out:
            weight = np.clip((length - position) / fade_out, 0, 1)
            samples *= weight
            begin = max(first, length - fade_out)
            share = 1 - weight[begin - first :]
            offset = begin - (length - fade_out)
            samples[begin - first :] += tail[offset : offset + last - begin] * share
        yield samples


def soundtrack(
    pieces: Sequence[Piece],
    crops: Sequence[Crop],
    original: SoundReader | None,
    *,
    rate: int,
    channels: int,
) -> Iterator[Samples]:
    """Blocks of sound for all pieces in order; exactly as long as the pieces.

    `original` is read forward once; None stands for silence. Inside a segment only the first and
    last FADE_SECONDS mix original and replacement. Sound that goes on after a last piece without
    replacement goes on in the output.
    """
    for piece in pieces:
        length = piece.out_end - piece.out_start
        if original is not None:
            # Parts of the source that no piece shows are passed over.
            for _ in _original(original, piece.source_start - original.position, channels):
                pass
        if piece.segment is None:
            yield from _original(original, length, channels)
            continue
        span = piece.source_end - piece.source_start
        fade = max(1, min(round(FADE_SECONDS * rate), length // 2, span // 2))
        head = tail = _silence(fade, channels)
        if original is not None:
            head = _exactly(original.read(fade), fade, channels)
            for _ in _original(original, span - 2 * fade, channels):
                pass
            tail = _exactly(original.read(fade), fade, channels)
        yield from _replaced(crops[piece.segment], length, head, tail)
    if original is not None and pieces and pieces[-1].segment is None:
        while len(samples := original.read(BLOCK)):
            yield samples
