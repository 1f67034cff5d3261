"""Runs flow runs as coroutines of one event loop in a separate thread, and stops them on demand.

The loop is not the worker's, so that a busy job never delays the worker's polling and heartbeat.
On the main thread, Prefect's flow engine would also replace the worker's handler of SIGTERM.
"""

from __future__ import annotations

import asyncio
import copy
import logging
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID

import httpx
from prefect import Flow, get_client
from prefect._flow_run_suspension import (
    is_suspended_flow_run_state,
    mark_flow_run_suspension_requested,
)
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateName,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.context import AsyncClientContext, SettingsContext, get_settings_context
from prefect.events import emit_event
from prefect.exceptions import ParameterBindError
from prefect.settings import (
    PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
    get_current_settings,
    temporary_settings,
)
from prefect.utilities.callables import get_call_parameters

from deployments.automations import PARKED
from deployments.worker.callbacks import listen_for_callbacks
from deployments.worker.engine import Heartbeats, JobEngine
from deployments.worker.loop_lag import watch_loop
from deployments.worker.parked_jobs import ParkedJobs
from deployments.worker.settings import HEARTBEAT_SECONDS
from pro_video.core.errors import ProVideoError
from pro_video.core.progress import Stage
from pro_video.core.retrying import keep_running
from pro_video.core.settings import Settings, get_settings, use_settings
from pro_video.core.stopping import StopReason, StopSignal, use_stop
from tasks.connections.connections import connections
from tasks.connections.run_history import parked_in
from tasks.run.cancelled import end_cancelled, was_parked
from tasks.run.ending import AlreadyCompleted
from tasks.webhooks.watch import watch_ends

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import FlowRun, State

logger = logging.getLogger("prefect.workers.pro_video")

# One page of the API; the next poll takes the rest.
_PAGE = 200
_CANCEL_SECONDS = 3.0
# As often as Prefect's own engine looks.
_SUSPENSION_POLL_SECONDS = 10.0
_MOST_CHECKED = 10_000
# The end of a flow as Prefect's engine logs it when the run is only put back into the queue.
_PUT_BACK = tuple(
    f"Finished in state {name}("
    for name in ("AwaitingRetry", *(stage.value.name for stage in Stage if stage.waits))
)


def heartbeat() -> int:
    """Pause between two heartbeats of a job in seconds.

    A longer one in Prefect's settings is ignored: the automations that notice lost workers would
    take every job for lost.
    """
    configured = get_current_settings().flows.heartbeat_frequency
    return HEARTBEAT_SECONDS if configured is None else min(configured, HEARTBEAT_SECONDS)


async def _with_records(flow: Flow[..., Any]) -> Flow[..., Any]:
    """The flow with the process's own client for its result; Prefect would read a block for it."""
    try:
        records = (await connections()).records
    except (ProVideoError, httpx.HTTPError):
        # The run says so in its own way.
        return flow
    own = copy.copy(flow)
    own.result_storage = records
    return own


class JobRunner:
    """The jobs of one worker process.

    Args:
        cancel_poll_seconds: pause between two requests for cancelled runs, each for all jobs.
        parked: looks for the jobs that leave this process to wait; without it none leaves.
    """

    def __init__(self, *, cancel_poll_seconds: float, parked: ParkedJobs | None = None) -> None:
        self._cancel_poll_seconds = cancel_poll_seconds
        self._parked = parked
        self._checked: set[UUID] = set()
        self._stops: dict[UUID, StopSignal] = {}
        self._futures: dict[UUID, Future[State[Any]]] = {}
        self._lock = threading.Lock()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="pro-video-jobs", daemon=True)
        self._watchers: list[Future[None]] = []
        self._heartbeats = Heartbeats(heartbeat())
        with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
            # The engine of a subflow would start a thread for heartbeats that nothing expects.
            self._settings = get_settings_context()
        self._client: asyncio.Future[AsyncClientContext] | None = None

    def start(self) -> None:
        """Start the thread, its event loop, and the tasks that serve all jobs."""
        _log_parking_as_information()
        self._thread.start()
        watches: dict[str, Callable[[], Awaitable[None]]] = {
            "The watch of cancelled runs": self._watch_cancellations,
            "The watch of suspended runs": self._watch_suspensions,
            "The listener to callbacks": listen_for_callbacks,
            "The watch of ended runs": watch_ends,
            "The watch of the jobs' loop": partial(watch_loop, "the jobs"),
        }
        if self._parked is not None:
            watches |= {
                "The listener to callbacks": partial(
                    listen_for_callbacks, wake_parked=self._parked.wake
                ),
                "The watch of parked jobs": self._parked.watch,
            }
        self._watchers = [
            asyncio.run_coroutine_threadsafe(keep_running(name, watch), self._loop)
            for name, watch in watches.items()
        ]

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            self._loop.run_until_complete(self._cancel_all())
            self._loop.close()

    async def _cancel_all(self) -> None:
        # The remaining tasks are watchers, and jobs that did not stop in time.
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=_CANCEL_SECONDS)
        await asyncio.get_running_loop().shutdown_asyncgens()
        # Closed transports release their sockets in the loop's next round.
        await asyncio.sleep(0)

    def submit(
        self, flow: Flow[..., Any], flow_run: FlowRun, settings: Settings | None = None
    ) -> Future[State[Any]]:
        """Run a flow run in the thread's loop; the future holds its final (or handed over) state.

        A run that is here already continues. It comes a second time when its heartbeats did not
        reach the server, which took it for lost.
        """
        stop = StopSignal(may_park=self._parked is not None)
        with self._lock:
            present = self._futures.get(flow_run.id)
            if present is not None:
                logger.info("Job %s runs here already and continues", flow_run.id)
                return present
            self._stops[flow_run.id] = stop
            future = asyncio.run_coroutine_threadsafe(
                self._execute(flow, flow_run, stop, settings or get_settings()), self._loop
            )
            self._futures[flow_run.id] = future
        future.add_done_callback(lambda _: self._forget(flow_run.id))
        return future

    async def _execute(
        self, flow: Flow[..., Any], flow_run: FlowRun, stop: StopSignal, settings: Settings
    ) -> State[Any]:
        # Fills in defaults that are pydantic fields; the engine alone would pass the field objects.
        try:
            parameters = get_call_parameters(flow.fn, (), flow_run.parameters)
        except ParameterBindError:
            # A missing or unknown parameter: the engine says so in the run's final state.
            parameters = flow_run.parameters
        # The engine and all calls of the job use this client, and make no other.
        AsyncClientContext.__var__.set(await self._shared_client())
        with (
            use_stop(stop),
            use_settings(settings),
            SettingsContext(profile=self._settings.profile, settings=self._settings.settings),
        ):
            engine = JobEngine(
                flow=await _with_records(flow), flow_run=flow_run, parameters=parameters
            )
            try:
                with self._heartbeats.of(engine):
                    state = await engine.run()
            except AlreadyCompleted as over:
                logger.info("Job %s was completed by another process", flow_run.id)
                return over.state
        if self._parked is not None and parked_in(state) is not None:
            _tell_parked(flow_run)
            self._parked.add(flow_run.id)
        elif state.is_cancelling():
            # The cancel came when the job was about to leave this process.
            async with get_client() as client:
                await end_cancelled(client, await client.read_flow_run(flow_run.id))
        return state

    async def _shared_client(self) -> AsyncClientContext:
        """The client of all jobs, which has a bounded number of connections.

        Raises:
            httpx.HTTPError: Prefect does not answer.
        """
        if self._client is None:
            self._client = asyncio.get_running_loop().create_future()
            self._holder = asyncio.create_task(self._hold_client(self._client))
        return await asyncio.shield(self._client)

    async def _hold_client(self, opened: asyncio.Future[AsyncClientContext]) -> None:
        # A context has to be left by the task that entered it.
        try:
            async with AsyncClientContext() as context:
                opened.set_result(context)
                await asyncio.Event().wait()
        except Exception as error:  # noqa: BLE001 - the jobs that wait for it get it
            self._client = None
            opened.set_exception(error)

    def _forget(self, flow_run_id: UUID) -> None:
        with self._lock:
            self._stops.pop(flow_run_id, None)
            self._futures.pop(flow_run_id, None)

    def stop(self, flow_run_id: UUID, reason: StopReason) -> bool:
        """Ask one job to stop; True when it runs here."""
        with self._lock:
            signal = self._stops.get(flow_run_id)
        if signal is None:
            return False
        signal.set(reason)
        return True

    @property
    def running(self) -> frozenset[UUID]:
        """Ids of the flow runs that run here."""
        with self._lock:
            return frozenset(self._stops)

    async def _watch_cancellations(self) -> None:
        # Unlike a subscription to events, reading the states misses no cancellation.
        async with get_client() as client:
            while True:
                await asyncio.sleep(self._cancel_poll_seconds)
                if not self.running and not self._parked:
                    continue
                try:
                    for run in await self._cancelling(client):
                        if not self.stop(run.id, StopReason.CANCELLED):
                            await self._end_if_parked(client, run)
                except httpx.HTTPStatusError as error:
                    logger.warning("Prefect refuses to list cancelled runs: %s", error)
                except httpx.HTTPError as error:
                    # The server is away: jobs continue, and the next request is soon.
                    logger.debug("Could not read the cancelled runs: %s", type(error).__name__)

    async def _end_if_parked(self, client: PrefectClient, run: FlowRun) -> None:
        """End a cancelled job that no process works on; Prefect only marks it."""
        if run.state is None or run.state.id in self._checked:
            return
        if self._parked is None or not self._parked.answers_for(run):
            return
        if await was_parked(client, run):
            # In a context of its own, which is bound to the job's bucket.
            await asyncio.create_task(end_cancelled(client, run))
        if len(self._checked) > _MOST_CHECKED:
            self._checked.clear()
        self._checked.add(run.state.id)

    async def _cancelling(self, client: PrefectClient) -> list[FlowRun]:
        cancelling = FlowRunFilterStateType(any_=[StateType.CANCELLING])
        return await client.read_flow_runs(
            flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=cancelling)),
            limit=_PAGE,
        )

    async def _watch_suspensions(self) -> None:
        """Let Prefect's engine leave the runs that a user suspends, at its next boundary."""
        async with get_client() as client:
            while True:
                await asyncio.sleep(_SUSPENSION_POLL_SECONDS)
                running = list(self.running)
                for begin in range(0, len(running), _PAGE):
                    part = running[begin : begin + _PAGE]
                    try:
                        runs = await client.read_flow_runs(
                            flow_run_filter=FlowRunFilter(
                                id=FlowRunFilterId(any_=part),
                                state=FlowRunFilterState(
                                    name=FlowRunFilterStateName(any_=["Suspended"])
                                ),
                            ),
                            limit=_PAGE,
                        )
                    except httpx.HTTPError as error:
                        logger.debug("Could not read suspended runs: %s", type(error).__name__)
                        break
                    for run in runs:
                        if run.state is not None and is_suspended_flow_run_state(run.state):
                            mark_flow_run_suspension_requested(run.id, run.state)

    async def close(self, *, grace_seconds: float) -> None:
        """Hand all jobs over to the next worker, and end the thread.

        A job that does not stop within ``grace_seconds`` is left to the recovery of lost workers.
        """
        for flow_run_id in self.running:
            self.stop(flow_run_id, StopReason.HANDOVER)
        with self._lock:
            pending = [asyncio.wrap_future(future) for future in self._futures.values()]
        if pending:
            _, late = await asyncio.wait(pending, timeout=grace_seconds)
            if late:
                logger.warning("%d jobs did not stop in time", len(late))
        self._heartbeats.stop()
        for watcher in self._watchers:
            watcher.cancel()
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            await asyncio.to_thread(self._thread.join, _CANCEL_SECONDS + 2)


def _tell_parked(flow_run: FlowRun) -> None:
    """Tell the automations that notice lost workers to expect no heartbeat."""
    emit_event(
        event=PARKED,
        resource={"prefect.resource.id": f"prefect.flow-run.{flow_run.id}"},
        related=[
            {
                "prefect.resource.id": f"prefect.deployment.{flow_run.deployment_id}",
                "prefect.resource.role": "deployment",
            }
        ],
    )


def _log_parking_as_information() -> None:
    """Prefect's engine logs each end that is not Completed as an error."""
    engine = logging.getLogger("prefect.flow_runs")
    if _at_its_level not in engine.filters:
        engine.addFilter(_at_its_level)


def _at_its_level(record: logging.LogRecord) -> bool:
    if record.levelno == logging.ERROR and str(record.msg).startswith(_PUT_BACK):
        record.levelno, record.levelname = logging.INFO, "INFO"
    return True
