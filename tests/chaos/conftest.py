"""The fault suite on the stack that all end-to-end tests share, with a work pool of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from prefect import get_client

from tests.chaos.jobs import Clips
from tests.chaos.processes import Suite
from tests.support.jobs import Jobs
from tests.support.stack import LocalStack

_LIMIT_SECONDS = 240.0


@pytest.fixture(scope="module")
def suite(stack: LocalStack) -> Iterator[Suite]:
    """The suite, whose jobs other workers leave alone."""
    with get_client(sync_client=True) as client:
        suite = Suite(Jobs(stack, client), _LIMIT_SECONDS)
        yield suite
        suite.close()


@pytest.fixture(scope="module")
def clips(suite: Suite, tmp_path_factory: pytest.TempPathFactory) -> Clips:
    """The input files of the jobs."""
    return Clips(suite.jobs, tmp_path_factory.mktemp("chaos"))
