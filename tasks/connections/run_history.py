"""Counts a job's retries and its losses of a worker, from the states of its flow run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Literal

from prefect.client.schemas.objects import StateType

from pro_video.core.errors import DiedTooOften
from pro_video.core.progress import RESULT_MESSAGE, Stage
from pro_video.core.settings import get_settings

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State

TAKEN_UP: Final = "Taken up again after its worker was lost."
"""Message of the state in which a lost job waits for its next worker, without a user's retry."""
NOT_BEGUN: Final = "Prefect refused the start of this job half-way; it is started again."
"""Message of the state in which such a job waits; nothing was begun, so that nothing counts."""
SILENT: Final = "The worker of this job was lost: no heartbeat came any more."
"""Message of a crash that missing heartbeats show."""
DIED: Final = "The worker's process died; this machine noticed at its restart."
"""Message of a crash that the successor of a worker reports."""
NEWS: Final = "The provider has news of the job, which goes on."
"""Message of the state in which a parked job waits for its next process."""
SHORTEST_SILENCE: Final = timedelta(seconds=90)
"""Three heartbeats; a shorter silence is no loss."""

EndStatus = Literal["completed", "failed", "cancelled"]
CRASH_STAYS: Final = timedelta(minutes=15)
"""A crashed job is normally taken up again; one that stays crashed for so long has failed."""

_END_STATUS: Final[Mapping[StateType, EndStatus]] = {
    StateType.COMPLETED: "completed",
    StateType.FAILED: "failed",
    StateType.CRASHED: "failed",
    StateType.CANCELLED: "cancelled",
}
END_TYPES: Final = tuple(_END_STATUS)
"""The types of states that may be the end of a job."""


def end_status(type_: StateType, age: timedelta) -> EndStatus | None:
    """How a job has ended by the state of its run; None while it goes on or is taken up again.

    Args:
        type_: of the state.
        age: time since the state was set.
    """
    if type_ is StateType.CRASHED and age < CRASH_STAYS:
        return None
    return _END_STATUS.get(type_)


_BY_ITSELF = frozenset({TAKEN_UP, NOT_BEGUN})
_UNDER_WAY = frozenset({StateType.RUNNING, StateType.PENDING})
_SHOWN = {stage.value.name for stage in Stage}
# A job with so many losses while at work works alone from then on.
_SUSPECT = 2
# Factor of the losses that a job is allowed while it waits, when it cannot be their cause.
_WHILE_WAITING = 10


@dataclass(frozen=True)
class RunHistory:
    """Retries and crashes of a job, from its states.

    Attributes:
        retries: number of a user's retries after an end.
        crashes: losses of a worker while the job was at work, and crashes of its own, since the
            last retry.
        losses: all losses of a worker since the last retry, also while the job waited.
        last_crash: message of the last loss.
        starts: number of processes that have begun with the job. One that goes on with a parked
            wait is not counted: the one before has left nothing unknown.
        parked_in: the stages in which the job has been parked.
        woken_in: the stage of the parked wait with which the last process went on.
    """

    retries: int = 0
    crashes: int = 0
    losses: int = 0
    last_crash: str = ""
    starts: int = 0
    parked_in: frozenset[Stage] = frozenset()
    woken_in: Stage | None = None

    @classmethod
    def of(cls, states: Iterable[State[Any]]) -> RunHistory:
        """Read the states of one flow run, in any order.

        Only a way from an end back into the queue is a retry. A process that counted as lost and
        still works may add states behind an end, even a second end, and an automation that fires
        late may put an ended job into the queue. Neither is a user's request to pay again.
        """
        retries = crashes = losses = starts = 0
        last_crash = ""
        parked: Stage | None = None
        woken: Stage | None = None
        stages: set[Stage] = set()
        before: State[Any] | None = None
        for state in sorted(states, key=lambda each: each.timestamp):
            ended = before and end_status(before.type, state.timestamp - before.timestamp)
            stage = parked_in(state)
            if state.type not in _UNDER_WAY:
                stages |= {stage} if stage else set()
                parked = None if _is_intrusion(before, state) else stage
            if stage is None and _is_retry(state, ended=bool(ended)):
                retries += 1
                crashes, losses, last_crash = 0, 0, ""
            elif state.type is StateType.CRASHED and before is not None and _is_loss(before, state):
                losses += 1
                crashes += _was_at_work(before, state)
                last_crash = state.message or ""
            elif state.type is StateType.RUNNING and not (before and before.is_running()):
                woken, parked = parked, None
                starts += woken is None
            before = state
        return cls(retries, crashes, losses, last_crash, starts, frozenset(stages), woken)

    @property
    def suspect(self) -> bool:
        """Was the job at work at so many losses that it works alone from now on?"""
        return self.crashes >= max(1, min(_SUSPECT, get_settings().max_recoveries))

    def check(self) -> None:
        """Raise when the job's workers were lost too often.

        Raises:
            DiedTooOften: more often than the setting ``PRO_VIDEO_MAX_RECOVERIES`` at work, or ten
                times as often while it waited.
        """
        allowed = get_settings().max_recoveries
        last = f" The last time: {self.last_crash}" if self.last_crash else ""
        if self.crashes > allowed:
            counted = f"lost {self.crashes} times while it worked; {allowed} are allowed"
        elif self.losses > _WHILE_WAITING * (allowed + 1):
            counted = f"lost {self.losses} times"
        else:
            return
        raise DiedTooOften(
            f"The process of this job was {counted}. Look at the workers' logs and memory, then "
            f"retry this run.{last}",
            code="died_too_often",
        )


def parked_in(state: State[Any]) -> Stage | None:
    """The stage whose wait is parked in this state of a job; None when none is."""
    return Stage.waiting_in(state.name) if state.type is StateType.SCHEDULED else None


def _is_intrusion(before: State[Any] | None, state: State[Any]) -> bool:
    """Has a watch scheduled a job that was not parked any more, because its read was late?"""
    return state.message == NEWS and (before is None or parked_in(before) is None)


def _is_retry(state: State[Any], *, ended: bool) -> bool:
    return state.type is StateType.SCHEDULED and ended and state.message not in _BY_ITSELF


def _is_loss(before: State[Any], crash: State[Any]) -> bool:
    """Is this a new loss, and not a second report of an earlier one?

    Several processes look for missing heartbeats, and a server that was away reports them late,
    perhaps when the run waits for its next worker or has one.
    """
    if before.type not in _UNDER_WAY:
        return False
    return crash.message != SILENT or crash.timestamp - before.timestamp >= SHORTEST_SILENCE


def _was_at_work(before: State[Any], crash: State[Any]) -> bool:
    """Did the job read, transfer or check, which may end a process?

    States before the first stage are Prefect's own, and the job waits while a provider works. A
    crash that its own process reports counts against the job, except in a wait.
    """
    if Stage.waiting_in(before.name) and before.message != RESULT_MESSAGE:
        return False
    return before.name in _SHOWN or crash.message not in (SILENT, DIED)
