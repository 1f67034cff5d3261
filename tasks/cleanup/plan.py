"""Decides which files of a job may go: a function of its run, its objects and the time."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from prefect.client.schemas.objects import FlowRun, StateType

from pro_video.core.job_names import (
    BUCKET_LABEL,
    MOST_ATTEMPTS,
    FileKind,
    JobFile,
    JobKeys,
    attempt_label,
    job_file,
)
from pro_video.core.settings import get_settings
from pro_video.records import Cleaned
from pro_video.s3.listing import Listed
from tasks.run.job_state import INPAINTING, LIP_SYNC

_ENDS: Final = frozenset({StateType.COMPLETED, StateType.FAILED, StateType.CANCELLED})


@dataclass(frozen=True)
class Wish:
    """The files to remove.

    Attributes:
        age: time since the end of their job, at least.
        kinds: of files.
        jobs: ids of the only jobs; empty for all.
        dry_run: only tell what would go.
    """

    age: timedelta
    kinds: Collection[FileKind]
    jobs: Collection[str] = ()
    dry_run: bool = True


@dataclass(frozen=True)
class JobFiles:
    """The objects of one job, with what their keys say."""

    job_id: str
    files: tuple[tuple[JobFile, Listed], ...]

    @classmethod
    def of(cls, job_id: str, objects: Iterable[Listed]) -> JobFiles:
        """The job's files among objects."""
        named = ((job_file(each.key), each) for each in objects)
        return cls(
            job_id, tuple((file, each) for file, each in named if file and file.job_id == job_id)
        )

    def chosen(
        self, kinds: Collection[FileKind], *, completed: bool
    ) -> dict[FileKind, list[Listed]]:
        """The objects of some kinds.

        The lip-sync result of a completed job with a text removal was only needed by that.
        """
        keys = JobKeys(self.job_id)
        superseded = completed and any(each.key == keys.final_result for _, each in self.files)
        found: dict[FileKind, list[Listed]] = {}
        for file, each in self.files:
            kind = file.kind
            if superseded and kind == "results" and file.name.startswith("pro_sync_result_"):
                kind = "intermediates"
            if kind in kinds:
                found.setdefault(kind, []).append(each)
        return found


def reason_to_keep(
    wish: Wish, run: FlowRun | None, job: JobFiles, *, place: str, now: datetime
) -> str | None:
    """The reason for which nothing of a job may go; None when there is none.

    Args:
        wish: the files to remove.
        run: the job's flow run; None when Prefect knows none.
        job: all of its files.
        place: of the bucket, see :attr:`pro_video.s3.storage.Storage.place`.
        now: the time.
    """
    if run is None or run.state is None:
        # Another Prefect server may share the bucket.
        return "unknown to this Prefect server"
    if run.labels.get(BUCKET_LABEL, place) != place:
        return "began in another bucket"
    if run.state.type not in _ENDS:
        return "has not ended"
    completed = run.state.is_completed()
    retry = timedelta(days=get_settings().retry_days)
    if now - run.state.timestamp < (wish.age if completed else max(wish.age, retry)):
        return "ended too recently" if completed else "may still be retried"
    cleaned = Cleaned.of(run.labels)
    # The records that would tell are gone then, and told before.
    told = cleaned is not None and "records" in cleaned.kinds
    if not completed and not told and _may_be_unfetched(run.labels, job):
        return "paid work may be unfetched: retry it"
    return None


def _may_be_unfetched(labels: Mapping[str, Any], job: JobFiles) -> bool:
    """Was anything sent to a provider whose result is not here, and whose failure the job has not
    reported?

    An attempt follows another one only after the provider reported the failure of that one.
    """
    records = {file.name for file, _ in job.files if file.kind == "records"}
    keys = JobKeys(job.job_id)
    stored = {each.key for _, each in job.files}
    for step, result in ((LIP_SYNC, keys.lip_sync_result), (INPAINTING, keys.final_result)):
        last = next(
            (
                number
                for number in range(MOST_ATTEMPTS, 0, -1)
                if f"{step}-{number}-request-sent" in records
                or labels.get(attempt_label(step, number))
            ),
            None,
        )
        ended = {f"{step}-{last}-stored", f"{step}-{last}-reported"}
        if last is not None and result not in stored and not ended & records:
            return True
    return False
