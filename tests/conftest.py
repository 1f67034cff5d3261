"""The one local stack that all end-to-end tests share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

from tests.support.stack import LocalStack, running_stack

if TYPE_CHECKING:
    from tests.support.background_jobs import Stories

pytest_plugins = ["tests.support.prefect_server", "tests.support.skips"]

# How quickly examples are made says more about the machine than about a test.
settings.register_profile(
    "any-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any-machine")

# Folders whose tests run on the local stack. They wait most and compute least.
_ON_THE_STACK = (
    "tests/flows/",
    "tests/chaos/",
    "tests/test_canary.py",
    "tests/test_examples.py",
    "tests/deployments/test_foreign_directory.py",
    "tests/deployments/test_frontend.py",
    "tests/deployments/test_plain_commands.py",
    "tests/deployments/test_registration.py",
)
_OF_STORIES = (
    "tests/flows/",
    "tests/test_canary.py",
    "tests/test_examples.py",
    "tests/deployments/test_foreign_directory.py",
)
_ALONE = ("tests/deployments/test_registration.py", "tests/deployments/test_frontend.py")
_GATEWAY = "tests/gateway"
_FIRST = ("stack", _GATEWAY, "tests/deployments", "tests/sandbox/media")


def _group(nodeid: str) -> str:
    """Tests of a group share servers: those on the local stack, those of the gateway, and otherwise
    those of a folder."""
    path = nodeid.partition("::")[0]
    if path.startswith(_ON_THE_STACK):
        return "stack"
    if path.startswith("tests/gateway/events/"):
        return "tests/gateway/events"
    return _GATEWAY if path.startswith(_GATEWAY) else path.rpartition("/")[0]


def _rank(group: str) -> int:
    return _FIRST.index(group) if group in _FIRST else len(_FIRST)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the groups that take longest, so that the others run beside them; and on the stack
    with the tests that need no story to have ended, and end with those that nothing may disturb."""
    for item in items:
        on_the_stack = "stories" in getattr(item, "fixturenames", ())
        if on_the_stack and _group(item.nodeid) != "stack":
            raise pytest.UsageError(f"{item.nodeid} runs on the stack; add it to _ON_THE_STACK")

    def place(item: pytest.Item) -> tuple[int, bool, bool]:
        path = item.nodeid
        return _rank(_group(path)), path.startswith(_ALONE), path.startswith(_OF_STORIES)

    items.sort(key=place)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """Give each group to one process. (The marks of pytest-xdist 3.8 do nothing in pytest 9.2.)"""
    # In the order of the collection, which is made above.
    config.option.loadscopereorder = False
    return _ByGroup(config, log)


class _ByGroup(LoadScopeScheduling):  # type: ignore[misc]
    def _split_scope(self, nodeid: str) -> str:
        return _group(nodeid)


@pytest.fixture(scope="session")
def stories(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stories]:
    """The stories of all modules of which there are tests to run, on the shared stack."""
    # Prefect takes seconds to import, which tests without a stack need not pay.
    from tests.support.background_jobs import begun_stories

    modules = {item.module.__name__ for item in request.session.items if hasattr(item, "module")}
    with (
        _shared_stack(tmp_path_factory.mktemp("stack")) as stack,
        begun_stories(stack, tmp_path_factory.mktemp("stories"), modules) as stories,
    ):
        yield stories


@pytest.fixture(scope="session")
def stack(stories: Stories) -> LocalStack:
    """A running local stack: Prefect, S3, both emulators and a worker.

    While it runs, the Prefect client of the tests' own process talks to it. It is shared, with the
    stories too, so a test asks the emulators about its own jobs only, whose references hold the
    job's id.
    """
    return stories.setting.jobs.stack


@contextmanager
def _shared_stack(folder: Path) -> Iterator[LocalStack]:
    from prefect.settings import (
        PREFECT_API_URL,
        PREFECT_HOME,
        temporary_settings,
    )

    with ExitStack() as closing:
        running = closing.enter_context(running_stack(folder / "local"))
        closing.enter_context(
            temporary_settings(
                {
                    PREFECT_API_URL: running.api_url,
                    PREFECT_HOME: folder / "client",
                }
            )
        )
        for provider in ("sync_so", "ghostcut"):
            running.control(provider, "settings", seconds_per_job=1.0)
        yield running
