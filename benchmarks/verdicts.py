"""Measures how often the checks are right, by results whose right verdicts are known.

Videos of many kinds are made (`benchmarks.corpus`), and of each a lip-sync and a text removal as a
provider delivers it: encoded again, scaled, at another rate, tone-mapped, louder. All of these are
correct, none may be unusable, and few doubtful. Others are spoilt in one way each, and none of
them may be good.

    python -m benchmarks.verdicts                   # about five minutes on one core
    python -m benchmarks.verdicts --clips DIR       # of the videos in a folder, each in all ways
    python -m benchmarks.verdicts --only watermark  # cases whose name has that in it

The exit status is 1 when a correct result is unusable, or one of no use is good.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import av
import numpy as np
from av.audio.resampler import AudioResampler
from PIL import Image, ImageFilter

from benchmarks import corpus
from benchmarks.corpus import AREA, SEGMENT, Clip, File, Sound
from pro_video.judging.judge import judge_inpainting, judge_lip_sync
from pro_video.judging.verdict import Judgement, Verdict
from pro_video.media.info import MediaInfo
from pro_video.media.probe import probe
from pro_video.providers.ghostcut.plan import inpainting_plan
from pro_video.request.check import JobRequest
from pro_video.request.models import AnnotationArea, InpaintingOptions, Region, Segment

Change = Callable[[Clip], Clip]
STAGES = ("lip-sync", "inpainting")
GOOD, DOUBTFUL, UNUSABLE = Verdict.GOOD, Verdict.DOUBTFUL, Verdict.UNUSABLE
TAKEN = 3
"""Conversions of each source and stage."""
SPOILT_OF_EACH = 4
REAL_SECONDS = 5.0
LEAST_SECONDS = 3.0
REAL_WIDTH = 640


@dataclass(frozen=True)
class Case:
    """A result with a known right verdict.

    Attributes:
        source: the clip that was sent.
        stage: the provider stage.
        kind: of processing.
        make: the result from what a perfect provider would return.
        damage: of the bytes of its file.
        expected: the verdicts that are right.
    """

    source: Clip
    stage: str
    kind: str
    make: Change
    expected: tuple[Verdict, ...] = (GOOD,)
    damage: Callable[[bytes], bytes] | None = None


def _file(**changes: object) -> Change:
    return lambda clip: replace(clip, file=replace(clip.file, **changes))  # type: ignore[arg-type]


def _sound(change: Callable[[Sound], Sound], **file: object) -> Change:
    def changed(clip: Clip) -> Clip:
        clip = _file(**file)(clip)
        return clip if clip.sound is None else replace(clip, sound=change(clip.sound))

    return changed


def _stereo(sound: Sound) -> Sound:
    return np.repeat(sound.mean(axis=1, keepdims=True), 2, axis=1)


def _louder(decibel: float) -> Callable[[Sound], Sound]:
    gain = 10 ** (decibel / 20)
    return lambda sound: np.tanh(gain * sound).astype(np.float32)


def _even(clip: Clip) -> Clip:
    height, width = clip.pictures[0].shape[:2]
    return corpus.mapped(clip, lambda picture: picture[: height // 2 * 2, : width // 2 * 2])


def _restored(clip: Clip) -> Clip:
    """Sharpened in the middle, where the face is, and smoothed elsewhere."""
    height, width = clip.pictures[0].shape[:2]
    middle = (slice(height // 5, height * 4 // 5), slice(width // 3, width * 2 // 3))

    def change(picture: corpus.Picture) -> corpus.Picture:
        smooth = corpus.filtered(picture, ImageFilter.GaussianBlur(0.7)).copy()
        smooth[middle] = corpus.filtered(picture, ImageFilter.UnsharpMask(2, 80, 2))[middle]
        return smooth

    return corpus.mapped(clip, change)


def _later(pictures: int) -> Change:
    def change(clip: Clip) -> Clip:
        first = [clip.pictures[0]] * pictures
        return replace(clip, pictures=[*first, *clip.pictures][: len(clip.pictures)])

    return change


CONVERSIONS: dict[str, Change] = {
    "encoded again": lambda clip: clip,
    "low bit rate": _file(crf=36),
    "25 pictures a second": lambda clip: corpus.at_rate(clip, 25),
    "30 pictures a second": lambda clip: corpus.at_rate(clip, 30),
    "stereo, 44.1 kHz, 0.1 s late": _sound(_stereo, rate=44_100, sound_offset=0.1),
    "8 dB quieter": _sound(_louder(-8)),
    "8 dB louder, limited": _sound(_louder(8)),
    "BT.709 and full range": _file(colorspace=1, full_range=True),
    "gamma 1.15": lambda clip: corpus.mapped(clip, lambda p: corpus.curved(p, 1.15)),
    "smoothed, face restored": _restored,
    "two pictures late": _later(2),
    "HEVC": _file(codec="libx265", crf=26),
    "stored turned": _file(matrix="90"),
    "begins at 0.5 s": _file(offset=0.5),
}
OF_HDR: dict[str, Change] = {
    "tone-mapped": lambda clip: clip,
    "tone-mapped, lighter": lambda clip: corpus.mapped(
        clip, lambda p: corpus.curved(p, 0.75, 0.95)
    ),
    "tone-mapped, darker": lambda clip: corpus.mapped(clip, lambda p: corpus.curved(p, 1.4)),
    "still HDR": _file(codec="libx265", pix_fmt="yuv420p10le", transfer="pq"),
}
OF_LARGE: dict[str, Change] = {"480 lines": lambda clip: corpus.sized(clip, 854, 480)}


def conversions(clip: Clip) -> dict[str, Change]:
    """Conversions of such a video by providers, without a fault."""
    found = dict(CONVERSIONS)
    if clip.file.transfer:
        found = {**OF_HDR, "30 pictures a second": found["30 pictures a second"]}
    if clip.pictures[0].shape[0] >= 720:
        found = {**OF_LARGE, **found}
    return found


def correct(clips: Sequence[Clip]) -> Iterator[Case]:
    """Each source with some conversions of both stages, so that each conversion is met."""
    turn = 0
    for clip in clips:
        choices = list(conversions(clip).items())
        for stage in STAGES:
            for _ in range(TAKEN):
                kind, change = choices[turn % len(choices)]
                turn += 1
                yield Case(clip, stage, kind, change)


def _cut(clip: Clip) -> Clip:
    count = len(clip.pictures) * 7 // 10
    sound = None if clip.sound is None else clip.sound[: len(clip.sound) * 7 // 10]
    return replace(clip, pictures=clip.pictures[:count], times=clip.times[:count], sound=sound)


def _black(clip: Clip) -> Clip:
    return corpus.mapped(clip, lambda picture: picture * 0 + 16)


def _other(clip: Clip) -> Clip:
    height, width = clip.pictures[0].shape[:2]
    draw = corpus.filmed(width, height, 404) if width > 150 else corpus.drawn(width, height, 404)
    mirror = [draw(at)[::-1, ::-1] for at in clip.times]
    return replace(clip, pictures=mirror)


def _from_half(clip: Clip) -> Clip:
    half = len(clip.pictures) // 2
    return replace(clip, pictures=[*clip.pictures[:half], *_other(clip).pictures[half:]])


def _frozen(clip: Clip) -> Clip:
    return replace(clip, pictures=[clip.pictures[0]] * len(clip.pictures))


def _outside(change: Callable[[Sound], Sound]) -> Change:
    def changed(clip: Clip) -> Clip:
        assert clip.sound is not None
        sound = change(clip.sound).copy()
        first, last = (round(at * corpus.RATE) for at in SEGMENT)
        sound[first:last] = clip.sound[first:last]
        return replace(clip, sound=sound)

    return changed


def _halved(clip: Clip) -> Clip:
    height, width = clip.pictures[0].shape[:2]
    return corpus.sized(clip, width // 4 * 2, height // 4 * 2)


def _half_rate(clip: Clip) -> Clip:
    step = float(np.median(np.diff(np.asarray(clip.times))))
    return corpus.at_rate(clip, 0.5 / step)


def _block(clip: Clip) -> Clip:
    return corpus.erased(clip, (0.62, 0.1, 0.95, 0.35))


def _squeezed(clip: Clip) -> Clip:
    height, _ = clip.pictures[0].shape[:2]
    return corpus.sized(clip, height // 2 * 2, height // 2 * 2)


def _barred(clip: Clip) -> Clip:
    height, width = clip.pictures[0].shape[:2]
    bars = ((height // 4 * 2, height // 4 * 2), (0, 0), (0, 0))
    return corpus.mapped(clip, lambda picture: np.pad(picture, bars)[:, : width // 2 * 2])


def _noise(data: bytes) -> bytes:
    start = data.find(b"mdat") + 4
    at = start + (len(data) - start) // 8
    noise = np.random.default_rng(3).integers(0, 256, len(data) - at - 200, dtype=np.uint8)
    return data[:at] + noise.tobytes() + data[-200:]


Spoilt = tuple[Change, tuple[Verdict, ...]]
SPOILT: dict[str, Spoilt] = {
    "cut short by 30 %": (_cut, (UNUSABLE,)),
    "black": (_black, (UNUSABLE,)),
    "another video": (_other, (UNUSABLE,)),
    "silent": (_sound(lambda sound: sound * 0), (UNUSABLE,)),
    "without sound": (lambda clip: replace(clip, sound=None), (UNUSABLE,)),
    "frozen": (_frozen, (DOUBTFUL, UNUSABLE)),
    "another video from the middle": (_from_half, (DOUBTFUL,)),
    "mirrored": (lambda clip: corpus.mapped(clip, lambda p: p[:, ::-1]), (DOUBTFUL,)),
    "upside down": (lambda clip: corpus.mapped(clip, lambda p: p[::-1, ::-1]), (DOUBTFUL,)),
    "on its side": (lambda clip: corpus.mapped(clip, np.rot90), (DOUBTFUL,)),
    "watermark": (lambda clip: corpus.mapped(clip, corpus.marked), (DOUBTFUL,)),
    "another place erased too": (_block, (DOUBTFUL,)),
    "sound 0.5 s late": (_sound(lambda s: corpus.delayed(s, 0.5)), (DOUBTFUL,)),
    "sound 30 dB quieter": (_sound(_louder(-30)), (DOUBTFUL,)),
    "half the size": (_halved, (DOUBTFUL,)),
    "half the frame rate": (_half_rate, (DOUBTFUL,)),
    "another shape": (_squeezed, (DOUBTFUL,)),
    "black bars": (_barred, (DOUBTFUL,)),
    "much darker": (
        lambda clip: corpus.mapped(clip, lambda p: corpus.curved(p, 1.3, 0.5)),
        (DOUBTFUL,),
    ),
}
OF_SOUND = frozenset({"silent", "without sound", "sound 0.5 s late", "sound 30 dB quieter"})
SPOILT_LIP_SYNC: dict[str, Spoilt] = {
    "silent outside of the segments": (_outside(lambda sound: sound * 0), (DOUBTFUL,)),
    "another sound outside": (
        _outside(lambda sound: corpus.speech(len(sound) / corpus.RATE, 5, sound.shape[1])),
        (DOUBTFUL,),
    ),
}
DAMAGED: dict[str, tuple[Callable[[bytes], bytes], tuple[Verdict, ...]]] = {
    "the last 40 % of the bytes missing": (lambda data: data[: len(data) * 6 // 10], (UNUSABLE,)),
    "a page of HTML": (lambda data: b"<html><body>Access denied</body></html>", (UNUSABLE,)),
    "an empty file": (lambda data: b"", (UNUSABLE,)),
    "overwritten from the first eighth on": (_noise, (UNUSABLE,)),
}


def spoilt(clips: Sequence[Clip]) -> Iterator[Case]:
    """Each fault in some sources, both stages in turn."""
    turn = 0

    def chosen() -> Iterator[tuple[Clip, str]]:
        nonlocal turn
        for _ in range(SPOILT_OF_EACH):
            turn += 1
            yield clips[turn * 3 % len(clips)], STAGES[turn % 2]

    for kind, (change, expected) in SPOILT.items():
        for clip, stage in chosen():
            yield Case(clip, stage, kind, change, expected)
    for kind, (change, expected) in SPOILT_LIP_SYNC.items():
        for clip, _ in chosen():
            if clip.sound is not None:
                yield Case(clip, "lip-sync", kind, change, expected)
    for kind, (damage, expected) in DAMAGED.items():
        for clip, stage in chosen():
            yield Case(clip, stage, kind, lambda clip: clip, expected, damage)
    for clip, stage in chosen():
        yield Case(clip, stage, "nothing changed", lambda clip: clip, (DOUBTFUL,))


def each_way(clips: Sequence[Clip], *, right: bool) -> Iterator[Case]:
    """Each source with all conversions, or all faults, that it can have."""
    for clip, stage in product(clips, STAGES):
        if right:
            for kind, change in conversions(clip).items():
                yield Case(clip, stage, kind, change)
            continue
        faults = dict(SPOILT)
        if stage == "lip-sync" and clip.sound is not None:
            faults |= SPOILT_LIP_SYNC
        elif clip.sound is None:
            faults = {kind: fault for kind, fault in faults.items() if kind not in OF_SOUND}
        for kind, (change, expected) in faults.items():
            yield Case(clip, stage, kind, change, expected)
        for kind, (damage, expected) in DAMAGED.items():
            yield Case(clip, stage, kind, lambda clip: clip, expected, damage)
        yield Case(clip, stage, "nothing changed", lambda clip: clip, (DOUBTFUL,))


class Judge:
    """Writes files into a folder and judges them; sources are written and probed once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._sources: dict[str, tuple[Path, MediaInfo]] = {}
        self._audio = corpus.write(
            folder / "line",
            Clip("line", [], [], corpus.line(), File(".wav", sound_codec="pcm_s16le")),
        )

    def __call__(self, case: Case) -> Judgement:
        source, video = self._source(case.source)
        result = self._result(case)
        size = result.stat().st_size
        if case.stage == "lip-sync":
            name = str(self._audio)
            segment = Segment(start=SEGMENT[0], end=SEGMENT[1], audio=name)
            return judge_lip_sync(
                source,
                result,
                {name: self._audio},
                request=JobRequest(video="s3://b/v", segments=(segment,)),
                audio_infos={name: probe(self._audio, size=self._audio.stat().st_size)},
                video=video,
                size=size,
            )
        left, top, right, bottom = AREA
        region = Region(x=left, y=top, width=right - left, height=bottom - top)
        areas = [AnnotationArea(kind="erase", region=region)]
        plan = inpainting_plan(areas, InpaintingOptions(), video.duration)
        return judge_inpainting(source, result, plan=plan, video=video, size=size)

    def _source(self, clip: Clip) -> tuple[Path, MediaInfo]:
        if clip.name not in self._sources:
            path = corpus.write(self._folder / f"source-{len(self._sources)}", clip)
            self._sources[clip.name] = path, probe(path, size=path.stat().st_size)
        return self._sources[clip.name]

    def _result(self, case: Case) -> Path:
        clip = corpus.plain(case.source)
        if case.kind != "nothing changed":
            clip = corpus.mouthed(clip) if case.stage == "lip-sync" else corpus.erased(clip)
        elif case.stage == "lip-sync":
            clip = replace(clip, sound=corpus.mouthed(clip).sound)
        path = corpus.write(self._folder / "result", _even(case.make(clip)))
        if case.damage is not None:
            path.write_bytes(case.damage(path.read_bytes()))
        return path


def real_clips(folder: Path) -> Iterator[Clip]:
    """The first seconds of each video of a folder, as players show them."""
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in {".mp4", ".mov", ".webm", ".mkv"}:
            continue
        with av.open(str(path)) as container:
            frames: list[tuple[float, corpus.Picture]] = []
            for frame in container.decode(video=0):
                first = frames[0][0] if frames else frame.time or 0.0
                if (frame.time or 0.0) - first > REAL_SECONDS:
                    break
                image = Image.fromarray(frame.to_ndarray(format="rgb24"))
                image.thumbnail((REAL_WIDTH, REAL_WIDTH), Image.Resampling.LANCZOS)
                frames.append((frame.time or 0.0, np.asarray(image)))
        times = [at - frames[0][0] for at, _ in frames]
        if times[-1] < LEAST_SECONDS:
            _tell(f"{path.name} is left out: it has less than {LEAST_SECONDS:.0f} s.")
            continue
        pictures = [picture for _, picture in frames]
        yield _even(Clip(path.name, pictures, times, _sound_of(path, times[-1]), File(crf=16)))


def _sound_of(path: Path, seconds: float) -> Sound | None:
    with av.open(str(path)) as container:
        if not container.streams.audio:
            return None
        resampler = AudioResampler(format="flt", layout="mono", rate=corpus.RATE)
        blocks = [
            block.to_ndarray().reshape(-1, 1)
            for frame in container.decode(audio=0)
            for block in resampler.resample(frame)
        ]
    sound = np.concatenate(blocks)[: round((seconds + 0.04) * corpus.RATE)]
    return sound.astype(np.float32)


def run(
    cases: Sequence[Case],
    folder: Path,
    show: Callable[[str], None],
    progress: Callable[[str], None] = lambda text: None,
) -> bool:
    """Judge all, show a table, tell whether all that must hold does."""
    judge = Judge(folder)
    rows: dict[tuple[bool, str], Counter[Verdict]] = defaultdict(Counter)
    wrong: list[str] = []
    holds = True
    seconds = 0.0
    for case in cases:
        began = time.perf_counter()
        judgement = judge(case)
        seconds += time.perf_counter() - began
        right = GOOD in case.expected
        rows[right, case.kind if not right else case.source.name][judgement.verdict] += 1
        if judgement.verdict not in case.expected:
            said = "; ".join(f"{each.code}: {each.message}" for each in judgement.warnings)
            name = f"{case.kind}, {case.stage} of {case.source.name}"
            wrong.append(f"- {name}: {judgement.verdict}: {said}")
            progress(wrong[-1])
        useless = case.expected == (UNUSABLE,)
        if (right and judgement.verdict is UNUSABLE) or (useless and judgement.verdict is GOOD):
            holds = False
    for right, title in ((True, "correct, by source"), (False, "spoilt, by fault")):
        show(f"| {title} | good | doubtful | unusable |")
        show("|---|---|---|---|")
        total: Counter[Verdict] = Counter()
        for (of_right, kind), counted in rows.items():
            if of_right is right:
                total += counted
                show(_row(kind, counted))
        show(_row("all", total))
        show("")
    show(f"{len(cases)} results in {seconds:.0f} s. Not as expected: {len(wrong)}")
    for text in wrong:
        show(text)
    return holds


def _row(name: str, counted: Counter[Verdict]) -> str:
    return f"| {name} | {counted[GOOD]} | {counted[DOUBTFUL]} | {counted[UNUSABLE]} |"


def _show(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _tell(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--clips", type=Path, help="a folder whose videos are taken instead")
    parser.add_argument("--part", choices=("correct", "spoilt"), help="one half alone")
    parser.add_argument("--only", help="cases whose kind or source has this in its name")
    given = parser.parse_args(argv)
    if given.clips is None:
        clips = corpus.sources()
        halves = {"correct": correct(clips), "spoilt": spoilt(clips)}
    else:
        clips = list(real_clips(given.clips))
        halves = {"correct": each_way(clips, right=True), "spoilt": each_way(clips, right=False)}
    cases = [case for part, half in halves.items() if given.part in (None, part) for case in half]
    if given.only:
        cases = [case for case in cases if given.only in f"{case.kind}\n{case.source.name}"]
    with tempfile.TemporaryDirectory(prefix="verdicts-") as folder:
        holds = run(cases, Path(folder), _show, _tell)
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
