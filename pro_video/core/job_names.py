"""Names of a job's objects in the bucket, of its attempts at the providers, and of its labels."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final, Literal
from urllib.parse import urlsplit

# The only extensions that are taken from the name of a source, so that a name has no other effect.
VIDEO_EXTENSIONS = frozenset({"mp4", "mov", "webm", "avi", "mkv", "m4v", "mpg"})
AUDIO_EXTENSIONS = frozenset({"wav", "mp3", "ogg", "flac", "m4a", "aac", "wma", "mp4"})

_JOB_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

JOBS: Final = "jobs/"
RECORDS: Final = "results/"
"""The folders of all jobs' files, and of their records."""

FileKind = Literal["intermediates", "records", "sources", "results"]
"""A kind of a job's files, for their removal: what only the work needed, the records from which a
worker goes on, the copies of the sources, or what the job was for."""


@dataclass(frozen=True, slots=True)
class JobKeys:
    """The object keys of one job; its id is the id of its flow run."""

    job_id: str

    def __post_init__(self) -> None:
        if not _JOB_ID.fullmatch(self.job_id):
            raise ValueError(f"not a job id: {self.job_id!r}")

    @property
    def prefix(self) -> str:
        return f"{JOBS}{self.job_id}/"

    def video(self, extension: str) -> str:
        """Key of the video; the prefix of all its keys for an empty extension."""
        return f"{self.prefix}video.{extension}"

    def audio(self, number: int, extension: str) -> str:
        """The same for the ``number``-th distinct audio, counted from 1."""
        return f"{self.prefix}audio-{number}.{extension}"

    def sent_audio(self, number: int) -> str:
        """Key of the ``number``-th distinct audio after its conversion."""
        return f"{self.prefix}audio-{number}-sent.wav"

    @property
    def lip_sync_result(self) -> str:
        return f"{self.prefix}pro_sync_result_{self.job_id}.mp4"

    @property
    def final_result(self) -> str:
        return f"{self.prefix}pro_final_result_{self.job_id}.mp4"

    @property
    def preview(self) -> str:
        return f"{self.prefix}preview.jpg"

    @property
    def report(self) -> str:
        return f"{self.prefix}job.json"

    @property
    def if_cancelled(self) -> str:
        """Key of the report that the job gets if it is cancelled while no process works on it."""
        return self.record("if-cancelled")

    def record(self, step: str) -> str:
        """Key of a record from which any worker goes on with this job, for example
        ``lip-sync-1-request``."""
        return f"{RECORDS}{self.job_id}/{step}"


def extension(source: str, allowed: frozenset[str]) -> str:
    """The extension of a source's name; ``bin`` for an unknown one.

    >>> extension("https://example.com/a/clip.MP4?token=1", VIDEO_EXTENSIONS)
    'mp4'
    >>> extension("/tmp/x.exe", VIDEO_EXTENSIONS)
    'bin'
    """
    path = urlsplit(source).path if "://" in source else source
    suffix = PurePosixPath(path).suffix.lstrip(".").lower()
    return suffix if suffix in allowed else "bin"


def attempt_reference(job_id: str, step: str, attempt: int) -> str:
    """The name of one paid attempt at a provider: letters, digits and hyphens, under 80
    characters.

    It is the idempotency key at Sync.so, and the name of the output or the work at both
    providers, by which an attempt whose answer was lost is found again.
    """
    return f"pv-{job_id}-{step}-{attempt}"


MOST_ATTEMPTS = 50
"""Limit of the paid attempts of one step, which only a user's retries reach."""


def references_from(job_id: str, step: str, attempt: int) -> list[str]:
    """The references of an attempt and of all that may follow it.

    They need no record: after a loss of all records an attempt is still found at its provider, and
    so is a later one that was bought because this one had failed.
    """
    return [attempt_reference(job_id, step, n) for n in range(attempt, MOST_ATTEMPTS + 1)]


def fact_label(name: str) -> str:
    """The label of a job's flow run for one of its facts, such as ``sync_generation_id``."""
    return f"pro-video.{name}"


BUCKET_LABEL = fact_label("bucket")
"""The label of a job's flow run that names the bucket it began in."""


AWAITED_LABEL = fact_label("awaited")
"""The label of a job's flow run that holds its :class:`pro_video.records.Awaited` as JSON."""


def attempt_label(step: str, attempt: int) -> str:
    """The label of a job's flow run that names the provider's job of one attempt."""
    return fact_label(f"{step}-{attempt}")


def copied(name: str, copy: int) -> str:
    """The name of a record, or the key of an object, of one copy of a result.

    >>> copied("stored", 1), copied("stored", 2), copied("result.mp4", 2)
    ('stored', 'stored-2', 'result-2.mp4')
    """
    stem, dot, extension = name.partition(".")
    return name if copy == 1 else f"{stem}-{copy}{dot}{extension}"


FINDINGS_LABEL = fact_label("findings")
"""The label of a job's flow run that holds its :class:`pro_video.records.Findings` as JSON."""


def accepted_label(key: str) -> str:
    """The label of a job's flow run with a person's decision to use a result as it is.

    Args:
        key: the result's object.
    """
    return fact_label(f"accepted.{PurePosixPath(key).name}")


CLEANED_LABEL = fact_label("cleaned")
"""The label of a job's flow run that holds its :class:`pro_video.records.Cleaned` as JSON."""

_FOLDER = re.compile(rf"({JOBS}|{RECORDS})({_JOB_ID.pattern})/(.+)", re.DOTALL)
# Names below ``jobs/<job id>/``. The lip-sync result is a result, until a text removal follows.
_NAMES: Final[tuple[tuple[FileKind, str], ...]] = (
    ("sources", r"video\.[a-z0-9]{1,8}|audio-\d{1,4}\.[a-z0-9]{1,8}"),
    ("intermediates", r"audio-\d{1,4}-sent\.wav"),
    ("records", r"webhooks/msg_[a-z0-9_-]{1,200}\.json"),
    ("results", r"pro_(sync|final)_result_{job_id}(-\d{1,4})?\.mp4|preview\.jpg|job\.json"),
)


@dataclass(frozen=True, slots=True)
class JobFile:
    """An object that a job has written, by its key.

    Attributes:
        job_id: the job.
        name: of the object in its folder.
        kind: what it is; the same for a lip-sync result, whatever followed it.
    """

    job_id: str
    name: str
    kind: FileKind


def job_file(key: str) -> JobFile | None:
    """The job's file that a key names; None for every object that no job writes.

    >>> job_file("jobs/0191a9e4-7d4c-7c3e-9a55-0f6f3f1c2b7a/video.mp4").kind
    'sources'
    >>> job_file("jobs/0191a9e4-7d4c-7c3e-9a55-0f6f3f1c2b7a/notes.txt") is None
    True
    """
    found = _FOLDER.fullmatch(key)
    if found is None:
        return None
    folder, job_id, name = found[1], found[2], found[4]
    if folder == RECORDS:
        return JobFile(job_id, name, "records")
    for kind, pattern in _NAMES:
        if re.fullmatch(pattern.replace("{job_id}", job_id), name):
            return JobFile(job_id, name, kind)
    return None
