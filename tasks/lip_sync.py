"""The lip-sync step: Sync.so's four tasks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from prefect import task

from pro_video.core.errors import TransientError
from pro_video.core.job_names import attempt_reference, references_from
from pro_video.core.progress import Stage
from pro_video.core.retrying import Backoff
from pro_video.core.settings import get_settings
from pro_video.media.info import MediaInfo
from pro_video.providers.sync_so.models import (
    AudioInput,
    Generation,
    SegmentInput,
    build_generation_request,
    estimate_cost,
    expected_seconds,
    planted,
)
from pro_video.providers.sync_so.status import observe
from pro_video.records import (
    Outcome,
    Prepared,
    ProbedFiles,
    StageResult,
    StoredResult,
    Submission,
    UploadedFiles,
    Verified,
)
from pro_video.request.check import JobRequest
from pro_video.s3.storage import Storage
from tasks.attempts.access import once_allowed, sync_so_client
from tasks.attempts.attempts import copied
from tasks.attempts.follow import follow
from tasks.attempts.prepare import is_kept, keep_request
from tasks.attempts.store_result import bring_result
from tasks.attempts.submit import Sender, submit_once
from tasks.callbacks.wake import doorbell_url
from tasks.check_results import verify_lip_sync
from tasks.connections.connections import connections
from tasks.run.job import Job, current_job
from tasks.run.job_state import LIP_SYNC
from tasks.run.options import PERSISTED


@task(name="lip-sync: prepare", **PERSISTED)
async def prepare_lip_sync(
    record: str, attempt: int, request: JobRequest, files: UploadedFiles, probed: ProbedFiles
) -> Prepared:
    """Build and keep the exact request of one attempt.

    The links in it outlive the provider's queue and processing.
    """
    job = current_job()
    storage = (await connections()).storage
    life = get_settings().link_hours * 3600
    body = build_generation_request(
        video_url=await storage.presign(files.video.key, life),
        audios=[
            AudioInput(ref_id=_ref_id(number), url=await storage.presign(audio.key, life))
            for number, audio in enumerate(probed.sent or files.audios)
        ],
        segments=[
            SegmentInput(
                start=segment.start,
                end=segment.end,
                ref_id=_ref_id(audio),
                audio_start=segment.audio_start,
                audio_end=segment.audio_end,
            )
            for segment, audio in zip(request.segments, files.audio_of_segment, strict=True)
        ],
        model=request.lip_sync.model,
        sync_mode=request.lip_sync.sync_mode,
        temperature=request.lip_sync.temperature,
        output_file_name=attempt_reference(job.job_id, LIP_SYNC, attempt),
        webhook_url=doorbell_url("sync-so"),
    )
    seconds = probed.video.duration
    return await keep_request(
        job,
        storage,
        step=LIP_SYNC,
        attempt=attempt,
        body=body,
        expected_seconds=expected_seconds(request.lip_sync.model, seconds),
        cost_usd=estimate_cost(request.lip_sync.model, seconds, _frame_rate(probed.video)),
    )


def _ref_id(audio: int) -> str:
    return f"audio-{audio + 1}"


def _frame_rate(video: MediaInfo) -> float:
    # The vendor's price list is normalised to 25 frames per second where a file tells none.
    return video.video.fps if video.video is not None and video.video.fps > 0 else 25.0


@task(name="lip-sync: submit", **PERSISTED)
async def submit_lip_sync(record: str, prepared: Prepared) -> Submission:
    """Get the attempt accepted by Sync.so, paying at most once."""
    job = current_job()
    links = await connections()
    # One try per send: before each resend the search below covers servers without idempotency.
    async with await sync_so_client(job, backoff=Backoff(tries=1)) as client:

        def accepted(generation: Generation, *, adopted: bool = False) -> Submission:
            return Submission(
                provider_job_id=generation.id,
                submitted_at=job.now(),
                adopted=adopted,
                response=generation.summary(),
            )

        async def send(body: bytes, before_sending: Callable[[], None]) -> Submission:
            return accepted(await client.create(body, prepared.reference, before_sending))

        async def find(since: datetime) -> Submission | None:
            references = references_from(job.job_id, LIP_SYNC, prepared.attempt)
            found = await client.find_generation(planted(*references), since=since)
            return None if found is None else accepted(found, adopted=True)

        async def adopt(generation_id: str) -> Submission:
            return accepted(await client.generation(generation_id), adopted=True)

        # A resend under the same idempotency key would be safe at once, but the key is a new part
        # of the API, and nothing in an answer tells whether a server heeds it.
        search = get_settings().orphan_search_seconds
        return await submit_once(
            job, links.storage, prepared, Sender(LIP_SYNC, send, find, adopt, search_seconds=search)
        )


@task(name="lip-sync: wait", **PERSISTED)
async def wait_lip_sync(record: str, prepared: Prepared, submission: Submission) -> Outcome:
    """Wait for the generation, however long the queue is, up to the deadline."""
    job = current_job()
    generation_id = _generation_id(submission)
    async with await sync_so_client(job) as client:

        async def fetch() -> Generation:
            return await client.generation(generation_id, progress=True)

        return await follow(
            job,
            prepared,
            submission,
            step=LIP_SYNC,
            provider="sync-so",
            stage=Stage.LIP_SYNC_PROCESSING,
            deadline_hours=get_settings().lip_sync_deadline_hours,
            fetch=fetch,
            observe=observe,
            what=f"Sync.so generation {generation_id}",
        )


@task(name="lip-sync: store", **PERSISTED)
async def store_lip_sync(record: str, generation_id: str, copy: int = 1) -> StoredResult:
    """Stream the generation's video into the bucket."""
    job = current_job()
    storage = (await connections()).storage
    async with await sync_so_client(job) as client:

        async def link() -> str:
            generation = await once_allowed(job, lambda: client.generation(generation_id))
            if generation.output_url is None:
                raise TransientError("Sync.so names no result yet", provider="sync.so")
            return generation.output_url

        key = copied(job.keys.lip_sync_result, copy)
        return await bring_result(job, storage, LIP_SYNC, key, link, Stage.LIP_SYNC_COMPLETED)


def _generation_id(submission: Submission) -> str:
    if submission.provider_job_id is None:
        raise ValueError("a refused attempt has no generation")
    return submission.provider_job_id


@dataclass(frozen=True)
class LipSyncStep:
    """The lip-sync of one job, for :mod:`tasks.attempts.attempts` and :mod:`tasks.use_result`."""

    job: Job
    request: JobRequest
    files: UploadedFiles
    probed: ProbedFiles
    audios: Mapping[str, MediaInfo]
    name: str = LIP_SYNC
    provider: str = "Sync.so"
    provider_job: str = "Sync.so generation"

    def _record(self, attempt: int, task_name: str) -> str:
        return f"{self.job.job_id}/{self.name}-{attempt}-{task_name}"

    async def storage(self) -> Storage:
        return (await connections()).storage

    async def prepare(self, attempt: int) -> Prepared:
        parameters = (attempt, self.request, self.files, self.probed)
        record = self._record(attempt, "prepared")
        prepared = await prepare_lip_sync(record, *parameters)
        if await is_kept(self.job, await self.storage(), prepared):
            return prepared
        return await prepare_lip_sync.with_options(refresh_cache=True)(record, *parameters)

    async def submit(self, prepared: Prepared) -> Submission:
        await self.job.reporter.stage(Stage.LIP_SYNC_PROCESSING)
        return await submit_lip_sync(self._record(prepared.attempt, "submitted"), prepared)

    async def wait(self, prepared: Prepared, submission: Submission) -> Outcome:
        found = _generation_id(submission)
        own = f"{self.name}-{prepared.attempt}"
        await self.job.reporter.facts({"sync_generation_id": found, own: found})
        return await wait_lip_sync(self._record(prepared.attempt, "ended"), prepared, submission)

    async def store(self, prepared: Prepared, submission: Submission) -> StoredResult:
        await self.job.reporter.stage(Stage.LIP_SYNC_COMPLETED)
        return await store_lip_sync(
            self._record(prepared.attempt, "stored"), _generation_id(submission)
        )

    async def fetch_again(self, stage: StageResult, copy: int) -> StoredResult:
        await self.job.reporter.stage(Stage.LIP_SYNC_COMPLETED)
        return await store_lip_sync(
            self._record(stage.attempt, copied("stored", copy)), stage.provider_job_id, copy
        )

    async def judge(self, stage: StageResult, copy: int) -> Verified:
        return await verify_lip_sync(
            self._record(stage.attempt, copied("verified", copy)),
            self.request,
            self.audios,
            self.files,
            self.probed,
            stage.stored,
        )
