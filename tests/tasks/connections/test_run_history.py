"""Retries by hand and losses of workers, counted from a job's states."""

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

from pro_video.core.errors import DiedTooOften
from pro_video.core.progress import RESULT_MESSAGE, Stage
from pro_video.core.settings import get_settings
from tasks.connections.run_history import (
    CRASH_STAYS,
    DIED,
    NEWS,
    NOT_BEGUN,
    SHORTEST_SILENCE,
    SILENT,
    TAKEN_UP,
    RunHistory,
)

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


def taken_up() -> State[Any]:
    return AwaitingRetry(message=TAKEN_UP)


def by_hand() -> State[Any]:
    return AwaitingRetry()


def history(*states: State[Any]) -> RunHistory:
    """Of states that follow each other by a second, told in any order."""
    told = [
        state.model_copy(update={"timestamp": BEGAN + timedelta(seconds=place)})
        for place, state in enumerate(states)
    ]
    random.shuffle(told)
    return RunHistory.of(told)


@pytest.mark.parametrize("end", [Failed(), Cancelled(), Completed()])
def test_a_way_from_an_end_into_the_queue_is_a_retry(end: State[Any]) -> None:
    told = history(Scheduled(), Running(), end, by_hand(), Late(), Pending(), Running())
    assert (told.retries, told.crashes) == (1, 0)


def test_a_lost_worker_is_no_retry() -> None:
    told = history(Scheduled(), Running(), Crashed(message="gone"), taken_up(), Pending())
    assert told == RunHistory(retries=0, crashes=1, losses=1, last_crash="gone", starts=1)


def parked(stage: Stage = Stage.LIP_SYNC_PROCESSING) -> State[Any]:
    return Scheduled(name=stage.value.name, message="Waiting")


def test_a_parked_wait_is_neither_a_loss_nor_a_retry_nor_another_start() -> None:
    stage = Stage.LIP_SYNC_PROCESSING
    life = [Pending(), Running(), Running(name=stage.value.name), parked()]
    told = history(Scheduled(), *life, *life, parked(), Pending(), Running())
    assert told == RunHistory(starts=1, parked_in=frozenset({stage}), woken_in=stage)
    # A watch that is late schedules a job that goes on already, or has ended.
    late: State[Any] = Scheduled(name=stage.value.name, message=NEWS)
    assert history(Scheduled(), *life, late, Pending(), Running()).starts == 1
    assert history(Scheduled(), *life, Pending(), late, Pending(), Running()).starts == 2
    told = history(Scheduled(), *life, Pending(), Running(), Failed(), late, Pending(), Running())
    assert (told.starts, told.retries) == (2, 0)
    # The process after a lost one does not know what that one has sent.
    lost = [Pending(), Running(), Crashed(message=DIED), taken_up(), Pending(), Running()]
    told = history(Scheduled(), *life, *lost)
    assert (told.starts, told.losses, told.crashes, told.woken_in) == (2, 1, 0, None)


def test_each_process_is_a_start_and_what_it_shows_is_none() -> None:
    stages: list[State[Any]] = [Running(name=stage.value.name) for stage in Stage]
    blocked: State[Any] = Running(
        name=Stage.LIP_SYNC_PROCESSING.value.name, message="Sync.so refuses the key."
    )
    life: list[State[Any]] = [Pending(), Running(), *stages, blocked]
    assert history(Scheduled(), *life).starts == 1
    ends: list[list[State[Any]]] = [
        [Crashed(), taken_up()],
        [AwaitingRetry()],
        [Failed(), by_hand()],
    ]
    for end in ends:
        assert history(Scheduled(), *life, *end, *life).starts == 2
    # Behind the end that others told of: one too many costs a free look, one too few a payment.
    assert history(Scheduled(), *life, Crashed(), *stages).starts == 2


def test_a_start_that_prefect_refused_half_way_counts_nothing() -> None:
    again: State[Any] = AwaitingRetry(message=NOT_BEGUN)
    told = history(Scheduled(), *(9 * [Pending(), again]), Pending(), Running())
    assert told == RunHistory(starts=1)


@pytest.mark.parametrize("message", ["by hand", TAKEN_UP])
def test_a_crash_that_stayed_is_an_end_for_retries_too(message: str) -> None:
    again: State[Any] = AwaitingRetry(message=message)
    for age, ended in ((CRASH_STAYS, True), (CRASH_STAYS / 2, False)):
        crash: State[Any] = Crashed().model_copy(update={"timestamp": BEGAN})
        later = again.model_copy(update={"timestamp": BEGAN + age})
        assert RunHistory.of([crash, later]).retries == (ended and message != TAKEN_UP)


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
    lost = [Pending(), Crashed(message="no such flow"), taken_up()]
    history(*(allowed * lost)).check()
    with pytest.raises(DiedTooOften, match=rf"lost {allowed + 1} times.*no such flow"):
        history(*((allowed + 1) * lost)).check()


def shown(stage: Stage, message: str = "") -> State[Any]:
    return Running(name=stage.value.name, message=message or stage.value.message)


def died() -> State[Any]:
    return Crashed(name="WorkerLost", message=DIED)


def silent() -> State[Any]:
    return Crashed(message=SILENT)


@pytest.mark.parametrize("stage", [Stage.LIP_SYNC_PROCESSING, Stage.INPAINTING_PROCESSING])
def test_a_death_does_not_count_against_a_job_that_waited(stage: Stage) -> None:
    life = [Pending(), Running(), shown(Stage.UPLOADING), shown(stage)]
    told = history(*(6 * [*life, died(), taken_up()]))
    assert (told.crashes, told.losses, told.suspect) == (0, 6, False)
    told.check()


@pytest.mark.parametrize(
    "last",
    [
        shown(Stage.UPLOADING),
        shown(Stage.LIP_SYNC_COMPLETED),
        shown(Stage.INPAINTING_STARTING),
        shown(Stage.INPAINTING_PROCESSING, RESULT_MESSAGE),
    ],
)
def test_a_death_counts_against_a_job_that_worked(last: State[Any]) -> None:
    told = history(*(2 * [Pending(), Running(), last, died(), taken_up()]))
    assert (told.crashes, told.suspect) == (2, True)
    assert not history(Pending(), Running(), last, died(), taken_up()).suspect


def test_a_death_does_not_count_against_a_job_that_had_not_begun() -> None:
    told = history(*(3 * [Pending(), died(), taken_up(), Pending(), Running(), died(), taken_up()]))
    assert (told.crashes, told.losses) == (0, 6)


def test_a_crash_that_its_own_process_tells_of_counts_unless_it_waited() -> None:
    away: State[Any] = Crashed(message="Prefect's API did not answer")
    assert history(Pending(), Running(), away).crashes == 1
    assert history(Pending(), Running(), shown(Stage.LIP_SYNC_PROCESSING), away).crashes == 0


def test_one_silence_counts_once_however_often_it_is_told() -> None:
    """As it was seen: an automation, another one and the workers' own look within six seconds."""
    began, gone = shown(Stage.UPLOADING), SHORTEST_SILENCE.total_seconds()
    late = [
        (0.0, began),
        (gone, silent()),
        (gone + 1, taken_up()),
        (gone + 2, silent()),
        (gone + 2.1, died()),
        (gone + 3, taken_up()),
        (gone + 4, Pending()),
        (gone + 5, shown(Stage.UPLOADING)),
        (gone + 6, silent()),
        (gone + 7, taken_up()),
    ]
    told = RunHistory.of(
        state.model_copy(update={"timestamp": BEGAN + timedelta(seconds=seconds)})
        for seconds, state in late
    )
    assert (told.crashes, told.losses) == (1, 1)


def test_deaths_while_waiting_have_a_bound_too() -> None:
    lost = [shown(Stage.LIP_SYNC_PROCESSING), died(), taken_up()]
    most = 10 * (get_settings().max_recoveries + 1)
    history(*(most * lost)).check()
    with pytest.raises(DiedTooOften, match=f"lost {most + 1} times"):
        history(*((most + 1) * lost)).check()


def test_a_job_without_states_has_no_history() -> None:
    assert history() == RunHistory()
    assert history(State(type=StateType.PENDING)) == RunHistory()
