"""The one local stack that all end-to-end tests share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.local_stack import LocalStack, running_stack


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep tests that share servers in one process, and begin with the longest of these groups.

    Under pytest-xdist each group runs in one worker: all tests on the local stack, and otherwise
    all tests of a folder, whose session fixtures start its servers once.
    """
    for item in items:
        item.add_marker(pytest.mark.xdist_group(_group(item)))
    items.sort(key=lambda item: _ORDER.get(_group(item), len(_ORDER)))


def _group(item: pytest.Item) -> str:
    if "stack" in getattr(item, "fixturenames", ()):
        return "stack"
    return str(item.path.parent.relative_to(item.config.rootpath))


# The stack's tests wait most and compute least; they run beside all others.
_ORDER = {"stack": 0, "tests/deployments/gateway": 1, "tests/deployments/gateway_bells": 2}


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """A running local stack: Prefect, S3, both emulators and a worker.

    While it runs, the Prefect client of the tests' own process talks to it. It is shared, so a test
    asks the emulators about its own jobs only, whose references hold the job's id.
    """
    # Prefect takes seconds to import, which tests without a stack need not pay.
    from prefect.settings import (
        PREFECT_API_URL,
        PREFECT_CLIENT_MAX_RETRIES,
        PREFECT_HOME,
        temporary_settings,
    )

    folder = tmp_path_factory.mktemp("stack")
    with ExitStack() as closing:
        running = closing.enter_context(running_stack(folder / "local"))
        closing.enter_context(
            temporary_settings(
                {
                    PREFECT_API_URL: running.api_url,
                    PREFECT_HOME: folder / "client",
                    # Tests wait for a busy database themselves, in shorter steps.
                    PREFECT_CLIENT_MAX_RETRIES: 0,
                }
            )
        )
        for provider in ("sync_so", "ghostcut"):
            running.control(provider, "settings", seconds_per_job=1.0)
        yield running
