"""The events of one job, from Prefect's states in their order and the progress of the last one."""

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
    """The data of a job's event; each field as in the view of the job."""

    job_id: str
    status: Status
    stage: str | None
    progress: int = Field(ge=0, le=100)
    message: str
    warnings: list[JobWarning]
    rejected_key: str | None
    fallback_key: str | None
    timestamp: datetime = Field(description="Time at which the job entered this state.")


@dataclass(frozen=True)
class StreamEvent:
    """One event: a job in one of its states.

    Attributes:
        state_id: Prefect's id of the state.
        view: the job's summary.
        at: begin of the state.
    """

    state_id: str
    view: JobSummary
    at: datetime

    @property
    def id(self) -> str:
        """The event's id, from which the later events follow."""
        return f"{self.state_id}.{self.view.progress}.{self.view.status}"

    @property
    def is_final(self) -> bool:
        """True once the job has ended."""
        return self.view.status != "processing"

    def data(self) -> dict[str, Any]:
        """The event's data."""
        event = JobEvent.model_validate({**self.view.model_dump(), "timestamp": self.at})
        return event.model_dump(mode="json")


class JobHistory:
    """The states of one job, as far as they were read; :meth:`update` adds to them."""

    def __init__(self) -> None:
        self._run: Run | None = None
        self._states: list[RunState] = []
        self._percent = 0.0

    @property
    def state_id(self) -> str | None:
        """Id of the last state; None before the first read."""
        return str(self._states[-1].id) if self._states else None

    @property
    def run(self) -> Run | None:
        """The run as it was last read."""
        return self._run

    @property
    def current(self) -> StreamEvent:
        """The event of the last state."""
        return self._event(self._states[-1], self._percent)

    def update(self, run: Run, states: Sequence[RunState], percent: float) -> list[StreamEvent]:
        """Add what was read, and return the new events in their order.

        Args:
            run: the run with its current state.
            states: all of its states; may be empty when the current state is known already.
            percent: value of its progress artifact.
        """
        before = self.current if self._states else None
        known = {state.id for state in self._states}
        ordered = sorted(states, key=lambda state: state.timestamp)
        if ordered and run.state.id not in {state.id for state in ordered}:
            # The list was read a little before or after the run.
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

    def since(self, last_event_id: str | None) -> list[StreamEvent]:
        """The events after the one of an id, for a client that reconnects.

        Without an id it is the current event alone. An id of another job gives all events, so that
        none is missed.
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

    def _passed(self, indices: Iterable[int]) -> list[StreamEvent]:
        """The events of earlier states, with the progress at their begin, which alone is known.

        A crash from which the job recovered is left out.
        """
        return [self._earlier(i) for i in indices if self._states[i].type != "CRASHED"]

    def _earlier(self, index: int) -> StreamEvent:
        reached = max(_START.get(one.name, 0.0) for one in self._states[: index + 1])
        return self._event(self._states[index], min(reached, self._percent))

    def _event(self, state: RunState, percent: float) -> StreamEvent:
        assert self._run is not None
        run = self._run.model_copy(update={"state": state})
        shown = max(percent, _START.get(state.name, 0.0))
        return StreamEvent(str(state.id), summary(Snapshot(run, shown)), state.timestamp)
