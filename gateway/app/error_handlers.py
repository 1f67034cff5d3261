"""Turns the errors of routes into problem documents."""

from __future__ import annotations

import logging

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


def add_error_handlers(app: FastAPI) -> None:
    """Answer every error of an application with a problem document."""
    app.add_exception_handler(ProblemError, _on_problem)
    app.add_exception_handler(ProVideoError, _on_product_error)
    app.add_exception_handler(PrefectRefused, _on_prefect_refused)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(Exception, _on_bug)


def _respond(request: Request, problem: ProblemError) -> Response:
    return problem_response(problem, request_id_of(request))


async def _on_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, ProblemError)
    return _respond(request, error)


async def _on_product_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ProVideoError)
    return _respond(request, problem_of(error))


async def _on_prefect_refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, PrefectRefused)
    logger.error("Prefect refused a request with %d: %s", error.status, error.body[:300])
    return _respond(request, unavailable("The job service"))


async def _on_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    # Without the values: they may be secrets.
    found = [
        FieldProblem(
            field=".".join(str(part) for part in detail["loc"][1:]) or str(detail["loc"][0]),
            code=detail["type"],
            message=detail["msg"],
        )
        for detail in error.errors()
    ]
    return _respond(request, invalid(found))


async def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = _CODES.get(error.status_code, "refused")
    headers = dict(error.headers or {})
    if error.status_code == 405:
        headers["Allow"] = ", ".join(_methods(request))
    return _respond(
        request, ProblemError(error.status_code, code, str(error.detail), headers=headers)
    )


def _methods(request: Request) -> list[str]:
    """The methods of a path; Starlette names those of its first route only."""
    routes = request.app.routes

    def is_taken(method: str) -> bool:
        scope = {**request.scope, "method": method}
        return any(route.matches(scope)[0] is Match.FULL for route in routes)

    return [method for method in _METHODS if is_taken(method)]


async def _on_bug(request: Request, error: Exception) -> Response:
    # Starlette raises the error again after this response, and the server logs it.
    return _respond(
        request,
        ProblemError(
            500,
            "internal_error",
            "An unexpected error occurred in the gateway. Report it with the request_id, "
            "which is in its log too.",
        ),
    )
