"""What a job's states tell: retries by hand, and workers that were lost."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prefect.client.schemas.objects import State, StateType
from prefect.states import (
    AwaitingRetry,
    Cancelled,
    Completed,
    Crashed,
    Failed,
    Late,
    Pending,
    Running,
    Scheduled,
)

from pro_video.errors import DiedTooOften
from pro_video.settings import get_settings
from tasks.recoveries import TAKEN_UP, History

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


def taken_up() -> State[Any]:
    return AwaitingRetry(message=TAKEN_UP)


def by_hand() -> State[Any]:
    return AwaitingRetry()


def history(*states: State[Any]) -> History:
    """Of states that follow each other by a second, told in any order."""
    told = [
        state.model_copy(update={"timestamp": BEGAN + timedelta(seconds=place)})
        for place, state in enumerate(states)
    ]
    random.shuffle(told)
    return History.of(told)


@pytest.mark.parametrize("end", [Failed(), Cancelled(), Completed()])
def test_a_way_from_an_end_into_the_queue_is_a_retry(end: State[Any]) -> None:
    told = history(Scheduled(), Running(), end, by_hand(), Late(), Pending(), Running())
    assert (told.retries, told.crashes) == (1, 0)


def test_a_lost_worker_is_no_retry() -> None:
    told = history(Scheduled(), Running(), Crashed(message="gone"), taken_up(), Pending())
    assert told == History(retries=0, crashes=1, last_crash="gone")


def test_what_a_process_that_was_taken_for_lost_adds_behind_an_end_is_no_retry() -> None:
    twin = [Crashed(), taken_up(), Pending(), Running()]
    assert history(Running(), *twin, Failed(), Running(), Failed()).retries == 0
    assert history(Running(), *twin, Failed(), Pending(), Running()).retries == 0
    assert history(Running(), *twin, Completed(), Completed()).retries == 0


def test_an_automation_that_fires_late_is_no_retry() -> None:
    assert history(Running(), Crashed(), taken_up(), Failed(), taken_up(), Running()).retries == 0


def test_a_retry_begins_the_count_of_crashes_anew() -> None:
    lost = [Crashed(message="gone"), taken_up(), Running()]
    told = history(Running(), *lost, *lost, Failed(), by_hand(), Running(), *lost)
    assert (told.retries, told.crashes) == (1, 1)


def test_too_many_crashes_end_a_job_and_say_what_was_last_seen() -> None:
    allowed = get_settings().max_recoveries
    lost = [Crashed(message="no such flow"), taken_up()]
    history(Running(), *(allowed * lost)).check()
    with pytest.raises(DiedTooOften, match=rf"lost {allowed + 1} times.*no such flow"):
        history(Running(), *((allowed + 1) * lost)).check()


def test_a_job_without_states_has_no_history() -> None:
    assert history() == History()
    assert history(State(type=StateType.PENDING)) == History()
