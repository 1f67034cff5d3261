"""A paid step of a job: its tasks, each with a record that spares a later process the work."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar, cast

from prefect import get_run_logger, task
from prefect.states import Completed
from prefect.transactions import get_transaction

from pro_video.core.job_names import attempt_reference, copied
from pro_video.core.progress import Stage
from pro_video.core.redaction import redact_url
from pro_video.core.waiting import Parked
from pro_video.records import (
    Awaited,
    Outcome,
    Prepared,
    ProbedFiles,
    Record,
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
from tasks.run.job import Job
from tasks.run.options import PERSISTED

R = TypeVar("R", bound=Record)


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

    async def prepare(self, attempt: int) -> Prepared:
        """Build and keep the request of an attempt."""

        async def keep() -> Prepared:
            storage = await self.storage()
            reference = attempt_reference(self.job.job_id, self.name, attempt)
            request = await self.build_request(storage, reference)
            return await keep_request(self.job, storage, self.name, attempt, request)

        record = f"{attempt}-prepared"
        prepared = await self.run_task("prepare", record, keep)
        if await is_kept(self.job, await self.storage(), prepared):
            return prepared
        return await self.run_task("prepare", record, keep, again=True)

    async def submit(self, prepared: Prepared) -> Submission:
        """Get an attempt accepted, paying at most once."""

        async def send() -> Submission:
            storage = await self.storage()
            async with self.open_provider(for_submit=True) as provider:
                return await submit_once(self.job, storage, provider, prepared)

        await self.job.reporter.stage(self.provider.stage)
        submission = await self.run_task("submit", f"{prepared.attempt}-submitted", send)
        if submission.provider_job_id is not None:
            get_run_logger().info(
                "%s task created: %s", self.provider.name, submission.provider_job_id
            )
        return submission

    async def wait(self, prepared: Prepared, submission: Submission) -> Outcome:
        """Wait for the provider's job, however long its queue is, up to the deadline.

        Raises:
            Parked: the wait goes on outside of this process.
        """
        parked: Parked | None = None

        async def wait() -> Outcome:
            nonlocal parked
            try:
                async with self.open_provider() as provider:
                    return await follow(self.job, provider, prepared, submission)
            except Parked as left:
                parked = left
                return _without_record(left)

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
        outcome = await self.run_task("wait", f"{prepared.attempt}-ended", wait)
        if parked is not None:
            raise parked
        return outcome

    async def store(self, prepared: Prepared, submission: Submission) -> StoredResult:
        """Stream the result into the bucket."""
        return await self._store(prepared.attempt, submission.job_id, 1)

    async def fetch_again(self, stage: StageResult, copy: int) -> StoredResult:
        """Stream the result into the bucket once more, beside the copies before."""
        return await self._store(stage.attempt, stage.provider_job_id, copy)

    async def judge(self, stage: StageResult, copy: int) -> Verified:
        """Judge a copy of the result."""

        async def check() -> Verified:
            return await self.check(await self.storage(), stage.stored)

        await self.job.reporter.at_work(self.storing)
        record = f"{stage.attempt}-{copied('verified', copy)}"
        return await self.run_task("verify", record, check)

    async def _store(self, attempt: int, job_id: str, copy: int) -> StoredResult:
        async def store() -> StoredResult:
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

        await self.job.reporter.at_work(self.storing)
        return await self.run_task("store", f"{attempt}-{copied('stored', copy)}", store)

    async def run_task(
        self, verb: str, record: str, work: Callable[[], Awaitable[R]], *, again: bool = False
    ) -> R:
        """Run a part of the step as a Prefect task; when its record exists, return that instead.

        Args:
            verb: of the task's name.
            record: of the record's key.
            work: the part.
            again: work in spite of a record, and replace it.
        """

        @task(name=f"{self.name}: {verb}", refresh_cache=again, **PERSISTED)
        async def recorded(record: str) -> R:
            return await work()

        return await recorded(f"{self.job.job_id}/{self.name}-{record}")


def _without_record(parked: Parked) -> Outcome:
    """End the running task well and without a record, so that it runs again; its caller gets no
    outcome."""
    transaction = get_transaction()
    if transaction is None:
        raise parked
    transaction.write_on_commit = False
    return cast("Outcome", Completed(name="Parked", message=parked.message))
