"""Upload: the job's own copies of the video and the audios, and what they really are."""

from __future__ import annotations

import mimetypes
from collections.abc import Callable, Sequence
from typing import BinaryIO, cast

from prefect import task

from pro_video.checkpoints import reach
from pro_video.errors import StorageRefused
from pro_video.inspection.examine import examine
from pro_video.job import AUDIO_EXTENSIONS, VIDEO_EXTENSIONS, extension
from pro_video.media import probe
from pro_video.media_info import MediaInfo
from pro_video.progress import Stage
from pro_video.records import ProbedFiles, StoredFile, UploadedFiles
from pro_video.stopping import current_stop
from pro_video.storage import Storage, StoredObject, parse_s3_uri
from tasks.connections import connections
from tasks.job import Job, current_job
from tasks.options import PERSISTED

# The video is nearly all of the bytes; audios share the rest of the stage.
_VIDEO_SHARE = 0.8


@task(name="upload", **PERSISTED)
async def upload_sources(record: str, video: str, segment_audios: Sequence[str]) -> UploadedFiles:
    """Bring the video and each distinct audio into the job's prefix of the bucket.

    A file that is there already, whole, is not brought again.

    Args:
        record: key of this step's record.
        video: source of the video.
        segment_audios: source of each segment's audio, in the order of the segments.
    """
    reach("upload.begin")
    job = current_job()
    storage = (await connections()).storage
    distinct = list(dict.fromkeys(segment_audios))
    shown = _Shown(len(distinct))
    async with job.reporter.following(Stage.UPLOADING, shown.fraction):
        video_file = await _bring(
            storage, video, job.keys.video(video), VIDEO_EXTENSIONS, shown.of_video
        )
        audios = []
        for number, source in enumerate(distinct, start=1):
            audios.append(
                await _bring(
                    storage, source, job.keys.audio(number, source), AUDIO_EXTENSIONS, None
                )
            )
            shown.audios_done = number
    reach("upload.done")
    return UploadedFiles(
        video=video_file,
        audios=tuple(audios),
        audio_of_segment=tuple(distinct.index(source) for source in segment_audios),
        finished_at=job.now(),
    )


class _Shown:
    """How much of the upload is done; written by transfer threads, read by the progress."""

    def __init__(self, audios: int) -> None:
        self.video = 0.0
        self.audios = audios
        self.audios_done = 0

    def of_video(self, done: int, total: int | None) -> None:
        reach("upload.part")
        if total:
            self.video = done / total

    def fraction(self) -> float:
        rest = self.audios_done / self.audios if self.audios else self.video
        return _VIDEO_SHARE * self.video + (1 - _VIDEO_SHARE) * rest


async def _bring(
    storage: Storage,
    source: str,
    key: str,
    extensions: frozenset[str],
    on_progress: Callable[[int, int | None], None] | None,
) -> StoredFile:
    current_stop().raise_if_set()
    present = await storage.head(key)
    if present is not None:
        # An object appears under its key only when it is whole, and the key is this job's alone.
        return stored_file(present)
    content_type = mimetypes.types_map.get(
        f".{extension(source, extensions)}", "application/octet-stream"
    )
    if source.startswith("s3://"):
        stored = await storage.copy_object(source, key, content_type=content_type)
    elif "://" in source:
        stored = await storage.fetch(
            source, key, content_type=content_type, on_progress=on_progress
        )
    else:
        stored = await storage.put_file(
            source, key, content_type=content_type, on_progress=on_progress
        )
    reach("upload.file-stored")
    return stored_file(stored)


async def own_file(job: Job, address: str) -> UploadedFiles:
    """A file that an earlier step of this job left in the bucket, as if it had been uploaded.

    Raises:
        StorageRefused: it is gone.
    """
    storage = (await connections()).storage
    _, key = parse_s3_uri(address)
    found = await storage.head(key) if key.startswith(job.keys.prefix) else None
    if found is None:
        raise StorageRefused(
            f"{address} is not in the job's folder any more; start a new job", code="record_missing"
        )
    return UploadedFiles(video=stored_file(found), finished_at=job.now())


def stored_file(found: StoredObject) -> StoredFile:
    """An object of the bucket as a record."""
    return StoredFile(key=found.key, size=found.size, etag=found.etag)


@task(name="probe", **PERSISTED)
async def probe_files(record: str, files: UploadedFiles) -> ProbedFiles:
    """Find out what the uploaded files are, from little of their bytes.

    Args:
        record: key of this step's record.
        files: the job's copies.

    Raises:
        MediaUnusable: a file is no video or audio, or is cut.
    """
    storage = (await connections()).storage
    video = await _probe(storage, files.video, "the video")
    audios = [
        await _probe(storage, audio, f"audio {number}")
        for number, audio in enumerate(files.audios, start=1)
    ]
    reach("probe.done")
    return ProbedFiles(video=video, audios=tuple(audios))


async def _probe(storage: Storage, file: StoredFile, what: str) -> MediaInfo:
    """What one object of the bucket is."""
    reader = await read_object(storage, file.key)
    return await examine(probe, reader, size=file.size, what=what)


async def read_object(storage: Storage, key: str) -> BinaryIO:
    """A seekable stream over an object, to be read in a thread."""
    return cast(BinaryIO, await storage.reader(key))
