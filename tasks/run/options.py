"""Options of the project's flows and tasks: retries, and the storage of results."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict

from prefect.client.schemas.objects import State

from pro_video.core.errors import OutcomeUnknown, TransientError
from pro_video.core.settings import get_settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from prefect import Task
    from prefect.client.schemas.objects import TaskRun


def worth_another_try(task: Task[Any, Any], run: TaskRun, state: State[Any]) -> bool:
    """Prefect's retry condition: only a transient error is worth another try.

    After an unknown outcome of a create, the submit task itself searches before it sends again.
    """
    error = getattr(state.data, "result", state.data)
    return isinstance(error, TransientError) and not isinstance(error, OutcomeUnknown)


class _Persisted(TypedDict):
    persist_result: bool
    result_storage_key: str
    result_serializer: str
    retries: int
    retry_delay_seconds: list[float]
    retry_condition_fn: Callable[[Task[Any, Any], TaskRun, State[Any]], bool]


PERSISTED: _Persisted = {
    # A second run of the task returns this record instead of working again.
    "persist_result": True,
    "result_storage_key": "{parameters[record]}",
    "result_serializer": "json",
    "retries": 3,
    "retry_delay_seconds": [1.0, 4.0, 10.0],
    "retry_condition_fn": worth_another_try,
}


class _Results(TypedDict):
    persist_result: bool
    result_storage: str
    result_serializer: str


RESULTS: _Results = {
    # For flows, whose tasks use the same storage. Any worker on any machine reads it.
    "persist_result": True,
    "result_storage": f"s3-bucket/{get_settings().block}-results",
    # Compressed, because Prefect (seen with 3.8.8) mistakes the plain JSON of a flow's model for a
    # record of an older format and would return a dictionary.
    "result_serializer": "compressed/json",
}
