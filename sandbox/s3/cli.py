"""Command-line entry of the S3 server."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence

from sandbox.s3.server import run

DEFAULT_PORT = 9000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of the server; keys come from the environment unless given."""
    parser.add_argument("--host", default="127.0.0.1", help="address to bind (loopback)")
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help="port to bind")
    parser.add_argument("--data-dir", required=True, help="folder that keeps the objects")
    parser.add_argument(
        "--access-key",
        default=os.environ.get("SANDBOX_S3_ACCESS_KEY", "sandbox"),
        help="access key id (or SANDBOX_S3_ACCESS_KEY)",
    )
    parser.add_argument(
        "--secret-key",
        default=os.environ.get("SANDBOX_S3_SECRET_KEY"),
        help="secret key (better: SANDBOX_S3_SECRET_KEY)",
    )
    parser.add_argument("--region", default="us-east-1", help="region that signatures must name")


def main(argv: Sequence[str] | None = None) -> int:
    """Parses `argv`, serves until SIGTERM or SIGINT, and returns the exit status."""
    parser = argparse.ArgumentParser(prog="sandbox s3", description="S3 server of the sandbox.")
    add_arguments(parser)
    options = parser.parse_args(argv)
    if not options.secret_key:
        parser.error("a secret key is needed: set SANDBOX_S3_SECRET_KEY")
    run(
        options.host,
        options.port,
        options.data_dir,
        options.access_key,
        options.secret_key,
        options.region,
    )
    return 0
