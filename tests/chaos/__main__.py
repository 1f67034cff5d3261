"""``python -m tests.chaos``: break everything that can break, and count the violations.

Prints a table of the checkpoints and faults; the last line is the count of violations. The exit
status is 1 when there are any.
"""

from __future__ import annotations

import argparse
import logging
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import NoReturn

from prefect import get_client
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

from tests.chaos.jobs import Clips
from tests.chaos.parts.crash import crash_matrix, failure_suite
from tests.chaos.parts.faults import fault_suite
from tests.chaos.parts.keys import key_rotation
from tests.chaos.parts.losses import crash_is_no_end, refused_start, repeated_reports, replicas
from tests.chaos.parts.outages import given_away, prefect_outages, sandbox_outages, twice_at_once
from tests.chaos.parts.records import (
    emptied_records,
    other_bucket,
    sleeping_machine,
    unfit_store,
    wrong_clocks,
)
from tests.chaos.processes import Suite
from tests.chaos.table import Table
from tests.support.jobs import Jobs
from tests.support.stack import running_stack

logger = logging.getLogger("tests.chaos")

Scenario = Callable[[Suite, Clips, random.Random], None]

PARTS: dict[str, tuple[Scenario, ...]] = {
    "two-workers": (twice_at_once, given_away),
    "records": (emptied_records, other_bucket, sleeping_machine, unfit_store, wrong_clocks),
    "losses": (repeated_reports, refused_start, crash_is_no_end, replicas),
    "keys": (key_rotation,),
    "prefect": (prefect_outages,),
    "outages": (sandbox_outages,),
    "retries": (failure_suite,),
    "crash": (crash_matrix,),
    "faults": (fault_suite,),
}

_SERVER = {
    "PREFECT_SERVER_LOGGING_LEVEL": "ERROR",
    # The stack's own worker has nothing to do.
    "PREFECT_WORKER_QUERY_SECONDS": "30",
    # Less work for Prefect: past events and task runs are of no use here, and nothing is scheduled
    # by the clock. Without automations the workers find lost jobs by themselves, only later.
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_SCHEDULER_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_TRIGGERS_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_ENABLED": "false",
}


def main() -> int:
    """Entry of the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--only", choices=sorted(PARTS), action="append", help="parts to run")
    parser.add_argument("--repeat", type=int, default=1, help="rounds of the pairs of faults")
    parser.add_argument("--seed", type=int, default=1, help="of all chance")
    parser.add_argument(
        "--budget-seconds", type=float, default=5400, help="no new job begins after this time"
    )
    parser.add_argument("--keep", type=Path, help="folder that keeps data and logs")
    parser.add_argument("--port-base", type=int, help="first of five ports; free ones by default")
    options = parser.parse_args()
    # Prefect may have set up the root logger when it was imported; force says it anew.
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", force=True
    )
    logging.getLogger("httpx").setLevel(logging.WARNING)
    signal.signal(signal.SIGTERM, _stop)
    folder = options.keep or Path(tempfile.mkdtemp(prefix="pro-video-chaos-"))
    table = Table()
    stopped = False
    try:
        _run(folder, options, table)
    except KeyboardInterrupt:
        # The table so far is still printed.
        stopped = True
    finally:
        if options.keep is None:
            shutil.rmtree(folder, ignore_errors=True)
    sys.stdout.write("\n".join(table.lines()) + "\n")
    if stopped:
        return 130
    return 1 if table.violations or table.errors else 0


def _run(folder: Path, options: argparse.Namespace, table: Table) -> None:
    began = time.monotonic()
    with ExitStack() as closing:
        stack = closing.enter_context(
            running_stack(folder / "stack", port_base=options.port_base, settings=_SERVER)
        )
        home = {PREFECT_API_URL: stack.api_url, PREFECT_HOME: folder / "client"}
        closing.enter_context(temporary_settings(home))
        client = closing.enter_context(get_client(sync_client=True))
        suite = Suite(
            Jobs(stack, client), options.budget_seconds, pairs=options.repeat, table=table
        )
        closing.callback(suite.close)
        clips = Clips(suite.jobs, folder / "clip")
        logger.info("the servers are up after %.0f s", time.monotonic() - began)
        for name in options.only or PARTS:
            for scenario in PARTS[name]:
                _run_scenario(suite, clips, scenario, random.Random(options.seed))
            logger.info(
                "%s: %d faults, %d violations after %.0f s",
                name,
                table.injected,
                len(table.violations),
                time.monotonic() - began,
            )


def _run_scenario(suite: Suite, clips: Clips, scenario: Scenario, chance: random.Random) -> None:
    if suite.over:
        return
    logger.info("%s", scenario.__name__)
    try:
        suite.reset()
        scenario(suite, clips, chance)
    except Exception as error:
        # The other scenarios go on; the run has failed all the same.
        suite.table.errors.append(f"{scenario.__name__}: {type(error).__name__}: {error}")
        logger.exception("ERROR in %s; the workers' log ends:\n%s", scenario.__name__, suite.tail())


def _stop(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
