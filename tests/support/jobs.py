"""Starting, following and auditing jobs of a running stack, for tests."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Literal, TypeVar
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import FlowRun, State
from prefect.context import get_settings_context
from prefect.exceptions import PrefectHTTPStatusError
from prefect.serializers import CompressedJSONSerializer
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings
from prefect.states import Cancelling, Crashed, Scheduled

from pro_video.records import JobResult
from tasks.connections.run_history import RunHistory
from tests.support.stack import LocalStack, wait_until

T = TypeVar("T")
Filter = Literal["/flow_runs/filter", "/artifacts/filter", "/logs/filter"]

JOB_SECONDS = 600.0
"""Bound of one wait; a job takes a few seconds, many at once on a busy machine take more."""

FINAL = frozenset({"COMPLETED", "FAILED", "CANCELLED"})
"""State types in which a job stays. CRASHED is none: the server schedules the job anew."""

_PAUSE_SECONDS = 0.4
_AT_ONCE = 8


@dataclass
class Followed:
    """Progress of one job, as read from Prefect while it ran.

    Attributes:
        percents: values of its progress artifacts, in the order in which they were read.
        artifacts: ids of its progress artifacts.
    """

    percents: list[float] = field(default_factory=list)
    artifacts: set[str] = field(default_factory=set)


class Jobs:
    """Jobs of one stack."""

    def __init__(self, stack: LocalStack, client: SyncPrefectClient) -> None:
        self.stack = stack
        self.client = client
        self.s3 = stack.s3()
        # Made once, before the background jobs: settings read the environment, and pytest changes
        # that for each test while their threads may read it.
        with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}):
            self._without_retries = get_settings_context()

    def api(self, call: Callable[[SyncPrefectClient], T]) -> T:
        """Make a call to Prefect, repeated while the server is busy or away.

        Prefect's own client would pause for 2, 4, 8, 16 seconds.
        """
        deadline = time.monotonic() + 90
        while True:
            try:
                with self._without_retries.model_copy():
                    return call(self.client)
            except PrefectHTTPStatusError as error:
                if not error.response.is_server_error or time.monotonic() > deadline:
                    raise
            except httpx.TransportError:
                if time.monotonic() > deadline:
                    raise
            time.sleep(_PAUSE_SECONDS)

    def rows(self, path: Filter, **content: Any) -> list[dict[str, Any]]:
        """Rows of one of Prefect's filters."""

        def filtered(client: SyncPrefectClient) -> Any:
            return client.request("POST", path, json=content).json()

        found: list[dict[str, Any]] = self.api(filtered)
        return found

    # Starting

    def prepare(
        self,
        parameters: Mapping[str, Any],
        deployment: str = "pro-video/local",
        *,
        tags: Iterable[str] = (),
    ) -> str:
        """Create a job that no worker takes up before :meth:`release`; its id.

        Faults can thus be planned for one job, before it starts. A lip-sync gets a temperature of
        its own unless it has one, because a job may reuse an earlier job's lip-sync of the same
        kind.
        """
        found = self.api(lambda client: client.read_deployment_by_name(deployment))
        if deployment.startswith("pro-video/"):
            parameters = {"temperature": secrets.randbelow(10**9) / 10**9, **parameters}
        run = self.api(
            lambda client: client.create_flow_run_from_deployment(
                found.id,
                parameters=dict(parameters),
                tags=list(tags),
                state=Scheduled(scheduled_time=datetime.now(UTC) + timedelta(days=1)),
            )
        )
        return str(run.id)

    def release(self, *job_ids: str) -> None:
        """Let a worker take the jobs up now. Also: retry jobs that have ended."""
        for job_id in job_ids:
            self.set_state(job_id, Scheduled())

    def start(self, parameters: Mapping[str, Any], deployment: str = "pro-video/local") -> str:
        """Start a job at once; its id."""
        job_id = self.prepare(parameters, deployment)
        self.release(job_id)
        return job_id

    def cancel(self, job_id: str) -> None:
        """Cancel as the button of the Prefect UI does."""
        self.set_state(job_id, Cancelling())

    def crash(self, job_id: str) -> None:
        """Take a job's worker for lost, as the automation does; the job is scheduled anew."""
        self.set_state(job_id, Crashed(), force=True)

    def set_state(self, job_id: str, state: State[Any], *, force: bool = False) -> None:
        """Set the state of a job."""
        self.api(lambda client: client.set_flow_run_state(UUID(job_id), state, force))

    def make_pool(self, pool: str, *flows: str) -> None:
        """Make a work pool beside the shared one, and for each flow a deployment of the pool's
        name whose runs go to it."""
        self.api(
            lambda client: client.create_work_pool(WorkPoolCreate(name=pool, type="pro-video"))
        )
        for flow in flows:
            self.api(partial(_deploy, flow=flow, pool=pool))

    def plan_faults(self, provider: str, *faults: Mapping[str, Any]) -> None:
        """Add faults behind those that are planned already."""
        self.stack.add_faults(provider, list(faults))

    # Following

    def run(self, job_id: str) -> FlowRun:
        return self.api(lambda client: client.read_flow_run(UUID(job_id)))

    def state(self, job_id: str) -> State[Any]:
        state = self.run(job_id).state
        assert state is not None
        return state

    def finish(
        self,
        job_ids: Iterable[str],
        *,
        follow: Collection[str] = (),
        prepared: Sequence[str] = (),
    ) -> dict[str, Followed]:
        """Wait for the end of all jobs; the progress of those to ``follow``.

        A job that crashed has not ended: it is taken up again.

        Args:
            job_ids: jobs that were started.
            follow: jobs whose progress is read.
            prepared: further jobs, to be released a few at a time.
        """
        seen = {job_id: Followed() for job_id in follow}
        later = list(prepared)
        waiting = set(job_ids)
        deadline = time.monotonic() + JOB_SECONDS
        while True:
            # States first, so that the last read of an ended job has its last progress.
            waiting = self.unfinished(waiting)
            while later and len(waiting) < _AT_ONCE:
                waiting.add(later[0])
                self.release(later.pop(0))
            self.read_progress(seen)
            if not waiting:
                return seen
            assert time.monotonic() < deadline, (
                f"jobs do not end: {[f'{each}: {self.state(each)!r}' for each in sorted(waiting)]}"
                f"\n{self.stack.tail()}"
            )
            time.sleep(_PAUSE_SECONDS)

    def states(self, job_ids: Iterable[str]) -> dict[str, str]:
        """The state types of at most 200 jobs."""
        return self._of_each(job_ids, "state_type")

    def state_names(self, job_ids: Iterable[str]) -> dict[str, str]:
        """The names of the states of at most 200 jobs."""
        return self._of_each(job_ids, "state_name")

    def _of_each(self, job_ids: Iterable[str], member: str) -> dict[str, str]:
        runs = {"id": {"any_": sorted(job_ids)}}
        return {row["id"]: row[member] for row in self.rows("/flow_runs/filter", flow_runs=runs)}

    def unfinished(self, job_ids: Iterable[str]) -> set[str]:
        """Those of the jobs that have not ended."""
        return {job_id for job_id, state in self.states(job_ids).items() if state not in FINAL}

    def read_progress(self, seen: Mapping[str, Followed]) -> None:
        """Read the progress of jobs, and add it to earlier readings."""
        if not seen:
            return
        for artifact in self.artifacts("pro-video-progress", *seen):
            followed = seen[artifact["flow_run_id"]]
            followed.artifacts.add(artifact["id"])
            followed.percents.append(float(artifact["data"]))

    def until_state(self, job_id: str, name: str, seconds: float = 300) -> None:
        """Wait until a job's state has a name."""
        wait_until(
            lambda: self.state(job_id).name == name,
            seconds,
            f"{job_id} shows the state {name}",
            pause=_PAUSE_SECONDS,
        )

    def until_accepted(self, provider: str, job_id: str, seconds: float = 300) -> dict[str, Any]:
        """Wait until a provider has taken a job; the audit's entry of it."""
        wait_until(
            lambda: bool(self.audit(provider, job_id)),
            seconds,
            f"{provider} takes {job_id}",
            pause=_PAUSE_SECONDS / 2,
        )
        return self.audit(provider, job_id)[0]

    # Reading

    def history(self, job_id: str) -> list[State[Any]]:
        """The states of a run in their order."""
        states = self.api(lambda client: client.read_flow_run_states(UUID(job_id)))
        return sorted(states, key=lambda state: state.timestamp)

    def history_of(self, job_id: str) -> RunHistory:
        """The retries and losses of a job, as the product counts them."""
        return RunHistory.of(self.history(job_id))

    def result(self, job_id: str) -> JobResult:
        """The flow's result."""
        # Read from the bucket by hand: Prefect's own way leaves connections open in this process.
        data = self.state(job_id).data
        stored = self.object(f"results/{data.storage_key}")
        found: object = CompressedJSONSerializer().loads(stored)
        assert isinstance(found, JobResult), found
        return found

    def artifacts(self, key: str, *job_ids: str) -> list[dict[str, Any]]:
        """Artifacts of jobs with a key."""
        wanted = {"key": {"any_": [key]}, "flow_run_id": {"any_": list(job_ids)}}
        return self.rows("/artifacts/filter", artifacts=wanted)

    def subflows(self, job_id: str) -> list[FlowRun]:
        """Runs that a job started as a part of itself."""
        found = self.rows("/flow_runs/filter", flow_runs={"parent_flow_run_id": {"any_": [job_id]}})
        return [FlowRun.model_validate(row) for row in found]

    def log(self, *run_ids: str) -> list[str]:
        """The log lines of runs."""
        found = self.rows(
            "/logs/filter",
            logs={"flow_run_id": {"any_": list(run_ids)}},
            sort="TIMESTAMP_ASC",
        )
        return [line["message"] for line in found]

    def audit(self, provider: str, job_id: str) -> list[dict[str, Any]]:
        """The entries of one job in an emulator's audit, oldest first."""
        return [
            entry
            for entry in self.stack.control(provider, "audit")["jobs"]
            if job_id in (entry["reference"] or "")
        ]

    def paid(self, job_id: str) -> dict[str, tuple[int, int]]:
        """Accepted and billed attempts of one job at each provider."""
        found = {}
        for provider in ("sync_so", "ghostcut"):
            entries = self.audit(provider, job_id)
            found[provider] = (len(entries), sum(entry["billed"] for entry in entries))
        return found

    def objects(self, job_id: str) -> dict[str, int]:
        """Names and sizes of the objects in a job's folder."""
        prefix = f"jobs/{job_id}/"
        answer = self.s3.list_objects_v2(Bucket=self.stack.bucket, Prefix=prefix)
        return {
            entry["Key"].removeprefix(prefix): entry["Size"] for entry in answer.get("Contents", [])
        }

    def object(self, key: str) -> bytes:
        body: bytes = self.s3.get_object(Bucket=self.stack.bucket, Key=key)["Body"].read()
        return body

    def report(self, job_id: str) -> dict[str, Any]:
        """``job.json``."""
        found: dict[str, Any] = json.loads(self.object(f"jobs/{job_id}/job.json"))
        return found

    def put(self, key: str, data: bytes) -> str:
        """Store an object; its address."""
        self.s3.put_object(Bucket=self.stack.bucket, Key=key, Body=data)
        return f"s3://{self.stack.bucket}/{key}"


def _deploy(client: SyncPrefectClient, *, flow: str, pool: str) -> None:
    shared = client.read_deployment_by_name(f"{flow}/local")
    client.create_deployment(
        flow_id=shared.flow_id,
        name=pool,
        entrypoint=shared.entrypoint,
        parameter_openapi_schema=shared.parameter_openapi_schema,
        work_pool_name=pool,
        pull_steps=[],
    )
