"""The queries of jobs at Prefect that are more than one call of its client.

Light to import, because the gateway imports it too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from prefect import get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    ArtifactFilterKey,
    FlowRunFilter,
    FlowRunFilterEndTime,
    FlowRunFilterId,
    FlowRunFilterParentFlowRunId,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.sorting import ArtifactSort, FlowRunSort

from tasks.connections.run_history import RunHistory

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import Artifact, FlowRun, StateType

PROGRESS_KEY: Final = "pro-video-progress"
"""Key of the progress artifacts; the artifact of a job is found by its flow run."""

_PAGE: Final = 200


async def read_history(client: PrefectClient, job_id: str) -> RunHistory:
    """The retries and losses of a job.

    Raises:
        httpx.HTTPError: Prefect does not answer.
    """
    return RunHistory.of(await client.read_flow_run_states(UUID(job_id)))


async def read_labels(job_id: str) -> Mapping[str, Any]:
    """The labels of a job's flow run, as they are now.

    Raises:
        httpx.HTTPError: Prefect does not answer.
    """
    async with get_client() as client:
        return (await client.read_flow_run(UUID(job_id))).labels


async def write_labels(job_id: str, labels: Mapping[str, Any]) -> None:
    """Add labels to a job's flow run.

    Raises:
        httpx.HTTPError: Prefect does not answer.
    """
    async with get_client() as client:
        await client.update_flow_run_labels(UUID(job_id), dict(labels))


async def read_runs(client: PrefectClient, run_ids: Sequence[UUID]) -> dict[UUID, FlowRun]:
    """At most 200 flow runs by their ids; unknown ones are left out.

    Raises:
        httpx.HTTPError: Prefect does not answer.
    """
    found = await client.read_flow_runs(
        flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=list(run_ids))), limit=len(run_ids)
    )
    return {run.id: run for run in found}


async def read_subflows(client: PrefectClient, run_ids: Sequence[UUID]) -> list[UUID]:
    """The runs that flow runs have started as parts of themselves.

    Raises:
        httpx.HTTPError: Prefect does not answer.
    """
    parents = FlowRunFilter(parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=list(run_ids)))
    found: list[UUID] = []
    while True:
        page = await client.read_flow_runs(
            flow_run_filter=parents, limit=_PAGE, offset=len(found), sort=FlowRunSort.ID_DESC
        )
        found += [run.id for run in page]
        if len(page) < _PAGE:
            return found


async def read_end_results(client: PrefectClient, run_ids: Sequence[UUID]) -> list[str]:
    """The storage keys of the results of flow runs, those of ends before a retry included.

    Raises:
        httpx.HTTPError: Prefect does not answer.
    """
    found = []
    for run_id in run_ids:
        for state in await client.read_flow_run_states(run_id):
            key = getattr(state.data, "storage_key", None)
            if isinstance(key, str):
                found.append(key)
    return found


async def read_progress(client: PrefectClient, run_id: UUID) -> Artifact | None:
    """A job's progress artifact; None before its first stage.

    Raises:
        httpx.HTTPError: Prefect does not answer.
    """
    found = await client.read_artifacts(
        artifact_filter=ArtifactFilter(
            key=ArtifactFilterKey(any_=[PROGRESS_KEY]),
            flow_run_id=ArtifactFilterFlowRunId(any_=[run_id]),
        ),
        sort=ArtifactSort.CREATED_DESC,
        limit=1,
    )
    return found[0] if found else None


def progress_query(run_ids: Sequence[UUID]) -> dict[str, Any]:
    """Body of ``POST /artifacts/filter`` for the progress of jobs, the newest first.

    For the gateway, which reads many jobs at a time: the client's method makes objects of a
    response, which takes forty times as long as reading the numbers.
    """
    return {
        "artifacts": {
            "key": {"any_": [PROGRESS_KEY]},
            "flow_run_id": {"any_": [str(each) for each in run_ids]},
        },
        "sort": "CREATED_DESC",
        "limit": len(run_ids),
    }


def percent_in(data: object) -> float:
    """The percentage that the data of a progress artifact shows, 0 to 100."""
    return float(data) if isinstance(data, int | float) else 0.0


async def read_ended_runs(
    client: PrefectClient,
    *,
    tag: str,
    types: Sequence[StateType],
    since: datetime,
    limit: int,
    offset: int,
) -> list[FlowRun]:
    """A page of the flow runs with a tag that ended after a time, the last end first.

    Raises:
        httpx.HTTPError: Prefect does not answer.
    """
    return await client.read_flow_runs(
        flow_run_filter=FlowRunFilter(
            tags=FlowRunFilterTags(all_=[tag]),
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(types))),
            end_time=FlowRunFilterEndTime(after_=since),
        ),
        sort=FlowRunSort.END_TIME_DESC,
        limit=limit,
        offset=offset,
    )
