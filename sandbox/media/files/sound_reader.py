"""Reading sound: a forward stream of samples, and whole files by way of a scratch file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np

from sandbox.media.errors import MediaError
from sandbox.media.files.mp4_writer import Samples
from sandbox.media.files.video_reader import container_start, media_errors, open_container

AAC_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000)
GAP_SECONDS = 0.02
"""A hole in the timestamps longer than this is filled with silence; less is rounding."""


class SoundReader:
    """Forward-only samples of the first sound stream, at a rate and channel count of choice.

    Sample 0 is at the container's start: a stream that begins later is preceded by silence, and
    what lies before (encoder priming) is cut, so positions agree with the picture's times.
    """

    def __init__(self, path: Path, *, rate: int = 0, channels: int = 0) -> None:
        """Open `path`. `rate` 0 keeps the file's own if AAC has it (else 48000); `channels` 0
        keeps mono and stereo and mixes more channels down to stereo.

        Raises:
            MediaError: no media, or no sound in it.
        """
        self._path = path
        self._container = open_container(path)
        if not self._container.streams.audio:
            self._container.close()
            raise MediaError(f"{path.name} has no sound")
        self._stream = self._container.streams.audio[0]
        own = self._stream.codec_context.sample_rate
        self.rate = rate or (own if own in AAC_RATES else 48000)
        self.channels = channels or (1 if self._stream.codec_context.channels == 1 else 2)
        self.position = 0
        self._rest: Samples = np.zeros((0, self.channels), np.float32)
        self._blocks = self._decode()

    def _decode(self) -> Iterator[Samples]:
        resampler = av.AudioResampler(
            format="flt", layout="mono" if self.channels == 1 else "stereo", rate=self.rate
        )
        origin = container_start(self._container)
        gap = round(GAP_SECONDS * self.rate)
        done = 0
        with media_errors(self._path):
            for frame in self._container.decode(self._stream):
                pts = frame.pts
                if pts is not None and frame.time_base is not None:
                    expected = round((float(pts * frame.time_base) - origin) * self.rate)
                    # The resampler may hold samples back, which is far less than `gap`.
                    hole = expected - done
                    if (done == 0 and hole > 0) or hole > gap:
                        yield np.zeros((hole, self.channels), np.float32)
                        done += hole
                    skip = -hole if done == 0 and hole < 0 else 0
                else:
                    skip = 0
                frame.pts = None
                for block in resampler.resample(frame):
                    samples = self._array(block)
                    done += len(samples)
                    if skip:
                        cut = min(skip, len(samples))
                        samples, skip, done = samples[cut:], skip - cut, done - cut
                    yield samples
            for block in resampler.resample(None):
                yield self._array(block)

    def _array(self, block: av.AudioFrame) -> Samples:
        return block.to_ndarray().reshape(-1, self.channels).astype(np.float32, copy=False)

    def read(self, count: int) -> Samples:
        """The next `count` samples, fewer at the end of the stream."""
        parts: list[Samples] = []
        need = count
        while need > 0:
            if not len(self._rest):
                block = next(self._blocks, None)
                if block is None:
                    break
                self._rest = block
            parts.append(self._rest[:need])
            self._rest = self._rest[need:]
            need -= len(parts[-1])
        self.position += count - need
        return np.concatenate(parts) if parts else np.zeros((0, self.channels), np.float32)

    def close(self) -> None:
        self._container.close()


class ScratchSound:
    """All samples of a file, kept in a scratch file so that long sound takes no memory."""

    def __init__(self, source: Path, scratch: Path, *, rate: int, channels: int) -> None:
        """Decode `source` into `scratch`. Raises MediaError when it has no decodable sound."""
        self.channels = channels
        self.length = 0
        reader = SoundReader(source, rate=rate, channels=channels)
        try:
            with scratch.open("wb") as file:
                while len(block := reader.read(65536)):
                    file.write(block.tobytes())
                    self.length += len(block)
        finally:
            reader.close()
        if not self.length:
            raise MediaError(f"{source.name} has no decodable sound")
        self._file = scratch.open("rb")

    def read(self, start: int, stop: int) -> Samples:
        """Samples [start, stop); silence outside of the file."""
        out = np.zeros((max(0, stop - start), self.channels), np.float32)
        first, last = max(0, start), min(self.length, stop)
        if last > first:
            self._file.seek(first * self.channels * 4)
            data = np.frombuffer(self._file.read((last - first) * self.channels * 4), np.float32)
            out[first - start : last - start] = data.reshape(-1, self.channels)
        return out

    def close(self) -> None:
        self._file.close()
