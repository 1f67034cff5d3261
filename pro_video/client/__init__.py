"""A typed client of the HTTP API. It needs httpx and pydantic, and neither Prefect nor boto3."""

from pro_video.client.async_client import AsyncClient
from pro_video.client.client import Client
from pro_video.client.errors import (
    AccessDenied,
    ClientError,
    Conflict,
    FieldProblem,
    NoResult,
    NotFound,
    Problem,
    Refused,
    TooMany,
    Unavailable,
    Unreachable,
    UploadFailed,
)
from pro_video.client.models import (
    Estimate,
    Job,
    JobCreated,
    JobEvent,
    JobPage,
    JobSummary,
    Upload,
)
from pro_video.client.requests import (
    Area,
    JobRequest,
    Options,
    Region,
    Segment,
    Speaker,
    Webhook,
)

__all__ = [
    "AccessDenied",
    "Area",
    "AsyncClient",
    "Client",
    "ClientError",
    "Conflict",
    "Estimate",
    "FieldProblem",
    "Job",
    "JobCreated",
    "JobEvent",
    "JobPage",
    "JobRequest",
    "JobSummary",
    "NoResult",
    "NotFound",
    "Options",
    "Problem",
    "Refused",
    "Region",
    "Segment",
    "Speaker",
    "TooMany",
    "Unavailable",
    "Unreachable",
    "Upload",
    "UploadFailed",
    "Webhook",
]
