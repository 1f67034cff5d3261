"""Jobs that run in the background while other tests run.

Most of a job is waiting. The part of a module's tests that waits is a *background job*: a function
of the :class:`Resources`, marked with :func:`background_job`. Those of all collected modules start
a few at a time; a test asks :meth:`BackgroundJobs.result` for what one returned.
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

# More at once would wait for the processor instead of for jobs.
_AT_ONCE = 6
# Includes the background jobs before it, on a busy machine.
_RESULT_SECONDS = 900.0

_MARKED: list[Callable[[Resources], Any]] = []


@dataclass(frozen=True)
class Resources:
    """The resources of background jobs.

    Attributes:
        jobs: jobs of the shared stack.
        sample: a clip whose picture and sound can be measured against the truth.
        tiny: the smallest clip, for jobs of which only the end matters.
        folder: for files; all background jobs share its names.
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


def background_job(function: Callable[[Resources], T]) -> Callable[[Resources], T]:
    """Mark a function as a background job; those marked first start first."""
    _MARKED.append(function)
    return function


class BackgroundJobs:
    """The background jobs of some modules, started.

    Attributes:
        resources: of all of them.
    """

    def __init__(self, resources: Resources, modules: Collection[str]) -> None:
        self.resources = resources
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="background-job")
        self._started: dict[Callable[[Resources], Any], Future[Any]] = {}
        for function in _MARKED:
            if function.__module__ in modules:
                # Prefect keeps the address of its server in a context variable.
                context = contextvars.copy_context()
                self._started[function] = self._pool.submit(context.run, function, resources)

    def result(self, function: Callable[[Resources], T]) -> T:
        """Wait for a background job: its return value, or the exception that it raised."""
        value: T = self._started[function].result(_RESULT_SECONDS)
        return value

    def close(self) -> None:
        """Start no more of them, and wait for those that run."""
        self._pool.shutdown(cancel_futures=True)


@contextmanager
def running_background_jobs(
    stack: LocalStack, folder: Path, modules: Collection[str]
) -> Iterator[BackgroundJobs]:
    """The background jobs of modules, on a running stack.

    Args:
        folder: for their files; exists and is empty.
        modules: names of the modules with tests to run.
    """
    files = folder / "files"
    files.mkdir()
    with get_client(sync_client=True) as client:
        resources = Resources(
            Jobs(stack, client),
            make_sample(folder / "sample", width=320, height=180, seconds=4.0),
            make_sample(folder / "tiny", width=160, height=90, seconds=2.0),
            files,
        )
        background_jobs = BackgroundJobs(resources, modules)
        try:
            yield background_jobs
        finally:
            background_jobs.close()
