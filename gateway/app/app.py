"""The application: its routes, middleware and shared objects."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from fastapi import FastAPI, Request
from fastapi.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.app import health, openapi_document
from gateway.app.error_handlers import add_error_handlers
from gateway.app.services import open_services
from gateway.base.draining_response import DrainingResponse
from gateway.base.logs import RequestIds
from gateway.base.problems import (
    ProblemError,
    problem_response,
    request_id_of,
)
from gateway.base.services import services_of
from gateway.base.settings import GatewaySettings
from gateway.callbacks import routes as callback_routes
from gateway.estimates import routes as estimate_routes
from gateway.events import routes as event_routes
from gateway.events.routes import EventStreams
from gateway.jobs import delivery_log, legacy
from gateway.jobs import routes as job_routes
from gateway.status.quick_reads import QuickReads
from gateway.uploads import routes as upload_routes
from gateway.uploads.sweeper import Sweeper
from pro_video.core.retrying import keep_running
from pro_video.core.settings import get_settings
from pro_video.net.known_hosts import KnownHosts, host_name

_VERSION = "1.0.0"


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
        estimate_routes,
        event_routes,
        delivery_log,
        upload_routes,
        callback_routes,
        health,
        openapi_document,
    ):
        app.include_router(module.router)
    app.mount(openapi_document.ASSETS, openapi_document.assets())
    add_error_handlers(app)
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
