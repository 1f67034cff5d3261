"""Common parts of all tests: plugins, hypothesis' settings, and the jobs that run beside them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from tests.support.stack import LocalStack

if TYPE_CHECKING:
    from tests.support.background_jobs import BackgroundJobs

pytest_plugins = [
    "tests.support.groups",
    "tests.support.prefect_server",
    "tests.support.shared_stack",
    "tests.support.skips",
]

# How quickly examples are made says more about the machine than about a test.
settings.register_profile(
    "any-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any-machine")


@pytest.fixture(scope="session")
def background_jobs(
    request: pytest.FixtureRequest, stack: LocalStack, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[BackgroundJobs]:
    """The background jobs of all modules with tests to run, on the shared stack."""
    # Prefect takes seconds to import, which tests without a stack need not pay.
    from tests.support.background_jobs import running_background_jobs

    modules = {item.module.__name__ for item in request.session.items if hasattr(item, "module")}
    with running_background_jobs(stack, tmp_path_factory.mktemp("jobs"), modules) as running:
        yield running
