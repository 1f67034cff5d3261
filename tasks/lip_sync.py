"""The lip-sync step, on Sync.so."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime

from pro_video.core.errors import TransientError
from pro_video.core.progress import Stage
from pro_video.core.retrying import Backoff
from pro_video.core.settings import get_settings
from pro_video.core.waiting import Observation
from pro_video.media.info import MediaInfo
from pro_video.providers.sync_so.client import SyncSoClient
from pro_video.providers.sync_so.models import (
    AudioInput,
    Generation,
    build_generation_request,
    expected_seconds,
    planted,
)
from pro_video.providers.sync_so.plan import lip_sync_plan
from pro_video.providers.sync_so.status import observe
from pro_video.records import ProbedFiles, StoredFile, UploadedFiles, Verified
from pro_video.request.check import JobRequest
from pro_video.s3.storage import Storage
from tasks.attempts.access import open_sync_so, sync_so_client
from tasks.attempts.prepare import PaidRequest
from tasks.attempts.provider import AcceptedJob, Provider
from tasks.attempts.step import PaidStep
from tasks.callbacks.wake import callback_url
from tasks.check_results import check_lip_sync
from tasks.run.job import Job
from tasks.run.job_state import LIP_SYNC


class SyncSo(Provider[Generation]):
    """The calls of a lip-sync attempt."""

    step = LIP_SYNC
    name = "Sync.so"
    job_name = "Sync.so generation"
    slug = "sync-so"
    fact = "sync_generation_id"
    stage = Stage.LIP_SYNC_PROCESSING

    def __init__(self, client: SyncSoClient) -> None:
        self._client = client

    @property
    def deadline_hours(self) -> float:
        return get_settings().lip_sync_deadline_hours

    async def send(
        self, body: bytes, reference: str, before_sending: Callable[[], None]
    ) -> AcceptedJob:
        return _accepted(await self._client.create(body, reference, before_sending))

    async def find(
        self, references: Sequence[str], *, since: datetime, until: datetime
    ) -> AcceptedJob | None:
        found = await self._client.find_generation(planted(*references), since=since)
        return None if found is None else _accepted(found)

    async def adopt(self, job_id: str) -> AcceptedJob:
        return _accepted(await self._client.generation(job_id))

    async def read(self, job_id: str) -> Generation:
        return await self._client.generation(job_id, progress=True)

    async def read_many(self, job_ids: Sequence[str]) -> dict[str, Generation]:
        return {each.id: each for each in await self._client.generations(job_ids)}

    def observe(self, found: Generation) -> Observation[Generation]:
        return observe(found)

    async def result_url(self, job_id: str) -> str:
        found = await self._client.generation(job_id)
        if found.output_url is None:
            raise TransientError("Sync.so names no result yet", provider="sync.so")
        return found.output_url


@asynccontextmanager
async def sync_so() -> AsyncIterator[SyncSo]:
    """Sync.so outside of a job.

    Raises:
        StorageRefused: a block is missing.
        CredentialsRefused: the block's key is malformed.
    """
    async with await open_sync_so() as client:
        yield SyncSo(client)


def _accepted(generation: Generation) -> AcceptedJob:
    return AcceptedJob(generation.id, generation.summary())


class LipSyncStep(PaidStep):
    """The lip-sync of one job.

    Attributes:
        request: the checked request.
        audios: probe of each audio, by its source in the request.
    """

    provider = SyncSo
    storing = Stage.LIP_SYNC_COMPLETED

    def __init__(
        self,
        job: Job,
        request: JobRequest,
        files: UploadedFiles,
        probed: ProbedFiles,
        audios: Mapping[str, MediaInfo],
    ) -> None:
        super().__init__(job, files, probed)
        self.request = request
        self.audios = audios

    @property
    def result_key(self) -> str:
        return self.job.keys.lip_sync_result

    @asynccontextmanager
    async def open_provider(self, *, for_submit: bool = False) -> AsyncIterator[SyncSo]:
        # A resend under the same idempotency key would be safe at once, but the key is a new part
        # of the API, and nothing in an answer tells whether a server heeds it.
        backoff = Backoff(tries=1) if for_submit else None
        async with await sync_so_client(self.job, backoff=backoff) as client:
            yield SyncSo(client)

    async def build_request(self, storage: Storage, reference: str) -> PaidRequest:
        files, options = self.files, self.request.lip_sync
        picture = self.probed.video.video
        assert picture is not None, "the rules refuse a video without a picture"
        plan = lip_sync_plan(
            self.request,
            picture,
            lambda audio: _ref_id(self.request.audios.index(audio) + 1),
            get_settings().sync_so_speaker_pixels,
        )
        life = get_settings().link_hours * 3600
        body = build_generation_request(
            video_url=await storage.presign(files.video.key, life),
            audios=[
                AudioInput(ref_id=_ref_id(number), url=await storage.presign(audio.key, life))
                for number, audio in enumerate(self.probed.sent or files.audios, start=1)
            ],
            segments=plan.segments,
            model=options.model,
            sync_mode=options.sync_mode,
            temperature=options.temperature,
            output_file_name=reference,
            webhook_url=callback_url("sync-so"),
            speaker=plan.speaker,
            occlusion_detection=options.occlusion_detection,
        )
        seconds = expected_seconds(options.model, self.probed.video.duration)
        return PaidRequest(body, seconds, self.job.state.list_price(LIP_SYNC))

    async def check(self, storage: Storage, result: StoredFile) -> Verified:
        return await check_lip_sync(
            self.job, storage, self.request, self.audios, self.files, self.probed, result
        )


def _ref_id(number: int) -> str:
    return f"audio-{number}"
