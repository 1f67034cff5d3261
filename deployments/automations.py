"""Automations by which a Prefect server notices lost workers and reschedules their jobs.

Two automations mark a job as crashed when its heartbeats stop or never begin. A third reschedules
crashed jobs; any worker resumes them after their last record. A job that crashed too often fails:
see :class:`tasks.connections.run_history.RunHistory`.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification

from tasks.connections.run_history import SHORTEST_SILENCE, SILENT, TAKEN_UP

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient

_ENDS = ("Completed", "Failed", "Crashed", "Cancelled", "TimedOut")
_LEFT = ("AwaitingRetry", "Scheduled", "Late", "Paused", "Suspended")
PARKED = "pro-video.parked"
"""The event of a run that leaves its process to wait. Its state has the name of a state in which
runs work, so that the event of the state does not tell."""


def automations(deployment_ids: list[str], notice_seconds: float) -> list[AutomationCore]:
    """The automations for the given deployments.

    Args:
        deployment_ids: the deployments whose runs are recovered.
        notice_seconds: time without a heartbeat after which a job counts as lost; at least three
            heartbeats, because a single one may be lost.

    Raises:
        ValueError: the time is shorter than three heartbeats.
    """
    shortest = SHORTEST_SILENCE.total_seconds()
    if notice_seconds < shortest:
        raise ValueError(f"notice a lost worker after {shortest:g} s or later")
    ours = ResourceSpecification(
        {
            "prefect.resource.role": "deployment",
            "prefect.resource.id": [f"prefect.deployment.{each}" for each in deployment_ids],
        }
    )
    over = {PARKED, *(f"prefect.flow-run.{name}" for name in (*_ENDS, *_LEFT))}
    lost = ChangeFlowRunState(state=StateType.CRASHED, name="Crashed", message=SILENT)
    # Not by force: Prefect must refuse a late action on a completed job.
    again = ChangeFlowRunState(state=StateType.SCHEDULED, name="AwaitingRetry", message=TAKEN_UP)
    return [
        AutomationCore(
            name="pro-video: notice lost workers",
            description="A job whose heartbeat stays away has lost its worker.",
            trigger=_trigger(
                ours,
                after={"prefect.flow-run.heartbeat"},
                expect={"prefect.flow-run.heartbeat", *over},
                within=timedelta(seconds=notice_seconds),
            ),
            actions=[lost],
        ),
        AutomationCore(
            name="pro-video: notice workers lost at the start of a job",
            description="A job that was handed to a worker and never began has lost it.",
            trigger=_trigger(
                ours,
                after={"prefect.flow-run.Pending", "prefect.flow-run.Submitting"},
                expect={"prefect.flow-run.Running", "prefect.flow-run.heartbeat", *over},
                within=timedelta(seconds=2 * notice_seconds),
            ),
            actions=[lost],
        ),
        AutomationCore(
            name="pro-video: take up lost jobs",
            description="A crashed job is scheduled anew and goes on where its records end.",
            trigger=_trigger(ours, expect={"prefect.flow-run.Crashed"}),
            actions=[again],
        ),
    ]


def _trigger(
    deployments: ResourceSpecification,
    *,
    expect: set[str],
    after: set[str] | None = None,
    within: timedelta = timedelta(0),
) -> EventTrigger:
    """Fires for a run at an expected event, or, given ``within``, when none comes in time."""
    return EventTrigger(
        match=ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*"}),
        match_related=deployments,
        for_each={"prefect.resource.id"},
        after=after or set(),
        expect=expect,
        posture=Posture.Proactive if within else Posture.Reactive,
        threshold=1,
        within=within,
    )


async def save_automations(
    client: PrefectClient, deployment_ids: list[str], notice_seconds: float
) -> None:
    """Create the automations, or update those that exist."""
    for automation in automations(deployment_ids, notice_seconds):
        found = await client.read_automations_by_name(automation.name)
        if found:
            await client.update_automation(found[0].id, automation)
        else:
            await client.create_automation(automation)
