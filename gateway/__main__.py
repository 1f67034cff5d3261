"""Starts the gateway: ``pro-video gateway [--host HOST] [--port PORT]``."""

from __future__ import annotations

import argparse
import sys
from types import FrameType

import uvicorn
from fastapi import FastAPI
from pydantic import ValidationError

from gateway.app.app import create_app
from gateway.app.logs import configure_logging
from gateway.app.malloc import restrain
from gateway.app.server import allow_files, server_config
from gateway.app.settings import get_gateway_settings
from gateway.events.routes import end_streams


class _Server(uvicorn.Server):
    """Ends the open event streams at a stop, because they would delay it."""

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self._streams_of = app

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        end_streams(self._streams_of)
        super().handle_exit(sig, frame)


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGTERM or Ctrl-C; forms under way get some time to end."""
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
