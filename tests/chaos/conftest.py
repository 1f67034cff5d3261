"""The fault suite on the stack that all end-to-end tests share, with a work pool of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.chaos.jobs import Clips
from tests.chaos.lives import Suite
from tests.chaos.suite import open_suite
from tests.chaos.world import World
from tests.support.stack import LocalStack

_LIMIT_SECONDS = 240.0


@pytest.fixture(scope="module")
def suite(stack: LocalStack) -> Iterator[Suite]:
    """The suite, to be run on jobs that other workers do not see."""
    world = World(stack.folder, stack.port_base, pool="chaos")
    suite = open_suite(world, _LIMIT_SECONDS)
    yield suite
    suite.close()
    world.close()


@pytest.fixture(scope="module")
def clips(suite: Suite) -> Clips:
    """The input files of the jobs."""
    return Clips(suite.world)
