"""Jobs as Prefect's flow runs: create, find, cancel, retry, accept.

The owner of a job is a tag of its flow run. Other data without a field in Prefect's model are
labels.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from prefect.client.schemas.objects import StateType
from pydantic import BaseModel, ConfigDict, TypeAdapter

from gateway.base.idempotency import check_fingerprint, scoped_key
from gateway.base.problems import ProblemError, not_found, unavailable
from gateway.base.settings import GatewaySettings
from gateway.prefect_client.api import PrefectApi, PrefectRefused
from pro_video.core.job_names import accepted_label, fact_label
from pro_video.core.progress import Stage
from pro_video.records import Acceptance, Cleaned, Findings
from tasks.connections.run_history import EndStatus, end_status

logger = logging.getLogger("pro_video.gateway.jobs")

TAG = "pro-video-api"
UNFINISHED = ("SCHEDULED", "PENDING", "RUNNING", "PAUSED", "CANCELLING")
RETRYABLE = ("failed", "cancelled")
SHOWING = ("RUNNING", "SCHEDULED")
"""The types of states that have a stage's name: at work, and parked."""

_FINGERPRINT = "pro-video.fingerprint"
_REQUEST = "pro-video.request"
_SEGMENTS = "pro-video.segments"
_DEPLOYMENT_LIFE = 60.0
# Labels that a running job sets before its report is written (see tasks.run.progress).
_FACTS = ("sync_generation_id", "ghostcut_task_id")


class RunState(BaseModel):
    """A flow run's state, with the fields that the gateway uses."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    id: UUID
    type: str
    name: str
    timestamp: datetime
    message: str | None = None


class Run(BaseModel):
    """A flow run, with the fields that the gateway uses."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    id: UUID
    name: str = ""
    created: datetime
    tags: list[str] = []
    labels: dict[str, Any] = {}
    parameters: dict[str, Any] = {}
    state: RunState
    end_time: datetime | None = None
    expected_start_time: datetime | None = None

    @property
    def end(self) -> EndStatus | None:
        """How the job has ended; None while it goes on, also by another worker after a crash."""
        return end_status(StateType(self.state.type), datetime.now(UTC) - self.state.timestamp)

    @property
    def segments_data(self) -> list[Any]:
        """The segments as the client wrote them."""
        given = self.labels.get(_SEGMENTS)
        value = json.loads(given) if isinstance(given, str) else []
        return value if isinstance(value, list) else []

    @property
    def facts(self) -> dict[str, str]:
        """Ids of the providers' jobs, which the running job sets before it has a report."""
        found = {name: self.labels.get(fact_label(name)) for name in _FACTS}
        return {name: value for name, value in found.items() if isinstance(value, str)}

    @property
    def findings(self) -> Findings:
        """The warnings and kept results that the job has reported so far."""
        return Findings.of(self.labels)

    @property
    def cleaned(self) -> Cleaned | None:
        """The removal of the job's files by the cleanup."""
        return Cleaned.of(self.labels)


_RUNS = TypeAdapter(list[Run])


class CreateUnanswered(ProblemError):
    """Prefect did not answer the creation of a flow run: the job may exist."""


@dataclass(frozen=True)
class NewJob:
    """A job to be created.

    Attributes:
        owner: its owner.
        parameters: of the flow.
        segments_data: as the client wrote it.
        fingerprint: of the request, for repetitions with the same key.
        idempotency_key: the client's, or None.
        uploads: ids of the uploads that it uses; they are kept until it has ended.
        tags: further tags of the run.
    """

    owner: str
    parameters: dict[str, Any]
    segments_data: object
    fingerprint: str
    idempotency_key: str | None
    uploads: Sequence[str] = ()
    tags: Sequence[str] = ()


def owner_tag(owner: str) -> str:
    """The tag of an owner's runs."""
    return f"owner:{owner}"


def upload_tag(upload_id: str) -> str:
    """The tag of runs that use an upload."""
    return f"upload:{upload_id}"


class Runs:
    """The jobs of all owners."""

    def __init__(self, settings: GatewaySettings, api: PrefectApi) -> None:
        self._settings = settings
        self._api = api
        self._creating: dict[str, asyncio.Lock] = {}
        self._deployment: tuple[str, float] | None = None

    async def create(self, job: NewJob) -> tuple[Run, bool]:
        """A new job, or the one that the same key made before.

        Returns:
            The run, and whether it is new.

        Raises:
            ProblemError: 422 when the key was used with another request, 429 at the owner's limit,
                503 when Prefect is away.
        """
        # Prefect shares keys among all owners.
        given = secrets.token_hex(32) if job.idempotency_key is None else job.idempotency_key
        key = f"gateway-{scoped_key(job.owner, given)}"
        mark = secrets.token_hex(8)
        lock = self._creating.setdefault(job.owner, asyncio.Lock())
        # One at a time per owner: fifty at once would all see room below the limit.
        async with lock:
            if job.idempotency_key is not None:
                earlier = await self._by_key(job.owner, key)
                if earlier is not None:
                    check_fingerprint(earlier.labels.get(_FINGERPRINT), job.fingerprint)
                    return earlier, False
            await self.check_room(job.owner)
            run = await self._post(job, key, mark)
        if run.labels.get(_REQUEST) != mark:
            check_fingerprint(run.labels.get(_FINGERPRINT), job.fingerprint)
            return run, False
        logger.info("Job created", extra={"job_id": str(run.id), "owner": job.owner})
        return run, True

    async def check_room(self, owner: str) -> None:
        """Check the owner's number of unfinished jobs.

        Raises:
            ProblemError: 429 at the limit.
        """
        limit = self._settings.jobs_in_flight
        if await self._count(_unfinished([TAG, owner_tag(owner)])) >= limit:
            raise ProblemError(
                429,
                "too_many_jobs",
                f"You have {limit} unfinished jobs, which is the limit. Nothing was started; wait "
                "until one ends, or cancel one.",
                retry_after=30,
            )

    async def of_owner(self, owner: str, job_id: UUID) -> Run:
        """A job of the owner.

        Raises:
            ProblemError: 404, also for another owner's job.
        """
        found = await self.search(owner, {"id": {"any_": [str(job_id)]}}, limit=1)
        if not found:
            raise not_found("job")
        return found[0]

    async def by_ids(self, ids: Sequence[UUID]) -> dict[UUID, Run]:
        """Jobs of any owner; the caller checks the owner."""
        filters = {"id": {"any_": [str(one) for one in ids]}, "tags": {"all_": [TAG]}}
        answer = await self._api.call(
            "POST", "/flow_runs/filter", json={"flow_runs": filters, "limit": len(ids)}
        )
        return {run.id: run for run in _RUNS.validate_json(answer.content)}

    async def search(self, owner: str, filters: dict[str, Any], *, limit: int) -> list[Run]:
        """Jobs of the owner that match Prefect's filters, the latest first."""
        owned = {"tags": {"all_": [TAG, owner_tag(owner)]}}
        order = "EXPECTED_START_TIME_DESC"
        body = {"flow_runs": {**owned, **filters}, "limit": limit, "sort": order}
        answer = await self._api.call("POST", "/flow_runs/filter", json=body)
        return _RUNS.validate_json(answer.content)

    async def uses_upload(self, upload_id: str, *, ever: bool = False) -> bool:
        """Whether an unfinished job uses an upload; with ``ever``, whether any job does."""
        tags = [TAG, upload_tag(upload_id)]
        return await self._count({"tags": {"all_": tags}} if ever else _unfinished(tags)) > 0

    async def cancel(self, owner: str, job_id: UUID) -> None:
        """Cancel a job; a cancelled job stays as it is.

        Raises:
            ProblemError: 404; 409 when it has ended otherwise.
        """
        run = await self.of_owner(owner, job_id)
        if run.end in ("completed", "failed"):
            raise ProblemError(
                409,
                "job_ended",
                f"The job has ended already ({run.end}), so there is nothing to "
                "cancel. Its results are kept.",
            )
        if run.state.type == "CRASHED":
            # No process holds it.
            await self._set_state(job_id, "CANCELLED", "Cancelled")
        elif run.state.type not in ("CANCELLED", "CANCELLING"):
            await self._set_state(job_id, "CANCELLING", "Cancelling")
            after = await self.of_owner(owner, job_id)
            parked = Stage.waiting_in(run.state.name)
            if run.state.type == "SCHEDULED" and after.state.type == "CANCELLING" and not parked:
                # After an earlier run Prefect waits for that run's process, which is gone. A worker
                # ends a parked job, with its report.
                await self._set_state(job_id, "CANCELLED", "Cancelled")
            logger.info("Job cancelled", extra={"job_id": str(job_id), "owner": owner})

    async def retry(self, owner: str, job_id: UUID) -> None:
        """Continue a failed or cancelled job at the stage that it had reached.

        Raises:
            ProblemError: 404; 409 when it is not at such an end, or the cleanup has removed its
                files; 429 at the owner's limit.
        """
        async with self._creating.setdefault(owner, asyncio.Lock()):
            run = await self.of_owner(owner, job_id)
            if run.end not in RETRYABLE:
                raise ProblemError(
                    409,
                    "job_not_retryable",
                    f"The job is {run.state.name}; only a failed or cancelled one can be retried. "
                    "Nothing was changed.",
                )
            _refuse_cleaned(run)
            await self.check_room(owner)
            await self._set_state(job_id, "SCHEDULED", "AwaitingRetry")
            logger.info("Job retried", extra={"job_id": str(job_id), "owner": owner})

    async def accept(self, owner: str, job_id: UUID, key: str | None) -> None:
        """Continue a job with its held or unusable result.

        A job that already continues with an accepted result stays as it is.

        Args:
            owner: owner of the job, and author of the acceptance.
            job_id: the job.
            key: object of the rejected result; None when there is none.

        Raises:
            ProblemError: 404; 409 when there is nothing to accept; 429 at the owner's limit.
        """
        async with self._creating.setdefault(owner, asyncio.Lock()):
            run = await self.of_owner(owner, job_id)
            ended = run.end in RETRYABLE
            if not ended and any(label.startswith(accepted_label("")) for label in run.labels):
                return
            if not ended or key is None:
                raise ProblemError(
                    409,
                    "nothing_to_accept",
                    f"The job is {run.state.name}, without a held or unusable result to accept. "
                    "Nothing was changed.",
                )
            _refuse_cleaned(run)
            await self.check_room(owner)
            if accepted_label(key) not in run.labels:
                decision = Acceptance(by=owner, at=datetime.now(UTC)).model_dump_json()
                await self._api.call(
                    "PATCH", f"/flow_runs/{job_id}/labels", json={accepted_label(key): decision}
                )
            await self._set_state(job_id, "SCHEDULED", "AwaitingRetry")
            logger.info("Result accepted", extra={"job_id": str(job_id), "owner": owner})

    async def _count(self, filters: dict[str, Any]) -> int:
        answer = await self._api.call("POST", "/flow_runs/count", json={"flow_runs": filters})
        return int(answer.json())

    async def _set_state(self, job_id: UUID, kind: str, name: str) -> None:
        try:
            await self._api.call(
                "POST",
                f"/flow_runs/{job_id}/set_state",
                json={"state": {"type": kind, "name": name}, "force": False},
            )
        except PrefectRefused as refused:
            if refused.status == 404:
                raise not_found("job") from None
            raise

    async def _by_key(self, owner: str, key: str) -> Run | None:
        found = await self.search(owner, {"idempotency_key": {"any_": [key]}}, limit=1)
        return found[0] if found else None

    async def _post(self, job: NewJob, key: str, mark: str) -> Run:
        name = job.parameters.get("display_name")
        body = {
            "parameters": job.parameters,
            "tags": [TAG, owner_tag(job.owner), *map(upload_tag, job.uploads), *job.tags],
            "labels": {
                _FINGERPRINT: job.fingerprint,
                _REQUEST: mark,
                _SEGMENTS: json.dumps(job.segments_data),
            },
            # Also without a key of the client: Prefect's client repeats unanswered requests.
            "idempotency_key": key,
            **({"name": name} if name else {}),
        }
        try:
            deployment = await self._deployment_id()
        except PrefectRefused:
            raise unavailable("The deployment", retry_after=30) from None
        try:
            answer = await self._api.call(
                "POST", f"/deployments/{deployment}/create_flow_run", json=body
            )
        except ProblemError as problem:
            raise CreateUnanswered(
                problem.status,
                problem.code,
                "The job service did not answer in time, so the job may exist. Send the request "
                "again with the same Idempotency-Key, or look at the list of jobs.",
                retry_after=5,
            ) from None
        except PrefectRefused as refused:
            self._deployment = None
            logger.error("Prefect refused a job with %d: %s", refused.status, refused.body[:300])
            raise unavailable("The deployment", retry_after=30) from None
        return Run.model_validate(answer.json())

    async def _deployment_id(self) -> str:
        if self._deployment is None or time.monotonic() - self._deployment[1] > _DEPLOYMENT_LIFE:
            path = f"/deployments/name/{self._settings.deployment}"
            answer = await self._api.call("GET", path)
            self._deployment = str(answer.json()["id"]), time.monotonic()
        return self._deployment[0]


def _refuse_cleaned(run: Run) -> None:
    if run.cleaned is not None:
        raise ProblemError(
            409,
            "files_removed",
            f"{run.cleaned}, so it cannot go on. Nothing was changed; create a new job.",
        )


def _unfinished(tags: Sequence[str]) -> dict[str, Any]:
    return {"tags": {"all_": list(tags)}, "state": {"type": {"any_": list(UNFINISHED)}}}
