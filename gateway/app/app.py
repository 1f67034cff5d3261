"""The application: routes, errors as problems, and the OpenAPI document."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.app import health, openapi_document
from gateway.app.services import open_services
from gateway.base.draining_response import DrainingResponse
from gateway.base.logs import RequestIds
from gateway.base.problems import (
    FieldProblem,
    ProblemError,
    invalid,
    problem_of,
    problem_response,
    request_id_of,
    unavailable,
)
from gateway.base.services import services_of
from gateway.base.settings import GatewaySettings
from gateway.callbacks import routes as callback_routes
from gateway.events import routes as event_routes
from gateway.events.routes import EventStreams
from gateway.jobs import delivery_log, legacy
from gateway.jobs import routes as job_routes
from gateway.prefect_client.api import PrefectRefused
from gateway.status.quick_reads import QuickReads
from gateway.uploads import routes as upload_routes
from gateway.uploads.sweeper import Sweeper
from pro_video.core.errors import ProVideoError
from pro_video.core.retrying import keep_running
from pro_video.core.settings import get_settings
from pro_video.net.known_hosts import KnownHosts, host_name

logger = logging.getLogger("pro_video.gateway")

_VERSION = "1.0.0"
_METHODS = ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")
_CODES = {404: "not_found", 405: "method_not_allowed"}


def create_app(settings: GatewaySettings) -> FastAPI:
    """The gateway as an ASGI application."""

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_services(settings) as services:
            app.state.services = services
            sweeper = services[Sweeper]
            sweeping = asyncio.create_task(keep_running("The sweeper of uploads", sweeper.run))
            try:
                yield
            finally:
                sweeping.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await sweeping

    app = FastAPI(
        title="Pro Video",
        version=_VERSION,
        description="Lip-sync segments of a video and remove text from it. Errors are problem "
        "documents (RFC 9457) with a stable `code`.",
        lifespan=lifespan,
        openapi_url=None,  # gateway.app.openapi_document has its routes
        # Ids of operations for links and for generated clients.
        generate_unique_id_function=lambda route: route.name,
    )
    for module in (
        legacy,
        job_routes,
        event_routes,
        delivery_log,
        upload_routes,
        callback_routes,
        health,
        openapi_document,
    ):
        app.include_router(module.router)
    app.mount(openapi_document.ASSETS, openapi_document.assets())
    app.add_exception_handler(ProblemError, _on_problem)
    app.add_exception_handler(ProVideoError, _on_product_error)
    app.add_exception_handler(PrefectRefused, _on_prefect_refused)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(Exception, _on_bug)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "Idempotency-Key", "X-Request-Id"],
            expose_headers=["Location", "Retry-After", "X-Request-Id"],
            max_age=600,
        )
    app.add_middleware(QuickReads)
    app.add_middleware(
        KnownHosts,
        names={*settings.allowed_hosts, host_name(get_settings().public_url) or ""},
        refusal=_refuse_host,
    )
    app.add_middleware(RequestIds)
    return app


def end_streams(app: FastAPI) -> None:
    """End the open event streams, so that a server that stops need not wait for them."""
    if hasattr(app.state, "services"):
        services_of(app)[EventStreams].hub.end_all()


def _refuse_host(host: str) -> ASGIApp:
    problem = ProblemError(
        403,
        "host_refused",
        "The gateway does not answer under this host name. Add the name to "
        "PRO_VIDEO_GATEWAY_ALLOWED_HOSTS.",
    )

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        response = problem_response(problem, request_id_of(Request(scope)))
        await DrainingResponse(response)(scope, receive, send)

    return answer


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
