"""How often a job may lose its worker before that counts as the job's own fault."""

from __future__ import annotations

from uuid import UUID

from prefect import get_client
from prefect.client.schemas.objects import StateType

from pro_video.errors import DiedTooOften
from pro_video.settings import get_settings

# An end that a person saw: a retry after it begins with a clean record.
_SEEN = frozenset({StateType.FAILED, StateType.CANCELLED, StateType.COMPLETED})


async def check_recoveries(job_id: str) -> int:
    """End a job whose worker was lost too often, instead of taking it up again and again.

    Returns:
        How often the job has ended before this run and was seen to: so often was it retried.

    Raises:
        DiedTooOften: more often than the setting ``PRO_VIDEO_MAX_RECOVERIES`` since the job began
            or was retried by hand.
    """
    async with get_client() as client:
        states = await client.read_flow_run_states(UUID(job_id))
    crashes = ends = 0
    for state in sorted(states, key=lambda each: each.timestamp):
        if state.type in _SEEN:
            crashes = 0
            ends += 1
        elif state.type is StateType.CRASHED:
            crashes += 1
    allowed = get_settings().max_recoveries
    if crashes > allowed:
        raise DiedTooOften(
            f"The process of this job was lost {crashes} times; {allowed} are allowed. Look at the "
            "workers' logs and memory, then retry this run.",
            code="died_too_often",
        )
    return ends
