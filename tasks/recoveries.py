"""How often a job was retried by hand, and how often it may lose its worker before that counts as
the job's own fault."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from prefect import get_client
from prefect.client.schemas.objects import StateType

from pro_video.errors import DiedTooOften
from pro_video.settings import get_settings

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import State

TAKEN_UP: Final = "Taken up again after its worker was lost."
"""Message of the state in which a lost job waits for its next worker; nobody asked for a retry."""

# An end that a person saw.
_SEEN = frozenset({StateType.FAILED, StateType.CANCELLED, StateType.COMPLETED})


@dataclass(frozen=True)
class History:
    """What a job's states tell.

    Attributes:
        retries: how often a user has sent it on its way again after it had ended.
        crashes: how often its worker was lost since then, or since the job began.
        last_crash: what was said of the last of those crashes.
    """

    retries: int = 0
    crashes: int = 0
    last_crash: str = ""

    @classmethod
    def of(cls, states: Iterable[State[Any]]) -> History:
        """Read the states of one flow run, in any order.

        Only what leads from an end back into the queue is a retry. A process that was taken for
        lost and still works may add states behind an end, even a second end; an automation that
        fires late may put an ended job into the queue. Neither is anybody's wish to pay again.
        """
        retries = crashes = 0
        last_crash = ""
        before: StateType | None = None
        for state in sorted(states, key=lambda each: each.timestamp):
            scheduled = state.type is StateType.SCHEDULED
            if scheduled and before in _SEEN and state.message != TAKEN_UP:
                retries += 1
                crashes, last_crash = 0, ""
            elif state.type is StateType.CRASHED:
                crashes += 1
                last_crash = state.message or ""
            before = state.type
        return cls(retries, crashes, last_crash)

    def check(self) -> None:
        """Raise when the job's workers were lost too often.

        Raises:
            DiedTooOften: more often than the setting ``PRO_VIDEO_MAX_RECOVERIES``.
        """
        allowed = get_settings().max_recoveries
        if self.crashes > allowed:
            last = f" The last time: {self.last_crash}" if self.last_crash else ""
            raise DiedTooOften(
                f"The process of this job was lost {self.crashes} times; {allowed} are allowed. "
                f"Look at the workers' logs and memory, then retry this run.{last}",
                code="died_too_often",
            )


async def read_history(client: PrefectClient, job_id: str) -> History:
    """The history of a job.

    Raises:
        httpx.HTTPError: Prefect does not answer.
    """
    return History.of(await client.read_flow_run_states(UUID(job_id)))


async def check_recoveries(job_id: str) -> int:
    """End a job whose worker was lost too often, instead of taking it up again and again.

    Returns:
        How often the job was retried by hand.

    Raises:
        DiedTooOften: more often than allowed since the job began or was retried by hand.
    """
    async with get_client() as client:
        history = await read_history(client, job_id)
    history.check()
    return history.retries
