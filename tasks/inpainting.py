"""The text removal step: GhostCut's four tasks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from prefect import get_run_logger, task

from pro_video.core.errors import TransientError
from pro_video.core.job_names import attempt_reference, references_from
from pro_video.core.progress import Stage
from pro_video.core.redaction import redact_url
from pro_video.core.settings import get_settings
from pro_video.media.info import MediaInfo
from pro_video.providers.ghostcut.models import (
    Mask,
    Work,
    build_submit_request,
    estimate_cost,
    expected_seconds,
    planted,
)
from pro_video.providers.ghostcut.plan import inpainting_plan
from pro_video.providers.ghostcut.status import Confirmed
from pro_video.records import (
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
from pro_video.request.check import InpaintingRequest
from pro_video.s3.storage import Storage
from tasks.attempts.access import ghostcut_client, once_allowed
from tasks.attempts.attempts import copied
from tasks.attempts.follow import follow
from tasks.attempts.prepare import is_kept, keep_request
from tasks.attempts.store_result import bring_result
from tasks.attempts.submit import Sender, submit_once
from tasks.callbacks.wake import doorbell_url
from tasks.check_results import verify_inpainting
from tasks.connections.connections import connections
from tasks.run.job import Job, current_job
from tasks.run.job_state import INPAINTING
from tasks.run.options import PERSISTED


@task(name="inpainting: prepare", **PERSISTED)
async def prepare_inpainting(
    record: str, attempt: int, request: InpaintingRequest, video: StoredFile, info: MediaInfo
) -> Prepared:
    """Build and keep the exact request of one attempt, with the attempt's reference as its name."""
    job = current_job()
    storage = (await connections()).storage
    plan = inpainting_plan(request.annotation_areas, request.inpainting, info.duration)
    body = build_submit_request(
        video_url=await storage.presign(video.key, get_settings().link_hours * 3600),
        name=attempt_reference(job.job_id, INPAINTING, attempt),
        masks=[Mask(mask.type, mask.start, mask.end, mask.region) for mask in plan.masks],
        mode=plan.mode,
        language=plan.language,
        resolution=plan.resolution,
        tier=plan.tier,
        callback=doorbell_url("ghostcut"),
    )
    return await keep_request(
        job,
        storage,
        step=INPAINTING,
        attempt=attempt,
        body=body,
        expected_seconds=expected_seconds(info.duration),
        cost_usd=estimate_cost(plan.tier, info.duration),
    )


@task(name="inpainting: submit", **PERSISTED)
async def submit_inpainting(record: str, prepared: Prepared) -> Submission:
    """Get the attempt accepted by GhostCut, which knows no idempotency key."""
    job = current_job()
    links = await connections()
    async with await ghostcut_client(job) as client:

        def accepted(work_id: str, response: dict[str, Any], *, adopted: bool) -> Submission:
            return Submission(
                provider_job_id=work_id,
                submitted_at=job.now(),
                adopted=adopted,
                response=response,
            )

        async def send(body: bytes, before_sending: Callable[[], None]) -> Submission:
            answer = await client.submit(body, before_sending)
            response = {"work_id": answer.work_id, "project_id": answer.project_id}
            return accepted(answer.work_id, response, adopted=False)

        async def find(since: datetime) -> Submission | None:
            references = references_from(job.job_id, INPAINTING, prepared.attempt)
            found = await client.find_work(planted(*references), since=since, until=job.now())
            return None if found is None else accepted(found.id, found.summary(), adopted=True)

        async def adopt(work_id: str) -> Submission:
            return accepted(work_id, {"work_id": work_id}, adopted=True)

        search = get_settings().orphan_search_seconds
        return await submit_once(
            job,
            links.storage,
            prepared,
            Sender(INPAINTING, send, find, adopt, search_seconds=search),
        )


@task(name="inpainting: wait", **PERSISTED)
async def wait_inpainting(record: str, prepared: Prepared, submission: Submission) -> Outcome:
    """Wait for the work, however long the queue is, up to the deadline."""
    job = current_job()
    work_id = _work_id(submission)
    async with await ghostcut_client(job) as client:

        async def fetch() -> Work:
            return _known(await client.work(work_id), work_id)

        return await follow(
            job,
            prepared,
            submission,
            step=INPAINTING,
            provider="ghostcut",
            stage=Stage.INPAINTING_PROCESSING,
            deadline_hours=get_settings().inpainting_deadline_hours,
            fetch=fetch,
            observe=Confirmed(),
            what=f"GhostCut work {work_id}",
        )


@task(name="inpainting: store", **PERSISTED)
async def store_inpainting(record: str, work_id: str, copy: int = 1) -> StoredResult:
    """Stream the work's video into the bucket."""
    job = current_job()
    storage = (await connections()).storage
    async with await ghostcut_client(job) as client:

        async def link() -> str:
            work = _known(await once_allowed(job, lambda: client.work(work_id)), work_id)
            if not work.video_url:
                raise TransientError("GhostCut names no result yet", provider="ghostcut")
            get_run_logger().info(
                "Job %s: GhostCut completed. Downloading result from %s",
                job.job_id,
                redact_url(work.video_url),
            )
            return work.video_url

        key = copied(job.keys.final_result, copy)
        return await bring_result(job, storage, INPAINTING, key, link, Stage.INPAINTING_PROCESSING)


def _known(work: Work | None, work_id: str) -> Work:
    if work is None:
        # Status reads may lag behind a submit like listings do; the wait's deadline bounds this.
        raise TransientError(f"GhostCut does not list the work {work_id}", provider="ghostcut")
    return work


def _work_id(submission: Submission) -> str:
    if submission.provider_job_id is None:
        raise ValueError("a refused attempt has no work")
    return submission.provider_job_id


@dataclass(frozen=True)
class InpaintingStep:
    """The text removal of one job, for :mod:`tasks.attempts` and :mod:`tasks.use_result`."""

    job: Job
    request: InpaintingRequest
    files: UploadedFiles
    probed: ProbedFiles
    name: str = INPAINTING
    provider: str = "GhostCut"
    provider_job: str = "GhostCut work"

    def _record(self, attempt: int, task_name: str) -> str:
        return f"{self.job.job_id}/{self.name}-{attempt}-{task_name}"

    async def storage(self) -> Storage:
        return (await connections()).storage

    async def prepare(self, attempt: int) -> Prepared:
        parameters = (attempt, self.request, self.files.video, self.probed.video)
        record = self._record(attempt, "prepared")
        prepared = await prepare_inpainting(record, *parameters)
        if await is_kept(self.job, await self.storage(), prepared):
            return prepared
        return await prepare_inpainting.with_options(refresh_cache=True)(record, *parameters)

    async def submit(self, prepared: Prepared) -> Submission:
        await self.job.reporter.stage(Stage.INPAINTING_PROCESSING)
        submission = await submit_inpainting(self._record(prepared.attempt, "submitted"), prepared)
        if submission.provider_job_id is not None:
            get_run_logger().info("GhostCut task created: %s", submission.provider_job_id)
        return submission

    async def wait(self, prepared: Prepared, submission: Submission) -> Outcome:
        found = _work_id(submission)
        own = f"{self.name}-{prepared.attempt}"
        await self.job.reporter.facts({"ghostcut_task_id": found, own: found})
        return await wait_inpainting(self._record(prepared.attempt, "ended"), prepared, submission)

    async def store(self, prepared: Prepared, submission: Submission) -> StoredResult:
        await self.job.reporter.at_work()
        return await store_inpainting(
            self._record(prepared.attempt, "stored"), _work_id(submission)
        )

    async def fetch_again(self, stage: StageResult, copy: int) -> StoredResult:
        await self.job.reporter.stage(Stage.INPAINTING_PROCESSING)
        await self.job.reporter.at_work()
        return await store_inpainting(
            self._record(stage.attempt, copied("stored", copy)), stage.provider_job_id, copy
        )

    async def judge(self, stage: StageResult, copy: int) -> Verified:
        await self.job.reporter.at_work()
        return await verify_inpainting(
            self._record(stage.attempt, copied("verified", copy)),
            self.request,
            self.files,
            self.probed,
            stage.stored,
        )
