"""One process that works on the job: the real steps, with the flow engine's part played here."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from itertools import count
from typing import Any, TypeVar

from pro_video.core.errors import OutcomeUnknown, ProVideoError, TransientError
from pro_video.core.job_names import JobKeys, copied
from pro_video.core.job_warning import JobWarning
from pro_video.core.progress import Stage
from pro_video.core.settings import get_settings
from pro_video.core.stopping import Stopped, StopReason, StopSignal, use_stop
from pro_video.core.waiting import Observation, Parked
from pro_video.judging.verdict import Judgement, Verdict
from pro_video.providers.ghostcut.models import Work
from pro_video.providers.ghostcut.status import observe as observe_work
from pro_video.providers.sync_so.models import Generation
from pro_video.providers.sync_so.status import observe as observe_generation
from pro_video.records import Acceptance, Record, StoredFile, Verified
from pro_video.s3.storage import Storage
from tasks.attempts.attempts import run_attempts
from tasks.attempts.prepare import PaidRequest
from tasks.attempts.provider import AcceptedJob, Provider
from tasks.attempts.step import PaidStep
from tasks.run.closed_attempts import AttemptFailed, close_attempt
from tasks.run.job import Job
from tasks.run.job_state import INPAINTING, LIP_SYNC, JobState
from tasks.run.send_evidence import SendEvidence
from tasks.use_result import use_result
from tests.properties.environment import (
    JOB_ID,
    Bucket,
    Environment,
    Process,
    RecordedProgress,
    enter_process,
)
from tests.properties.providers import ProviderModel

R = TypeVar("R")
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


class ModelCalls(Provider[str]):
    """The calls of an attempt at the model of its provider."""

    job_name = "job"
    name = "the provider"
    fact = "provider_job_id"

    def __init__(self, model: ProviderModel) -> None:
        self._model = model

    @property
    def deadline_hours(self) -> float:
        return get_settings().lip_sync_deadline_hours

    async def send(
        self, body: bytes, reference: str, before_sending: Callable[[], None]
    ) -> AcceptedJob:
        return AcceptedJob((await self._model.send(reference, body, before_sending)).id, {})

    async def find(
        self, references: Sequence[str], *, since: datetime, until: datetime
    ) -> AcceptedJob | None:
        found = await self._model.find(references[0], since)
        return None if found is None else AcceptedJob(found.id, {})

    async def adopt(self, job_id: str) -> AcceptedJob:
        found, _ = await self._model.read(job_id)
        return AcceptedJob(found.id, {})

    async def read(self, job_id: str) -> str:
        _, told = await self._model.read(job_id)
        return told

    async def read_many(self, job_ids: Sequence[str]) -> dict[str, str]:
        raise AssertionError("the watch of parked jobs reads many")

    def observe(self, found: str) -> Observation[str]:
        return observe(self.step, found)

    async def result_url(self, job_id: str) -> str:
        found, told = await self._model.read(job_id)
        if told != "success":
            raise TransientError("no result yet")
        return f"https://provider.example/{self.step}/{found.id}"


class LipSyncCalls(ModelCalls):
    step = slug = LIP_SYNC
    stage = Stage.LIP_SYNC_PROCESSING


class InpaintingCalls(ModelCalls):
    step = slug = INPAINTING
    stage = Stage.INPAINTING_PROCESSING


class ModelStep(PaidStep):
    """A paid step on the models; its records are kept as the flow engine keeps them."""

    def __init__(self, env: Environment, job: Job, bucket: Bucket, model: ProviderModel) -> None:
        self.env = env
        self.job = job
        self.bucket = bucket
        self.model = model
        self.calls = LipSyncCalls if model.step == LIP_SYNC else InpaintingCalls
        self.provider = self.calls
        self.storing = (
            Stage.LIP_SYNC_COMPLETED if model.step == LIP_SYNC else Stage.INPAINTING_PROCESSING
        )

    @property
    def result_key(self) -> str:
        return RESULT_KEYS[self.name]

    async def storage(self) -> Storage:
        return self.bucket

    @asynccontextmanager
    async def open_provider(self, *, for_submit: bool = False) -> AsyncIterator[ModelCalls]:
        yield self.calls(self.model)

    async def build_request(self, storage: Storage, reference: str) -> PaidRequest:
        # Like signed links, the body differs each time that it is built.
        return PaidRequest(json.dumps({"signed": next(_bodies)}).encode(), expected_seconds=60.0)

    async def check(self, storage: Storage, result: StoredFile) -> Verified:
        assert result.key in self.env.objects
        await self.env.point("judge")
        copy = next(n for n in count(1) if copied(self.result_key, n) == result.key)
        verdict = self.env.verdict(self.name, copy)
        warning = JobWarning(code=verdict, message="It is odd.", stage=self.name)
        warnings = () if verdict is Verdict.GOOD else (warning,)
        return Verified(judgement=Judgement(verdict=verdict, warnings=warnings))

    async def read_record(self, record: str) -> Any:
        key = f"{self.name}-{record}"
        await self.env.point("record.begin")
        if key not in self.env.records:
            return None
        kind, kept = self.env.records[key]
        return kind.model_validate_json(kept)

    async def write_record(self, record: str, value: object) -> None:
        """A record may fail to be written, which the job passes over."""
        await self.env.point("record.before")
        if self.env.fault("record") is None:
            assert isinstance(value, Record)
            self.env.records[f"{self.name}-{record}"] = (type(value), value.model_dump_json())
        await self.env.point("record.after")

    async def in_task(self, verb: str, work: Callable[[], Awaitable[R]]) -> R:
        began = self.job.clock.monotonic()
        value = await self._retried(work)
        if verb == "wait":
            waited = self.job.clock.monotonic() - began
            # Counted from the acceptance, whose record another process may write later.
            most = get_settings().lip_sync_deadline_hours * 3600 + 300
            assert waited <= most, f"waited {waited} s"
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


async def work_on_job(
    env: Environment, process: Process, stop: StopSignal, models: dict[str, ProviderModel]
) -> None:
    """Work on the job until it ends, is stopped, or the process dies."""
    enter_process(process)
    await env.clock.sleep(process.delay)
    reporter = RecordedProgress(env)
    process.percents = reporter.percents
    created_at = datetime.fromtimestamp(env.began_at, UTC)
    state = JobState(created_at, retries=env.ends)
    woken, env.parked = env.parked, None
    state.woken = woken is not None
    env.starts += woken is None
    evidence = SendEvidence(
        env.starts,
        env.clock.monotonic(),
        dict(env.labels),
        parked_in=frozenset(env.parked_in),
    )
    job = Job(JOB_ID, JOB_ID, KEYS, reporter, state, env.clock, evidence=evidence)
    bucket = Bucket(env)

    async def decision(_job: Job, key: str) -> Acceptance | None:
        await env.point("decision")
        return Acceptance(by="user", at=job.now()) if key in env.accepted else None

    with use_stop(stop):
        try:
            for model in models.values():
                step = ModelStep(env, job, bucket, model)
                bought = await run_attempts(job, step)
                used, seen = await use_result(job, step, bought, env.on_doubt, decision=decision)
                env.check_use(used.stored.key, seen.judgement.verdict)
            end = "completed"
        except Parked:
            env.parked = reporter.current
            assert env.parked is not None
            env.parked_in.add(env.parked)
            return
        except Stopped as stopped:
            if stopped.reason is StopReason.HANDOVER:
                return
            end = "cancelled"
        except AttemptFailed as failed:
            end = "failed"
            try:
                await close_attempt(job, bucket, failed.step, failed.attempt, failed.copy)
            except ProVideoError:
                await env.point("closing")
        except ProVideoError:
            end = "failed"
        await env.point("ending")
        env.end(end, state.rejected_key)
