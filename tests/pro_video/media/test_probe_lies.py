"""Media with false headers, from the file to the decision before each payment: a clear error or
the right acceptance, in bounded time and memory."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pro_video.core.errors import MediaUnusable, RequestRefused
from pro_video.media.probe import probe
from pro_video.media.reading.layout import inspect
from pro_video.media.reading.sample_claims import MAX_SAMPLES, Claims
from pro_video.request.check import JobRequest, check_request
from pro_video.request.rules_files import check_media
from tests.support.media import lying_files as lies
from tests.support.media.clips import Counting, write_clip, write_sound
from tests.support.media.probed import probed

Files = Callable[[Path], Path | bytes]

MEMORY_MB = 160
"""Memory that one probe may add to a process; the largest unpacked index takes half of it."""
SECONDS = 10.0
"""For all bombs together, on a busy machine."""

BOMBS: dict[str, tuple[Files, str]] = {
    "samples.mp4": (lambda _: lies.mp4(20_000_000), "media_absurd"),
    "most samples.mp4": (lambda _: lies.mp4(0xFFFFFFFF), "media_absurd"),
    "samples in chunks.mp4": (lambda _: lies.mp4(20_000_000, chunks=1000), "media_absurd"),
    "largest index.mp4": (lambda _: lies.mp4(MAX_SAMPLES), "media_truncated"),
    "times.mp4": (lambda _: lies.mp4(50, timed=200_000_000), "media_undecodable"),
    "fragment.mp4": (lambda _: lies.mp4(50, fragment=50_000_000), "media_absurd"),
    "hidden index.mp4": (lambda _: lies.hidden(0xFFFFFFFF)["behind 70 boxes"], "media_absurd"),
    "many tracks.mp4": (lambda _: lies.hidden(1_900_000)["many tracks"], "media_absurd"),
    "edits.mp4": (lambda _: lies.edited(200, 300_000), "media_absurd"),
    "segment indexes.mp4": (lambda _: lies.segment_indexes(20), "media_absurd"),
    "gigapixel header.mp4": (lambda _: lies.mp4(50, width=60000, height=60000), "media"),
    "gigapixel frames.mov": (lies.gigapixel_frames, "media_undecodable"),
    "png.mov": (lies.png_bomb, "media_undecodable"),
    "codec data.mkv": (lies.matroska_claims, "media_unreadable"),
    "archive.mp4": (lambda _: lies.packed_zeros(), "media_not_media"),
    "tag.mp3": (lies.song_with_tag, "media_unreadable"),
    "channels.wav": (lambda f: lies.wav_header(f, 22, b"\xff\xff"), "media_undecodable"),
    "no rate.wav": (lambda f: lies.wav_header(f, 24, bytes(4)), "media_unreadable"),
    "rate.wav": (lambda f: lies.wav_header(f, 24, b"\xff\xff\xff\x7f"), "media_absurd"),
}

# Probes each file and tells what came of it, how long it took, and how the memory's peak grew.
PROBE = """
import json, resource, sys, time
from pathlib import Path
from pro_video.core.errors import MediaUnusable
from pro_video.media.probe import probe

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

found = {}
for name in sys.argv[1:]:
    path, before, began = Path(name), peak(), time.monotonic()
    try:
        probe(path, size=path.stat().st_size)
        code = None
    except MediaUnusable as refusal:
        code = refusal.code
    found[path.name] = (code, time.monotonic() - began, peak() - before)
print(json.dumps(found))
"""


def written(folder: Path, name: str, made: Path | bytes) -> Path:
    path = folder / name
    path.write_bytes(made if isinstance(made, bytes) else made.read_bytes())
    return path


@pytest.fixture(scope="module")
def bombs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str | None, float, int]]:
    """The findings of a separate process about each hostile file, after one honest clip."""
    folder = tmp_path_factory.mktemp("bombs")
    (folder / "made").mkdir()
    honest = write_clip(folder / "honest.mp4")
    paths = [written(folder, name, make(folder / "made")) for name, (make, _) in BOMBS.items()]
    done = subprocess.run(
        [sys.executable, "-c", PROBE, str(honest), *map(str, paths)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    found: dict[str, tuple[str | None, float, int]] = json.loads(done.stdout)
    assert found[honest.name][0] is None
    return found


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_for_what_it_is(
    bombs: dict[str, tuple[str | None, float, int]], name: str
) -> None:
    code = bombs[name][0]
    assert code is not None
    assert code.startswith(BOMBS[name][1])


def test_bombs_take_little_memory_and_time(bombs: dict[str, tuple[str | None, float, int]]) -> None:
    assert {name: grown for name, (_, _, grown) in bombs.items() if grown > MEMORY_MB} == {}
    assert sum(seconds for _, seconds, _ in bombs.values()) < SECONDS


@pytest.mark.parametrize("name", [name for name in BOMBS if "archive" not in name])
def test_a_bomb_is_not_read_more_than_once_or_twice(tmp_path: Path, name: str) -> None:
    made = BOMBS[name][0](tmp_path)
    source = Counting(made if isinstance(made, bytes) else made.read_bytes())
    size = len(source.getvalue())
    with pytest.raises(MediaUnusable):
        probe(source, size=size)
    assert source.bytes_read < 4 * size + 500_000
    assert source.reads < 600


REFUSED_ANYWAY = frozenset(
    {"behind 5000 boxes", "compressed", "compressed alone", "many fragments", "nested deeply"}
)
"""Boxes that are refused with any number of samples."""


@pytest.mark.parametrize("name", sorted(lies.hidden(1)))
def test_an_index_that_hides_is_found(name: str) -> None:
    """Each of these is taken for an index, or for more of one, by libav."""
    data = lies.hidden(3_000_000)[name]
    layout = inspect(lambda offset, length: data[offset : offset + length], len(data))
    assert layout.code == "media_absurd"
    assert layout.problem is not None
    honest = lies.hidden(50)[name]
    if name not in REFUSED_ANYWAY:
        assert inspect(lambda o, n: honest[o : o + n], len(honest)).code is None


@pytest.mark.parametrize("make", [lambda: lies.edited(50, 3), lambda: lies.segment_indexes(1)])
def test_some_edits_and_a_segment_index_are_no_bomb(make: Callable[[], bytes]) -> None:
    data = make()
    assert inspect(lambda o, n: data[o : o + n], len(data)).problem is None


def test_a_file_of_many_pieces_is_told_so() -> None:
    data = lies.hidden(50)["behind 5000 boxes"]
    with pytest.raises(MediaUnusable, match="more than 4096 pieces; write it again"):
        probed(data)


def test_a_clip_in_many_fragments_is_taken(tmp_path: Path) -> None:
    path = write_clip(
        tmp_path / "live.mp4", seconds=8, gop=1, sound=False, movflags="frag_keyframe+delay_moov"
    )
    data = path.read_bytes()
    assert data.count(b"moof") > 150
    assert probe(path, size=len(data)).video is not None


def test_plain_sound_may_have_many_samples(tmp_path: Path) -> None:
    data = write_sound(tmp_path / "long.mov", 60.0).read_bytes()
    index = data.index(b"moov") - 4

    def claimed(data: bytes) -> int:
        claims = Claims(lambda offset, length: data[offset : offset + length])
        return claims.add(index, len(data) - index)

    assert claimed(data) == 0
    # The same number of pictures is none of a file that anybody has.
    assert claimed(data.replace(b"soun", b"vide")) == 60 * 48000


def judge(video: Path, audio: Path, **segment: Any) -> tuple[JobRequest, tuple[str, ...]]:
    """The decision of a job's flow about its files before it pays."""
    source = "s3://bucket/a.wav"
    line = {"start": 0.2, "end": 1.2, "audio": source} | segment
    request = check_request(
        {"video": "s3://bucket/v.mp4", "segments": [line]}, max_segments=10, allow_local_files=False
    )
    picture = probed(video)
    sounds = {source: probe(audio, size=audio.stat().st_size)}
    fitted = check_media(request, picture, sounds)
    return fitted, tuple(note.message for note in fitted.warnings)


def refusals(video: Path, audio: Path, **segment: Any) -> set[str | None]:
    try:
        judge(video, audio, **segment)
    except RequestRefused as refused:
        return {problem.code for problem in refused.problems}
    except MediaUnusable as refused_file:
        return {refused_file.code}
    return set()


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clip") / "c.mp4")


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sound(tmp_path_factory.mktemp("line") / "a.wav")


VIDEOS: dict[str, tuple[Files, set[str | None]]] = {
    "empty.mp4": (lambda _: b"", {"media_empty"}),
    "text.mp4": (lambda _: b"not a video\n" * 100, {"media_unreadable"}),
    "cut.mp4": (lambda f: write_clip(f / "w.mp4").read_bytes()[:20000], {"media_truncated"}),
    "sound.mp4": (lambda f: write_sound(f / "w.wav"), {"video_no_picture"}),
    "song.mp4": (lambda f: write_sound(f / "w.mp3", codec="mp3"), {"video_no_picture"}),
    "matroska.mp4": (lambda f: write_clip(f / "w.mkv"), {"video_container"}),
    "movie.txt": (lambda f: write_clip(f / "w.mov"), set()),
    "no sound.mp4": (lambda f: write_clip(f / "w.mp4", sound=False), set()),
    "1x1.mov": (lambda f: lies.still(f / "w.mov", 1, 1, "png"), {"media_too_small"}),
    "32x32.mov": (lambda f: lies.still(f / "w.mov", 32, 32, frames=50), {"video_too_small"}),
    "wide.mov": (lambda f: lies.still(f / "w.mov", 8192, 64, frames=50), {"video_resolution"}),
    "rotated.mp4": (lambda f: write_clip(f / "w.mp4", rotation=90), set()),
    "uneven.mp4": (
        lambda f: write_clip(f / "w.mp4", times=[0, 40, 100, 300, 700, 710, 1000, 1900, 2000]),
        set(),
    ),
    "hours.mp4": (
        lambda f: write_clip(f / "w.mp4", times=[0, 1000, 2000, 7_200_000], sound=False),
        {"video_too_long"},
    ),
    "one frame.mp4": (
        lambda f: write_clip(f / "w.mp4", seconds=0.04, sound=False),
        {"segment_after_end"},
    ),
    "long sound.mp4": (
        lambda f: write_clip(f / "w.mp4", seconds=0.6, sound_seconds=3.0),
        {"segment_after_end"},
    ),
}


@pytest.mark.parametrize("name", VIDEOS)
def test_a_video_is_judged_by_what_it_is(tmp_path: Path, line: Path, name: str) -> None:
    (tmp_path / "made").mkdir()
    make, expected = VIDEOS[name]
    video = written(tmp_path, name, make(tmp_path / "made"))
    assert refusals(video, line) == expected


AUDIOS: dict[str, tuple[Files, set[str | None]]] = {
    "empty.wav": (lambda _: b"", {"media_empty"}),
    "page.wav": (lambda _: b"<html>not found</html>" * 50, {"media_not_media"}),
    "cut.wav": (lambda f: write_sound(f / "w.wav").read_bytes()[:50000], {"media_truncated"}),
    "header.wav": (lambda f: write_sound(f / "w.wav").read_bytes()[:44], {"media_truncated"}),
    "video.wav": (lambda f: write_clip(f / "w.mp4"), {"audio_is_video"}),
    "silent video.wav": (lambda f: write_clip(f / "w.mp4", sound=False), {"audio_no_sound"}),
    "song.wav": (lambda f: write_sound(f / "w.mp3", codec="mp3"), set()),
    "matroska.wav": (lambda f: write_sound(f / "w.mkv"), set()),
    "rate.wav": (lambda f: lies.wav_header(f, 24, b"\xff\xff\xff\x7f"), {"media_absurd"}),
}


@pytest.mark.parametrize("name", AUDIOS)
def test_an_audio_is_judged_by_what_it_is(tmp_path: Path, clip: Path, name: str) -> None:
    (tmp_path / "made").mkdir()
    make, expected = AUDIOS[name]
    audio = written(tmp_path, name, make(tmp_path / "made"))
    assert refusals(clip, audio) == expected


def test_audios_longer_and_shorter_than_their_segment_are_taken_and_told(
    tmp_path: Path, clip: Path
) -> None:
    longer = write_sound(tmp_path / "longer.wav", 1.5)
    shorter = write_sound(tmp_path / "shorter.wav", 0.5)
    assert "0.50 s longer" in judge(clip, longer)[1][0]
    assert "0.50 s shorter" in judge(clip, shorter)[1][0]


@pytest.mark.parametrize(
    ("segment", "code"),
    [
        ({"start": 1.5, "end": 2.6}, "segment_after_end"),
        ({"start": 5.0, "end": 6.0}, "segment_after_end"),
        ({"audio_start": 0.0, "audio_end": 1.7}, "crop_after_end"),
        ({"audio_start": 5.0, "audio_end": 6.0}, "crop_after_end"),
    ],
)
def test_ranges_outside_of_real_files(
    clip: Path, line: Path, segment: dict[str, float], code: str
) -> None:
    assert refusals(clip, line, **segment) == {code}
