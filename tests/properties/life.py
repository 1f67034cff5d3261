"""One process that works on the job: the real steps, with the flow engine's part played here."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from typing import TypeVar

from prefect.logging import disable_run_logger

from pro_video.core.errors import OutcomeUnknown, ProVideoError, TransientError
from pro_video.core.job_names import JobKeys
from pro_video.core.job_warning import JobWarning
from pro_video.core.progress import Stage
from pro_video.core.settings import get_settings
from pro_video.core.stopping import Stopped, StopReason, StopSignal, use_stop
from pro_video.core.waiting import Observation
from pro_video.judging.verdict import Judgement, Verdict
from pro_video.providers.ghostcut.models import Work
from pro_video.providers.ghostcut.status import observe as observe_work
from pro_video.providers.sync_so.models import Generation
from pro_video.providers.sync_so.status import observe as observe_generation
from pro_video.records import (
    Acceptance,
    Outcome,
    Prepared,
    Record,
    StageResult,
    StoredResult,
    Submission,
    Verified,
)
from pro_video.s3.storage import Storage
from tasks.attempts.attempts import AttemptFailed, close_attempt, copied, run_attempts
from tasks.attempts.follow import follow
from tasks.attempts.past import Past, attempt_label
from tasks.attempts.prepare import is_kept, keep_request
from tasks.attempts.store_result import bring_result
from tasks.attempts.submit import Sender, submit_once
from tasks.run.job import Job
from tasks.run.job_state import INPAINTING, LIP_SYNC, Ledger
from tasks.use_result import use_result
from tests.properties.providers import ProviderJob, ProviderModel
from tests.properties.world import JOB_ID, Bucket, Life, Watched, World, begin_life

R = TypeVar("R", bound=Record | bool)
K = TypeVar("K", bound=Record)
KEYS = JobKeys(JOB_ID)
RESULT_KEYS = {LIP_SYNC: KEYS.lip_sync_result, INPAINTING: KEYS.final_result}
# As the tasks' own retries.
_DELAYS = (1.0, 4.0, 10.0)
_bodies = count(1)

_GENERATIONS = {
    "running": ("PROCESSING", None),
    "odd": ("HIBERNATING", None),
    "success": ("COMPLETED", None),
    "locked": ("COMPLETED", None),
    "retryable": ("FAILED", "generation_pipeline_failed"),
    "permanent": ("FAILED", "generation_input_video_invalid"),
    "no-points": ("REJECTED", "account_payment_required"),
}
_WORKS = {
    "running": 0,
    "odd": -77,
    "success": 1,
    "locked": 83,
    "retryable": 18,
    "permanent": 3,
    "no-points": 73,
}


def observe(step: str, told: str) -> Observation[str]:
    """The product's reading of a job's status."""
    if step == LIP_SYNC:
        status, code = _GENERATIONS[told]
        seen = observe_generation(Generation("id", status, error_code=code))
        return Observation(seen.done, told, seen.progress)
    work = observe_work(Work.from_json({"id": 1, "processStatus": _WORKS[told]}))
    return Observation(work.done, told, work.progress)


@dataclass(frozen=True)
class Step:
    """A provider's four tasks on the models; records are kept as the flow engine keeps them."""

    world: World
    job: Job
    bucket: Bucket
    model: ProviderModel
    name: str
    stage: Stage
    provider: str = "the provider"
    provider_job: str = "job"

    async def storage(self) -> Storage:
        return self.bucket

    async def prepare(self, attempt: int) -> Prepared:
        # Like signed links, the body differs each time that it is built.
        body = json.dumps({"signed": next(_bodies)}).encode()

        async def keep() -> Prepared:
            return await keep_request(
                self.job,
                self.bucket,
                step=self.name,
                attempt=attempt,
                body=body,
                expected_seconds=60.0,
                cost_usd=None,
            )

        name = f"{attempt}-prepared"
        prepared = await self._kept(name, Prepared, keep)
        if await self._retried(lambda: is_kept(self.job, self.bucket, prepared)):
            return prepared
        self.world.records.pop(f"{self.name}-{name}", None)
        return await self._kept(name, Prepared, keep)

    async def submit(self, prepared: Prepared) -> Submission:
        def accepted(job: ProviderJob | None, adopted: bool) -> Submission | None:
            if job is None:
                return None
            return Submission(provider_job_id=job.id, submitted_at=self.job.now(), adopted=adopted)

        async def send(body: bytes, before_sending: Callable[[], None]) -> Submission:
            sent = accepted(await self.model.send(prepared.reference, body, before_sending), False)
            assert sent is not None
            return sent

        async def find(since: datetime) -> Submission | None:
            return accepted(await self.model.find(prepared.reference, since), True)

        async def adopt(job_id: str) -> Submission:
            job, _ = await self.model.read(job_id)
            found = accepted(job, True)
            assert found is not None
            return found

        sender = Sender(self.name, send, find, adopt, get_settings().orphan_search_seconds)
        return await self._kept(
            f"{prepared.attempt}-submitted",
            Submission,
            lambda: submit_once(self.job, self.bucket, prepared, sender),
        )

    async def wait(self, prepared: Prepared, submission: Submission) -> Outcome:
        await self.job.reporter.stage(self.stage)
        job_id = submission.provider_job_id
        assert job_id is not None
        if self.world.fault("label") is None:
            self.world.labels[attempt_label(self.name, prepared.attempt)] = job_id
        hours = get_settings().lip_sync_deadline_hours

        async def fetch() -> str:
            _, told = await self.model.read(job_id)
            return told

        async def work() -> Outcome:
            began = self.job.clock.monotonic()
            try:
                return await follow(
                    self.job,
                    prepared,
                    submission,
                    step=self.name,
                    provider=self.name,
                    stage=self.stage,
                    deadline_hours=hours,
                    fetch=fetch,
                    observe=lambda told: observe(self.name, told),
                    what=f"job {job_id}",
                )
            finally:
                waited = self.job.clock.monotonic() - began
                # Counted from the acceptance, whose record another process may write later.
                assert waited <= hours * 3600 + 300, f"waited {waited} s"

        return await self._kept(f"{prepared.attempt}-ended", Outcome, work)

    async def store(self, prepared: Prepared, submission: Submission) -> StoredResult:
        return await self._store(prepared.attempt, submission.provider_job_id or "", 1)

    async def fetch_again(self, stage: StageResult, copy: int) -> StoredResult:
        return await self._store(stage.attempt, stage.provider_job_id, copy)

    async def _store(self, attempt: int, job_id: str, copy: int) -> StoredResult:
        async def link() -> str:
            job, told = await self.model.read(job_id)
            if told != "success":
                raise TransientError("no result yet")
            return f"https://provider.example/{self.name}/{job.id}"

        key = copied(RESULT_KEYS[self.name], copy)
        return await self._kept(
            f"{attempt}-{copied('stored', copy)}",
            StoredResult,
            lambda: bring_result(self.job, self.bucket, self.name, key, link, self.stage),
        )

    async def judge(self, stage: StageResult, copy: int) -> Verified:
        async def work() -> Verified:
            assert stage.stored.key in self.world.objects
            await self.world.point("judge")
            verdict = self.world.verdict(self.name, copy)
            warnings = (
                ()
                if verdict is Verdict.GOOD
                else (JobWarning(code=verdict, message="It is odd.", stage=self.name),)
            )
            return Verified(judgement=Judgement(verdict=verdict, warnings=warnings))

        name = f"{stage.attempt}-{copied('verified', copy)}"
        return await self._kept(name, Verified, work)

    async def _kept(self, name: str, kind: type[K], work: Callable[[], Awaitable[K]]) -> K:
        """A finished task's record, or the task with its retries; a record may fail to be
        written, which the flow engine passes over."""
        key = f"{self.name}-{name}"
        await self.world.point("record.begin")
        if key in self.world.records:
            return kind.model_validate_json(self.world.records[key])
        value = await self._retried(work)
        await self.world.point("record.before")
        if self.world.fault("record") is None:
            self.world.records[key] = value.model_dump_json()
        await self.world.point("record.after")
        return value

    async def _retried(self, work: Callable[[], Awaitable[R]]) -> R:
        for delay in _DELAYS:
            try:
                return await work()
            except OutcomeUnknown:
                raise
            except TransientError:
                await self.job.clock.sleep(delay)
        return await work()


async def live(
    world: World, life: Life, stop: StopSignal, models: dict[str, ProviderModel]
) -> None:
    """Work on the job until it ends, is stopped, or the process dies."""
    begin_life(life)
    await world.clock.sleep(life.delay)
    reporter = Watched(world)
    life.percents = reporter.percents
    ledger = Ledger(created_at=datetime.fromtimestamp(world.began_at, UTC))
    ledger.retries = world.ends
    world.starts += 1
    past = Past(world.starts, world.clock.monotonic(), dict(world.labels))
    job = Job(JOB_ID, JOB_ID, KEYS, reporter, ledger, world.clock, past=past)
    bucket = Bucket(world)
    stages = {LIP_SYNC: Stage.LIP_SYNC_PROCESSING, INPAINTING: Stage.INPAINTING_PROCESSING}

    async def decision(_job: Job, key: str) -> Acceptance | None:
        await world.point("decision")
        return Acceptance(by="user", at=job.now()) if key in world.accepted else None

    with use_stop(stop), disable_run_logger():
        try:
            for name, model in models.items():
                step = Step(world, job, bucket, model, name, stages[name])
                bought = await run_attempts(job, step)
                used, seen = await use_result(job, step, bought, world.on_doubt, decision=decision)
                world.check_use(used.stored.key, seen.judgement.verdict)
            state = "completed"
        except Stopped as stopped:
            if stopped.reason is StopReason.HANDOVER:
                return
            state = "cancelled"
        except AttemptFailed as failed:
            state = "failed"
            try:
                await close_attempt(job, bucket, failed.step, failed.attempt, failed.copy)
            except ProVideoError:
                await world.point("closing")
        except ProVideoError:
            state = "failed"
        await world.point("ending")
        world.end(state, ledger.rejected_key)
