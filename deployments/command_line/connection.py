"""The gateway that the commands talk to."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

from deployments.command_line.output import CommandError
from deployments.local.stack import (
    DEFAULT_PORT_BASE,
    gateway_url,
    port_base_from_environment,
)
from pro_video.client import Client

_PROJECT = Path(__file__).resolve().parents[2]


def connect() -> Client:
    """A client of ``PRO_VIDEO_API`` with ``PRO_VIDEO_TOKEN``, else of the local stack.

    Raises:
        CommandError: the variables name no API.
    """
    api = os.environ.get("PRO_VIDEO_API") or local_api()
    if not api.startswith(("http://", "https://")):
        raise CommandError("PRO_VIDEO_API must be an address, such as http://127.0.0.1:4204.")
    return Client(api, os.environ.get("PRO_VIDEO_TOKEN") or None)


def local_api() -> str:
    """The address of the local stack's gateway: from the description of a stack that runs in this
    directory, in one above it, or in the project's own; else the default.

    Raises:
        CommandError: ``PRO_VIDEO_PORT_BASE`` is no port.
    """
    for file in _descriptions():
        try:
            # Another user's stack is not ours to send videos and a token to.
            if file.stat().st_uid == os.getuid():
                return str(json.loads(file.read_text(encoding="utf-8"))["gateway"]["base_url"])
        except (OSError, ValueError, KeyError):
            continue
    try:
        base = port_base_from_environment() or DEFAULT_PORT_BASE
    except ValueError as error:
        raise CommandError(str(error)) from None
    return gateway_url(base)


def _descriptions() -> Iterator[Path]:
    here = Path.cwd()
    for folder in (here, *here.parents, _PROJECT):
        yield folder / ".sandbox" / "stack.json"
