"""A paid request is sent at most once, also when the response is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
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
from pro_video.records import Prepared
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
        search_seconds: float = 60.0,
    ) -> None:
        self.job = job
        self.answers = answers
        self.listed_at = listed_at
        self.search_seconds = search_seconds
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


async def test_the_kept_bytes_are_sent_once(job: Job, storage: Storage, prepared: Prepared) -> None:
    provider = Scripted(job)
    found = await submit_once(job, storage, provider, prepared)
    assert (found.provider_job_id, found.adopted) == ("p-1", False)
    assert provider.bodies == [b'{"exact": "bytes"}']
    assert provider.looks == []


async def test_whoever_comes_second_keeps_the_first_ones_bytes(
    job: Job, storage: Storage, prepared: Prepared
) -> None:
    await keep_request(job, storage, LIP_SYNC, 1, PaidRequest(b"other links", expected_seconds=60))
    provider = Scripted(job)
    await submit_once(job, storage, provider, prepared)
    assert provider.bodies == [b'{"exact": "bytes"}']


async def test_a_second_run_finds_the_job_and_sends_nothing(
    job: Job, storage: Storage, prepared: Prepared
) -> None:
    provider = Scripted(job, listed_at=0)
    await submit_once(job, storage, provider, prepared)
    found = await submit_once(job, storage, provider, prepared)
    assert found.adopted
    assert len(provider.bodies) == 1


async def test_a_second_run_waits_for_a_listing_that_lags(
    job: Job, storage: Storage, prepared: Prepared
) -> None:
    provider = Scripted(job, listed_at=45)
    await submit_once(job, storage, provider, prepared)
    found = await submit_once(job, storage, provider, prepared)
    assert found.adopted
    assert len(provider.bodies) == 1
    assert 45 <= provider.looks[-1] <= 60


async def test_a_lost_answer_is_looked_for_before_a_resend(
    job: Job, storage: Storage, prepared: Prepared
) -> None:
    provider = Scripted(job, [lost(), ACCEPTED], listed_at=10)
    found = await submit_once(job, storage, provider, prepared)
    assert found.adopted
    assert len(provider.bodies) == 1


async def test_a_send_that_did_not_arrive_is_repeated_byte_for_byte(
    job: Job, storage: Storage, prepared: Prepared
) -> None:
    provider = Scripted(job, [lost(), ACCEPTED])
    found = await submit_once(job, storage, provider, prepared)
    assert not found.adopted
    assert provider.bodies == [b'{"exact": "bytes"}'] * 2
    # The search covers the whole time that a listing may lag.
    assert provider.looks[-1] - provider.looks[0] >= 60


async def test_a_job_that_the_provider_names_is_read_not_sent_again(
    job: Job, storage: Storage, prepared: Prepared
) -> None:
    provider = Scripted(job, [lost(job_id="p-9")])
    await submit_once(job, storage, provider, prepared)
    assert provider.adopted == ["p-9"]
    assert (len(provider.bodies), provider.looks) == (1, [])


async def test_answers_that_stay_lost_end_as_unknown(
    job: Job, storage: Storage, prepared: Prepared
) -> None:
    provider = Scripted(job, [lost()], search_seconds=0)
    with pytest.raises(OutcomeUnknown):
        await submit_once(job, storage, provider, prepared)
    assert len(provider.bodies) == 3


@pytest.mark.parametrize(
    "error",
    [
        CredentialsRefused("HTTP 401", provider="sync.so"),
        AccountBlocked("Pay.", provider="sync.so", code="ACCOUNT_PAYMENT_REQUIRED"),
    ],
)
async def test_a_refused_account_is_waited_out(
    job: Job, storage: Storage, prepared: Prepared, error: ProVideoError
) -> None:
    provider = Scripted(job, [error] * 5 + [ACCEPTED])
    found = await submit_once(job, storage, provider, prepared)
    assert found.refusal is None
    assert len(provider.bodies) == 6
    assert job.clock.monotonic() >= 90
    (reason, end) = cast("Any", job.reporter).reasons
    assert reason.endswith("The job goes on by itself.")
    assert end is None


async def test_a_plan_without_room_for_the_job_is_an_answer(
    job: Job, storage: Storage, prepared: Prepared
) -> None:
    error = AccountBlocked(
        "Too long.", provider="sync.so", code="generation_plan_duration_exceeded"
    )
    provider = Scripted(job, [error])
    found = await submit_once(job, storage, provider, prepared)
    assert found.refusal is not None
    assert len(provider.bodies) == 1


async def test_a_key_that_nobody_corrects_is_an_answer_in_the_end(
    job: Job, storage: Storage, prepared: Prepared
) -> None:
    provider = Scripted(job, [CredentialsRefused("HTTP 401", provider="sync.so")])
    found = await submit_once(job, storage, provider, prepared)
    assert found.refusal is not None
    assert found.refusal.kind == "CredentialsRefused"
    assert job.clock.monotonic() >= 6 * 3600


async def test_a_refusal_of_the_first_send_is_an_answer(
    job: Job, storage: Storage, prepared: Prepared
) -> None:
    provider = Scripted(job, [ProviderRefused("No.", code="no")])
    found = await submit_once(job, storage, provider, prepared)
    assert found.provider_job_id is None
    assert found.refusal is not None
    assert type(found.refusal.error()) is ProviderRefused
    assert found.refusal.code == "no"


async def test_a_refusal_after_a_lost_answer_says_nothing_about_the_first_send(
    job: Job, storage: Storage, prepared: Prepared
) -> None:
    provider = Scripted(job, [lost(), ProviderRefused("No.")], search_seconds=0)
    with pytest.raises(ProviderRefused):
        await submit_once(job, storage, provider, prepared)


async def test_a_lack_of_slots_is_waited_out(
    job: Job, storage: Storage, prepared: Prepared
) -> None:
    full = SlotUnavailable("Full.", retry_after=90)
    provider = Scripted(job, [full, full, full, ACCEPTED])
    await submit_once(job, storage, provider, prepared)
    assert len(provider.bodies) == 4
    assert job.clock.monotonic() >= 270


async def test_the_wait_for_a_slot_has_an_end(
    job: Job, storage: Storage, prepared: Prepared
) -> None:
    provider = Scripted(job, [SlotUnavailable("Full.", retry_after=300)])
    with pytest.raises(DeadlineExceeded, match="nothing was created"):
        await submit_once(job, storage, provider, prepared)
    assert job.clock.monotonic() >= 6 * 3600


async def test_a_job_whose_request_is_gone_is_refused(
    job: Job, storage: Storage, prepared: Prepared
) -> None:
    await storage.delete(prepared.body_key)
    provider = Scripted(job)
    with pytest.raises(StorageRefused, match="start a new job"):
        await submit_once(job, storage, provider, prepared)
    assert provider.bodies == []


def later_start(job: Job, **labels: str) -> Job:
    """The job in a later process, an hour on."""
    assert isinstance(job.clock, VirtualClock)
    job.clock.advance(3600)
    labels = {fact_label(name): value for name, value in labels.items()}
    evidence = SendEvidence(starts=2, began_at=job.clock.monotonic(), labels=labels)
    return replace(job, evidence=evidence)


async def emptied(job: Job, storage: Storage) -> Prepared:
    """The attempt prepared anew, with other links, after all records of the job were removed."""
    for name in ("request", "request-sent", "request-turn"):
        await storage.delete(job.keys.record(f"{LIP_SYNC}-1-{name}"))
    return await keep_request(job, storage, LIP_SYNC, 1, PaidRequest(b"new", expected_seconds=60))


async def test_a_job_whose_records_are_lost_is_looked_for(
    job: Job, storage: Storage, prepared: Prepared
) -> None:
    provider = Scripted(job, listed_at=0)
    await submit_once(job, storage, provider, prepared)
    job = later_start(job)
    found = await submit_once(job, storage, provider, await emptied(job, storage))
    assert found.adopted
    assert len(provider.bodies) == 1
    # The search goes back to the job's begin: the time of the first send is lost too.
    assert provider.since == [job.state.created_at]


async def test_a_search_goes_back_to_the_begin_of_the_run_whatever_clock_set_the_mark(
    job: Job, storage: Storage, prepared: Prepared
) -> None:
    assert isinstance(job.clock, VirtualClock)
    job.clock.jump(3 * 3600)
    ahead = prepared.model_copy(update={"prepared_at": job.now()})
    provider = Scripted(job, [lost(), lost(), lost()])
    with pytest.raises(OutcomeUnknown):
        await submit_once(job, storage, provider, ahead)
    # The next machine's clock is right.
    job.clock.jump(-3 * 3600)
    provider.since.clear()
    with pytest.raises(OutcomeUnknown):
        await submit_once(later_start(job), storage, provider, ahead)
    assert set(provider.since) == {job.state.created_at}


async def test_a_later_process_looks_while_a_listing_may_lag_behind_earlier_ones(
    job: Job, storage: Storage, prepared: Prepared
) -> None:
    job = later_start(job)
    assert isinstance(job.clock, VirtualClock)
    job.clock.advance(40)
    provider = Scripted(job)
    await submit_once(job, storage, provider, prepared)
    assert len(provider.bodies) == 1
    assert provider.looks[-1] == pytest.approx(job.evidence.began_at + 60)


@pytest.mark.parametrize("named", ["lip-sync-1", "lip-sync-2"])
async def test_a_job_that_the_runs_labels_name_is_followed(
    job: Job, storage: Storage, prepared: Prepared, named: str
) -> None:
    job = later_start(job, **{named: "p-7"})
    provider = Scripted(job)
    await submit_once(job, storage, provider, await emptied(job, storage))
    assert (provider.adopted, provider.bodies) == (["p-7"], [])


async def test_labels_of_earlier_attempts_and_of_other_steps_name_nothing(
    job: Job, storage: Storage, prepared: Prepared
) -> None:
    job = later_start(job, **{"lip-sync-1": "p-7", "inpainting-2": "w-7", "lip-sync-2": ""})
    provider = Scripted(job)
    await submit_once(job, storage, provider, replace_attempt(prepared, 2))
    assert (provider.adopted, len(provider.bodies)) == ([], 1)


def replace_attempt(prepared: Prepared, attempt: int) -> Prepared:
    return prepared.model_copy(update={"attempt": attempt})


class Careless(Storage):
    """A server that accepts conditions and does not heed them."""

    def __init__(self, storage: Storage) -> None:
        self.__dict__.update(vars(storage))

    async def put_bytes(self, key: str, data: bytes, **options: Any) -> bool:
        return await super().put_bytes(key, data, **{**options, "if_absent": False})


async def test_a_server_that_heeds_no_condition_costs_nothing(
    job: Job, storage: Storage, prepared: Prepared
) -> None:
    careless = Careless(storage)
    provider = Scripted(job, listed_at=0)
    await submit_once(job, careless, provider, prepared)
    # The first process was killed while the answer was held back; its history is not known.
    found = await submit_once(replace(job, evidence=SendEvidence()), careless, provider, prepared)
    assert found.adopted
    assert len(provider.bodies) == 1


async def test_records_that_vanish_during_the_wait_for_a_slot(
    job: Job, storage: Storage, prepared: Prepared
) -> None:
    class Tidied(Scripted):
        async def send(
            self, body: bytes, reference: str, before_sending: Callable[[], None]
        ) -> AcceptedJob:
            await storage.delete(f"{prepared.body_key}-turn")
            await storage.delete(f"{prepared.body_key}-sent")
            return await super().send(body, reference, before_sending)

    provider = Tidied(job, [SlotUnavailable("Full.", retry_after=90), ACCEPTED])
    await submit_once(job, storage, provider, prepared)
    assert len(provider.bodies) == 2
    assert provider.looks, "it was not looked for before it was sent again"


class StandingStill:
    """A machine that stands still between its last look and its send, for so many seconds."""

    def __init__(self, job: Job, seconds: float, *, wall_only: bool = False) -> None:
        self.times = 0
        self.meanwhile: list[Callable[[], None]] = []
        self._job, self._seconds, self._wall_only = job, seconds, wall_only

    def __enter__(self) -> StandingStill:
        observe(self._reached)
        return self

    def __exit__(self, *_: object) -> None:
        observe(None)

    def _reached(self, name: str, step: str) -> None:
        clock = self._job.clock
        assert isinstance(clock, VirtualClock)
        if name == "submit.before-send":
            self.times += 1
            if self.times == 1:
                (clock.jump if self._wall_only else clock.advance)(self._seconds)


@pytest.mark.parametrize("wall_only", [False, True])
async def test_a_machine_that_stood_still_looks_again_before_it_sends(
    job: Job, storage: Storage, prepared: Prepared, wall_only: bool
) -> None:
    provider = Scripted(job)
    with StandingStill(job, 31, wall_only=wall_only) as machine:
        await submit_once(job, storage, provider, prepared)
    assert machine.times == 2
    assert len(provider.bodies) == 1


async def test_a_short_stop_is_none(job: Job, storage: Storage, prepared: Prepared) -> None:
    provider = Scripted(job)
    with StandingStill(job, 29) as machine:
        await submit_once(job, storage, provider, prepared)
    assert machine.times == 1


async def test_a_machine_that_stood_still_leaves_the_job_to_its_successor(
    job: Job, storage: Storage, prepared: Prepared
) -> None:
    provider = Scripted(job, listed_at=0)
    successor = asyncio.Event()

    class Frozen(Scripted):
        async def send(
            self, body: bytes, reference: str, before_sending: Callable[[], None]
        ) -> AcceptedJob:
            assert isinstance(job.clock, VirtualClock)
            job.clock.advance(900)
            found = await submit_once(later_start(job), storage, provider, prepared)
            assert found.adopted, "the first send may have left"
            successor.set()
            before_sending()
            raise AssertionError("sent although another process has taken over")

    found = await submit_once(job, storage, Frozen(job, listed_at=0), prepared)
    assert successor.is_set()
    assert found.adopted
    assert provider.bodies == []


async def test_another_request_under_the_key_is_a_send_of_this_attempt(
    job: Job, storage: Storage, prepared: Prepared
) -> None:
    provider = Scripted(job, [RequestConflict("Other inputs.")], listed_at=0)
    found = await submit_once(job, storage, provider, prepared)
    assert found.adopted
    assert provider.since == [min(job.state.created_at, prepared.prepared_at)]


async def test_a_conflict_whose_job_is_not_found_is_no_refusal(
    job: Job, storage: Storage, prepared: Prepared
) -> None:
    provider = Scripted(job, [RequestConflict("Other inputs.")])
    with pytest.raises(RequestConflict):
        await submit_once(job, storage, provider, prepared)


async def test_a_job_whose_request_is_gone_is_found_all_the_same(
    job: Job, storage: Storage, prepared: Prepared
) -> None:
    provider = Scripted(job, listed_at=0)
    await submit_once(job, storage, provider, prepared)
    await storage.delete(prepared.body_key)
    found = await submit_once(later_start(job), storage, provider, prepared)
    assert found.adopted
    assert len(provider.bodies) == 1


async def test_a_cancelled_job_is_not_sent(job: Job, storage: Storage, prepared: Prepared) -> None:
    provider = Scripted(job)
    stop = StopSignal()
    stop.set(StopReason.CANCELLED)
    with use_stop(stop), pytest.raises(Stopped):
        await submit_once(job, storage, provider, prepared)
    assert provider.bodies == []
    assert isinstance(job.clock, VirtualClock)
