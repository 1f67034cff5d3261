"""The one local stack that all processes of a test run share.

The run's main process starts it as soon as the collected tests are known, and stops it at the end.
"""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests.support.groups import ON_STACK
from tests.support.stack import READY_SECONDS, LocalStack, wait_until

_FOLDER = pytest.StashKey[Path]()


def pytest_configure(config: pytest.Config) -> None:
    """Give every process the stack's folder, and the main process the stack."""
    if hasattr(config, "workerinput"):
        config.stash[_FOLDER] = Path(config.workerinput["stack"])
    else:
        owner = _Owner()
        config.stash[_FOLDER] = owner.folder
        config.pluginmanager.register(owner)


class _Owner:
    """The stack, in the main process."""

    def __init__(self) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="pro-video-tests-")
        self.folder = Path(self._temporary.name)
        self._failure = self.folder / "failure"
        self._stack: LocalStack | None = None
        self._waiting: Thread | None = None

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        node.workerinput["stack"] = str(self.folder)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: Iterable[str]) -> None:
        self._start_for(each.rpartition("@")[2].startswith(ON_STACK) for each in ids)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        if not session.config.option.collectonly:
            self._start_for("stack" in getattr(item, "fixturenames", ()) for item in session.items)

    def _start_for(self, uses: Iterable[bool]) -> None:
        if self._stack is None and any(uses):
            self._stack = LocalStack(self.folder / "local")
            self._stack.launch()
            self._waiting = Thread(target=self._wait, args=[self._stack])
            self._waiting.start()

    def _wait(self, stack: LocalStack) -> None:
        try:
            stack.wait_until_ready()
        except AssertionError as error:
            self._failure.write_text(str(error), encoding="utf-8")

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self) -> None:
        if self._stack is not None and self._waiting is not None:
            # The tests have shown it already.
            failed = self._failure.exists()
            # The signal of Ctrl-C.
            status = self._stack.stop(signal.SIGINT)
            self._waiting.join()
            assert failed or status == 0, self._stack.tail()
        self._temporary.cleanup()


@pytest.fixture(scope="session")
def stack(
    pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LocalStack]:
    """A running local stack: Prefect, S3, both emulators and a worker.

    While it runs, the Prefect client of the tests' own process talks to it. It is shared, with
    background jobs too, so a test asks the emulators about its own jobs only, whose references
    hold the job's id.
    """
    # Prefect takes seconds to import, which tests without a stack need not pay.
    from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

    folder = pytestconfig.stash[_FOLDER]

    def is_ready() -> bool:
        failure = folder / "failure"
        assert not failure.exists(), failure.read_text(encoding="utf-8")
        return (folder / "local" / "stack.json").exists()

    wait_until(is_ready, READY_SECONDS, "the stack is ready")
    stack = LocalStack.attach(folder / "local")
    home = tmp_path_factory.mktemp("client")
    with temporary_settings({PREFECT_API_URL: stack.api_url, PREFECT_HOME: home}):
        stack.set_pace(seconds_per_job=1.0)
        yield stack
