"""The state machine of one job: its processes, its providers, its user, and what must always hold.

A state machine over the real steps (prepare, submit, wait, store, attempts) in virtual time. The
rules plan faults, let processes live and die, and let a user retry and cancel. The models of the
providers check at each acceptance that it may be paid for; the invariants are checked between all
rules; at the end all faults cease, and the job has to complete with exactly one paid job a stage.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import get_args

from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from prefect.logging import disable_run_logger

from pro_video.core.settings import get_settings
from pro_video.core.stopping import StopReason, StopSignal
from pro_video.judging.verdict import OnDoubt, Verdict
from tasks.callbacks.wake import wake_signals
from tasks.run.job_state import INPAINTING, LIP_SYNC
from tests.properties.environment import Environment, Process
from tests.properties.process import RESULT_KEYS, work_on_job
from tests.properties.providers import LONGEST_LAG, Plan, ProviderJob, ProviderModel

HOUR = 3600.0


@dataclass(frozen=True)
class Planned:
    """The course of the next job that a provider accepts."""

    step: str
    plan: Plan


@dataclass(frozen=True)
class Faults:
    """Faults of the next calls of one kind."""

    call: str
    kinds: tuple[str | None, ...]


@dataclass(frozen=True)
class Event:
    """An event so many seconds after a process began."""

    delay: float
    what: str
    offset: float


Trouble = Planned | Faults | Event
STEPS = st.sampled_from([LIP_SYNC, INPAINTING])
SENDS = [
    "lost",
    "lost-before",
    "late",
    "frozen",
    "named",
    "unreachable",
    "slot",
    "pace",
    "refused",
    "blocked",
    "key",
]
CALLS = ["find", "read"]
READS = ["away", "pace", "odd", "blocked", "key"]
STORES = ["away", "answer-lost"]
TRANSFERS = ["expired", "truncated", "bucket-away"]
PLACES = [
    "bucket.before",
    "bucket.after",
    "record.begin",
    "record.before",
    "record.after",
    "send.before",
    "send.accepted",
    "send.lost",
    "find.before",
    "find.after",
    "read.before",
    "read.after",
    "transfer.before",
    "transfer.half",
    "transfer.after",
    "judge",
    "decision",
    "ending",
]
DELAYS = st.floats(0, 400)
VERDICTS = st.lists(st.sampled_from(Verdict), max_size=3)


def faults(calls: list[str], kinds: list[str]) -> st.SearchStrategy[Trouble]:
    """Faults of the next calls; None lets one pass."""
    kind = st.none() | st.sampled_from(kinds)
    return st.builds(
        Faults, st.sampled_from(calls), st.lists(kind, min_size=1, max_size=5).map(tuple)
    )


PLANS = st.builds(
    Planned,
    STEPS,
    st.builds(
        Plan,
        st.sampled_from(["success", "retryable", "permanent", "no-points", "locked"]),
        st.floats(0, 300) | st.floats(0, 9 * HOUR),
        st.just(0.0) | st.floats(0, LONGEST_LAG),
    ),
)
EVENTS = st.builds(
    Event,
    DELAYS,
    st.sampled_from(["callback", "clock", "cancel", "hand over", "tidy"]),
    st.floats(-500, 500),
)
TROUBLES = st.lists(
    st.one_of(
        PLANS,
        faults([f"{LIP_SYNC}.send", f"{INPAINTING}.send"], SENDS),
        faults([f"{step}.{call}" for step in (LIP_SYNC, INPAINTING) for call in CALLS], READS),
        faults(["bucket"], STORES),
        faults(["transfer"], TRANSFERS),
        faults(["record", "label"], ["lost"]),
        EVENTS,
    ),
    max_size=4,
)
BEGINS = st.just(0.0) | st.floats(0, 400)
PROCESSES = st.builds(
    Process, st.none() | st.sampled_from(PLACES), st.integers(0, 5), BEGINS, parks=st.booleans()
) | st.builds(Process, st.just(""), st.integers(0, 80), BEGINS, parks=st.booleans())


class ProviderSteps(RuleBasedStateMachine):
    """One job, its processes, its providers and its user."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.env = Environment()
        self.env.downloads = self._download
        self.longest_process = 0.0
        self.models: dict[str, ProviderModel] = {}

    @initialize(
        heeds_keys=st.booleans(),
        inpainting=st.sampled_from([True, True, False]),
        heeds_conditions=st.booleans(),
        verdicts=st.fixed_dictionaries({LIP_SYNC: VERDICTS, INPAINTING: VERDICTS}),
        on_doubt=st.sampled_from(get_args(OnDoubt)),
    )
    def begin(
        self,
        heeds_keys: bool,
        inpainting: bool,
        heeds_conditions: bool = True,
        verdicts: dict[str, list[Verdict]] | None = None,
        on_doubt: OnDoubt = "deliver",
    ) -> None:
        self.env.heeds_conditions = heeds_conditions
        self.env.verdicts = verdicts or {}
        self.env.on_doubt = on_doubt
        self.models[LIP_SYNC] = ProviderModel(
            self.env, LIP_SYNC, heeds_keys=heeds_keys, may_accept=lambda: None
        )
        if inpainting:
            self.models[INPAINTING] = ProviderModel(
                self.env, INPAINTING, heeds_keys=False, may_accept=self._lip_sync_is_there
            )

    def _lip_sync_is_there(self) -> None:
        assert self._bought(LIP_SYNC), "text removal is paid without a lip-sync"
        assert RESULT_KEYS[LIP_SYNC] in self.env.objects

    def _bought(self, step: str) -> list[ProviderJob]:
        return [job for job in self.models[step].jobs if job.bought]

    def _download(self, url: str) -> bytes | None:
        job_id = url.rpartition("/")[2]
        return f"the result of {job_id}".encode()

    # Actions of processes and people

    @precondition(lambda self: self.env.state == "running")
    @rule(troubles=TROUBLES, process=PROCESSES)
    def process(self, troubles: list[Trouble], process: Process) -> None:
        self.run(troubles, replace(process))

    @precondition(lambda self: self.env.state == "running")
    @rule(troubles=TROUBLES, one=PROCESSES, other=PROCESSES)
    def two_processes(self, troubles: list[Trouble], one: Process, other: Process) -> None:
        """A worker that was believed dead, and the one that took over."""
        self.run(troubles, replace(one), replace(other))

    @precondition(lambda self: self.env.state in ("failed", "cancelled"))
    @rule(top_up=st.booleans())
    def user_retries(self, top_up: bool) -> None:
        if top_up:
            self._top_up()
        self.env.retry()

    @precondition(lambda self: self.env.rejected is not None)
    @rule()
    def user_accepts(self) -> None:
        assert self.env.rejected is not None
        self.env.accepted.add(self.env.rejected)
        self.env.retry()

    @rule(seconds=st.floats(0, 8 * HOUR))
    def time_passes(self, seconds: float) -> None:
        self.env.clock.advance(seconds)

    @rule(objects=st.booleans())
    def records_vanish(self, objects: bool) -> None:
        """A lifecycle rule, or a person who tidies."""
        self.env.tidy(objects=objects)

    def _top_up(self) -> None:
        for model in self.models.values():
            for job in model.jobs:
                if job.how == "locked":
                    job.how = "success"

    def run(self, troubles: list[Trouble], *processes: Process) -> None:
        for trouble in troubles:
            if isinstance(trouble, Faults):
                self.env.planned[trouble.call].extend(trouble.kinds)
            elif isinstance(trouble, Planned) and trouble.step in self.models:
                self.models[trouble.step].plans.append(trouble.plan)
        events = [trouble for trouble in troubles if isinstance(trouble, Event)]
        began = self.env.clock.monotonic()
        with disable_run_logger():
            self.loop.run_until_complete(self._run(events, *processes))
        self.env.planned.clear()
        self.longest_process = max(self.longest_process, self.env.clock.monotonic() - began)

    async def _run(self, events: list[Event], *processes: Process) -> None:
        stop = StopSignal(may_park=all(process.parks for process in processes))
        for process in processes:
            process.task = asyncio.create_task(work_on_job(self.env, process, stop, self.models))
        weather = asyncio.create_task(self._weather(events, stop))
        tasks = [process.task for process in processes if process.task is not None]
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        weather.cancel()
        with suppress(asyncio.CancelledError):
            await weather
        for result in ended:
            if isinstance(result, BaseException) and not isinstance(result, asyncio.CancelledError):
                raise result
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, left
        for process in processes:
            assert process.percents == sorted(process.percents)

    async def _weather(self, events: list[Event], stop: StopSignal) -> None:
        clock = self.env.clock
        now = 0.0
        for event in sorted(events, key=lambda each: each.delay):
            await clock.sleep(event.delay - now)
            now = event.delay
            self.env.injected += 1
            if event.what == "callback":
                # Early, late and repeated ones, and for jobs that nobody waits for.
                for name, model in self.models.items():
                    for job_id in ["nobody's", *[job.id for job in model.jobs] * 2]:
                        wake_signals.wake(name, job_id)
            elif event.what == "clock":
                # Never further off than the clients allow for.
                wrong = clock.time() - clock.monotonic() - self.env.began_at
                clock.jump(max(-500.0, min(500.0, wrong + event.offset)) - wrong)
            elif event.what == "tidy":
                self.env.tidy()
            else:
                cancel = event.what == "cancel"
                stop.set(StopReason.CANCELLED if cancel else StopReason.HANDOVER)

    # Invariants

    @invariant()
    def each_attempt_is_bought_once(self) -> None:
        for model in self.models.values():
            references = [job.reference for job in model.jobs]
            assert len(references) == len(set(references))

    @invariant()
    def each_stage_is_bought_once(self) -> None:
        for step in self.models:
            assert len(self._bought(step)) <= 1

    @invariant()
    def only_completed_jobs_and_all_of_them_have_their_result(self) -> None:
        if not self.models:
            return
        last = RESULT_KEYS[list(self.models)[-1]]
        if self.env.state == "completed":
            for step in self.models:
                (job,) = self._bought(step)
                assert self.env.objects[RESULT_KEYS[step]] == self._download(job.id)
        elif last in self.env.objects:
            # A process died, or was stopped, between the result and the state that says so.
            assert self._bought(list(self.models)[-1])

    @invariant()
    def every_process_ends_in_time(self) -> None:
        limits = get_settings()
        attempt = 4 * 3 * limits.slot_deadline_hours + 2 * limits.lip_sync_deadline_hours
        assert self.longest_process <= 2 * 2 * attempt * HOUR

    def teardown(self) -> None:
        """The weather clears up: the job completes, and each stage was paid once."""
        try:
            if self.models:
                self._complete()
        finally:
            self.loop.close()

    def _complete(self) -> None:
        for model in self.models.values():
            model.plans.clear()
        for _ in range(20):
            if self.env.state == "completed":
                break
            if self.env.state != "running":
                self._top_up()
                self.env.retry()
            self.run([], Process())
        assert self.env.state == "completed"
        self.only_completed_jobs_and_all_of_them_have_their_result()
        self.each_attempt_is_bought_once()
        before = dict(self.env.objects), dict(self.env.records)
        self.loop.run_until_complete(self._ring_all())
        assert before == (self.env.objects, self.env.records)

    async def _ring_all(self) -> None:
        for name, model in self.models.items():
            assert all(wake_signals.wake(name, job.id) == 0 for job in model.jobs)
