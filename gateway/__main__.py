"""Starts the gateway: ``pro-video gateway [--host HOST] [--port PORT]``."""

from __future__ import annotations

import argparse
import sys
from types import FrameType

import uvicorn
from fastapi import FastAPI
from pydantic import ValidationError

from gateway.app.app import create_app, end_streams
from gateway.app.server import allow_files, server_config
from gateway.base.logs import configure_logging
from gateway.base.malloc import restrain
from gateway.base.settings import get_gateway_settings


class _Server(uvicorn.Server):
    """Ends the open event streams at a stop, which they would delay."""

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self._app = app

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        end_streams(self._app)
        super().handle_exit(sig, frame)


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGTERM or Ctrl-C; running requests then have 30 s to end."""
    try:
        settings = get_gateway_settings()
    except ValidationError as error:
        for problem in error.errors(include_input=False):
            name = "_".join(str(part) for part in problem["loc"]).upper()
            sys.stderr.write(f"PRO_VIDEO_GATEWAY_{name}: {problem['msg']}\n")
        return 2
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default=settings.host)
    parser.add_argument("--port", type=int, default=settings.port)
    options = parser.parse_args(arguments)
    configure_logging()
    restrain()
    allow_files(settings)
    app = create_app(settings)
    config = server_config(app, settings, host=options.host, port=options.port)
    _Server(config, app).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
