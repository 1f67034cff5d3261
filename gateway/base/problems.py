"""Errors of the API as problem documents (RFC 9457), with stable codes and the wrong fields."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from pro_video.core.errors import ProVideoError, TransientError

logger = logging.getLogger("pro_video.gateway")

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER: dict[str, Any] = {
    "Retry-After": {
        "description": "Seconds after which another try may succeed.",
        "schema": {"type": "integer", "minimum": 1},
    }
}
"""Headers of a response to be tried again, in the OpenAPI document."""

_LONGEST_TEXT = 500


class FieldProblem(BaseModel):
    """One field that breaks a rule."""

    model_config = ConfigDict(frozen=True)

    field: str = Field(
        description="Path of the field, in the names of the request.",
        examples=["segments_data[1].endTime"],
    )
    code: str = Field(description="Stable name of the rule.", examples=["end_before_start"])
    message: str = Field(description="The rule, and how to meet it.")


class Problem(BaseModel):
    """A problem document (RFC 9457)."""

    model_config = ConfigDict(frozen=True)

    type: str = Field(
        description="URI reference that names the kind of problem.",
        examples=["/problems/invalid_request"],
    )
    title: str = Field(description="The status in words.", examples=["Unprocessable Entity"])
    status: int = Field(description="The HTTP status.", examples=[422])
    code: str = Field(description="Stable name, for machines.", examples=["invalid_request"])
    detail: str = Field(description="The cause, and what to do next.")
    request_id: str | None = Field(
        None, description="Also in the X-Request-Id header and in the gateway's log."
    )
    errors: list[FieldProblem] = Field(
        default_factory=list, description="The fields that break rules."
    )


class ProblemError(Exception):
    """The response is a problem document.

    Args:
        status: HTTP status.
        code: stable name for machines; becomes ``/problems/<code>``.
        detail: for people; holds no key and no signed link.
        errors: the fields that break rules.
        retry_after: seconds after which another try may succeed; becomes ``Retry-After``.
        headers: further headers, for example ``WWW-Authenticate``.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        errors: Sequence[FieldProblem] = (),
        retry_after: float | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(f"{status} {code}: {detail}")
        self.status = status
        self.code = code
        self.detail = detail
        self.errors = tuple(errors)
        self.headers = dict(headers or {})
        if retry_after is not None:
            self.headers["Retry-After"] = str(max(1, math.ceil(retry_after)))


def invalid(errors: Sequence[FieldProblem]) -> ProblemError:
    """422 for a request whose fields break rules."""
    names = ", ".join(dict.fromkeys(error.field for error in errors))
    return ProblemError(
        422,
        "invalid_request",
        f"The request was refused. Correct these fields: {names}."[:_LONGEST_TEXT],
        errors=errors,
    )


def invalid_field(field: str, code: str, message: str) -> ProblemError:
    """422 for one field."""
    return invalid([FieldProblem(field=field, code=code, message=message)])


def not_found(what: str) -> ProblemError:
    """404, also for another owner's resource, whose existence is not disclosed."""
    return ProblemError(404, f"{what}_not_found", f"You have no {what} of this id.")


def unavailable(what: str, *, retry_after: float = 5.0) -> ProblemError:
    """503 while Prefect or S3 does not answer."""
    return ProblemError(
        503,
        "upstream_unavailable",
        f"{what} does not answer at the moment. Nothing was changed; try again later.",
        retry_after=retry_after,
    )


def request_id_of(request: Request) -> str | None:
    """The id that the logging middleware gave the request."""
    value = request.scope.get("state", {}).get("request_id")
    return value if isinstance(value, str) else None


def problem_response(error: ProblemError, request_id: str | None) -> JSONResponse:
    """The response to a request that failed."""
    return JSONResponse(
        Problem(
            type=f"/problems/{error.code}",
            title=HTTPStatus(error.status).phrase,
            status=error.status,
            code=error.code,
            detail=error.detail,
            request_id=request_id,
            errors=list(error.errors),
        ).model_dump(mode="json"),
        status_code=error.status,
        media_type=MEDIA_TYPE,
        headers=error.headers,
    )


def problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The problems of a route in the OpenAPI document, for its ``responses=``."""
    described: dict[int | str, dict[str, Any]] = {}
    for status in statuses:
        entry: dict[str, Any] = {
            "description": HTTPStatus(status).phrase,
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        if status in (429, 503):
            entry["headers"] = RETRY_AFTER
        described[status] = entry
    return described


def problem_of(error: ProVideoError) -> ProblemError:
    """503 for an error of the storage; the cause is logged."""
    logger.error("%s: %s", type(error).__name__, error.message)
    after = error.retry_after if isinstance(error, TransientError) else None
    return unavailable("The storage", retry_after=after or 5.0)
