"""Starts Prefect's server for clients on this machine, with a check of Host and Origin.

``prefect server start`` alone gives its blocks with their keys to a page of any origin.
``PREFECT_SERVER_CORS_ALLOWED_ORIGINS`` names the origins whose pages may ask; Prefect's default,
``*``, counts as none.
"""

from __future__ import annotations

import argparse

import uvicorn
from prefect.server.api.server import create_app
from prefect.settings import get_current_settings
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp

from pro_video.net.known_hosts import KnownHosts, host_name


def guarded(app: ASGIApp, allowed_origins: str) -> KnownHosts:
    """``app`` for clients on this machine and pages of the allowed origins.

    Args:
        app: Prefect's.
        allowed_origins: as in Prefect's setting, separated by commas.
    """
    origins = {origin.strip() for origin in allowed_origins.split(",")} - {"*", ""}
    return KnownHosts(
        app,
        names={name for origin in origins if (name := host_name(origin))},
        origins=origins,
        refusal=_refuse,
    )


def _refuse(asked: str) -> ASGIApp:
    return PlainTextResponse(
        "This Prefect server does not answer under this name, or for pages of this origin. "
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS names those that it does.\n",
        status_code=403,
    )


def main() -> None:
    """Entry of ``python -m deployments.local.prefect_server``."""
    settings = get_current_settings().server
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default=settings.api.host)
    parser.add_argument("--port", type=int, default=settings.api.port)
    parser.add_argument(
        "--no-services", action="store_true", help="the API alone, as with prefect server start"
    )
    options = parser.parse_args()
    app = create_app(final=True, webserver_only=options.no_services)
    uvicorn.run(
        guarded(app, settings.api.cors_allowed_origins),
        host=options.host,
        port=options.port,
        timeout_keep_alive=settings.api.keepalive_timeout,
        ws_ping_interval=settings.api.websocket_ping_interval,
        ws_ping_timeout=settings.api.websocket_ping_timeout,
        log_level=settings.logging_level.lower(),
    )


if __name__ == "__main__":
    main()
