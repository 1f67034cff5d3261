"""The errors of the client.

::

    ClientError
    ├── Unreachable         the API or the storage gave no answer, in all tries
    ├── UploadFailed        the file changed meanwhile, or its parts were refused
    ├── NoResult            the job has no such file
    └── Problem             the API's problem document
        ├── Refused         400, 408, 413, 415, 422: the request is wrong; nothing was begun
        ├── AccessDenied    401, 403
        ├── NotFound        404, 410
        ├── Conflict        409: the job or upload is not in the state for it
        ├── TooMany         429: a limit of the owner
        └── Unavailable     5xx
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import httpx
from pydantic import BaseModel, ConfigDict, ValidationError


class FieldProblem(BaseModel):
    """One wrong field.

    Attributes:
        field: its path in the names of the HTTP API, such as ``segments_data[1].endTime``.
        code: stable name of the rule.
        message: the rule, and how to meet it.
    """

    model_config = ConfigDict(frozen=True)

    field: str
    code: str
    message: str


class ClientError(Exception):
    """Base of the errors."""


class Unreachable(ClientError):
    """No answer came, in all tries."""


class UploadFailed(ClientError):
    """A file could not be uploaded."""


class NoResult(ClientError):
    """The job has no such file."""


class Problem(ClientError):
    """The API answered with a problem document (RFC 9457).

    Attributes:
        status: HTTP status.
        code: stable name for machines.
        detail: the cause, and what to do next.
        errors: the wrong fields, all at once.
        request_id: for the installation's log; None when the answer had none.
        retry_after: seconds after which another try may succeed; None when the API does not say.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        errors: Sequence[FieldProblem] = (),
        request_id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(f"{status} {code}: {detail}")
        self.status = status
        self.code = code
        self.detail = detail
        self.errors = tuple(errors)
        self.request_id = request_id
        self.retry_after = retry_after


class Refused(Problem):
    """The request is wrong; nothing was begun."""


class AccessDenied(Problem):
    """The token is missing or wrong, or the request's origin is refused."""


class NotFound(Problem):
    """There is no such job or upload of this owner, or it has expired."""


class Conflict(Problem):
    """The job or upload is not in the state for it."""


class TooMany(Problem):
    """A limit of the owner is reached."""


class Unavailable(Problem):
    """The API, or what it needs, is away."""


_TYPES: Final[dict[int, type[Problem]]] = {
    401: AccessDenied,
    403: AccessDenied,
    404: NotFound,
    409: Conflict,
    410: NotFound,
    429: TooMany,
}


class _Document(BaseModel):
    code: str
    detail: str
    request_id: str | None = None
    errors: list[FieldProblem] = []


def problem_of(response: httpx.Response) -> Problem:
    """The error for a response that is none of success; its body has been read."""
    status = response.status_code
    try:
        document = _Document.model_validate_json(response.content)
    except ValidationError:
        # A proxy's page, or another server.
        text = f"The answer {status} of {response.url.host} is none of the API of Pro Video."
        document = _Document(code=f"http_{status}", detail=text)
    after = response.headers.get("Retry-After", "")
    kind = _TYPES.get(status, Unavailable if status >= 500 else Refused)
    return kind(
        status,
        document.code,
        document.detail,
        errors=document.errors,
        request_id=document.request_id,
        retry_after=float(after) if after.isdecimal() else None,
    )
