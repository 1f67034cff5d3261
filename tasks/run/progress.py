"""Shows a job's progress in Prefect: in the flow run's state and in one progress artifact."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any
from uuid import UUID

import httpx
from prefect import get_client
from prefect.artifacts import (
    acreate_progress_artifact,
    aupdate_progress_artifact,
)
from prefect.client.schemas.responses import SetStateStatus
from prefect.exceptions import ObjectNotFound
from prefect.states import Running

from pro_video.core.checkpoints import reach
from pro_video.core.job_names import fact_label
from pro_video.core.progress import RESULT_MESSAGE, Progress, Stage
from tasks.connections.prefect_queries import (
    PROGRESS_KEY,
    percent_in,
    read_progress,
    write_labels,
)
from tasks.webhooks.announce import announce_stage

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import State

    from pro_video.core.clock import Clock

logger = logging.getLogger("prefect.pro_video.progress")

# Seconds between two writes of the percentage within a stage, for each of a thousand jobs.
_WRITE_PAUSE = 5.0
# Seconds between two looks at the progress of work in threads.
_FOLLOW_PAUSE = 2.0
# A write that hangs must not hold up the wait for a provider.
_WRITE_TIMEOUT = 15.0

_UNREACHABLE = (httpx.HTTPError, TimeoutError, ObjectNotFound)


class ProgressReporter:
    """One job's progress, written to Prefect.

    A stage is the state of the job's flow run, and of a subflow's run while that one works. The
    percentage is one artifact, updated in place. A failed write is skipped: progress must never
    end a job.

    Args:
        job_id: id of the job's flow run.
        clock: source of time.

    Attributes:
        was_lost: the job has lost a worker before.
        woken_in: the stage in which the job was parked before this process; the stages before it
            are over and are not shown again.
    """

    def __init__(self, job_id: str, *, clock: Clock) -> None:
        self._runs = [UUID(job_id)]
        self._job_id = job_id
        self._clock = clock
        self._progress = Progress()
        self._at_work = False
        self.was_lost = False
        self.woken_in: Stage | None = None
        self._blocked_by: str | None = None
        self._artifact: UUID | None = None
        self._shown: tuple[float, str | None] | None = None
        self._written_at = float("-inf")
        self._lock = asyncio.Lock()

    @property
    def percent(self) -> float:
        """The percentage that is shown now, 0 to 100."""
        return self._progress.percent

    @property
    def current(self) -> Stage | None:
        """The stage that is shown now."""
        return self._progress.stage

    @property
    def blocked_by(self) -> str | None:
        """Why the stage cannot go on, as the state shows it."""
        return self._blocked_by

    @property
    def stage_name(self) -> str:
        """The stage's name for people."""
        return self.current.value.name if self.current else "Starting"

    @contextlib.contextmanager
    def showing_on(self, run_id: str) -> Iterator[None]:
        """Show the stages as the state of a subflow's run too."""
        run = UUID(run_id)
        self._runs.append(run)
        try:
            yield
        finally:
            self._runs.remove(run)

    @contextlib.asynccontextmanager
    async def following(self, stage: Stage, read: Callable[[], float]) -> AsyncIterator[None]:
        """Show the fraction of ``stage`` that ``read`` returns, for work in threads."""

        async def follow() -> None:
            while True:
                await self._clock.sleep(_FOLLOW_PAUSE)
                await self.fraction(stage, read())

        follower = asyncio.create_task(follow())
        try:
            yield
        finally:
            follower.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await follower

    async def resume(self) -> None:
        """Go on from the percentage that an earlier process of the same job has reached."""
        try:
            async with asyncio.timeout(_WRITE_TIMEOUT), get_client() as client:
                found = await read_progress(client, self._runs[0])
        except _UNREACHABLE as error:
            logger.warning("Could not read the earlier progress: %s", type(error).__name__)
            return
        if found is not None:
            self._artifact = found.id
            self._progress.percent = percent_in(found.data)

    async def stage(self, stage: Stage, fraction: float = 0.0) -> None:
        """Enter a stage: its name and message become the state, the percentage goes on."""
        async with self._lock:
            entering = stage is not self._progress.stage or self._at_work
            self._at_work = False
            self._blocked_by = None if entering else self._blocked_by
            self._progress.advance(stage, fraction)
            if self._is_over(stage):
                return
            if entering and stage is not Stage.COMPLETED:
                if not await self._show_state(stage):
                    self._progress.advance(Stage.COMPLETED, 0.0)
                elif stage is not self.woken_in:
                    await announce_stage(self._job_id, stage, self._progress.percent)
            await self._show_percent()

    def _is_over(self, stage: Stage) -> bool:
        return self.woken_in is not None and stage.value.start < self.woken_in.value.start

    async def at_work(self, stage: Stage) -> None:
        """Show that a step's wait is over and this process works in ``stage``.

        A stage that otherwise waits gets another message, in a job that has lost a worker before:
        from here on a loss counts against the job, see
        :class:`tasks.connections.run_history.RunHistory`.
        """
        if stage is not self._progress.stage:
            await self.stage(stage)
        async with self._lock:
            if stage.waits and self.was_lost and not self._at_work:
                self._at_work = True
                await self._show_state(stage)

    async def settle(self) -> None:
        """Show the end of a job that another process has completed: this process may have written
        its progress later, or in an artifact of its own."""
        async with self._lock:
            self._progress.advance(Stage.COMPLETED, 0.0)
            if self._artifact is not None:
                await self._show_percent()

    async def fraction(self, stage: Stage, fraction: float) -> None:
        """Move on within a stage; written at most every five seconds."""
        async with self._lock:
            if stage is not self._progress.stage:
                return
            moved = self._progress.advance(stage, fraction)
            if moved and self._clock.monotonic() - self._written_at >= _WRITE_PAUSE:
                await self._show_percent()

    async def blocked(self, reason: str | None) -> None:
        """Show in the state why the stage cannot go on; None shows that it goes on."""
        async with self._lock:
            stage = self._progress.stage
            if stage is not None and reason != self._blocked_by:
                self._blocked_by = reason
                await self._show_state(stage, reason)

    async def facts(self, facts: Mapping[str, str]) -> None:
        """Show facts of the job as labels of its flow run, before the report exists.

        Args:
            facts: nothing secret, by names such as ``sync_generation_id``.
        """
        labels = {fact_label(name): value for name, value in facts.items()}
        try:
            async with asyncio.timeout(_WRITE_TIMEOUT):
                await write_labels(self._job_id, labels)
        except _UNREACHABLE as error:
            logger.warning("Could not show the job's facts: %s", type(error).__name__)

    async def _show_state(self, stage: Stage, message: str | None = None) -> bool:
        """Show a stage, with its own message or another; False when another process has completed
        the job."""
        message = message or (RESULT_MESSAGE if self._at_work else stage.value.message)
        state: State[Any] = Running(name=stage.value.name, message=message)
        try:
            async with asyncio.timeout(_WRITE_TIMEOUT), get_client() as client:
                shown = [await self._set_state(client, run, state) for run in self._runs]
                if not shown[0]:
                    kept = (await client.read_flow_run(self._runs[0])).state
                    return kept is None or not kept.is_completed()
        except _UNREACHABLE as error:
            logger.warning("Could not show the stage: %s", type(error).__name__)
        return True

    async def _set_state(self, client: PrefectClient, run: UUID, state: State[Any]) -> bool:
        reach("progress.before-state")
        # Not forced: a run that is being cancelled keeps its state until the stop signal ends it.
        answer = await client.set_flow_run_state(run, state)
        reach("progress.state-written")
        if answer.status is not SetStateStatus.ACCEPT:
            logger.debug("The run's state was kept: %s", answer.status)
        return answer.status is SetStateStatus.ACCEPT

    async def _show_percent(self) -> None:
        stage = self._progress.stage
        description = stage.value.message if stage else None
        shown = (self._progress.percent, description)
        if shown == self._shown:
            return
        self._written_at = self._clock.monotonic()
        try:
            async with asyncio.timeout(_WRITE_TIMEOUT):
                if self._artifact is None:
                    self._artifact = await acreate_progress_artifact(
                        progress=self._progress.percent, key=PROGRESS_KEY, description=description
                    )
                else:
                    await aupdate_progress_artifact(
                        self._artifact, progress=self._progress.percent, description=description
                    )
            self._shown = shown
        except _UNREACHABLE as error:
            logger.warning("Could not show the percentage: %s", type(error).__name__)
