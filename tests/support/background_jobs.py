"""Jobs that are led to their end in the background, while other tests run.

Most of a job is waiting. The part of a test, or of a module's tests, that waits is a *story*: a
function of the `Setting`, marked with :func:`story`. The stories of all collected modules begin
a few at a time; a test that wants to look asks :meth:`Stories.end` for what came out.
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from prefect import get_client

from sandbox.media.sample.make_sample import Sample, describe, make_sample
from tests.support.jobs import Jobs
from tests.support.stack import LocalStack

T = TypeVar("T")

# Most of a story is waiting; more at once wait for the processor instead.
_AT_ONCE = 4
# All stories before it, on a busy machine.
_END_SECONDS = 900.0

_TOLD: list[Callable[[Setting], Any]] = []


@dataclass(frozen=True)
class Setting:
    """The resources of stories.

    Attributes:
        jobs: jobs of the shared stack.
        sample: a clip whose picture and sound can be measured against the truth.
        tiny: the smallest clip, for jobs of which only the end matters.
        folder: for files; names are shared by all stories.
    """

    jobs: Jobs
    sample: Sample
    tiny: Sample
    folder: Path

    @property
    def tiny_parameters(self) -> dict[str, Any]:
        """Parameters of a lip-sync of the smallest clip."""
        described = describe(self.tiny)
        return {"video": described["video"], "segments": described["segments"]}


def story(tell: Callable[[Setting], T]) -> Callable[[Setting], T]:
    """Mark a function as a story; those first marked begin first."""
    _TOLD.append(tell)
    return tell


class Stories:
    """The stories of some modules, under way.

    Attributes:
        setting: what they work with.
    """

    def __init__(self, setting: Setting, modules: Collection[str]) -> None:
        self.setting = setting
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="story")
        self._begun: dict[Callable[[Setting], Any], Future[Any]] = {}
        for tell in _TOLD:
            if tell.__module__ in modules:
                # Which Prefect server is meant is known by context.
                context = contextvars.copy_context()
                self._begun[tell] = self._pool.submit(context.run, tell, setting)

    def end(self, tell: Callable[[Setting], T]) -> T:
        """The outcome of a story, as soon as it has ended; its errors are raised."""
        ended: T = self._begun[tell].result(_END_SECONDS)
        return ended

    def close(self) -> None:
        """Begin no more stories, and wait for those under way."""
        self._pool.shutdown(cancel_futures=True)


@contextmanager
def begun_stories(stack: LocalStack, folder: Path, modules: Collection[str]) -> Iterator[Stories]:
    """The stories of modules on a running stack, begun.

    Args:
        folder: for their files; exists and is empty.
        modules: names of modules of which there are tests to run.
    """
    files = folder / "files"
    files.mkdir()
    with get_client(sync_client=True) as client:
        setting = Setting(
            Jobs(stack, client),
            make_sample(folder / "sample", width=320, height=180, seconds=4.0),
            make_sample(folder / "tiny", width=160, height=90, seconds=2.0),
            files,
        )
        stories = Stories(setting, modules)
        try:
            yield stories
        finally:
            stories.close()
