"""Probes a job's files, and converts audio to the form that is sent."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, cast

from prefect import task

from pro_video.core.checkpoints import reach
from pro_video.core.errors import (
    MediaUnusable,
    Problem,
    RequestRefused,
    SourceRefused,
    TransientError,
)
from pro_video.core.settings import get_settings
from pro_video.media.children.examine import examine
from pro_video.media.conversion import WAV_TYPE, convert, is_sent_as_it_is
from pro_video.media.info import MediaInfo
from pro_video.media.probe import COUNT_BUDGET, probe, probe_file
from pro_video.records import ProbedFiles, StoredFile, UploadedFiles
from pro_video.request.check import InpaintingRequest, JobRequest
from pro_video.request.limits import MediaLimits
from pro_video.request.problems import Findings
from pro_video.request.rules_files import check_inpainting_media, check_media
from pro_video.request.rules_segments import check_source
from pro_video.s3.storage import Storage
from tasks.connections.connections import connections
from tasks.run.job import current_job
from tasks.run.options import PERSISTED
from tasks.source_files import NamedSource, sources_of

# Blocks around what is asked for are read too, and a file may be opened three times.
READ_BUDGET = 2 * COUNT_BUDGET


@task(name="probe", **PERSISTED)
async def probe_files(
    record: str, files: UploadedFiles, request: JobRequest | InpaintingRequest
) -> ProbedFiles:
    """Find out what the uploaded files are, and store each audio in the form that is sent.

    Args:
        record: key of this step's record.
        files: the job's copies.
        request: names them.

    Raises:
        RequestRefused: a file cannot be used; with everything else that is wrong with the request
            as far as the other files tell.
    """
    storage = (await connections()).storage
    named, audios = sources_of(request)
    problems: list[Problem] = []
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
    storage: Storage, file: StoredFile, one: NamedSource, problems: list[Problem]
) -> MediaInfo | None:
    """Probe one object of the bucket; None when it is unusable, which is added as a problem."""
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
    problems: list[Problem],
) -> tuple[StoredFile, MediaInfo | None]:
    """The audio as it is sent: unchanged, or as WAV beside it. A refused audio stays unchanged."""
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
) -> list[Problem]:
    """The problems of uploaded files as media."""
    problems: list[Problem] = []
    for one, file in files:
        await _probe(storage, file, one, problems)
    return problems


def _refuse(
    request: JobRequest | InpaintingRequest,
    video: MediaInfo | None,
    audios: Sequence[NamedSource],
    infos: Sequence[MediaInfo | None],
    problems: Sequence[Problem],
) -> None:
    """Raise RequestRefused with the problems of the files and those that the rest shows."""
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
    """A refusal by the rules of a request, with what its files show without being copied.

    Files in S3 and on this machine are looked at where they are; links are not followed for a job
    that is refused anyway.

    Args:
        refused: the refusal.
        video: the given video source.
        audios: field and value of each audio that was given.
    """
    problems = list(refused.problems)
    seen: set[str] = set()
    for field, source in [("video", video), *audios]:
        found = Findings()
        if not isinstance(source, str) or source in seen or source.startswith(("http:", "https:")):
            continue
        seen.add(source)
        check_source(source, field, found, local=get_settings().allow_local_files)
        if not found.has(field):
            problems += await _look(NamedSource(field, source))
    return RequestRefused(problems, code=refused.code)


async def _look(one: NamedSource) -> list[Problem]:
    try:
        if one.source.startswith("s3://"):
            storage = (await connections()).storage
            reader = await storage.source_reader(one.source, byte_budget=READ_BUDGET)
            await examine(probe, cast(BinaryIO, reader), size=reader.size, what=one.name)
        else:
            await examine(probe_file, Path(one.source), what=one.name)
    except (MediaUnusable, SourceRefused) as error:
        return [one.problem(error)]
    except TransientError:
        # The refusal stands without this look.
        return []
    return []
