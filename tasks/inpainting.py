"""The text removal step, on GhostCut."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime

from pro_video.core.errors import TransientError
from pro_video.core.progress import Stage
from pro_video.core.settings import get_settings
from pro_video.core.waiting import Observation
from pro_video.providers.ghostcut.client import GhostCutClient
from pro_video.providers.ghostcut.models import (
    Work,
    build_submit_request,
    expected_seconds,
    planted,
)
from pro_video.providers.ghostcut.plan import inpainting_plan
from pro_video.providers.ghostcut.status import ConfirmingObserver, observe, status_of
from pro_video.providers.job_status import JobStatus
from pro_video.records import ProbedFiles, StoredFile, UploadedFiles, Verified
from pro_video.request.check import InpaintingRequest
from pro_video.s3.storage import Storage
from tasks.attempts.access import ghostcut_client, open_ghostcut
from tasks.attempts.prepare import PaidRequest
from tasks.attempts.provider import AcceptedJob, Provider
from tasks.attempts.step import PaidStep
from tasks.callbacks.wake import callback_url
from tasks.check_results import check_inpainting
from tasks.run.job import Job
from tasks.run.job_state import INPAINTING


class GhostCut(Provider[Work]):
    """The calls of a text removal attempt; GhostCut knows no idempotency key, but a name."""

    step = INPAINTING
    name = "GhostCut"
    job_name = "GhostCut work"
    slug = "ghostcut"
    fact = "ghostcut_task_id"
    stage = Stage.INPAINTING_PROCESSING

    def __init__(self, client: GhostCutClient) -> None:
        self._client = client
        self._observer = ConfirmingObserver()

    @property
    def deadline_hours(self) -> float:
        return get_settings().inpainting_deadline_hours

    async def send(
        self, body: bytes, reference: str, before_sending: Callable[[], None]
    ) -> AcceptedJob:
        work = await self._client.submit(body, before_sending)
        return AcceptedJob(work.work_id, {"work_id": work.work_id, "project_id": work.project_id})

    async def find(
        self, references: Sequence[str], *, since: datetime, until: datetime
    ) -> AcceptedJob | None:
        found = await self._client.find_work(planted(*references), since=since, until=until)
        return None if found is None else AcceptedJob(found.id, found.summary())

    async def adopt(self, job_id: str) -> AcceptedJob:
        return AcceptedJob(job_id, {"work_id": job_id})

    async def read(self, job_id: str) -> Work:
        found = await self._client.work(job_id)
        if found is None:
            # A status may lag behind a submit like a listing does; the wait's deadline bounds this.
            raise TransientError(f"GhostCut does not list the work {job_id}", provider="ghostcut")
        return found

    async def read_many(self, job_ids: Sequence[str]) -> dict[str, Work]:
        return {each.id: each for each in await self._client.works(job_ids)}

    def still_running(self, found: Work) -> Observation[Work] | None:
        # Without the observer of one wait: an unlisted failure has to be looked at twice there.
        return None if status_of(found.status) is not JobStatus.RUNNING else observe(found)

    def observe(self, found: Work) -> Observation[Work]:
        return self._observer(found)

    async def result_url(self, job_id: str) -> str:
        found = await self.read(job_id)
        if not found.video_url:
            raise TransientError("GhostCut names no result yet", provider="ghostcut")
        return found.video_url


@asynccontextmanager
async def ghostcut() -> AsyncIterator[GhostCut]:
    """GhostCut outside of a job; raises as :func:`tasks.lip_sync.sync_so`."""
    async with await open_ghostcut() as client:
        yield GhostCut(client)


class InpaintingStep(PaidStep):
    """The text removal of one job."""

    provider = GhostCut
    storing = Stage.INPAINTING_PROCESSING

    def __init__(
        self, job: Job, request: InpaintingRequest, files: UploadedFiles, probed: ProbedFiles
    ) -> None:
        super().__init__(job, files, probed)
        self.request = request

    @property
    def result_key(self) -> str:
        return self.job.keys.final_result

    @asynccontextmanager
    async def open_provider(self, *, for_submit: bool = False) -> AsyncIterator[GhostCut]:
        async with await ghostcut_client(self.job) as client:
            yield GhostCut(client)

    async def build_request(self, storage: Storage, reference: str) -> PaidRequest:
        seconds = self.probed.video.duration
        plan = inpainting_plan(self.request.annotation_areas, self.request.inpainting, seconds)
        life = get_settings().link_hours * 3600
        body = build_submit_request(
            video_url=await storage.presign(self.files.video.key, life),
            name=reference,
            masks=plan.masks,
            mode=plan.mode,
            language=plan.language,
            resolution=plan.resolution,
            tier=plan.tier,
            callback=callback_url("ghostcut"),
        )
        return PaidRequest(body, expected_seconds(seconds), self.job.state.list_price(INPAINTING))

    async def check(self, storage: Storage, result: StoredFile) -> Verified:
        return await check_inpainting(
            self.job, storage, self.request, self.files, self.probed, result
        )
