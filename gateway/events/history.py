"""The events of one job for its listeners: Prefect's states in their order, and the progress of
the present one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import Field

from gateway.jobs.views import JobSummary, Status, View, summary
from gateway.prefect_client.runs import Run, RunState
from gateway.status.status_reader import Snapshot
from pro_video.core.job_warning import JobWarning
from pro_video.core.progress import Stage

_START = {stage.value.name: stage.value.start for stage in Stage}
_ID = re.compile(r"(?P<state>[0-9a-f-]{36})\.(?P<progress>[0-9]{1,3})\.(?P<status>[a-z]{1,20})\Z")


class JobEvent(View):
    """The content of a job's event; each field as in the view of the job."""

    job_id: str
    status: Status
    stage: str | None
    progress: int = Field(ge=0, le=100)
    message: str
    warnings: list[JobWarning]
    rejected_key: str | None
    fallback_key: str | None
    timestamp: datetime = Field(description="When the job came into this state.")


@dataclass(frozen=True)
class Moment:
    """One event: the state of a job at a time.

    Attributes:
        state_id: Prefect's id of the state.
        view: the content for clients.
        at: when it began.
    """

    state_id: str
    view: JobSummary
    at: datetime

    @property
    def id(self) -> str:
        """The event's id, from which the next one is known."""
        return f"{self.state_id}.{self.view.progress}.{self.view.status}"

    @property
    def is_final(self) -> bool:
        """Has the job ended?"""
        return self.view.status != "processing"

    def data(self) -> dict[str, Any]:
        """The event's data."""
        event = JobEvent(
            job_id=self.view.job_id,
            status=self.view.status,
            stage=self.view.stage,
            progress=self.view.progress,
            message=self.view.message,
            warnings=self.view.warnings,
            rejected_key=self.view.rejected_key,
            fallback_key=self.view.fallback_key,
            timestamp=self.at,
        )
        return event.model_dump(mode="json")


class History:
    """The states of one job; grows by :meth:`take`."""

    def __init__(self) -> None:
        self._run: Run | None = None
        self._states: list[RunState] = []
        self._percent = 0.0

    @property
    def state_id(self) -> str | None:
        """Id of the present state."""
        return str(self._states[-1].id) if self._states else None

    @property
    def run(self) -> Run | None:
        """The run as it was read last."""
        return self._run

    @property
    def current(self) -> Moment:
        """The job now."""
        return self._moment(self._states[-1], self._percent)

    def take(self, run: Run, states: Sequence[RunState], percent: float) -> list[Moment]:
        """Take in what was read; returns what is new in it, in its order.

        Args:
            run: the run with its present state.
            states: all of its states; may be empty when its present state is known.
            percent: of its progress artifact.
        """
        before = self.current if self._states else None
        known = {state.id for state in self._states}
        ordered = sorted(states, key=lambda state: state.timestamp)
        if ordered and run.state.id not in {state.id for state in ordered}:
            # The list is a moment older or younger than the run.
            ordered.append(run.state)
        if ordered:
            self._states = ordered
        elif not self._states:
            self._states = [run.state]
        self._run = run
        self._percent = max(percent, self._percent)
        new = (
            []
            if before is None
            else self._passed(
                index for index, state in enumerate(self._states[:-1]) if state.id not in known
            )
        )
        now = self.current
        if before is None or now.id != before.id:
            new.append(now)
        return new

    def since(self, last_event_id: str | None) -> list[Moment]:
        """The events that a listener has missed: all after the one of that id.

        Without an id it is the present moment alone. After an id that is none of this job it is
        everything, so that nothing is missed.
        """
        if not last_event_id:
            return [self.current]
        match = _ID.match(last_event_id)
        index = next(
            (i for i, one in enumerate(self._states) if match and str(one.id) == match["state"]),
            None,
        )
        first = 0 if index is None else index + 1
        missed = self._passed(range(first, len(self._states) - 1))
        now = self.current
        return missed if now.id == last_event_id else [*missed, now]

    def _passed(self, indices: Iterable[int]) -> list[Moment]:
        """Earlier states. How far they came is not known any more, only where they began; a crash
        that the job came back from is not shown."""
        return [self._past(i) for i in indices if self._states[i].type != "CRASHED"]

    def _past(self, index: int) -> Moment:
        reached = max(_START.get(one.name, 0.0) for one in self._states[: index + 1])
        return self._moment(self._states[index], min(reached, self._percent))

    def _moment(self, state: RunState, percent: float) -> Moment:
        assert self._run is not None
        run = self._run.model_copy(update={"state": state})
        shown = max(percent, _START.get(state.name, 0.0))
        return Moment(str(state.id), summary(Snapshot(run, shown)), state.timestamp)
