"""A paid step of a job: a task for each promise, whose records spare a later process the work."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any, TypeVar

from prefect import get_run_logger
from prefect.client.schemas.objects import State
from prefect.states import Completed

from pro_video.core.job_names import attempt_reference, copied
from pro_video.core.progress import Stage
from pro_video.core.redaction import redact_url
from pro_video.core.waiting import Parked
from pro_video.records import (
    Awaited,
    Outcome,
    Prepared,
    ProbedFiles,
    StageResult,
    StoredFile,
    StoredResult,
    Submission,
    UploadedFiles,
    Verified,
)
from pro_video.s3.storage import Storage
from tasks.attempts.access import once_allowed
from tasks.attempts.follow import follow
from tasks.attempts.prepare import PaidRequest, is_kept, keep_request
from tasks.attempts.provider import Provider
from tasks.attempts.store_result import store_result
from tasks.attempts.submit import submit_once
from tasks.connections.connections import connections
from tasks.connections.records import in_task, read_record, write_record
from tasks.run.job import Job
from tasks.run.places import place_for

R = TypeVar("R")


class PaidStep:
    """One provider's part of a job, for :func:`tasks.attempts.attempts.run_attempts` and
    :func:`tasks.use_result.use_result`.

    ``attempt`` counts the paid attempts from 1, ``copy`` how often the result of one was fetched.

    Attributes:
        provider: the provider.
        storing: the row of the progress table for the transfer and the check of the result.
        job: the job.
        files: its uploaded sources.
        probed: their probes.
    """

    provider: type[Provider[Any]]
    storing: Stage

    def __init__(self, job: Job, files: UploadedFiles, probed: ProbedFiles) -> None:
        self.job = job
        self.files = files
        self.probed = probed
        self._records: dict[str, Any] = {}

    # Different for each provider

    @property
    def result_key(self) -> str:
        """Key of the result's first copy."""
        raise NotImplementedError

    def open_provider(
        self, *, for_submit: bool = False
    ) -> AbstractAsyncContextManager[Provider[Any]]:
        """The provider with an open client."""
        raise NotImplementedError

    async def build_request(self, storage: Storage, reference: str) -> PaidRequest:
        """The exact request of an attempt; its links outlive the provider's queue and work."""
        raise NotImplementedError

    async def check(self, storage: Storage, result: StoredFile) -> Verified:
        """Judge a result."""
        raise NotImplementedError

    # The same for both

    @property
    def name(self) -> str:
        """Stable name in record keys and references: ``lip-sync`` or ``inpainting``."""
        return self.provider.step

    async def storage(self) -> Storage:
        """The bucket that keeps the records."""
        return (await connections()).storage

    async def submit(self, attempt: int) -> tuple[Prepared, Submission]:
        """Build and keep the request of an attempt, and get it accepted, paying at most once."""
        job = self.job

        async def show() -> None:
            job.turn.release()
            job.state.unsure = self.provider.job_name
            await job.reporter.stage(self.provider.stage)

        async def both() -> tuple[Prepared, Submission]:
            prepared = await self._prepare(attempt)
            await show()
            return prepared, await self.recorded(submitted, partial(self._send, prepared))

        submitted = f"{attempt}-submitted"
        prepared = await self.read_record(f"{attempt}-prepared")
        submission = await self.read_record(submitted)
        if prepared is None or submission is None:
            prepared, submission = await self.in_task("submit", both)
        else:
            await show()
        if submission.provider_job_id is not None:
            get_run_logger().info(
                "%s task created: %s", self.provider.name, submission.provider_job_id
            )
        return prepared, submission

    async def _prepare(self, attempt: int) -> Prepared:
        async def keep() -> Prepared:
            storage = await self.storage()
            reference = attempt_reference(self.job.job_id, self.name, attempt)
            request = await self.build_request(storage, reference)
            return await keep_request(self.job, storage, self.name, attempt, request)

        record = f"{attempt}-prepared"
        prepared = await self.recorded(record, keep)
        if await is_kept(self.job, await self.storage(), prepared):
            return prepared
        return await self.recorded(record, keep, again=True)

    async def _send(self, prepared: Prepared) -> Submission:
        storage = await self.storage()
        async with self.open_provider(for_submit=True) as provider:
            return await submit_once(self.job, storage, provider, prepared)

    async def wait(self, prepared: Prepared, submission: Submission) -> Outcome:
        """Wait for the provider's job, however long its queue is, up to the deadline.

        Raises:
            Parked: the wait goes on outside of this process.
        """
        parked: Parked | None = None
        record = f"{prepared.attempt}-ended"

        async def to_the_end() -> Outcome:
            async with self.open_provider() as provider:
                return await follow(self.job, provider, prepared, submission)

        async def wait() -> Outcome | State[Any]:
            nonlocal parked
            try:
                return await self.recorded(record, to_the_end)
            except Parked as left:
                # The task ends well and leaves no record, so that it runs again.
                parked = left
                return Completed(name="Parked", message=left.message)

        found = submission.job_id
        awaited = Awaited(
            stage=self.provider.stage.label,
            provider=self.provider.slug,
            job_id=found,
            since=submission.submitted_at,
            expected_seconds=prepared.expected_seconds,
        )
        facts = {self.provider.fact: found, f"{self.name}-{prepared.attempt}": found}
        await self.job.reporter.facts({**facts, "awaited": awaited.model_dump_json()})
        found_outcome: Outcome | None = await self.read_record(record)
        if found_outcome is not None:
            return found_outcome
        outcome = await self.in_task("wait", wait)
        if parked is not None:
            raise parked
        assert isinstance(outcome, Outcome)
        return outcome

    async def store(
        self, prepared: Prepared, submission: Submission, outcome: Outcome
    ) -> StageResult:
        """Stream the result into the bucket, and judge it."""
        stored_record = f"{prepared.attempt}-stored"
        verified_record = self._verified(prepared.attempt, 1)

        async def both() -> StageResult:
            async with place_for("results"):
                fetch = partial(self._fetch, submission.job_id, 1)
                stored = await self.recorded(stored_record, fetch)
                stage = self._stage(prepared, submission, outcome, stored)
                await self.recorded(verified_record, partial(self._check, stage))
                return stage

        await self.job.reporter.at_work(self.storing)
        stored = await self.read_record(stored_record)
        if stored is None or await self.read_record(verified_record) is None:
            return await self.in_task("store", both)
        return self._stage(prepared, submission, outcome, stored)

    def _stage(
        self, prepared: Prepared, submission: Submission, outcome: Outcome, stored: StoredResult
    ) -> StageResult:
        stage = StageResult(
            attempt=prepared.attempt,
            reference=prepared.reference,
            provider_job_id=submission.job_id,
            response=submission.response,
            stored=stored.file,
            submitted_at=submission.submitted_at,
            finished_at=outcome.finished_at,
            stored_at=stored.stored_at,
            cost_usd=prepared.cost_usd,
        )
        # From here on it is named at every end, whatever the checks meet.
        self.job.state.stages[self.name] = stage
        return stage

    async def fetch_again(self, stage: StageResult, copy: int) -> StoredResult:
        """Stream the result into the bucket once more, beside the copies before."""
        record = f"{stage.attempt}-{copied('stored', copy)}"
        await self.job.reporter.at_work(self.storing)
        return await self.run_task(
            "store", record, partial(self._fetch, stage.provider_job_id, copy)
        )

    async def judge(self, stage: StageResult, copy: int) -> Verified:
        """Judge a copy of the result, unless it was judged when it was stored."""
        record = self._verified(stage.attempt, copy)
        await self.job.reporter.at_work(self.storing)
        return await self.run_task("check", record, partial(self._check, stage))

    def _verified(self, attempt: int, copy: int) -> str:
        return f"{attempt}-{copied('verified', copy)}"

    async def _check(self, stage: StageResult) -> Verified:
        return await self.check(await self.storage(), stage.stored)

    async def _fetch(self, job_id: str, copy: int) -> StoredResult:
        storage, key = await self.storage(), copied(self.result_key, copy)
        async with self.open_provider() as provider:

            async def link() -> str:
                url = await once_allowed(self.job, lambda: provider.result_url(job_id))
                get_run_logger().info(
                    "Job %s: %s completed. Downloading result from %s",
                    self.job.job_id,
                    provider.name,
                    redact_url(url),
                )
                return url

            return await store_result(self.job, storage, self.name, key, link, self.storing)

    # Records, and the tasks that make them

    async def read_record(self, record: str) -> Any:
        """The value of a record of this step; None when there is none."""
        found = self._records.get(record)
        if found is None:
            found = self._records[record] = await read_record(self._key(record))
        return found

    async def write_record(self, record: str, value: object) -> None:
        """Write a record of this step; the job goes on without one that cannot be written."""
        self._records[record] = value
        await write_record(self._key(record), value)

    async def in_task(self, verb: str, work: Callable[[], Awaitable[R]]) -> R:
        """Do a part of the step as a Prefect task."""
        return await in_task(f"{self.name}: {verb}", work)

    def _key(self, record: str) -> str:
        return f"{self.job.job_id}/{self.name}-{record}"

    async def recorded(
        self, record: str, work: Callable[[], Awaitable[R]], *, again: bool = False
    ) -> R:
        """The value of a record; made by the work, and kept, where there is none.

        Args:
            record: of the record's key.
            work: a part of the step.
            again: work in spite of a record, and replace it.
        """
        found: R | None = None if again else await self.read_record(record)
        if found is None:
            found = await work()
            await self.write_record(record, found)
        return found

    async def run_task(self, verb: str, record: str, work: Callable[[], Awaitable[R]]) -> R:
        """Do a part of the step as a Prefect task; when its record exists, return that instead.

        Args:
            verb: of the task's name.
            record: of the record's key.
            work: the part.
        """
        found: R | None = await self.read_record(record)
        if found is not None:
            return found
        return await self.in_task(verb, partial(self.recorded, record, work))
