"""Stand-in for a lip-sync service: right sound in each segment, visible marks, all else kept.

The sound is spliced on the sample, with fades of a few milliseconds. Picture and sound outside the
segments pass through one re-encode. The effect of each `sync_mode` on the length of a range, and so
of the whole, is in `timeline.range_length`; the picture is retimed by repeating and dropping
pictures.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from sandbox.media import result_faults
from sandbox.media.errors import MediaError
from sandbox.media.files.mp4_writer import Mp4Writer, Samples
from sandbox.media.files.pictures import Picture
from sandbox.media.files.sound_reader import ScratchSound, SoundReader
from sandbox.media.files.video_reader import PicturesByTime, VideoReader
from sandbox.media.lip_sync import visible_marks
from sandbox.media.lip_sync.soundtrack import Crop, soundtrack
from sandbox.media.lip_sync.timeline import Piece, Range, build

CRF = 17
FAULTS = (*result_faults.FAULTS, "silence_outside")
MARK = "sync."
"""The text of the free plans' watermark here."""
SOUND_AHEAD_SECONDS = 0.5
"""Sound is written this far ahead of the picture, so that the muxer holds few packets back."""


@dataclass(frozen=True)
class SegmentPlan:
    """A range of the video and the sound that replaces its own.

    Attributes:
        start, end: of the range in the video, seconds.
        audio: file with the replacement.
        audio_start, audio_end: crop of that file in seconds; None for its start and its end.
        sync_mode: bounce, loop, cut_off, silence, remap; None takes the call's default.
        face: pixel of the speaker; None for the usual place of the mouth.
        face_is_stored: the pixel is one of the stored picture, not of the displayed one.
    """

    start: float
    end: float
    audio: Path
    audio_start: float | None = None
    audio_end: float | None = None
    sync_mode: str | None = None
    face: tuple[int, int] | None = None
    face_is_stored: bool = False


@dataclass(frozen=True)
class LipSyncResult:
    """The written file: duration in seconds, number of pictures, size in pixels."""

    duration: float
    frames: int
    width: int
    height: int


def lip_sync(
    video: Path,
    out: Path,
    segments: Sequence[SegmentPlan] = (),
    *,
    whole_audio: Path | None = None,
    default_mode: str | None = None,
    segment_out: Path | None = None,
    fault: str | None = None,
) -> LipSyncResult:
    """Replace the sound of segments (or of the whole video) and mark the pictures inside.

    Args:
        video: any file with a picture; without sound, there is silence outside the segments.
        out: MP4 to write: H.264, AAC with the source's rate, mono or stereo.
        segments: the ranges; may be empty when `whole_audio` is given.
        whole_audio: sound for the whole video; excludes `segments`.
        default_mode: sync_mode of segments without one. None means remap with segments and
            bounce for the whole video, as the vendor has it.
        segment_out: also write the processed parts alone, one after the other, to this MP4.
        fault: one of FAULTS; README.md says what each does.

    Raises:
        MediaError: unusable input, overlapping segments, an empty crop.
    """
    if fault is not None and fault not in FAULTS:
        raise MediaError(f"unknown fault {fault!r}")
    for plan in segments:
        crop = (plan.audio_start or 0.0, plan.audio_end or 0.0)
        if not all(math.isfinite(value) for value in (plan.start, plan.end, *crop)):
            raise MediaError("a segment has a time that is no number")
    if bool(segments) == (whole_audio is not None):
        raise MediaError("give either segments or a sound for the whole video")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lip-sync-")))
        reader = stack.enter_context(VideoReader(video))
        if whole_audio is not None:
            segments = [SegmentPlan(0.0, reader.duration, whole_audio)]
        mode = default_mode or ("bounce" if whole_audio is not None else "remap")
        # A video without sound gets a track like its first replacement's.
        sound = SoundReader(video if reader.has_audio else segments[0].audio)
        stack.callback(sound.close)
        rate, channels = sound.rate, sound.channels
        crops = [
            _crop(plan, folder / str(index), rate, channels, stack)
            for index, plan in enumerate(segments)
        ]
        ranges = [
            Range(
                round(plan.start * rate),
                round(plan.end * rate),
                crop.length,
                plan.sync_mode or mode,
            )
            for plan, crop in zip(segments, crops, strict=True)
        ]
        total = round(reader.duration * rate)
        pieces = build(ranges, total, tolerance=round(rate / reader.fps / 2))
        job = _Job(
            reader=reader,
            sound=sound if reader.has_audio else None,
            crops=crops,
            faces=[_face(plan, reader) for plan in segments],
            pieces=pieces,
            rate=rate,
            channels=channels,
            fault=fault,
        )
        return job.run(out, segment_out)


def _crop(plan: SegmentPlan, scratch: Path, rate: int, channels: int, stack: ExitStack) -> Crop:
    sound = ScratchSound(plan.audio, scratch, rate=rate, channels=channels)
    stack.callback(sound.close)
    start = round((plan.audio_start or 0.0) * rate)
    end = sound.length if plan.audio_end is None else round(plan.audio_end * rate)
    length = min(end, sound.length) - start
    if start < 0 or length <= 0:
        raise MediaError(f"the crop of {plan.audio.name} is empty")
    return Crop(sound, start, length)


class FaceError(MediaError):
    """A speaker's pixel lies outside of the picture."""


def _face(plan: SegmentPlan, reader: VideoReader) -> tuple[int, int] | None:
    """The pixel of the displayed picture."""
    if plan.face is None:
        return None
    (x, y), width, height = plan.face, reader.width, reader.height
    if plan.face_is_stored:
        if reader.turns % 2:
            width, height = height, width
        if reader.mirrored:
            x = width - 1 - x
        for _ in range(reader.turns):
            x, y, width, height = y, width - 1 - x, height, width
    if not (0 <= x < width and 0 <= y < height):
        raise FaceError("the speaker's pixel lies outside of the picture")
    return x, y


@dataclass(frozen=True)
class _Job:
    """The pieces of one output and where they come from."""

    reader: VideoReader
    sound: SoundReader | None
    crops: Sequence[Crop]
    faces: Sequence[tuple[int, int] | None]
    pieces: Sequence[Piece]
    rate: int
    channels: int
    fault: str | None

    def run(self, out: Path, segment_out: Path | None) -> LipSyncResult:
        length = self.pieces[-1].out_end / self.rate if self.pieces else 0.0
        if self.fault == "wrong_duration":
            length *= 1 - result_faults.CUT_BY_FAULT
        spoiler = result_faults.Spoiler(self.fault, self.reader, MARK)
        retimed = any(piece.retimed for piece in self.pieces)
        time_base = 1 / self.reader.fps if retimed else self.reader.time_base
        inside = [piece for piece in self.pieces if piece.segment is not None]
        with ExitStack() as stack:
            kept = None if self.fault == "silence_outside" else self.sound
            whole = self._output(out, time_base, self.pieces, kept, length, stack, spoiler)
            parts = None
            if segment_out is not None:
                parts = self._output(segment_out, time_base, inside, None, length, stack, spoiler)
            for time, piece, picture in self._retimed() if retimed else self._as_they_are():
                if time >= length:
                    break
                if piece.segment is not None and self.fault != "picture_unchanged":
                    centre = round(time * self.rate) - piece.out_start
                    level = self.crops[piece.segment].loudness(centre, self.rate)
                    visible_marks.draw(picture, level, self.faces[piece.segment])
                spoilt = spoiler.picture(picture)
                if spoilt is None:
                    continue
                whole.picture(spoilt, time)
                if parts is not None and piece.segment is not None:
                    earlier = sum(
                        p.out_end - p.out_start
                        for p in inside
                        if p is not piece and p.out_start < piece.out_start
                    )
                    parts.picture(spoilt, time - (piece.out_start - earlier) / self.rate)
            whole.finish()
            if parts is not None:
                parts.finish()
        return LipSyncResult(
            duration=round(length, 6),
            frames=whole.frames,
            width=spoiler.format.width,
            height=spoiler.format.height,
        )

    def _output(
        self,
        path: Path,
        time_base: Fraction,
        pieces: Sequence[Piece],
        original: SoundReader | None,
        length: float,
        stack: ExitStack,
        spoiler: result_faults.Spoiler,
    ) -> _Output:
        with_sound = self.fault != "audio_dropped"
        writer = Mp4Writer(
            path,
            like=spoiler.format,
            time_base=time_base,
            crf=CRF,
            rate=self.rate if with_sound else 0,
            channels=self.channels if with_sound else 0,
        )
        blocks = soundtrack(pieces, self.crops, original, rate=self.rate, channels=self.channels)
        blocks = spoiler.sound(blocks, self.rate, self.channels)
        limit = length if self.fault in ("wrong_duration", "late_sound") else math.inf
        return _Output(stack.enter_context(writer), time_base, blocks, self.rate, limit)

    def _as_they_are(self) -> Iterator[tuple[float, Piece, Picture]]:
        """All pictures with their own times: nothing moves on the timeline."""
        last = len(self.pieces) - 1
        index = 0
        for item in self.reader.pictures():
            # A picture belongs to the piece in which it begins, give or take a rounding.
            while index < last and item.time + 1e-4 >= self.pieces[index].out_end / self.rate:
                index += 1
            yield item.time, self.pieces[index], item.picture

    def _retimed(self) -> Iterator[tuple[float, Piece, Picture]]:
        """Pictures on a regular grid of the average frame rate."""
        by_time = PicturesByTime(self.reader)
        step = float(1 / self.reader.fps)
        number = 0
        for piece in self.pieces:
            while number * step + 1e-4 < piece.out_end / self.rate:
                # The middle of a picture's time lies safely inside one source picture.
                middle = min((number + 0.5) * step * self.rate, piece.out_end - 1)
                item = by_time.at(piece.source_at(max(middle, piece.out_start)) / self.rate)
                yield number * step, piece, item.picture.copy()
                number += 1


class _Output:
    """A file under way: pictures as they come, sound a little ahead of them."""

    def __init__(
        self,
        writer: Mp4Writer,
        time_base: Fraction,
        blocks: Iterator[Samples],
        rate: int,
        limit: float,
    ) -> None:
        self._writer = writer
        self._time_base = time_base
        self._blocks = blocks
        self._rate = rate
        self._limit = limit
        self._last = -1
        self.frames = 0

    def picture(self, picture: Picture, time: float) -> None:
        pts = max(0, round(time / float(self._time_base)))
        if pts <= self._last:
            return
        self._writer.picture(picture, pts)
        self._last = pts
        self.frames += 1
        self._sound_until(time + SOUND_AHEAD_SECONDS)

    def _sound_until(self, time: float) -> None:
        while self._writer.samples < min(time, self._limit) * self._rate:
            block = next(self._blocks, None)
            if block is None:
                return
            room = self._limit * self._rate - self._writer.samples
            self._writer.sound(block[: math.ceil(min(room, len(block)))])

    def finish(self) -> None:
        """Write the sound that is left."""
        self._sound_until(math.inf)
