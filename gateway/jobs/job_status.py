"""Reads of one job, and the parameters and documentation of the routes that refer to it."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import Header, Path

from gateway.base.problems import problem_responses
from gateway.base.services import service
from gateway.jobs.views import job_view, status_of
from gateway.prefect_client.runs import Runs
from gateway.status.status_reader import Snapshot, StatusReader
from gateway.status.status_response import StatusResponse

JobRuns = Annotated[Runs, service(Runs)]
Statuses = Annotated[StatusReader, service(StatusReader)]
JobId = Annotated[UUID, Path(description="Id of the job.")]
KnownTag = Annotated[
    str | None,
    Header(alias="If-None-Match", description="ETag of the response that the client has."),
]

STATUS_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "headers": {
            "ETag": {"description": "Names this response.", "schema": {"type": "string"}},
        }
    },
    304: {"description": "Nothing has changed since the response that If-None-Match names."},
    **problem_responses(401, 403, 404, 422, 429, 503),
}
"""Responses to a status read in the OpenAPI document."""


def job_links(*operations: str, job_id: str = "/job_id") -> dict[str, Any]:
    """OpenAPI links from a response to the operations on its job.

    Args:
        operations: names of the routes.
        job_id: JSON pointer to the job's id in the response.
    """
    parameters = {"job_id": f"$response.body#{job_id}"}
    return {one: {"operationId": one, "parameters": parameters} for one in operations}


JOB_LINKS = job_links(
    "pro_job_status",
    "get_job",
    "cancel_job",
    "retry_job",
    "accept_job",
    "read_events",
    "read_log",
)
"""OpenAPI links to the operations on a new job."""


async def read_job(statuses: StatusReader, owner: str, job_id: UUID) -> StatusResponse:
    """The whole view of a job of the owner.

    Raises:
        ProblemError: 404, also for another owner's job; 503.
    """

    async def render(snapshot: Snapshot) -> bytes:
        has_ended = status_of(snapshot.run) != "processing"
        ended = await statuses.ended(snapshot.run) if has_ended else None
        return job_view(snapshot, ended).model_dump_json().encode()

    return await statuses.response(owner, job_id, render)
