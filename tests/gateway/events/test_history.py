"""The events of a job, from Prefect's states alone."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

import pytest

from gateway.events.history import JobHistory, StreamEvent
from gateway.prefect_client.runs import Run, RunState
from pro_video.core.job_names import FINDINGS_LABEL
from pro_video.core.job_warning import JobWarning
from pro_video.core.progress import Stage
from pro_video.records import Findings
from tasks.connections.run_history import CRASH_STAYS

BEGAN = datetime.now(UTC) - timedelta(hours=1)


class Job:
    """A job's states as Prefect would list them."""

    def __init__(self) -> None:
        self.id = uuid.uuid4()
        self.states: list[RunState] = []

    def enter(self, kind: str, name: str, message: str | None = None) -> RunState:
        state = RunState(
            id=uuid.uuid4(),
            type=kind,
            name=name,
            timestamp=BEGAN + timedelta(seconds=len(self.states)),
            message=message,
        )
        self.states.append(state)
        return state

    def stage(self, stage: Stage) -> RunState:
        return self.enter("RUNNING", stage.value.name, stage.value.message)

    @property
    def run(self) -> Run:
        return Run(id=self.id, created=BEGAN, state=self.states[-1])


def summaries(events: list[StreamEvent]) -> list[tuple[str, str | None, int]]:
    return [(one.view.status, one.view.stage, one.view.progress) for one in events]


@pytest.fixture
def job() -> Job:
    made = Job()
    made.enter("SCHEDULED", "Scheduled")
    made.enter("PENDING", "Pending")
    made.enter("RUNNING", "Running")
    made.stage(Stage.UPLOADING)
    made.stage(Stage.LIP_SYNC_PROCESSING)
    return made


@pytest.fixture
def history(job: Job) -> JobHistory:
    """The job at 37 percent."""
    found = JobHistory()
    found.update(job.run, job.states, 37.0)
    return found


def test_a_new_client_gets_the_current_event(history: JobHistory) -> None:
    assert summaries(history.since(None)) == [("processing", "lip-sync processing", 37)]
    assert summaries(history.since("")) == summaries(history.since(None))


def test_a_stage_is_never_shown_below_its_begin(job: Job) -> None:
    history = JobHistory()
    # The percentage is written after the state.
    history.update(job.run, job.states, 4.0)
    assert history.current.view.progress == 10


def test_progress_never_goes_down(job: Job, history: JobHistory) -> None:
    assert history.update(job.run, [], 20.0) == []
    assert history.current.view.progress == 37


def test_nothing_new_is_no_event(job: Job, history: JobHistory) -> None:
    assert history.update(job.run, [], 37.0) == []
    assert history.update(job.run, job.states, 37.2) == []
    assert summaries(history.update(job.run, [], 38.0)) == [
        ("processing", "lip-sync processing", 38)
    ]


def test_states_between_two_reads_are_events(job: Job, history: JobHistory) -> None:
    job.stage(Stage.LIP_SYNC_COMPLETED)
    job.stage(Stage.INPAINTING_STARTING)
    job.enter("COMPLETED", "Completed", "done")
    assert summaries(history.update(job.run, job.states, 100.0)) == [
        ("processing", "lip-sync completed", 50),
        ("processing", "inpainting starting", 60),
        ("completed", "completed", 100),
    ]
    assert history.current.is_final


def test_a_reconnect_misses_nothing_and_repeats_nothing(job: Job) -> None:
    history = JobHistory()
    seen = history.update(job.run, job.states, 37.0)
    seen += history.update(job.run, [], 45.0)
    for stage in (Stage.LIP_SYNC_COMPLETED, Stage.INPAINTING_STARTING):
        job.stage(stage)
        seen += history.update(job.run, job.states, stage.value.start)
    job.enter("FAILED", "Failed", "Text inpainting failed: no")
    seen += history.update(job.run, job.states, 60.0)
    for index, last in enumerate(seen):
        again = history.since(last.id)
        states = [one.state_id for one in again]
        assert states == list(
            dict.fromkeys(
                one.state_id for one in seen[index + 1 :] if one.state_id != last.state_id
            )
        )
    # After the last one there is nothing.
    assert history.since(seen[-1].id) == []


def test_a_reconnect_within_a_stage_gets_its_progress(job: Job, history: JobHistory) -> None:
    first = history.current
    history.update(job.run, [], 41.0)
    history.update(job.run, [], 45.0)
    assert summaries(history.since(first.id)) == [("processing", "lip-sync processing", 45)]


@pytest.mark.parametrize(
    "last", ["x", "0", f"{uuid.UUID(int=7)}.5.processing", "../../etc", "é" * 50, "." * 200]
)
def test_an_unknown_id_gets_all_events(job: Job, history: JobHistory, last: str) -> None:
    assert [one.state_id for one in history.since(last)] == [str(one.id) for one in job.states]


def test_a_crash_with_a_recovery_is_no_event(job: Job, history: JobHistory) -> None:
    seen = history.current
    job.enter("CRASHED", "Crashed", "lost")
    job.enter("SCHEDULED", "AwaitingRetry")
    job.enter("RUNNING", "Running")
    job.stage(Stage.LIP_SYNC_PROCESSING)
    events = history.update(job.run, job.states, 37.0)
    assert {one.view.status for one in events} == {"processing"}
    assert {one.view.status for one in history.since(seen.id)} == {"processing"}


def test_a_crash_that_stays_becomes_a_failure_without_a_new_state(job: Job) -> None:
    crashed = job.enter("CRASHED", "Crashed", "lost")
    history = JobHistory()
    history.update(job.run, job.states, 37.0)
    assert datetime.now(UTC) - crashed.timestamp > CRASH_STAYS
    assert history.current.view.status == "failed"
    fresh = crashed.model_copy(update={"timestamp": datetime.now(UTC)})
    history = JobHistory()
    history.update(job.run.model_copy(update={"state": fresh}), [*job.states[:-1], fresh], 37.0)
    assert history.current.view.status == "processing"


def test_a_retry_continues_after_the_failure(job: Job) -> None:
    history = JobHistory()
    job.enter("FAILED", "Failed", "no")
    history.update(job.run, job.states, 37.0)
    failed = history.current
    assert failed.is_final
    job.enter("SCHEDULED", "AwaitingRetry")
    history.update(job.run, job.states, 37.0)
    assert not history.current.is_final
    assert summaries(history.since(failed.id)) == [("processing", "queued", 37)]


def test_a_list_that_is_older_than_the_run_loses_nothing(job: Job, history: JobHistory) -> None:
    job.stage(Stage.LIP_SYNC_COMPLETED)
    history.update(job.run, job.states[:-1], 50.0)
    assert history.current.view.stage == "lip-sync completed"


def test_ids_differ_for_what_differs(job: Job, history: JobHistory) -> None:
    first = history.current.id
    history.update(job.run, [], 38.0)
    assert history.current.id != first
    assert "\n" not in first


def test_events_tell_warnings_and_kept_results(job: Job) -> None:
    warning = JobWarning(code="odd", message="It is odd.", stage="lip-sync", start=1.0, end=2.0)
    findings = Findings(warnings=(warning,), rejected_key="a.mp4", fallback_key="b.mp4")

    def labelled() -> Run:
        label = {FINDINGS_LABEL: findings.model_dump_json(exclude_defaults=True)}
        return job.run.model_copy(update={"labels": label})

    history = JobHistory()
    history.update(labelled(), job.states, 37.0)
    running = history.current.data()
    assert running["warnings"] == [warning.model_dump(mode="json")]
    # They are of an end before a retry.
    assert (running["rejected_key"], running["fallback_key"]) == (None, None)
    job.enter("FAILED", "Failed", "Held: it is odd.")
    [event] = history.update(labelled(), job.states, 37.0)
    ended = event.data()
    assert ended["warnings"] == running["warnings"]
    assert (ended["rejected_key"], ended["fallback_key"]) == ("a.mp4", "b.mp4")
