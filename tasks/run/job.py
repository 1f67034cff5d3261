"""The job that the running flow or task belongs to."""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from prefect import get_client, get_run_logger
from prefect.context import FlowRunContext
from prefect.runtime import flow_run

from pro_video.core.clock import SYSTEM_CLOCK, Clock
from pro_video.core.errors import FilesRemoved
from pro_video.core.job_names import BUCKET_LABEL, JobKeys
from pro_video.core.job_warning import JobWarning
from pro_video.core.redaction import redact
from pro_video.records import Cleaned, Findings
from tasks.connections.connections import connections, stay_in
from tasks.connections.prefect_queries import read_history, read_labels, write_labels
from tasks.run.job_state import JobState
from tasks.run.progress import ProgressReporter
from tasks.run.send_evidence import SendEvidence
from tasks.run.turns import Turn


@dataclass(frozen=True)
class Job:
    """One run of a flow, or the part of it that is a subflow.

    Attributes:
        job_id: id of the outermost flow run.
        run_id: id of the flow run that executes now; differs from ``job_id`` in a subflow.
        keys: names of the job's objects.
        reporter: writes its progress to Prefect.
        state: the facts of the job so far.
        clock: source of time.
        turn: held while this process works for the job, and released while it waits.
        evidence: of sends by the job's earlier processes.
    """

    job_id: str
    run_id: str
    keys: JobKeys
    reporter: ProgressReporter
    state: JobState
    clock: Clock
    turn: Turn = field(default_factory=Turn)
    evidence: SendEvidence = field(default_factory=SendEvidence)

    @property
    def is_subflow(self) -> bool:
        return self.job_id != self.run_id

    async def begin(self) -> None:
        """Read what earlier processes have shown of this job, and find its bucket.

        A job that was at work at several losses waits until no other such job is at work.

        Raises:
            FilesRemoved: the cleanup has removed files of the job.
            StorageRefused: the job began in another bucket than the one that the blocks name now.
            DiedTooOften: the workers of this job were lost again and again.
            Stopped: the job was cancelled or is handed over.
        """
        self.evidence.began_at = self.clock.monotonic()
        self.evidence.labels = await read_labels(self.job_id)
        cleaned = Cleaned.of(self.evidence.labels)
        if cleaned is not None:
            # Before anything is bought or written, see tasks.cleanup.remove.
            raise FilesRemoved(cleaned.refusal)
        place = self.evidence.labels.get(BUCKET_LABEL)
        if not isinstance(place, str) or not place:
            place = (await connections()).storage.place
            await write_labels(self.job_id, {BUCKET_LABEL: place})
        else:
            # An earlier process has begun with the job, and may have shown progress.
            await self.reporter.resume()
        stay_in(place)
        self.state.bucket = (await connections()).storage.bucket
        async with get_client() as client:
            history = await read_history(client, self.job_id)
        history.check()
        self.evidence.starts, self.state.retries = history.starts, history.retries
        self.evidence.parked_in = history.parked_in
        self.state.woken = history.woken_in is not None
        self.reporter.was_lost = history.losses > 0
        # A job that has lost a worker shows all its stages, so that its losses can be counted.
        self.reporter.woken_in = None if history.losses or history.retries else history.woken_in
        if history.suspect:
            self.turn.needed = True
            await self.turn.take()

    async def warn(self, stage: str, warnings: Sequence[JobWarning]) -> None:
        """Set the warnings of a stage: logged once, and shown in every view of the job.

        Args:
            stage: ``request``, or the step that a result is of.
            warnings: replace the earlier ones; may be none.
        """
        self.state.warn(stage, warnings)
        for warning in self.state.warnings[stage]:
            if warning not in self.state.shown.warnings:
                get_run_logger().warning(
                    "Job %s: %s: %s", self.job_id, warning.stage, warning.message
                )
        await self.show(Findings(warnings=self.state.all_warnings(), estimate=self.state.estimate))

    async def show(self, findings: Findings) -> None:
        """Show findings in a label of the run, before the report exists and where none is read."""
        if findings != self.state.shown:
            self.state.shown = findings
            shown = findings.model_dump_json(exclude_defaults=True)
            await self.reporter.facts({"findings": shown})

    def log_unexpected(self, error: Exception) -> str:
        """Log a traceback; return the exception's type and text without secrets."""
        shown = redact(f"{type(error).__name__}: {error}")
        # Without the last line of the usual form, which quotes the text unredacted.
        frames = "".join(traceback.format_tb(error.__traceback__))
        get_run_logger().error("Job %s: unexpected %s\n%s", self.job_id, shown, frames)
        return shown

    def now(self) -> datetime:
        """The time, with its zone."""
        return datetime.fromtimestamp(self.clock.time(), UTC)


_current: contextvars.ContextVar[Job | None] = contextvars.ContextVar("pro_video_job", default=None)


def current_job() -> Job:
    """The job of the running flow.

    Raises:
        LookupError: outside of :func:`running_job`.
    """
    job = _current.get()
    if job is None:
        raise LookupError("no job is running here")
    return job


@contextlib.contextmanager
def running_job(clock: Clock = SYSTEM_CLOCK) -> Iterator[Job]:
    """Make the job of the running flow run the current one, for the body of a flow.

    A subflow belongs to the job of its caller.

    Raises:
        RuntimeError: no flow run is running.
    """
    run_id = flow_run.id
    if run_id is None:
        raise RuntimeError("a job exists only inside of a flow run")
    parent = _current.get()
    shown: contextlib.AbstractContextManager[object] = contextlib.nullcontext()
    if parent is None:
        job = Job(
            job_id=run_id,
            run_id=run_id,
            keys=JobKeys(run_id),
            reporter=ProgressReporter(run_id, clock=clock),
            state=JobState(created_at=_created_at(clock), shown=_shown_findings()),
            clock=clock,
        )
    else:
        job = dataclasses.replace(parent, run_id=run_id)
        shown = parent.reporter.showing_on(run_id)
    token = _current.set(job)
    try:
        with shown:
            yield job
    finally:
        _current.reset(token)
        if parent is None:
            job.turn.release()


def _shown_findings() -> Findings:
    """The findings that an earlier process of the running job has shown in its label."""
    context = FlowRunContext.get()
    run = context.flow_run if context is not None else None
    return Findings() if run is None else Findings.of(run.labels)


def _created_at(clock: Clock) -> datetime:
    context = FlowRunContext.get()
    if context is not None and context.flow_run is not None and context.flow_run.created:
        return context.flow_run.created
    return datetime.fromtimestamp(clock.time(), UTC)
