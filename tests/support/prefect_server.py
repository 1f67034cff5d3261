"""A Prefect server that the tests of the gateway, and of runs without a worker, share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest

from deployments.local.stack import open_stack
from deployments.local.stack_process import running_process
from tests.support.stack import READY_SECONDS, own_port_base, wait_until


@pytest.fixture(scope="session")
def prefect_api_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The API of a Prefect server of its own, or of ``PRO_VIDEO_TEST_PREFECT_API_URL``, which
    makes repeated runs short. Its flow runs are not executed."""
    running = os.environ.get("PRO_VIDEO_TEST_PREFECT_API_URL")
    if running:
        yield running
        return
    folder = tmp_path_factory.mktemp("prefect")
    stack = open_stack(folder, own_port_base(folder))
    url = stack.prefect_api_url
    with ExitStack() as closing:
        processes = [
            closing.enter_context(running_process(stack, name, {"PREFECT_UI_ENABLED": "false"}))
            for name in ("postgres", "prefect")
            if name in stack.commands()
        ]

        def answers() -> bool:
            for process in processes:
                assert process.poll() is None, (stack.logs / "prefect.log").read_text()[-2000:]
            try:
                return httpx.get(f"{url}/health", timeout=2, trust_env=False).status_code == 200
            except httpx.HTTPError:
                return False

        wait_until(answers, READY_SECONDS, "Prefect answers")
        yield url


@pytest.fixture(scope="session")
def prefect_api(prefect_api_url: str) -> Iterator[str]:
    """The API of the server; the Prefect client of the tests' own process talks to it."""
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with temporary_settings({PREFECT_API_URL: prefect_api_url}):
        yield prefect_api_url
