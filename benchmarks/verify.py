"""Cost of the checks before Completed, against decoding the same result once from end to end.

For clips of three lengths a result is made that has passed through another encoding, and the checks
of a lip-sync and of a text removal look at it. Times are compared within one run; bytes and packets
are counted. The absolute times depend on the machine and its other load.

    python -m benchmarks.verify                       # 8 s of 640x360, 60 s and 10 min of 1080p
    python -m benchmarks.verify --rounds 3 --only 8s
"""

from __future__ import annotations

import argparse
import cProfile
import io
import math
import pstats
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from pro_video.judging.judge import judge_inpainting, judge_lip_sync
from pro_video.judging.verdict import Verdict
from pro_video.media.info import MediaInfo
from pro_video.media.probe import probe
from pro_video.providers.ghostcut.plan import inpainting_plan
from pro_video.request.check import JobRequest
from pro_video.request.models import AnnotationArea, InpaintingOptions, Region, Segment

FPS = 25
RATE = 48000
PART_SECONDS = 60


@dataclass(frozen=True)
class Clip:
    """A clip: name on the command line, size in pixels, seconds."""

    name: str
    width: int
    height: int
    seconds: int


CLIPS = (Clip("8s", 640, 360, 8), Clip("60s", 1920, 1080, 60), Clip("10min", 1920, 1080, 600))


class Counting(io.FileIO):
    """A file that counts what is read of it."""

    total = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(-1 if size is None else size) or b""
        self.total += len(data)
        return data


def make(clip: Clip, folder: Path) -> tuple[Path, Path, Path, Path]:
    """The source, its lip-sync, its text removal, and the audio of the segments."""
    part = min(clip.seconds, PART_SECONDS)
    paths = [folder / f"{clip.name}-{name}.mp4" for name in ("source", "lip-sync", "removal")]
    for path, changed in zip(paths, ("", "mouth", "area"), strict=True):
        short = path.with_name(f"part-{path.name}")
        encode(clip, short, part, changed)
        repeat(short, path, clip.seconds // part)
    audio = folder / f"{clip.name}.wav"
    with av.open(str(audio), "w") as out:
        stream = out.add_stream("pcm_s16le", rate=RATE)
        assert isinstance(stream, AudioStream)
        for frame in sound(2, seed=2):
            out.mux(stream.encode(frame))
    return paths[0], paths[1], paths[2], audio


def encode(clip: Clip, path: Path, seconds: int, changed: str) -> None:
    """A pan over patches and grain; a mouth moves in the second and third second, or an area at the
    top right is grey throughout."""
    width, height = clip.width, clip.height
    rng = np.random.default_rng(1)
    wide = width + 4 * FPS * PART_SECONDS
    cell = height // 18
    patches = rng.integers(60, 200, (height // cell + 1, wide // cell + 1), dtype=np.uint8)
    panorama = patches.repeat(cell, axis=0).repeat(cell, axis=1)[:height, :wide]
    panorama += rng.integers(0, 12, panorama.shape, dtype=np.uint8)
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=FPS)
        assert isinstance(video, VideoStream)
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        video.codec_context.options = {
            "preset": "superfast",
            "crf": "20" if changed else "18",
            "g": "50" if changed else "250",
        }
        audio = out.add_stream("aac", rate=RATE)
        assert isinstance(audio, AudioStream)
        replacement = sound(2, seed=2) if changed == "mouth" else []
        spoken = list(sound(seconds, seed=1))
        for index, block in enumerate(replacement):
            block.pts = spoken[index + RATE // 1024].pts
            spoken[index + RATE // 1024] = block
        for frame in spoken:
            out.mux(audio.encode(frame))
        planes = np.full((height * 3 // 2, width), 128, np.uint8)
        for number in range(seconds * FPS):
            planes[:height] = panorama[:, 4 * number : 4 * number + width]
            if changed == "mouth" and FPS <= number < 3 * FPS and number % 8 < 5:
                planes[height // 2 : height * 5 // 9, width // 2 : width * 5 // 9] = 20
            if changed == "area":
                planes[height // 10 : height // 5, width * 7 // 10 : width * 9 // 10] = 30
            picture = VideoFrame.from_ndarray(planes, format="yuv420p")
            picture.pts, picture.time_base = number, Fraction(1, FPS)
            out.mux(video.encode(picture))
        out.mux(video.encode(None))
        out.mux(audio.encode(None))


def sound(seconds: int, seed: int) -> list[AudioFrame]:
    """Noise in syllables."""
    rng = np.random.default_rng(seed)
    loud = rng.uniform(0, 0.2, seconds * 8).repeat(RATE // 8)
    samples = (loud * rng.normal(0, 8000, len(loud))).astype(np.int16)
    frames = []
    for start in range(0, len(samples) - 1023, 1024):
        frame = AudioFrame.from_ndarray(
            samples[None, start : start + 1024], format="s16", layout="mono"
        )
        frame.sample_rate, frame.pts, frame.time_base = RATE, start, Fraction(1, RATE)
        frames.append(frame)
    return frames


def repeat(path: Path, out_path: Path, times: int) -> None:
    """The file several times over, without encoding it again."""
    with av.open(str(out_path), "w", options={"movflags": "faststart"}) as out:
        streams = {}
        offset = 0.0
        for _ in range(times):
            with av.open(str(path)) as container:
                length = (container.duration or 0) / av.time_base
                for stream in (container.streams.video[0], container.streams.audio[0]):
                    if stream.index not in streams:
                        streams[stream.index] = out.add_stream_from_template(stream)
                for packet in container.demux():
                    if packet.dts is None or packet.pts is None or not packet.time_base:
                        continue
                    shift = round(offset / float(packet.time_base))
                    packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                    packet.stream = streams[packet.stream.index]
                    out.mux(packet)
            # Sound ends a little later than the picture, in each file by as much as it likes.
            offset += math.floor(length) + 1


def info(path: Path) -> MediaInfo:
    return probe(path, size=path.stat().st_size)


def lip_sync_checks(source: Path, result: Path, audio: Path, read: list[Counting]) -> None:
    """The judgement of `tasks.check_results.verify_lip_sync`."""
    request = JobRequest(video="s3://b/v", segments=(Segment(start=1.0, end=3.0, audio="a"),))
    judgement = judge_lip_sync(
        reading(source, read),
        reading(result, read),
        {"a": reading(audio, read)},
        request=request,
        audio_infos={"a": info(audio)},
        video=info(source),
        size=result.stat().st_size,
    )
    assert judgement.verdict is Verdict.GOOD, judgement.warnings


def removal_checks(source: Path, result: Path, audio: Path, read: list[Counting]) -> None:
    """The judgement of `tasks.check_results.verify_inpainting`."""
    before = info(source)
    region = Region(x=0.7, y=0.1, width=0.2, height=0.1)
    areas = [AnnotationArea(kind="erase", region=region)]
    judgement = judge_inpainting(
        reading(source, read),
        reading(result, read),
        plan=inpainting_plan(areas, InpaintingOptions(), before.duration),
        video=before,
        size=result.stat().st_size,
    )
    assert judgement.verdict is Verdict.GOOD, judgement.warnings


def reading(path: Path, read: list[Counting]) -> Counting:
    read.append(Counting(path))
    return read[-1]


def decode_all(path: Path) -> None:
    """The reference for the checks: decoding picture and sound with one thread."""
    with av.open(str(path)) as container:
        container.streams.video[0].codec_context.thread_count = 1
        for packet in container.demux():
            packet.decode()


def seconds_of(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def packets_of(work: Callable[[], None]) -> tuple[int, int]:
    """How many packets of pictures and of sound a piece of work decodes."""
    profile = cProfile.Profile()
    profile.runcall(work)
    stats = pstats.Stats(profile).stats  # type: ignore[attr-defined]
    decoded = sounds = 0
    for (_, _, name), (_, calls, _, _, callers) in stats.items():
        if "'decode' of 'av.packet.Packet'" in name:
            decoded += calls
        elif name == "frames_of":
            sounds += sum(
                calls for (file, _, _), (calls, *_) in callers.items() if file.endswith("sounds.py")
            )
    return decoded - sounds, sounds


def measure(clip: Clip, folder: Path, rounds: int) -> None:
    source, lip_sync, removal, audio = make(clip, folder)
    for name, checks, result in (
        ("lip-sync", lip_sync_checks, lip_sync),
        ("text removal", removal_checks, removal),
    ):
        read: list[Counting] = []

        def work(
            checks: Callable[[Path, Path, Path, list[Counting]], None] = checks,
            result: Path = result,
            read: list[Counting] = read,
        ) -> None:
            checks(source, result, audio, read)

        pictures, sounds = packets_of(work)
        total = sum(stream.total for stream in read)
        for stream in read:
            stream.close()
        ratios, times = [], []
        for _ in range(rounds):
            whole = seconds_of(lambda result=result: decode_all(result))  # type: ignore[misc]
            times.append(seconds_of(work))
            ratios.append(times[-1] / whole)
        frames = clip.seconds * FPS
        both = source.stat().st_size + result.stat().st_size
        sys.stdout.write(
            f"{clip.name:>6} {clip.width}x{clip.height} {name:13}"
            f" {pictures:6} of {2 * frames} pictures ({pictures / 2 / frames:5.1%})"
            f" {sounds:6} packets of sound"
            f" {total / 1e6:7.1f} of {both / 1e6:.1f} MB ({total / both:6.1%})"
            f" {statistics.median(times):6.2f} s ="
            f" {statistics.median(ratios):6.1%} of decoding the result\n"
        )
        sys.stdout.flush()


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=[clip.name for clip in CLIPS], action="append")
    parser.add_argument("--dir", type=Path, help="where the clips are made (about 2 GB)")
    given = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="verify-", dir=given.dir) as folder:
        for clip in CLIPS:
            if not given.only or clip.name in given.only:
                measure(clip, Path(folder), max(1, given.rounds))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
