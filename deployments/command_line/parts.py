"""The parts of an installation, each with a command of its own that takes the rest of the line."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from typing import Final

PARTS: Final = {
    "register": (
        "deployments.register",
        "Make or update Prefect's blocks, work pool, deployments and automations.",
    ),
    "worker": ("prefect.cli", "Run jobs: prefect worker start --pool pro-video."),
    "gateway": ("gateway.__main__", "Serve the HTTP API."),
    "tokens": ("gateway.tokens", "Create, list and revoke tokens of the HTTP API."),
    "up": ("deployments.local.up", "Run the local stack until Ctrl-C."),
    "up-cluster": (
        "deployments.cluster.up",
        "The same on two Prefect servers and two workers.",
    ),
    "demo": ("deployments.local.demo", "Watch one job go through the local stack."),
}
"""Module and description of each."""


def run_part(name: str, arguments: Sequence[str]) -> int | None:
    """Hand over to a part, with the arguments that follow its name.

    Returns:
        Its exit status.
    """
    own = ["worker", "start", "--pool", "pro-video"] if name == "worker" else []
    sys.argv = [f"pro-video {name}", *own, *arguments]
    # Imported here, because Prefect takes seconds.
    module = importlib.import_module(PARTS[name][0])
    run: Callable[[], int | None] = module.app if own else module.main
    return run()
