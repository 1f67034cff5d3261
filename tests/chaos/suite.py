"""Puts the suite together."""

from __future__ import annotations

import time

from tests.chaos.jobs import Follower, Runs
from tests.chaos.judge import Judge
from tests.chaos.lives import Suite
from tests.chaos.table import Table
from tests.chaos.world import World


def open_suite(world: World, seconds: float, table: Table | None = None) -> Suite:
    """The resources of all parts, for a run that begins no job after ``seconds``."""
    runs, follower, table = Runs(world), Follower(world), table or Table()
    return Suite(
        world=world,
        runs=runs,
        follower=follower,
        judge=Judge(world, runs, follower, table),
        table=table,
        ends_at=time.monotonic() + seconds,
    )
