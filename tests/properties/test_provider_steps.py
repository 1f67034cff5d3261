"""Each step is paid once, nothing paid is lost, and every job ends, under any faults of providers,
storage, clocks and processes. First a search by the state machine, then the main cases.

``HYPOTHESIS_PROFILE=chaos`` searches for long.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from pro_video.core.settings import get_settings, use_settings
from tasks.run.job_state import INPAINTING, LIP_SYNC
from tests.properties.environment import Process
from tests.properties.machine import Event, Faults, Planned, ProviderSteps, Trouble
from tests.properties.providers import LONGEST_LAG, Plan

HOUR = 3600.0


@pytest.fixture
def pace() -> Iterator[None]:
    """Fewer looks in an hour of virtual time."""
    with use_settings(get_settings().model_copy(update={"poll_seconds": 60.0})):
        yield


@pytest.mark.timeout(3600 if os.environ.get("HYPOTHESIS_PROFILE") == "chaos" else 120)
@pytest.mark.usefixtures("pace")
def test_provider_steps_never_pay_twice_and_never_lose_a_result() -> None:
    chaos = os.environ.get("HYPOTHESIS_PROFILE") == "chaos"
    run_state_machine_as_test(
        ProviderSteps,
        settings=settings(
            max_examples=5000 if chaos else 150,
            stateful_step_count=20 if chaos else 10,
            deadline=None,
            derandomize=not chaos,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.fixture
def steps(pace: None) -> Iterator[ProviderSteps]:
    """A job with both stages at providers that know no idempotency keys; in the end it must
    complete, each stage paid once."""
    machine = ProviderSteps()
    machine.begin(heeds_keys=False, inpainting=True)
    yield machine
    machine.teardown()


def accepted(steps: ProviderSteps, step: str) -> int:
    return len(steps.models[step].jobs)


def late(step: str) -> Planned:
    """The step's next job is listed as late as a listing may be."""
    return Planned(step, Plan("success", 60.0, LONGEST_LAG))


@pytest.mark.parametrize("step", [LIP_SYNC, INPAINTING])
@pytest.mark.parametrize("fault", ["lost", "late", "named"])
def test_a_lost_answer_is_looked_for_while_the_listing_lags(
    steps: ProviderSteps, step: str, fault: str
) -> None:
    steps.run([late(step), Faults(f"{step}.send", (fault,))], Process())
    assert steps.env.state == "completed"
    assert accepted(steps, step) == 1


@pytest.mark.parametrize("place", ["send.before", "send.accepted", "record.before"])
def test_a_process_that_dies_around_a_send(steps: ProviderSteps, place: str) -> None:
    # The third record is written after the first submit.
    steps.run([late(LIP_SYNC)], Process(place, 1 if place == "record.before" else 0))
    steps.run([], Process())
    assert steps.env.state == "completed"


def test_a_lost_record_of_the_preparation_does_not_hide_the_job(steps: ProviderSteps) -> None:
    steps.run([Faults("record", ("lost", "lost"))], Process("read.before"))
    assert accepted(steps, LIP_SYNC) == 1
    steps.time_passes(5 * HOUR)
    steps.run([], Process())
    assert steps.env.state == "completed"


def test_only_a_user_reopens_an_attempt(steps: ProviderSteps) -> None:
    failing = Planned(LIP_SYNC, Plan("permanent", 60.0))
    steps.run([failing], Process("ending"))
    assert steps.env.state == "running", "the process died between closing and the final state"
    steps.run([], Process())
    assert steps.env.state == "failed"
    assert accepted(steps, LIP_SYNC) == 1
    steps.user_retries(top_up=False)
    steps.run([], Process())
    assert steps.env.state == "completed"
    assert accepted(steps, LIP_SYNC) == 2


@pytest.mark.parametrize("step", [LIP_SYNC, INPAINTING])
@pytest.mark.parametrize("trouble", ["blocked", "key"])
def test_a_refused_look_is_no_end_of_the_job(steps: ProviderSteps, step: str, trouble: str) -> None:
    steps.run([Faults(f"{step}.read", (None, *[trouble] * 20))], Process())
    assert steps.env.state == "completed"
    assert accepted(steps, step) == 1


@pytest.mark.parametrize("step", [LIP_SYNC, INPAINTING])
@pytest.mark.parametrize("trouble", ["blocked", "key"])
def test_a_send_waits_while_the_account_is_refused(
    steps: ProviderSteps, step: str, trouble: str
) -> None:
    steps.run([Faults(f"{step}.send", (trouble,) * 20)], Process())
    assert steps.env.state == "completed"
    assert accepted(steps, step) == 1


@pytest.mark.parametrize("step", [LIP_SYNC, INPAINTING])
def test_two_workers_that_wait_for_the_same_slot(steps: ProviderSteps, step: str) -> None:
    no_slot = Faults(f"{step}.send", ("slot",) * 4)
    steps.run([late(step), no_slot], Process(), Process())
    assert steps.env.state == "completed"
    assert accepted(steps, step) == 1


def test_a_held_back_result_waits_for_the_top_up(steps: ProviderSteps) -> None:
    steps.run([Planned(INPAINTING, Plan("locked", 60.0))], Process())
    assert steps.env.state == "failed"
    steps.user_retries(top_up=True)
    steps.run([], Process())
    assert accepted(steps, INPAINTING) == 1


def test_a_retryable_failure_is_tried_again_once_by_itself(steps: ProviderSteps) -> None:
    failing: list[Trouble] = [Planned(INPAINTING, Plan("retryable", 60.0))] * 3
    steps.run(failing, Process())
    assert steps.env.state == "failed"
    assert accepted(steps, LIP_SYNC) == 1
    assert accepted(steps, INPAINTING) == get_settings().max_attempts


def test_a_wait_ends_at_its_deadline_and_its_retry_finds_the_result(steps: ProviderSteps) -> None:
    slow = Planned(LIP_SYNC, Plan("success", 8 * HOUR))
    steps.run([slow], Process())
    assert steps.env.state == "failed"
    steps.user_retries(top_up=False)
    steps.run([], Process())
    assert accepted(steps, LIP_SYNC) == 1


def test_a_cancelled_job_loses_nothing(steps: ProviderSteps) -> None:
    steps.run([Event(30.0, "cancel", 0.0)], Process())
    assert steps.env.state == "cancelled"
    assert accepted(steps, LIP_SYNC) == 1
    steps.user_retries(top_up=False)
    steps.run([], Process())
    assert accepted(steps, LIP_SYNC) == 1


LOST_LABELS = Faults("label", ("lost",) * 9)


def until_it_waits(steps: ProviderSteps, step: str, *troubles: Trouble) -> None:
    """Processes that die one after the other, the last one while the step's provider works."""
    steps.run([*troubles], Process("read.before"))
    if step == INPAINTING:
        # The lip-sync is read by its wait and for its link.
        steps.time_passes(HOUR)
        steps.run([*troubles], Process("read.before", 2))
    assert accepted(steps, step) >= 1


@pytest.mark.parametrize("step", [LIP_SYNC, INPAINTING])
@pytest.mark.parametrize("troubles", [[], [LOST_LABELS]])
def test_a_job_whose_records_are_removed_is_not_bought_again(
    steps: ProviderSteps, step: str, troubles: list[Trouble]
) -> None:
    until_it_waits(steps, step, *troubles)
    steps.records_vanish(objects=True)
    steps.run([], Process())
    assert steps.env.state == "completed"
    assert accepted(steps, step) == 1


def test_a_cancelled_job_whose_records_are_removed_is_picked_up(steps: ProviderSteps) -> None:
    steps.run([LOST_LABELS, Event(30.0, "cancel", 0.0)], Process())
    assert steps.env.state == "cancelled"
    assert accepted(steps, LIP_SYNC) == 1
    steps.records_vanish(objects=True)
    steps.user_retries(top_up=False)
    steps.run([], Process())
    assert steps.env.state == "completed"


@pytest.mark.parametrize("troubles", [[], [LOST_LABELS]])
def test_an_attempt_after_a_refused_one_is_found_without_records(
    steps: ProviderSteps, troubles: list[Trouble]
) -> None:
    """The first attempt was refused: sent again, it would be a second payment."""
    steps.run([Faults(f"{LIP_SYNC}.send", ("refused",)), *troubles], Process())
    assert steps.env.state == "failed"
    steps.user_retries(top_up=False)
    until_it_waits(steps, LIP_SYNC, *troubles)
    assert [job.attempt for job in steps.models[LIP_SYNC].jobs] == [2]
    steps.records_vanish(objects=True)
    steps.run([], Process())
    assert steps.env.state == "completed"
    assert accepted(steps, LIP_SYNC) == 1


@pytest.mark.parametrize("step", [LIP_SYNC, INPAINTING])
def test_a_bucket_that_heeds_no_condition_costs_nothing(steps: ProviderSteps, step: str) -> None:
    steps.env.heeds_conditions = False
    steps.run([late(step), Faults(f"{step}.send", ("lost",))], Process("send.lost"))
    steps.run([], Process())
    assert steps.env.state == "completed"


@pytest.mark.parametrize("step", [LIP_SYNC, INPAINTING])
def test_a_frozen_process_sends_nothing_after_its_successor(
    steps: ProviderSteps, step: str
) -> None:
    frozen = Faults(f"{step}.send", ("frozen",))
    if step == INPAINTING:
        steps.run([], Process("send.before", 1))
    # The other one begins when the first stands still.
    delay = 60.0 if step == LIP_SYNC else 250.0
    steps.run([late(step), frozen], Process(), Process(delay=delay))
    assert steps.env.state == "completed"
    assert accepted(steps, step) == 1
