"""Turns the errors of routes into problem documents."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match

from gateway.base.problems import (
    FieldProblem,
    ProblemError,
    invalid,
    problem_of,
    problem_response,
    request_id_of,
    unavailable,
)
from gateway.prefect_client.api import PrefectRefused
from pro_video.core.errors import ProVideoError

logger = logging.getLogger("pro_video.gateway")

_METHODS = ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")
_CODES = {404: "not_found", 405: "method_not_allowed"}
_BUG = ProblemError(
    500,
    "internal_error",
    "An unexpected error occurred in the gateway. Report it with the request_id, which is in its "
    "log too.",
)
E = TypeVar("E", bound=Exception)


def add_error_handlers(app: FastAPI) -> None:
    """Answer every error of an application with a problem document."""
    _handle(app, ProblemError, lambda _, error: error)
    _handle(app, ProVideoError, lambda _, error: problem_of(error))
    _handle(app, PrefectRefused, _of_refusal)
    _handle(app, RequestValidationError, _of_invalid)
    _handle(app, HTTPException, _of_http_exception)
    # Starlette raises the error again after this response, and the server logs it.
    _handle(app, Exception, lambda _, error: _BUG)


def _handle(app: FastAPI, kind: type[E], make: Callable[[Request, E], ProblemError]) -> None:
    async def respond(request: Request, error: Exception) -> Response:
        assert isinstance(error, kind)
        return problem_response(make(request, error), request_id_of(request))

    app.add_exception_handler(kind, respond)


def _of_refusal(request: Request, error: PrefectRefused) -> ProblemError:
    logger.error("Prefect refused a request with %d: %s", error.status, error.body[:300])
    return unavailable("The job service")


def _of_invalid(request: Request, error: RequestValidationError) -> ProblemError:
    # Without the values: they may be secrets.
    return invalid(
        [
            FieldProblem(
                field=".".join(str(part) for part in detail["loc"][1:]) or str(detail["loc"][0]),
                code=detail["type"],
                message=detail["msg"],
            )
            for detail in error.errors()
        ]
    )


def _of_http_exception(request: Request, error: HTTPException) -> ProblemError:
    code = _CODES.get(error.status_code, "refused")
    headers = dict(error.headers or {})
    if error.status_code == 405:
        headers["Allow"] = ", ".join(_methods(request))
    return ProblemError(error.status_code, code, str(error.detail), headers=headers)


def _methods(request: Request) -> list[str]:
    """The methods of a path; Starlette names those of its first route only."""
    routes = request.app.routes

    def is_taken(method: str) -> bool:
        scope = {**request.scope, "method": method}
        return any(route.matches(scope)[0] is Match.FULL for route in routes)

    return [method for method in _METHODS if is_taken(method)]
