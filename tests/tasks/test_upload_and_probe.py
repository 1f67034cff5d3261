"""A job's files: stored as what they are, audio in the form that is sent, and one answer with
everything that is wrong with them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pro_video.core.errors import LinkExpired, RequestRefused, SourceRefused
from pro_video.core.settings import Settings
from pro_video.records import ProbedFiles, UploadedFiles
from pro_video.request.check import JobRequest, check_request
from pro_video.s3.storage import Storage
from tasks import probe_sources, read_parameters, upload_sources
from tasks.read_parameters import checked_request
from tasks.run.job import Job
from tests.support.media.clips import write_clip, write_sound
from tests.support.source_server import SourceFile, SourceServer, serving


@pytest.fixture(autouse=True)
def running(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs are in the test's bucket."""

    async def links() -> Any:
        return SimpleNamespace(storage=storage)

    monkeypatch.setattr(upload_sources, "connections", links)
    monkeypatch.setattr(probe_sources, "connections", links)
    local = Settings(allow_local_files=True)
    monkeypatch.setattr(probe_sources, "get_settings", lambda: local)
    monkeypatch.setattr(read_parameters, "get_settings", lambda: local)


@pytest.fixture
def source() -> Iterator[SourceServer]:
    with serving() as server:
        yield server


def asked(video: object, *audios: object, **more: Any) -> JobRequest:
    segments = [
        {"start": 0.4 * n, "end": 0.4 * n + 0.35, "audio": str(audio)}
        for n, audio in enumerate(audios)
    ]
    raw = {"video": str(video), "segments": segments, **more}
    return check_request(raw, max_segments=10, allow_local_files=True)


async def brought(job: Job, request: JobRequest) -> tuple[UploadedFiles, ProbedFiles]:
    files = await upload_sources.upload_sources(job, request)
    return files, await probe_sources.probe_files(job, files, request)


async def media_type(storage: Storage, key: str) -> str:
    found = await storage.head(key)
    assert found is not None
    return found.content_type


@pytest.mark.parametrize("way", ["path", "s3", "link"])
async def test_files_are_stored_as_what_they_are(
    job: Job, storage: Storage, source: SourceServer, tmp_path: Path, way: str
) -> None:
    clip, line = write_clip(tmp_path / "c.mkv"), write_sound(tmp_path / "a.m4a", codec="aac")
    named = {"video.mp4": clip, "line": line}
    addresses = []
    for name, path in named.items():
        if way == "path":
            addresses.append(str(shutil.copy(path, tmp_path / name)))
        elif way == "s3":
            stored = await storage.put_file(path, f"in/{job.job_id}/{name}")
            addresses.append(storage.uri(stored.key))
        else:
            data = SourceFile(path.read_bytes(), content_type="text/plain")
            addresses.append(source.add(f"/{name}", data) + "?signed=secret")
    files, _ = await brought(job, asked(*addresses))
    assert files.video.key == f"jobs/{job.job_id}/video.mkv"
    assert await media_type(storage, files.video.key) == "video/x-matroska"
    assert files.audios[0].key == f"jobs/{job.job_id}/audio-1.m4a"
    assert await media_type(storage, files.audios[0].key) == "audio/mp4"


async def test_what_is_there_is_not_brought_again(
    job: Job, storage: Storage, tmp_path: Path
) -> None:
    clip, line = write_clip(tmp_path / "c.mp4"), write_sound(tmp_path / "a.wav")
    request = asked(clip, line)
    files, _ = await brought(job, request)
    clip.unlink()
    line.unlink()
    again = await upload_sources.upload_sources(job, request)
    assert (again.video, again.audios) == (files.video, files.audios)


async def test_audio_is_sent_in_the_form_that_the_vendor_likes(
    job: Job, storage: Storage, tmp_path: Path
) -> None:
    clip = write_clip(tmp_path / "c.mp4")
    plain, song = write_sound(tmp_path / "a.wav"), write_sound(tmp_path / "b.m4a", codec="aac")
    files, probed = await brought(job, asked(clip, song, plain))
    prefix = f"jobs/{job.job_id}/"
    assert [audio.key for audio in files.audios] == [prefix + "audio-1.m4a", prefix + "audio-2.wav"]
    assert [audio.key for audio in probed.sent] == [
        prefix + "audio-1-sent.wav",
        prefix + "audio-2.wav",
    ]
    assert [audio.container for audio in probed.audios] == ["wav", "wav"]
    assert await media_type(storage, probed.sent[0].key) == "audio/wav"
    kept = ProbedFiles.model_validate_json(probed.model_dump_json())
    assert kept == probed


async def test_all_files_that_are_unusable_come_in_one_answer(job: Job, tmp_path: Path) -> None:
    text = tmp_path / "notes.mp4"
    text.write_text("no video\n" * 100, encoding="utf-8")
    stream = tmp_path / "stream.wav"
    stream.write_bytes((b"\x47" + bytes(187)) * 100)
    mute = write_clip(tmp_path / "mute.mp4", sound=False)
    good = write_sound(tmp_path / "good.wav")
    with pytest.raises(RequestRefused) as caught:
        await brought(job, asked(text, good, stream, mute))
    told = {problem.field: problem.message for problem in caught.value.problems}
    assert set(told) == {"video", "segments[1].audio", "segments[2].audio"}
    assert told["video"].startswith(f"{text} is not a video")
    assert told["segments[1].audio"].startswith(f"{stream} is an MPEG transport stream")
    assert "has no sound" in told["segments[2].audio"]


async def test_rules_that_need_a_file_come_with_what_is_wrong_with_another(
    job: Job, tmp_path: Path
) -> None:
    clip = write_clip(tmp_path / "c.mp4", seconds=0.5)
    text = tmp_path / "notes.wav"
    text.write_text("no sound\n" * 100, encoding="utf-8")
    late = asked(clip, text, text, text, text)
    with pytest.raises(RequestRefused) as caught:
        await brought(job, late)
    fields = {problem.field for problem in caught.value.problems}
    assert {"segments[0].audio", "segments[3].start"} <= fields


async def test_all_sources_that_cannot_be_read_come_in_one_answer(job: Job, tmp_path: Path) -> None:
    text = tmp_path / "notes.wav"
    text.write_text("no sound\n" * 100, encoding="utf-8")
    request = asked(tmp_path / "none.mp4", tmp_path / "gone.wav", text)
    with pytest.raises(SourceRefused) as caught:
        await upload_sources.upload_sources(job, request)
    for part in (
        f"video: {tmp_path / 'none.mp4'}: ",
        f"segments[0].audio: {tmp_path / 'gone.wav'}: ",
        f"segments[1].audio: {text} is not a video or audio file",
    ):
        assert part in caught.value.message


async def test_a_link_that_may_work_later_leaves_another_try(
    job: Job, source: SourceServer, tmp_path: Path
) -> None:
    file = SourceFile(b"x", statuses=[404] * 20)
    link = source.add("/clip.mp4", file) + "?signature=secret"
    with pytest.raises(LinkExpired) as caught:
        await upload_sources.upload_sources(job, asked(link, tmp_path / "gone.wav"))
    assert "video: http://" in caught.value.message
    assert "clip.mp4?***" in caught.value.message
    assert "gone.wav" in caught.value.message
    assert "secret" not in caught.value.message


async def test_broken_rules_and_unusable_files_come_in_one_answer(
    job: Job, storage: Storage, tmp_path: Path
) -> None:
    text = tmp_path / "notes.mp4"
    text.write_text("no video\n" * 100, encoding="utf-8")
    raw = asked(text, f"s3://{storage.bucket}/gone.wav", tmp_path / "none.wav").segments
    with pytest.raises(RequestRefused) as caught:
        await checked_request(
            job,
            video=str(text),
            segments=[raw[0].model_copy(update={"end": 0.0}), raw[1]],
            annotation_areas=[],
            display_name="x" * 300,
            lip_sync={"temperature": 7.0},
            inpainting={},
        )
    assert [problem.field for problem in caught.value.problems] == [
        "display_name",
        "segments[0].end",
        "lip_sync.temperature",
        "video",
        "segments[0].audio",
        "segments[1].audio",
    ]
    assert await storage.find(job.keys.prefix) is None
