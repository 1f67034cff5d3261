"""``make up``: the whole local stack in the foreground; Ctrl-C stops all of it."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path

from deployments.local.stack import (
    DEFAULT_PORT_BASE,
    Stack,
    open_stack,
    port_base_from_environment,
)
from deployments.local.supervisor import StackRuns, run

logger = logging.getLogger("pro_video.up")


def main() -> int:
    """Entry of ``pro-video up`` and ``python -m deployments.local.up``."""
    return run_stack(Stack, __doc__)


def run_stack(kind: type[Stack], description: str | None) -> int:
    """Run a kind of stack, as the arguments of this process say; the exit status."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--folder", type=Path, default=Path(".sandbox"))
    parser.add_argument("--parent", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.parent is not None:
        threading.Thread(target=_end_with, args=[options.parent], daemon=True).start()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        port_base = port_base_from_environment() or DEFAULT_PORT_BASE
        stack = open_stack(options.folder, port_base, kind)
        if problems := stack.problems():
            raise ValueError("\n".join(problems))
        stack.require_free_ports()
        for note in stack.notes():
            logger.info("%s", note)
        logger.info("Starting Pro Video on ports %d and up; Ctrl-C stops it.", port_base)
        return run(stack)
    except (ValueError, StackRuns) as error:
        logger.error("%s", error)
        return 2


def _end_with(parent: int) -> None:
    """Stop this process when its parent, which started it for its own use, is gone."""
    while os.getppid() == parent:
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
