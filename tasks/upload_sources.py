"""Uploads the job's own copies of the video and the audios."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from prefect import task

from pro_video.core.checkpoints import reach
from pro_video.core.errors import ProVideoError, SourceRefused, StorageRefused, TransientError
from pro_video.core.file_types import Role, kind_of
from pro_video.core.progress import Stage
from pro_video.core.stopping import current_stop
from pro_video.records import StoredFile, UploadedFiles
from pro_video.request.check import InpaintingRequest, JobRequest
from pro_video.s3.storage import Storage, parse_s3_uri
from tasks.connections.connections import connections
from tasks.estimate_cost import refuse_before_upload
from tasks.probe_sources import NamedSource, problems_of, sources_of
from tasks.run.job import Job, current_job
from tasks.run.options import PERSISTED

# The video is nearly all of the bytes; audios share the rest of the stage.
_VIDEO_SHARE = 0.8


@task(name="upload", **PERSISTED)
async def upload_sources(
    record: str, request: JobRequest | InpaintingRequest, max_cost_usd: float | None = None
) -> UploadedFiles:
    """Copy the video and each distinct audio into the job's prefix of the bucket.

    A file that is in the bucket already is not copied again. Each gets the extension and the media
    type of its content.

    Args:
        record: key of this step's record.
        request: names the sources.
        max_cost_usd: the most that the job may cost, USD; None for no limit.

    Raises:
        RequestRefused: the job may cost more than the limit; nothing was copied.
        SourceRefused: with every source that cannot be read.
        TransientError: a source could not be read now.
    """
    reach("upload.begin")
    job = current_job()
    await refuse_before_upload(request, max_cost_usd)
    storage = (await connections()).storage
    video, audios = sources_of(request)
    finished = _Finished(len(audios))
    copied: list[tuple[NamedSource, StoredFile]] = []
    failures: list[tuple[NamedSource, ProVideoError]] = []
    async with job.reporter.following(Stage.UPLOADING, finished.fraction):
        for number, one in enumerate((video, *audios)):
            place = partial(job.keys.audio, number) if number else job.keys.video
            try:
                role: Role = "audio" if number else "video"
                report = None if number else finished.of_video
                copied.append((one, await _copy(storage, one.source, place, role, report)))
            except (SourceRefused, TransientError) as error:
                failures.append((one, error))
            finished.audios_done = number
    if failures:
        raise await _together(storage, failures, copied)
    reach("upload.done")
    return UploadedFiles(
        video=copied[0][1],
        audios=tuple(file for _, file in copied[1:]),
        finished_at=job.now(),
    )


async def _together(
    storage: Storage,
    failures: Sequence[tuple[NamedSource, ProVideoError]],
    copied: Sequence[tuple[NamedSource, StoredFile]],
) -> ProVideoError:
    """One error that names every source; transient when one of them is."""
    passing = next((error for _, error in failures if isinstance(error, TransientError)), None)
    problems = [one.problem(error) for one, error in failures]
    if passing is None:
        problems += await problems_of(storage, copied)
    first = passing or failures[0][1]
    return type(first)("; ".join(map(str, problems)), code=first.code)


class _Finished:
    """The finished part of the upload; transfer threads write it, the progress reads it."""

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


async def _copy(
    storage: Storage,
    source: str,
    place: Callable[[str], str],
    role: Role,
    on_progress: Callable[[int, int | None], None] | None,
) -> StoredFile:
    """Copy one source into the bucket; ``place`` makes the key from an extension."""
    current_stop().raise_if_set()
    present = await storage.find(place(""))
    if present is not None:
        # An object appears under its key only when it is whole, and the key is this job's alone.
        return StoredFile.of(present)

    def name(head: bytes) -> tuple[str, str]:
        extension, media_type = kind_of(head).stored_as(role)
        return place(extension), media_type

    if source.startswith("s3://"):
        stored = await storage.copy_object(source, name)
    elif "://" in source:
        stored = await storage.fetch(source, name, on_progress=on_progress)
    else:
        stored = await storage.put_file(source, name, on_progress=on_progress)
    reach("upload.file-stored")
    return StoredFile.of(stored)


async def own_file(job: Job, address: str) -> UploadedFiles:
    """A file that an earlier step of this job has stored, in the form of an upload.

    Raises:
        StorageRefused: it is gone.
    """
    storage = (await connections()).storage
    _, key = parse_s3_uri(address)
    found = await storage.head(key) if key.startswith(job.keys.prefix) else None
    if found is None:
        raise StorageRefused(
            f"{address} is gone from the job's folder; start a new job", code="record_missing"
        )
    return UploadedFiles(video=StoredFile.of(found), finished_at=job.now())
