"""Sound that goes from one file to another untouched."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
from av.audio.stream import AudioStream

from sandbox.media.files.mp4_writer import Mp4Writer
from sandbox.media.files.sound_reader import SoundReader
from sandbox.media.files.video_reader import container_start, media_errors, open_container

MP4_CODECS = frozenset({"aac", "ac3", "alac", "eac3", "flac", "mp3", "opus"})
"""Codecs whose packets are copied; other sound is encoded as AAC, because MP4 players need it."""

BLOCK = 65536
AHEAD_SECONDS = 0.5
"""Sound is muxed this far ahead of the picture, so that the muxer holds few packets back."""


class SoundPassage:
    """The sound of `path`, from `start` to `end` seconds, for an output that begins at `start`;
    `late` seconds after where it belongs."""

    def __init__(self, path: Path, start: float, end: float, *, late: float = 0.0) -> None:
        self._path = path
        self._late = late
        self._start, self._end = start, end
        self._container = open_container(path)
        streams = self._container.streams.audio
        self._stream = streams[0] if streams else None
        self.template: AudioStream | None = None
        self.encoded: SoundReader | None = None
        if self._stream is None:
            return
        if self._stream.codec_context.name in MP4_CODECS:
            self.template = self._stream
            self._packets = self._container.demux(self._stream)
        else:
            self.encoded = SoundReader(path)
            self.encoded.read(round(start * self.encoded.rate))
        self._origin = container_start(self._container)
        self._done = 0.0

    def advance(self, writer: Mp4Writer, time: float) -> None:
        """Give the writer the sound up to `time` seconds of the output, and a little more."""
        until = min(self._start + time + AHEAD_SECONDS, self._end)
        with media_errors(self._path):
            if self.encoded is not None:
                self._silence(writer)
                count = round((until - self._start) * self.encoded.rate) - writer.samples
                writer.sound(self.encoded.read(max(0, min(count, self.encoded.rate))))
            elif self.template is not None:
                self._copy(writer, until)

    def _silence(self, writer: Mp4Writer) -> None:
        """Silence before late sound, where it is encoded; copied packets are moved instead."""
        if self.encoded is not None and self._late and not writer.samples:
            count = round(self._late * self.encoded.rate)
            writer.sound(np.zeros((count, self.encoded.channels), np.float32))

    def _copy(self, writer: Mp4Writer, until: float) -> None:
        while self._done < until:
            packet = next(self._packets, None)
            if packet is None:
                self._done = self._end
                return
            if packet.pts is None or packet.dts is None or packet.time_base is None:
                continue
            self._done = float(packet.pts * packet.time_base) - self._origin
            length = float((packet.duration or 0) * packet.time_base)
            if self._start > 0 and self._done + length <= self._start:
                continue
            if self._done + self._late >= self._end:
                return
            shift = round(Fraction(self._origin + self._start - self._late) / packet.time_base)
            packet.pts -= shift
            packet.dts -= shift
            writer.packet(packet)

    def finish(self, writer: Mp4Writer) -> None:
        """Give the rest of the sound, which may be longer than the picture."""
        with media_errors(self._path):
            if self.encoded is not None:
                left = (self._end - self._start) * self.encoded.rate - writer.samples
                while left >= 1 and len(block := self.encoded.read(int(min(left, BLOCK)))):
                    writer.sound(block)
                    left -= len(block)
            elif self.template is not None:
                self._copy(writer, self._end)

    def close(self) -> None:
        self._container.close()
        if self.encoded is not None:
            self.encoded.close()
