"""Converts audio to WAV for the providers: Sync.so lists M4A and AAC as limited and advises WAV for
a refused audio.

A plain 16-bit WAV and an MP3 that state their true length are sent unchanged. Everything else is
decoded as a whole, so that times keep their meaning.
"""

from __future__ import annotations

import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream as AvAudio
from av.container import InputContainer

from pro_video.core.errors import MediaUnusable
from pro_video.media.info import AudioStream, MediaInfo
from pro_video.media.reading.libav import frames_of
from pro_video.media.reading.open import MOMENTS_BUDGET, Source, bounded, opened

WAV_TYPE: Final = "audio/wav"
_CHANNELS: Final = 2
_SAMPLE: Final = 2
_GAP: Final = 0.1
"""Seconds without a sample from which a gap is silence and not rounding."""
_LOST: Final = 0.05
_LOST_SECONDS: Final = 0.5
_SPARE: Final = 5.0
_SILENCE: Final = 8192
"""Samples of silence per write."""


def is_sent_as_it_is(audio: MediaInfo) -> bool:
    """Is it a plain 16-bit WAV, mono or stereo, or an MP3, with its true length stated?"""
    sound = audio.audio
    if sound is None or not sound.stated:
        return False
    if audio.container == "mp3":
        return sound.codec.startswith("mp3")
    return audio.container == "wav" and sound.codec == "pcm_s16le" and sound.channels <= _CHANNELS


def convert(source: Source, path: Path, *, audio: MediaInfo, what: str) -> MediaInfo:
    """Write the sound of a file as WAV: 16-bit PCM of the same rate, mono or stereo.

    As in players, the padding of codecs is left out and gaps become silence. Memory does not grow
    with the length.

    Args:
        source: a path or seekable binary stream.
        path: the WAV to write.
        audio: the probe of the source; its length bounds the output.
        what: names the source in messages.

    Returns:
        Facts of the written file.

    Raises:
        MediaUnusable: a larger part cannot be decoded.
    """
    sound = audio.audio
    if sound is None:
        raise _undecodable(f"no sound of {what} can be decoded")
    channels = min(_CHANNELS, max(1, sound.channels))
    most = round((sound.duration + _SPARE) * sound.sample_rate)
    with (
        bounded(source, MOMENTS_BUDGET) as reader,
        opened(reader, what) as container,
        wave.open(str(path), "wb") as out,
    ):
        out.setnchannels(channels)
        out.setsampwidth(_SAMPLE)
        out.setframerate(sound.sample_rate)
        for block in _samples(container, sound.sample_rate, channels, most):
            out.writeframesraw(block)
        written = out.tell()
    seconds = written / sound.sample_rate
    if seconds < sound.duration - max(_LOST_SECONDS, _LOST * sound.duration):
        raise _undecodable(
            f"only {seconds:.2f} s of the {sound.duration:.2f} s of sound of {what} can be decoded"
        )
    return MediaInfo(
        container="wav",
        duration=seconds,
        size=path.stat().st_size,
        video=None,
        audio=AudioStream("pcm_s16le", sound.sample_rate, channels, seconds),
    )


def _samples(container: InputContainer, rate: int, channels: int, most: int) -> Iterator[bytes]:
    """The sound, at most ``most`` samples of each channel, in small pieces."""
    # PyAV types it as always there; it is None where libav has no decoder.
    stream = next((s for s in container.streams.audio if s.codec_context is not None), None)
    if stream is None:
        return
    clocked = "matroska" in container.format.name or "mp4" in container.format.name
    width, done = channels * _SAMPLE, 0
    first: float | None = None
    resampler, shape = None, None
    for frame in _frames(container, stream):
        if resampler is None or shape != _shape(frame):
            # A stream may change its format.
            shape = _shape(frame)
            layout = "mono" if channels == 1 else "stereo"
            resampler = AudioResampler(format="s16", layout=layout, rate=rate)
        if clocked and frame.time is not None:
            first = frame.time if first is None else first
            missing = min(round((frame.time - first) * rate) - done, most - done)
            if missing > _GAP * rate:
                for start in range(0, missing, _SILENCE):
                    yield bytes(min(_SILENCE, missing - start) * width)
                done += missing
        for even in resampler.resample(frame):
            count = min(even.samples, most - done)
            yield bytes(even.planes[0])[: count * width]
            done += count
        if done >= most:
            return
    for even in resampler.resample(None) if resampler is not None else ():
        yield bytes(even.planes[0])[: min(even.samples, most - done) * width]


def _frames(container: InputContainer, stream: AvAudio) -> Iterator[AudioFrame]:
    for packet in container.demux(stream):
        # Sound lost with damaged packets shows in the length.
        yield from frames_of(packet)


def _shape(frame: AudioFrame) -> tuple[int, str, str]:
    return frame.sample_rate, frame.format.name, frame.layout.name


def _undecodable(fact: str) -> MediaUnusable:
    return MediaUnusable(
        f"{fact}; convert it to WAV and check that it plays", code="media_undecodable"
    )
