"""Probes a job's files, and converts audio to the format that is sent."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from prefect import task

from pro_video.core.checkpoints import reach
from pro_video.core.errors import (
    FieldProblem,
    MediaUnusable,
    ProVideoError,
    RequestRefused,
    SourceRefused,
    TransientError,
)
from pro_video.core.redaction import redact_url
from pro_video.core.settings import get_settings
from pro_video.media.children.examine import examine
from pro_video.media.conversion import WAV_TYPE, convert, is_sent_as_it_is
from pro_video.media.info import MediaInfo
from pro_video.media.probe import COUNT_BUDGET, probe, probe_file
from pro_video.records import ProbedFiles, StoredFile, UploadedFiles
from pro_video.request.check import InpaintingRequest, JobRequest
from pro_video.request.limits import MediaLimits
from pro_video.request.problems import Problems
from pro_video.request.rules_files import check_inpainting_media, check_media
from pro_video.request.rules_segments import check_source
from pro_video.s3.storage import Storage
from tasks.connections.connections import connections
from tasks.run.job import current_job
from tasks.run.options import PERSISTED

# Reads fetch whole blocks, and a file may be opened three times.
READ_BUDGET = 2 * COUNT_BUDGET


@dataclass(frozen=True)
class NamedSource:
    """A source and the field of the request that names it first."""

    field: str
    source: str

    @property
    def name(self) -> str:
        """The source as the user gave it, a link without its query."""
        return redact_url(self.source) if "://" in self.source else self.source

    def problem(self, error: ProVideoError) -> FieldProblem:
        """The problem of the file, under its field."""
        named = self.name in error.message
        message = error.message if named else f"{self.name}: {error.message}"
        return FieldProblem(self.field, message, error.code or type(error).__name__)


def sources_of(
    request: JobRequest | InpaintingRequest,
) -> tuple[NamedSource, Sequence[NamedSource]]:
    """The video, and each distinct audio in the order of their copies."""
    audios = []
    if isinstance(request, JobRequest):
        sources = [segment.audio for segment in request.segments]
        audios = [
            NamedSource(f"segments[{sources.index(audio)}].audio", audio)
            for audio in request.audios
        ]
    return NamedSource("video", request.video), audios


@task(name="probe", **PERSISTED)
async def probe_files(
    record: str, files: UploadedFiles, request: JobRequest | InpaintingRequest
) -> ProbedFiles:
    """Probe the uploaded files, and store each audio in the format that is sent.

    Args:
        record: key of this step's record.
        files: the job's copies.
        request: names them.

    Raises:
        RequestRefused: a file cannot be used; with every other problem of the request that the
            other files show.
    """
    storage = (await connections()).storage
    named, audios = sources_of(request)
    problems: list[FieldProblem] = []
    video = await _probe(storage, files.video, named, problems)
    infos: list[MediaInfo | None] = []
    sent: list[StoredFile] = []
    for number, (one, file) in enumerate(zip(audios, files.audios, strict=True), start=1):
        info = await _probe(storage, file, one, problems)
        file, info = await _converted(storage, number, file, info, one, problems)
        infos.append(info)
        sent.append(file)
    if video is None or problems:
        _refuse(request, video, audios, infos, problems)
    reach("probe.done")
    assert video is not None
    return ProbedFiles(
        video=video, audios=tuple(info for info in infos if info is not None), sent=tuple(sent)
    )


async def _probe(
    storage: Storage, file: StoredFile, one: NamedSource, problems: list[FieldProblem]
) -> MediaInfo | None:
    """Probe one object of the bucket; None and a new problem when it is unusable."""
    reader = cast(BinaryIO, await storage.reader(file.key, byte_budget=READ_BUDGET))
    try:
        return await examine(probe, reader, size=file.size, what=one.name)
    except MediaUnusable as error:
        problems.append(one.problem(error))
        return None


async def _converted(
    storage: Storage,
    number: int,
    file: StoredFile,
    info: MediaInfo | None,
    one: NamedSource,
    problems: list[FieldProblem],
) -> tuple[StoredFile, MediaInfo | None]:
    """The audio in the format that is sent: as it is, or as WAV beside it."""
    longest = MediaLimits().audio_seconds
    if info is None or info.audio is None or info.video is not None:
        return file, info
    if is_sent_as_it_is(info) or info.audio.duration > longest:
        return file, info
    key = current_job().keys.sent_audio(number)
    reader = cast(BinaryIO, await storage.reader(file.key, byte_budget=READ_BUDGET))
    with tempfile.TemporaryDirectory(prefix="pro-video-") as folder:
        path = Path(folder) / "audio.wav"
        try:
            converted = await examine(convert, reader, path, audio=info, what=one.name)
        except MediaUnusable as error:
            problems.append(one.problem(error))
            return file, None
        stored = await storage.put_file(path, key, content_type=WAV_TYPE)
    return StoredFile.of(stored), converted


async def problems_of(
    storage: Storage, files: Sequence[tuple[NamedSource, StoredFile]]
) -> list[FieldProblem]:
    """The problems of uploaded files as media."""
    problems: list[FieldProblem] = []
    for one, file in files:
        await _probe(storage, file, one, problems)
    return problems


def _refuse(
    request: JobRequest | InpaintingRequest,
    video: MediaInfo | None,
    audios: Sequence[NamedSource],
    infos: Sequence[MediaInfo | None],
    problems: Sequence[FieldProblem],
) -> None:
    """Raise RequestRefused with the problems of the files and all others of the request."""
    if isinstance(request, InpaintingRequest):
        check_inpainting_media(request, video, unusable=problems)
        return
    known: Mapping[str, MediaInfo] = {
        one.source: info for one, info in zip(audios, infos, strict=True) if info is not None
    }
    touching = get_settings().touching_segments
    check_media(request, video, known, touching=touching, unusable=problems)


async def with_problems_of_files(
    refused: RequestRefused, video: object, audios: Sequence[tuple[str, object]]
) -> RequestRefused:
    """A refusal by the rules of a request, extended by the problems of its files.

    Files in S3 and on this machine are probed in place. Links are not followed for a job that is
    refused anyway.

    Args:
        refused: the refusal.
        video: the given video source.
        audios: field and value of each audio that was given.
    """
    problems = list(refused.problems)
    seen: set[str] = set()
    for field, source in [("video", video), *audios]:
        found = Problems()
        if not isinstance(source, str) or source in seen or source.startswith(("http:", "https:")):
            continue
        seen.add(source)
        check_source(source, field, found, local=get_settings().allow_local_files)
        if not found.has(field):
            problems += await _problems_in_place(NamedSource(field, source))
    return RequestRefused(problems, code=refused.code)


async def probe_in_place(one: NamedSource) -> MediaInfo | None:
    """Probe a file in S3 or on this machine; None behind a link, which is not followed.

    Raises:
        MediaUnusable: it is no media file of a known kind.
        SourceRefused: it cannot be read.
        TransientError: it could not be read now.
    """
    if one.source.startswith(("http:", "https:")):
        return None
    if not one.source.startswith("s3://"):
        return await examine(probe_file, Path(one.source), what=one.name)
    storage = (await connections()).storage
    reader = await storage.source_reader(one.source, byte_budget=READ_BUDGET)
    return await examine(probe, cast(BinaryIO, reader), size=reader.size, what=one.name)


async def _problems_in_place(one: NamedSource) -> list[FieldProblem]:
    try:
        await probe_in_place(one)
    except (MediaUnusable, SourceRefused) as error:
        return [one.problem(error)]
    except TransientError:
        # The refusal stands without this problem.
        return []
    return []
