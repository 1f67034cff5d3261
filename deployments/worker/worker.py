"""The worker type ``pro-video``: ``prefect worker start --pool pro-video``."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any
from uuid import UUID

import httpx
from prefect import Flow
from prefect.exceptions import Abort, InfrastructureNotAvailable, InfrastructureNotFound
from prefect.flows import load_flow_from_entrypoint
from prefect.states import Failed
from prefect.utilities.engine import propose_state
from prefect.workers.base import (
    BaseJobConfiguration,
    BaseVariables,
    BaseWorker,
    BaseWorkerResult,
)
from pydantic import Field

# Prefect loads a flow with the working directory first on the module path. A package of that name
# there is not ours; one that is imported already is not looked for.
import flows  # noqa: F401
from deployments.worker.job_runner import JobRunner
from deployments.worker.loop_lag import watch_loop
from deployments.worker.lost_jobs import (
    fail_if_lost_too_often,
    take_up_left_jobs,
    take_up_lost_jobs,
    taken_here,
)
from deployments.worker.parked_jobs import ParkedJobs
from deployments.worker.process_identity import this_process, token_in
from deployments.worker.settings import get_worker_settings
from deployments.worker.signals import stopped_by_signals
from pro_video.core.errors import StorageRefused, TransientError
from pro_video.core.retrying import keep_running
from pro_video.core.settings import Settings, get_settings
from pro_video.core.stopping import StopReason
from pro_video.records import Cleaned
from tasks.connections.bucket_proof import prove_stores

if TYPE_CHECKING:
    import anyio.abc
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import FlowRun, State


_LOCAL_FILES = Field(
    default=False,
    title="Allow local files",
    description="May jobs name files on the worker's disk? For one trusted user only.",
)
_PRIVATE_ADDRESSES = Field(
    default=False,
    title="Allow private addresses",
    description="May sources and results come from addresses that are not public?",
)


# Runs that this process starts at the same time.
_MOST_STARTS = 4


class ProVideoJobConfiguration(BaseJobConfiguration):
    """Permissions of a pool's jobs, which share the worker's process, environment and user."""

    allow_local_files: bool = _LOCAL_FILES
    allow_private_addresses: bool = _PRIVATE_ADDRESSES

    def settings(self) -> Settings:
        """The worker's settings, with the permissions that the pool adds."""
        own = get_settings()
        return own.model_copy(
            update={
                "allow_local_files": own.allow_local_files or self.allow_local_files,
                "allow_private_addresses": own.allow_private_addresses
                or self.allow_private_addresses,
            }
        )


class ProVideoVariables(BaseVariables):
    """Job variables of a work pool, or of one deployment in it."""

    allow_local_files: bool = _LOCAL_FILES
    allow_private_addresses: bool = _PRIVATE_ADDRESSES


class ProVideoWorkerResult(BaseWorkerResult):
    """The exit status of a job: 0 also for a failed one, whose flow run has the reason."""


class ProVideoWorker(BaseWorker[ProVideoJobConfiguration, ProVideoVariables, ProVideoWorkerResult]):
    """Runs flow runs as coroutines of its own process.

    Without a process per run, the worker itself loads the flow from the deployment's entrypoint,
    stops a cancelled run at once, and hands its jobs over when it stops.
    """

    type = "pro-video"
    job_configuration = ProVideoJobConfiguration
    job_configuration_variables = ProVideoVariables
    _description = "Runs Pro Video jobs as coroutines of one process."
    _display_name = "Pro Video"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._settings = get_worker_settings()
        self._runner: JobRunner | None = None
        self._watches: list[asyncio.Task[None]] = []
        self._woken = asyncio.Event()
        self._starts = asyncio.Semaphore(_MOST_STARTS)
        self._proven = False

    @property
    def runner(self) -> JobRunner:
        """The running jobs.

        Raises:
            RuntimeError: the worker is not set up.
        """
        if self._runner is None:
            raise RuntimeError("The worker is not set up")
        return self._runner

    async def start(self, *args: Any, **kwargs: Any) -> None:
        with stopped_by_signals():
            await super().start(*args, **kwargs)

    async def setup(self) -> None:
        loop = asyncio.get_running_loop()
        parked = ParkedJobs(
            self._work_pool_name,
            self.name,
            on_wake=lambda: loop.call_soon_threadsafe(self._woken.set),
        )
        self._runner = JobRunner(
            cancel_poll_seconds=self._settings.cancel_poll_seconds, parked=parked
        )
        self._runner.start()
        await super().setup()
        try:
            await self._stores_are_proven()
        except StorageRefused as error:
            await self.teardown(None, None, None)
            raise SystemExit(f"The worker does not start: {error.message}") from None
        await take_up_lost_jobs(self._work_pool_name)
        left = partial(take_up_left_jobs, self._work_pool_name, self._is_here)
        watches: dict[str, Callable[[], Awaitable[None]]] = {
            "The watch of jobs that nobody works on": left,
            "The start of woken jobs": self._start_woken,
            "The watch of the worker's loop": partial(watch_loop, "the worker"),
        }
        self._watches = [
            asyncio.create_task(keep_running(name, watch)) for name, watch in watches.items()
        ]

    async def teardown(self, *exc_info: Any) -> None:
        for watch in self._watches:
            watch.cancel()
        if self._runner is not None:
            await self._runner.close(grace_seconds=self._settings.grace_seconds)
        await super().teardown(*exc_info)

    async def get_and_submit_flow_runs(self) -> list[FlowRun]:
        try:
            proven = await self._stores_are_proven()
        except StorageRefused as error:
            self._logger.error("The worker takes no jobs: %s", error.message)
            proven = False
        return await super().get_and_submit_flow_runs() if proven else []

    async def _start_woken(self) -> None:
        """Read the queue at once when a parked job was scheduled for now."""
        while True:
            await self._woken.wait()
            self._woken.clear()
            try:
                await self.get_and_submit_flow_runs()
            except httpx.HTTPError as error:
                self._logger.debug("Could not read the queue: %s", type(error).__name__)

    async def _stores_are_proven(self) -> bool:
        """Have the buckets passed the checks that jobs rely on? They are repeated until then.

        Raises:
            StorageRefused: with the failed check.
        """
        if not self._proven:
            try:
                await prove_stores(self.client, get_settings().block)
                self._proven = True
            except (StorageRefused, TransientError) as error:
                if isinstance(error, StorageRefused) and error.code != "block_missing":
                    raise
                self._logger.warning("The worker takes no jobs yet: %s", error.message)
        return self._proven

    async def _propose_pending_state(self, flow_run: FlowRun) -> bool:
        # Before anything that may fail again.
        if await fail_if_lost_too_often(self.client, flow_run):
            return False
        if await _fail_if_cleaned(self.client, flow_run):
            return False
        try:
            state = await propose_state(self.client, taken_here(), flow_run.id)
        except Abort as error:
            self._logger.info("Job %s is not taken: %s", flow_run.id, error)
            return False
        except Exception as error:  # noqa: BLE001 - whatever it is must not end the other jobs
            self._logger.warning("Job %s is not taken: %s", flow_run.id, type(error).__name__)
            return False
        return state.is_pending()

    async def _propose_submitting_state(self, flow_run: FlowRun) -> None:
        """Nothing: the pending state names this process, and the run begins at once."""

    async def _submit_run(self, flow_run: FlowRun) -> None:
        # A server on SQLite answers dozens of starts at once after minutes, or with errors that
        # crash runs.
        async with self._starts:
            try:
                await super()._submit_run(flow_run)
            except httpx.HTTPError as error:
                # The run is still scheduled; an exception would end the worker with all its jobs.
                self._logger.warning("Job %s is not taken: %s", flow_run.id, error)
                self._release_limit_slot(flow_run.id)
            finally:
                self._submitting_flow_run_ids.discard(flow_run.id)

    def _is_here(self, flow_run_id: UUID) -> bool:
        return flow_run_id in self._submitting_flow_run_ids or flow_run_id in self.runner.running

    async def run(
        self,
        flow_run: FlowRun,
        configuration: ProVideoJobConfiguration,
        task_status: anyio.abc.TaskStatus[Any] | None = None,
    ) -> ProVideoWorkerResult:
        """Run one flow run to its end, or until it is handed over."""
        deployment = await self.client.read_deployment(_deployment_id(flow_run))
        if deployment.entrypoint is None:
            raise ValueError(f"The deployment {deployment.name!r} has no entrypoint")
        flow = _load_flow(deployment.entrypoint)
        identifier = f"{this_process().place}:{flow_run.id}"
        future = self.runner.submit(flow, flow_run, configuration.settings())
        if task_status is not None:
            task_status.started(identifier)
        await asyncio.wrap_future(future)
        return ProVideoWorkerResult(status_code=0, identifier=identifier)

    async def kill_infrastructure(
        self,
        infrastructure_pid: str,
        configuration: ProVideoJobConfiguration,
        grace_seconds: int = 30,
    ) -> None:
        """Stop a job that was cancelled before it began."""
        place, _, flow_run_id = infrastructure_pid.rpartition(":")
        if token_in(place) != this_process().token:
            raise InfrastructureNotAvailable(f"The job runs in another worker: {place}")
        if not self.runner.stop(UUID(flow_run_id), StopReason.CANCELLED):
            raise InfrastructureNotFound("The job does not run here any more")


async def _fail_if_cleaned(client: PrefectClient, flow_run: FlowRun) -> bool:
    """Fail a run whose job's files were removed; True when that was done.

    The flow refuses as well, but its end leaves an object that no cleanup finds any more.
    """
    cleaned = Cleaned.of(flow_run.labels)
    if cleaned is None:
        return False
    failed: State[Any] = Failed(message=f"Not begun: {cleaned.refusal}")
    try:
        await client.set_flow_run_state(flow_run.id, failed)
    except httpx.HTTPError:
        return False
    return True


def _deployment_id(flow_run: FlowRun) -> UUID:
    if flow_run.deployment_id is None:
        raise ValueError("This worker runs deployments only")
    return flow_run.deployment_id


@lru_cache(maxsize=64)
def _load_flow(entrypoint: str) -> Flow[..., Any]:
    return load_flow_from_entrypoint(entrypoint, use_placeholder_flow=False)
