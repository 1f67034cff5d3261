"""A paid request is sent at most once, also when the response is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, cast

import pytest

from pro_video.core.checkpoints import observe
from pro_video.core.clock import VirtualClock
from pro_video.core.errors import (
    AccountBlocked,
    CredentialsRefused,
    DeadlineExceeded,
    OutcomeUnknown,
    ProVideoError,
    ProviderRefused,
    RequestConflict,
    SlotUnavailable,
    StorageRefused,
)
from pro_video.core.job_names import fact_label
from pro_video.core.stopping import Stopped, StopReason, StopSignal, use_stop
from pro_video.records import Prepared, Submission
from pro_video.s3.storage import Storage
from tasks.attempts.prepare import PaidRequest, keep_request
from tasks.attempts.provider import AcceptedJob
from tasks.attempts.submit import submit_once
from tasks.run.job import Job
from tasks.run.job_state import LIP_SYNC
from tasks.run.send_evidence import SendEvidence
from tests.tasks.conftest import UnaskedProvider

ACCEPTED = "accepted"


class Scripted(UnaskedProvider):
    """A provider that answers each send as it is told to.

    Attributes:
        answers: the answer to each send: ``accepted``, or the error that it raises.
        listed_at: seconds of virtual time from which on the search finds the job.
    """

    def __init__(
        self,
        job: Job,
        answers: Sequence[str | Exception] = (ACCEPTED,),
        listed_at: float | None = None,
    ) -> None:
        self.job = job
        self.answers = answers
        self.listed_at = listed_at
        self.bodies: list[bytes] = []
        self.since: list[datetime] = []
        self.adopted: list[str] = []
        self.looks: list[float] = []

    async def send(
        self, body: bytes, reference: str, before_sending: Callable[[], None]
    ) -> AcceptedJob:
        before_sending()
        answer = self.answers[min(len(self.bodies), len(self.answers) - 1)]
        self.bodies.append(body)
        if isinstance(answer, Exception):
            raise answer
        return AcceptedJob("p-1", {})

    async def find(
        self, references: Sequence[str], *, since: datetime, until: datetime
    ) -> AcceptedJob | None:
        self.looks.append(self.job.clock.monotonic())
        self.since.append(since)
        listed = self.listed_at is not None and self.looks[-1] >= self.listed_at
        return AcceptedJob("p-1", {}) if listed else None

    async def adopt(self, job_id: str) -> AcceptedJob:
        self.adopted.append(job_id)
        return AcceptedJob("p-1", {})


def lost(**context: str) -> OutcomeUnknown:
    return OutcomeUnknown("The answer was lost.", **context)


@dataclass
class Attempt:
    """The first lip-sync attempt of a job; its request is kept."""

    job: Job
    storage: Storage
    prepared: Prepared

    @property
    def clock(self) -> VirtualClock:
        assert isinstance(self.job.clock, VirtualClock)
        return self.job.clock

    async def submit(self, provider: Scripted) -> Submission:
        return await submit_once(self.job, self.storage, provider, self.prepared)

    def start_later(self, **labels: str) -> None:
        """The job goes on in a later process, an hour on."""
        self.clock.advance(3600)
        labels = {fact_label(name): value for name, value in labels.items()}
        evidence = SendEvidence(starts=2, began_at=self.clock.monotonic(), labels=labels)
        self.job = replace(self.job, evidence=evidence)

    async def empty(self) -> None:
        """Prepare it anew, with other links, after all records of the job were removed."""
        for name in ("request", "request-sent", "request-turn"):
            await self.storage.delete(self.job.keys.record(f"{LIP_SYNC}-1-{name}"))
        request = PaidRequest(b"new", expected_seconds=60)
        self.prepared = await keep_request(self.job, self.storage, LIP_SYNC, 1, request)


@pytest.fixture
def attempt(job: Job, storage: Storage, prepared: Prepared) -> Attempt:
    return Attempt(job, storage, prepared)


async def test_the_kept_bytes_are_sent_once(attempt: Attempt) -> None:
    provider = Scripted(attempt.job)
    found = await attempt.submit(provider)
    assert (found.provider_job_id, found.adopted) == ("p-1", False)
    assert provider.bodies == [b'{"exact": "bytes"}']
    assert provider.looks == []


async def test_whoever_comes_second_keeps_the_first_ones_bytes(attempt: Attempt) -> None:
    other = PaidRequest(b"other links", expected_seconds=60)
    await keep_request(attempt.job, attempt.storage, LIP_SYNC, 1, other)
    provider = Scripted(attempt.job)
    await attempt.submit(provider)
    assert provider.bodies == [b'{"exact": "bytes"}']


@pytest.mark.parametrize("lag", [0, 45])
async def test_a_second_run_waits_for_the_listing_and_sends_nothing(
    attempt: Attempt, lag: float
) -> None:
    provider = Scripted(attempt.job, listed_at=lag)
    await attempt.submit(provider)
    found = await attempt.submit(provider)
    assert found.adopted
    assert len(provider.bodies) == 1
    assert lag <= provider.looks[-1] <= 60


async def test_a_lost_answer_is_looked_for_before_a_resend(attempt: Attempt) -> None:
    provider = Scripted(attempt.job, [lost(), ACCEPTED], listed_at=10)
    found = await attempt.submit(provider)
    assert found.adopted
    assert len(provider.bodies) == 1


async def test_a_send_that_did_not_arrive_is_repeated_byte_for_byte(attempt: Attempt) -> None:
    provider = Scripted(attempt.job, [lost(), ACCEPTED])
    found = await attempt.submit(provider)
    assert not found.adopted
    assert provider.bodies == [b'{"exact": "bytes"}'] * 2
    # The search covers the whole time that a listing may lag.
    assert provider.looks[-1] - provider.looks[0] >= 60


async def test_a_job_that_the_provider_names_is_read_not_sent_again(attempt: Attempt) -> None:
    provider = Scripted(attempt.job, [lost(job_id="p-9")])
    await attempt.submit(provider)
    assert provider.adopted == ["p-9"]
    assert (len(provider.bodies), provider.looks) == (1, [])


@pytest.mark.parametrize(
    ("answers", "sends", "error"),
    [
        ([lost()], 3, OutcomeUnknown),
        # It says nothing about the first send.
        ([lost(), ProviderRefused("No.")], 2, ProviderRefused),
        # The job of the other request is not found.
        ([RequestConflict("Other inputs.")], 3, RequestConflict),
    ],
)
async def test_a_submission_of_unknown_outcome_has_no_answer(
    attempt: Attempt, answers: list[Exception], sends: int, error: type[Exception]
) -> None:
    provider = Scripted(attempt.job, answers)
    with pytest.raises(error):
        await attempt.submit(provider)
    assert len(provider.bodies) == sends


@pytest.mark.parametrize(
    "error",
    [
        CredentialsRefused("HTTP 401", provider="sync.so"),
        AccountBlocked("Pay.", provider="sync.so", code="ACCOUNT_PAYMENT_REQUIRED"),
    ],
)
async def test_a_refused_account_is_waited_out(attempt: Attempt, error: ProVideoError) -> None:
    provider = Scripted(attempt.job, [error] * 5 + [ACCEPTED])
    found = await attempt.submit(provider)
    assert found.refusal is None
    assert len(provider.bodies) == 6
    assert attempt.clock.monotonic() >= 90
    (reason, end) = cast("Any", attempt.job.reporter).reasons
    assert reason.endswith("The job goes on by itself.")
    assert end is None


@pytest.mark.parametrize(
    ("error", "hours"),
    [
        (ProviderRefused("No.", code="no"), 0),
        # The plan has no room for the job.
        (AccountBlocked("Too long.", code="generation_plan_duration_exceeded"), 0),
        # Nobody corrects the key.
        (CredentialsRefused("HTTP 401", provider="sync.so"), 6),
    ],
)
async def test_a_refusal_is_an_answer(attempt: Attempt, error: ProVideoError, hours: int) -> None:
    provider = Scripted(attempt.job, [error])
    found = await attempt.submit(provider)
    assert found.provider_job_id is None
    assert found.refusal is not None
    assert type(found.refusal.error()) is type(error)
    assert found.refusal.code == error.code
    assert (len(provider.bodies) > 1) is (hours > 0)
    assert attempt.clock.monotonic() >= hours * 3600


async def test_a_lack_of_slots_is_waited_out(attempt: Attempt) -> None:
    full = SlotUnavailable("Full.", retry_after=90)
    provider = Scripted(attempt.job, [full, full, full, ACCEPTED])
    await attempt.submit(provider)
    assert len(provider.bodies) == 4
    assert attempt.clock.monotonic() >= 270


async def test_the_wait_for_a_slot_has_an_end(attempt: Attempt) -> None:
    provider = Scripted(attempt.job, [SlotUnavailable("Full.", retry_after=300)])
    with pytest.raises(DeadlineExceeded, match="nothing was created"):
        await attempt.submit(provider)
    assert attempt.clock.monotonic() >= 6 * 3600


async def test_a_job_whose_request_is_gone_is_refused(attempt: Attempt) -> None:
    await attempt.storage.delete(attempt.prepared.body_key)
    provider = Scripted(attempt.job)
    with pytest.raises(StorageRefused, match="start a new job"):
        await attempt.submit(provider)
    assert provider.bodies == []


async def test_a_job_whose_records_are_lost_is_looked_for(attempt: Attempt) -> None:
    provider = Scripted(attempt.job, listed_at=0)
    await attempt.submit(provider)
    attempt.start_later()
    await attempt.empty()
    found = await attempt.submit(provider)
    assert found.adopted
    assert len(provider.bodies) == 1
    # The search goes back to the job's begin: the time of the first send is lost too.
    assert provider.since == [attempt.job.state.created_at]


async def test_a_search_goes_back_to_the_begin_of_the_run_whatever_clock_set_the_mark(
    attempt: Attempt,
) -> None:
    attempt.clock.jump(3 * 3600)
    now = attempt.job.now()
    attempt.prepared = attempt.prepared.model_copy(update={"prepared_at": now})
    provider = Scripted(attempt.job, [lost(), lost(), lost()])
    with pytest.raises(OutcomeUnknown):
        await attempt.submit(provider)
    # The next machine's clock is right.
    attempt.clock.jump(-3 * 3600)
    provider.since.clear()
    attempt.start_later()
    with pytest.raises(OutcomeUnknown):
        await attempt.submit(provider)
    assert set(provider.since) == {attempt.job.state.created_at}


async def test_a_later_process_looks_while_a_listing_may_lag_behind_earlier_ones(
    attempt: Attempt,
) -> None:
    attempt.start_later()
    attempt.clock.advance(40)
    provider = Scripted(attempt.job)
    await attempt.submit(provider)
    assert len(provider.bodies) == 1
    assert provider.looks[-1] == pytest.approx(attempt.job.evidence.began_at + 60)


@pytest.mark.parametrize("named", ["lip-sync-1", "lip-sync-2"])
async def test_a_job_that_the_runs_labels_name_is_followed(attempt: Attempt, named: str) -> None:
    attempt.start_later(**{named: "p-7"})
    await attempt.empty()
    provider = Scripted(attempt.job)
    await attempt.submit(provider)
    assert (provider.adopted, provider.bodies) == (["p-7"], [])


async def test_labels_of_earlier_attempts_and_of_other_steps_name_nothing(attempt: Attempt) -> None:
    attempt.start_later(**{"lip-sync-1": "p-7", "inpainting-2": "w-7", "lip-sync-2": ""})
    attempt.prepared = attempt.prepared.model_copy(update={"attempt": 2})
    provider = Scripted(attempt.job)
    await attempt.submit(provider)
    assert (provider.adopted, len(provider.bodies)) == ([], 1)


async def test_a_parked_step_of_which_nothing_is_left_is_looked_for(attempt: Attempt) -> None:
    provider = Scripted(attempt.job, listed_at=0)
    await attempt.submit(provider)
    await attempt.empty()
    # A process that goes on with a parked wait does not count as another start.
    evidence = SendEvidence(parked_in=frozenset({provider.stage}))
    attempt.job = replace(attempt.job, evidence=evidence)
    assert (await attempt.submit(provider)).adopted
    assert len(provider.bodies) == 1


class Careless(Storage):
    """A server that accepts conditions and does not heed them."""

    def __init__(self, storage: Storage) -> None:
        self.__dict__.update(vars(storage))

    async def put_bytes(self, key: str, data: bytes, **options: Any) -> bool:
        return await super().put_bytes(key, data, **{**options, "if_absent": False})


async def test_a_server_that_heeds_no_condition_costs_nothing(attempt: Attempt) -> None:
    attempt.storage = Careless(attempt.storage)
    provider = Scripted(attempt.job, listed_at=0)
    await attempt.submit(provider)
    # The first process was killed while the answer was held back; its history is not known.
    attempt.job = replace(attempt.job, evidence=SendEvidence())
    found = await attempt.submit(provider)
    assert found.adopted
    assert len(provider.bodies) == 1


async def test_records_that_vanish_during_the_wait_for_a_slot(attempt: Attempt) -> None:
    class Tidied(Scripted):
        async def send(
            self, body: bytes, reference: str, before_sending: Callable[[], None]
        ) -> AcceptedJob:
            for record in ("turn", "sent"):
                await attempt.storage.delete(f"{attempt.prepared.body_key}-{record}")
            return await super().send(body, reference, before_sending)

    provider = Tidied(attempt.job, [SlotUnavailable("Full.", retry_after=90), ACCEPTED])
    await attempt.submit(provider)
    assert len(provider.bodies) == 2
    assert provider.looks, "it was not looked for before it was sent again"


@pytest.mark.parametrize(
    ("seconds", "wall_only", "looks"), [(31, False, 2), (31, True, 2), (29, False, 1)]
)
async def test_a_machine_that_stood_still_looks_again_before_it_sends(
    attempt: Attempt, seconds: float, wall_only: bool, looks: int
) -> None:
    reached: list[str] = []

    def stand_still(name: str, step: str) -> None:
        """Between the last look and the first send."""
        if name == "submit.before-send":
            if not reached:
                (attempt.clock.jump if wall_only else attempt.clock.advance)(seconds)
            reached.append(name)

    provider = Scripted(attempt.job)
    observe(stand_still)
    try:
        await attempt.submit(provider)
    finally:
        observe(None)
    assert (len(reached), len(provider.bodies)) == (looks, 1)


async def test_a_machine_that_stood_still_leaves_the_job_to_its_successor(attempt: Attempt) -> None:
    provider = Scripted(attempt.job, listed_at=0)
    successor = asyncio.Event()

    class Frozen(Scripted):
        async def send(
            self, body: bytes, reference: str, before_sending: Callable[[], None]
        ) -> AcceptedJob:
            attempt.clock.advance(900)
            attempt.start_later()
            found = await attempt.submit(provider)
            assert found.adopted, "the first send may have left"
            successor.set()
            before_sending()
            raise AssertionError("sent although another process has taken over")

    found = await attempt.submit(Frozen(attempt.job, listed_at=0))
    assert successor.is_set()
    assert found.adopted
    assert provider.bodies == []


async def test_another_request_under_the_key_is_a_send_of_this_attempt(attempt: Attempt) -> None:
    provider = Scripted(attempt.job, [RequestConflict("Other inputs.")], listed_at=0)
    found = await attempt.submit(provider)
    assert found.adopted
    assert provider.since == [min(attempt.job.state.created_at, attempt.prepared.prepared_at)]


async def test_a_job_whose_request_is_gone_is_found_all_the_same(attempt: Attempt) -> None:
    provider = Scripted(attempt.job, listed_at=0)
    await attempt.submit(provider)
    await attempt.storage.delete(attempt.prepared.body_key)
    attempt.start_later()
    found = await attempt.submit(provider)
    assert found.adopted
    assert len(provider.bodies) == 1


async def test_a_cancelled_job_is_not_sent(attempt: Attempt) -> None:
    provider = Scripted(attempt.job)
    stop = StopSignal()
    stop.set(StopReason.CANCELLED)
    with use_stop(stop), pytest.raises(Stopped):
        await attempt.submit(provider)
    assert provider.bodies == []
