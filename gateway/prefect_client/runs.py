"""Jobs as flow runs: making, finding, cancelling and retrying them.

A job's owner is a tag of its flow run; what else belongs to a job and has no place in Prefect's
model is a label.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, TypeAdapter

from gateway.app.context import GatewayContext
from gateway.base.problems import ProblemError, not_found, unavailable
from gateway.prefect_client.api import PrefectRefused
from pro_video.core.job_names import accepted_label, fact_label
from pro_video.records import Acceptance, Findings

logger = logging.getLogger("pro_video.gateway.jobs")

TAG = "pro-video-api"
UNFINISHED = ("SCHEDULED", "PENDING", "RUNNING", "PAUSED", "CANCELLING")
RETRYABLE = ("FAILED", "CRASHED", "CANCELLED")

_FINGERPRINT = "pro-video.fingerprint"
_REQUEST = "pro-video.request"
_SEGMENTS = "pro-video.segments"
_DEPLOYMENT_LIFE = 60.0
# Labels that a running job sets before its report is written (see tasks.run.progress).
_FACTS = ("sync_generation_id", "ghostcut_task_id")


class RunState(BaseModel):
    """The part of a flow run's state that a view needs."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    id: UUID
    type: str
    name: str
    timestamp: datetime
    message: str | None = None


class Run(BaseModel):
    """The part of a flow run that a view needs."""

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
    infrastructure_pid: str | None = None

    @property
    def segments_data(self) -> list[Any]:
        """The segments as the client wrote them."""
        given = self.labels.get(_SEGMENTS)
        value = json.loads(given) if isinstance(given, str) else []
        return value if isinstance(value, list) else []

    @property
    def facts(self) -> dict[str, str]:
        """The part of the metadata that is known before the job has a report."""
        found = {name: self.labels.get(fact_label(name)) for name in _FACTS}
        return {name: value for name, value in found.items() if isinstance(value, str)}

    @property
    def findings(self) -> Findings:
        """The warnings and kept results that the job has told of so far."""
        return Findings.of(self.labels)


_RUNS = TypeAdapter(list[Run])


class CreateUnknown(ProblemError):
    """Prefect was asked for a job, and the answer was lost: the job may exist."""


@dataclass(frozen=True)
class NewJob:
    """A job to be created.

    Attributes:
        owner: its owner.
        parameters: of the flow.
        segments_data: as the client wrote it.
        fingerprint: says whether two requests ask for the same.
        idempotency_key: the client's, or None.
        uploads: ids of the uploads it uses, which must stay until it is done.
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


def fingerprint_of(content: object) -> str:
    """The same for the same JSON data, with its names in any order."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


class Runs:
    """The jobs of all owners, in Prefect."""

    def __init__(self, context: GatewayContext) -> None:
        self._context = context
        self._api = context.api
        self._creating: dict[str, asyncio.Lock] = {}
        self._deployment: tuple[str, float] | None = None

    async def create(self, job: NewJob) -> tuple[Run, bool]:
        """Make a job, or find the one that the same key made before.

        Returns:
            The run, and whether it is new.

        Raises:
            ProblemError: 422 when the key was used with another request, 429 at the owner's limit,
                503 when Prefect is away.
        """
        key = _scoped_key(job.owner, job.idempotency_key)
        mark = secrets.token_hex(8)
        lock = self._creating.setdefault(job.owner, asyncio.Lock())
        # One at a time per owner: otherwise fifty at once would all see room below the limit.
        async with lock:
            if job.idempotency_key is not None:
                earlier = await self._by_key(job.owner, key)
                if earlier is not None:
                    return _same(earlier, job), False
            await self.check_room(job.owner)
            run = await self._post(job, key, mark)
        if run.labels.get(_REQUEST) != mark:
            return _same(run, job), False
        logger.info("Job created", extra={"job_id": str(run.id), "owner": job.owner})
        return run, True

    async def check_room(self, owner: str) -> None:
        """May the owner have one more job?

        Raises:
            ProblemError: 429 at the limit.
        """
        filters = _filters(owner, UNFINISHED)
        answer = await self._api.call("POST", "/flow_runs/count", json={"flow_runs": filters})
        limit = self._context.settings.jobs_in_flight
        if int(answer.json()) >= limit:
            raise ProblemError(
                429,
                "too_many_jobs",
                f"{limit} jobs are unfinished already. Wait until one ends, or cancel one.",
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
        """Jobs of any owner; for views that check the owner themselves."""
        filters = {"id": {"any_": [str(one) for one in ids]}, "tags": {"all_": [TAG]}}
        answer = await self._api.call(
            "POST", "/flow_runs/filter", json={"flow_runs": filters, "limit": len(ids)}
        )
        return {run.id: run for run in _RUNS.validate_json(answer.content)}

    async def search(
        self,
        owner: str,
        filters: dict[str, Any],
        *,
        limit: int,
        sort: str = "EXPECTED_START_TIME_DESC",
    ) -> list[Run]:
        """Jobs of the owner that match Prefect's filters."""
        body = {"flow_runs": {**_filters(owner), **filters}, "limit": limit, "sort": sort}
        answer = await self._api.call("POST", "/flow_runs/filter", json=body)
        return _RUNS.validate_json(answer.content)

    async def uses_upload(self, upload_id: str, *, ever: bool = False) -> bool:
        """Does an unfinished job need this upload; or, with ``ever``, is any job's?"""
        filters: dict[str, Any] = {"tags": {"all_": [TAG, upload_tag(upload_id)]}}
        if not ever:
            filters["state"] = {"type": {"any_": list(UNFINISHED)}}
        answer = await self._api.call("POST", "/flow_runs/count", json={"flow_runs": filters})
        return int(answer.json()) > 0

    async def cancel(self, owner: str, job_id: UUID) -> Run:
        """Ask a job to stop; one that was cancelled before is fine.

        Raises:
            ProblemError: 404; 409 when it has ended otherwise.
        """
        run = await self.of_owner(owner, job_id)
        if run.state.type in ("COMPLETED", "FAILED", "CRASHED"):
            raise ProblemError(
                409, "job_ended", f"The job has ended already ({run.state.type.lower()})."
            )
        if run.state.type not in ("CANCELLED", "CANCELLING"):
            await self._set_state(job_id, "CANCELLING", "Cancelling")
            after = await self.of_owner(owner, job_id)
            if run.state.type == "SCHEDULED" and after.state.type == "CANCELLING":
                # It had run before, so that Prefect expects a process, which is gone.
                await self._set_state(job_id, "CANCELLED", "Cancelled")
            run = await self.of_owner(owner, job_id)
            logger.info("Job cancelled", extra={"job_id": str(job_id), "owner": owner})
        return run

    async def retry(self, owner: str, job_id: UUID) -> Run:
        """Let a failed or cancelled job go on at the stage that it had reached.

        Raises:
            ProblemError: 404; 409 when it is not at such an end; 429 at the owner's limit.
        """
        async with self._creating.setdefault(owner, asyncio.Lock()):
            run = await self.of_owner(owner, job_id)
            if run.state.type not in RETRYABLE:
                raise ProblemError(
                    409,
                    "job_not_retryable",
                    f"Only a failed or cancelled job can be retried; it is {run.state.name}.",
                )
            await self.check_room(owner)
            await self._set_state(job_id, "SCHEDULED", "AwaitingRetry")
            logger.info("Job retried", extra={"job_id": str(job_id), "owner": owner})
            return await self.of_owner(owner, job_id)

    async def accept(self, owner: str, job_id: UUID, key: str | None) -> None:
        """Let a job go on with a result of its own that is held or unusable.

        A job that goes on with an accepted result already is left alone.

        Args:
            owner: of the job; the acceptance is in this name.
            job_id: the job.
            key: object of the result, as the job's end names it; None when it names none.

        Raises:
            ProblemError: 404; 409 when there is nothing to accept; 429 at the owner's limit.
        """
        async with self._creating.setdefault(owner, asyncio.Lock()):
            run = await self.of_owner(owner, job_id)
            ended = run.state.type in RETRYABLE
            if not ended and any(label.startswith(accepted_label("")) for label in run.labels):
                return
            if not ended or key is None:
                raise ProblemError(
                    409,
                    "nothing_to_accept",
                    "Only a job that ended with a held or unusable result can go on with it; it is "
                    f"{run.state.name}.",
                )
            await self.check_room(owner)
            if accepted_label(key) not in run.labels:
                decision = Acceptance(by=owner, at=datetime.now(UTC)).model_dump_json()
                await self._api.call(
                    "PATCH", f"/flow_runs/{job_id}/labels", json={accepted_label(key): decision}
                )
            await self._set_state(job_id, "SCHEDULED", "AwaitingRetry")
            logger.info("Result accepted", extra={"job_id": str(job_id), "owner": owner})

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
            # Always: the client repeats a request whose answer was lost.
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
            raise CreateUnknown(
                problem.status,
                problem.code,
                "The job service did not answer; the job may exist. Send the request again with "
                "the same Idempotency-Key, or look at the list of jobs.",
                retry_after=5,
            ) from None
        except PrefectRefused as refused:
            self._deployment = None
            logger.error("Prefect refused a job with %d: %s", refused.status, refused.body[:300])
            raise unavailable("The deployment", retry_after=30) from None
        return Run.model_validate(answer.json())

    async def _deployment_id(self) -> str:
        if self._deployment is None or time.monotonic() - self._deployment[1] > _DEPLOYMENT_LIFE:
            path = f"/deployments/name/{self._context.settings.deployment}"
            answer = await self._api.call("GET", path)
            self._deployment = str(answer.json()["id"]), time.monotonic()
        return self._deployment[0]


def _filters(owner: str, states: Sequence[str] = ()) -> dict[str, Any]:
    filters: dict[str, Any] = {"tags": {"all_": [TAG, owner_tag(owner)]}}
    if states:
        filters["state"] = {"type": {"any_": list(states)}}
    return filters


def _scoped_key(owner: str, key: str | None) -> str:
    # Prefect's keys are shared by all owners.
    given = secrets.token_hex(32) if key is None else key
    digest = hashlib.sha256(f"{owner}\0{given}".encode("utf-8", "surrogateescape"))
    return f"gateway-{digest.hexdigest()}"


def _same(run: Run, job: NewJob) -> Run:
    if run.labels.get(_FINGERPRINT) != job.fingerprint:
        raise ProblemError(
            422,
            "idempotency_key_reused",
            "This Idempotency-Key was used with another request. Use a new key.",
        )
    return run
