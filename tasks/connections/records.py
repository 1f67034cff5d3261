"""Records of finished parts of a job, and the Prefect tasks that do the parts.

A record spares a later process of the job the work. It has the form in which Prefect keeps the
result of a task.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, TypedDict, TypeVar

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.results import ResultStore
from prefect.serializers import JSONSerializer
from prefect.tasks import Task

from pro_video.core.clock import SYSTEM_CLOCK
from pro_video.core.errors import OutcomeUnknown, ProVideoError, TransientError
from pro_video.core.settings import get_settings
from pro_video.core.stopping import StopSignal, current_stop
from pro_video.core.waiting import pause
from tasks.connections.connections import connections
from tasks.connections.records_bucket import RecordMissing

T = TypeVar("T")


class _Results(TypedDict):
    persist_result: bool
    result_storage: str
    result_serializer: str


RESULTS: Final[_Results] = {
    # Options of the flows. Any worker on any machine reads the result. This project's own worker
    # gives each run a client instead of the block's name.
    "persist_result": True,
    "result_storage": f"s3-bucket/{get_settings().block}-results",
    # Compressed, because Prefect (seen with 3.8.8) mistakes the plain JSON of a flow's model for a
    # record of an older format and would return a dictionary.
    "result_serializer": "compressed/json",
}

# Seconds between the tries of a part that meets a transient error.
_PAUSES: Final = (1.0, 4.0, 10.0)


def worth_another_try(task: Task[Any, Any], run: TaskRun, state: State[Any]) -> bool:
    """Prefect's retry condition: only a transient error is worth another try."""
    return _is_transient(getattr(state.data, "result", state.data))


def _is_transient(error: object) -> bool:
    # After an unknown outcome of a create, the submit itself searches before it sends again.
    return isinstance(error, TransientError) and not isinstance(error, OutcomeUnknown)


async def in_task(name: str, work: Callable[[], Awaitable[T]]) -> T:
    """Do a part of the running job as a Prefect task, again after a transient error."""

    @task(
        name=name,
        # Records are kept by the parts themselves, so that one task can keep several.
        persist_result=False,
        cache_policy=NO_CACHE,
        retries=len(_PAUSES),
        retry_delay_seconds=list(_PAUSES),
        retry_condition_fn=worth_another_try,
    )
    async def part() -> T:
        return await work()

    return await part()


async def with_retries(work: Callable[[], Awaitable[T]], *, stop: StopSignal | None = None) -> T:
    """Do a part of the running job that is no task of its own, again after a transient error.

    Args:
        work: the part.
        stop: ends a pause; by default the job's own signal.

    Raises:
        Stopped: the job was cancelled or is handed over.
    """
    for seconds in _PAUSES:
        try:
            return await work()
        except ProVideoError as error:
            if not _is_transient(error):
                raise
            get_run_logger().warning("%s Trying again in %.0f s.", error.message, seconds)
        await pause(seconds, clock=SYSTEM_CLOCK, stop=stop or current_stop())
    return await work()


async def _store() -> ResultStore:
    records = (await connections()).records
    return ResultStore(result_storage=records, serializer=JSONSerializer())


async def read_record(key: str) -> Any:
    """The value of a record; None when there is none.

    Raises:
        ProVideoError: the bucket cannot be read.
    """
    try:
        return (await (await _store()).aread(key)).result
    except RecordMissing:
        return None


async def write_record(key: str, value: object) -> None:
    """Write a record; the job goes on without one that cannot be written."""
    try:
        await (await _store()).awrite(value, key)
    except ProVideoError as error:
        get_run_logger().warning("Could not write the record %s: %s", key, error.message)


async def recorded(key: str, work: Callable[[], Awaitable[T]]) -> T:
    """The value of a record; made by the work, and kept, where there is none."""
    found: T | None = await read_record(key)
    if found is None:
        found = await work()
        await write_record(key, found)
    return found
