"""Runs a part of Pro Video: ``pro-video COMMAND``; each command has a ``--help`` of its own."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Callable, Sequence
from typing import Final

_COMMANDS: Final = {
    "register": (
        "deployments.register",
        "make or update Prefect's blocks, work pool, deployments and automations",
    ),
    "worker": ("prefect.cli", "run jobs: prefect worker start --pool pro-video"),
    "gateway": ("gateway.__main__", "serve the HTTP API"),
    "tokens": ("gateway.tokens", "create, list and revoke tokens of the HTTP API"),
    "up": ("deployments.local.up", "run the local stack until Ctrl-C"),
    "up-cluster": ("deployments.cluster.up", "the same on two Prefect servers and two workers"),
    "demo": ("deployments.local.demo", "watch one job go through the local stack"),
}


def main(arguments: Sequence[str] | None = None) -> int | None:
    """Entry of ``pro-video``: hand over to a command, with the arguments that follow its name.

    Returns:
        The command's exit status.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(prog="pro-video", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (_, text) in _COMMANDS.items():
        commands.add_parser(name, help=text, add_help=False)
    command = parser.parse_args(given[:1]).command
    own = ["worker", "start", "--pool", "pro-video"] if command == "worker" else []
    sys.argv = [f"pro-video {command}", *own, *given[1:]]
    # Imported here, because Prefect takes seconds.
    module = importlib.import_module(_COMMANDS[command][0])
    run: Callable[[], int | None] = module.app if own else module.main
    return run()


if __name__ == "__main__":
    sys.exit(main())
