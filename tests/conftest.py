"""The one local stack that all end-to-end tests share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.local_stack import LocalStack, running_stack


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
